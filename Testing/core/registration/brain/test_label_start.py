"""A start from the structures of two heads, where positions and orientations are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from neuralreg.errors import InvalidImage, InvalidOption, WeightsUnavailable
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.progress import silent
from neuralreg.registration.brain.label_start import LabelStart, rigid_transform
from neuralreg.registration.engine import register
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.guides.landmark_start import LandmarkStart
from neuralreg.registration.options import (
    FieldRefinement,
    LinearAlignment,
    RegistrationOptions,
)
from neuralreg.registration.prealign import StartKind, prealign
from scipy.spatial.transform import Rotation

from Testing.support.band_network import phantom, write_band_network

GRID = Grid((36, 45, 36), (3.67, 3.67, 3.67), (-65, -75, -70), tuple(np.eye(3).ravel()))
QUARTER = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@pytest.fixture(scope="module")
def head() -> Image:
    return phantom(GRID)[0]


@pytest.fixture(scope="module")
def lost(head) -> tuple[Image, LinearTransform]:
    """The same head half a meter away and on its face, as far as its header says."""
    truth = LinearTransform.from_parts(QUARTER, np.array([500.0, -40, 20]))
    direction = QUARTER @ np.reshape(GRID.direction, (3, 3))
    grid = Grid(GRID.size, GRID.spacing, tuple(truth(np.array(GRID.origin))), direction.ravel())
    return Image(head.data, grid), truth


@pytest.fixture
def band_network(tmp_path, monkeypatch) -> None:
    write_band_network(tmp_path / "own")
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))


def distance(one: LinearTransform, two: LinearTransform) -> float:
    return float(np.linalg.norm(one(GRID.corners()) - two(GRID.corners()), axis=1).max())


def test_the_rotation_of_common_points_is_found_and_never_a_reflection():
    points = np.random.default_rng(0).normal(0, 40, (12, 3))
    truth = LinearTransform.from_parts(
        Rotation.from_euler("xyz", (20, -35, 170), degrees=True).as_matrix(), np.array([9.0, 3, 1])
    )
    fixed = dict(enumerate(points))
    moving = {n: truth(point) for n, point in fixed.items() if n != 3}
    assert distance(rigid_transform(fixed, moving), truth) < 1e-9
    mirrored = {n: point * (-1, 1, 1) for n, point in fixed.items()}
    with pytest.raises(InvalidImage, match="lie differently"):
        rigid_transform(fixed, mirrored)
    with pytest.raises(InvalidImage, match="4 structures"):
        rigid_transform(fixed, {n: moving[n] for n in (0, 1, 2, 4)})


def test_an_orientation_in_which_the_structures_do_not_fit_is_left_for_the_next(
    band_network, head, lost
):
    moving, truth = lost
    start = LabelStart(head, moving, "cpu", silent)
    assert distance(start.propose([np.eye(3), QUARTER]), truth) < 3


def test_the_search_begins_at_the_labels_alone_where_that_was_asked_for(band_network, head, lost):
    moving, truth = lost
    alignment = prealign(
        head, moving, LinearAlignment.RIGID, propose=lambda _: truth, only_proposed=True
    )
    assert alignment.start is StartKind.LABELS
    assert distance(alignment.linear, truth) < 3


def test_labels_are_not_asked_for_where_the_headers_are_right(head):
    asked = []
    alignment = prealign(head, head, LinearAlignment.RIGID, propose=asked.append)
    assert asked == []
    assert alignment.start is StartKind.HEADER


def test_guesses_of_how_the_head_is_turned_are_rotations_also_beside_landmarks_that_scale(
    head, lost
):
    moving, truth = lost
    points = np.random.default_rng(0).uniform(-40, 40, (12, 3))
    partners = truth(points) * (1.2, 1.1, 0.9)
    guide = LandmarkGuide(points.tolist(), partners.tolist())
    start = LandmarkStart.of(guide, head.grid, moving.grid, LinearAlignment.AFFINE)
    asked: list[Matrix] = []
    prealign(head, moving, LinearAlignment.RIGID, landmarks=start, propose=asked.extend)
    assert abs(start.fit.linear.determinant - 1) > 0.1
    assert asked
    for rotation in asked:
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def test_a_registration_starts_from_labels_and_says_so(band_network, head, lost):
    moving, truth = lost
    result = register(
        head,
        moving,
        "convex",
        start="labels",
        linear="rigid",
        refinement=FieldRefinement(steps=1),
    )
    assert result.provenance["pre-alignment"]["start"] == "labels"
    assert distance(result.linear, truth) < 3


def test_a_start_from_labels_needs_weights_and_fetches_none(head, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path / "none"))
    with pytest.raises(WeightsUnavailable, match="models get subcortical18"):
        register(head, head, "convex", start="labels")
    assert not LabelStart.suits(head, head)


def test_two_starts_at_once_and_a_start_without_an_alignment_are_refused(head):
    with pytest.raises(InvalidOption, match="one start"):
        register(head, head, "convex", start="labels", initial=LinearTransform.identity(3))
    with pytest.raises(InvalidOption, match="prealign"):
        RegistrationOptions(start="labels", linear="none")
    with pytest.raises(InvalidOption, match="'header'"):
        RegistrationOptions(start="header")
