"""Structures that a network labels in both brains drive a registration, and are no proof of it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from neuralreg.errors import InvalidImage, InvalidOption, WeightsUnavailable
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.registration.engine import register
from neuralreg.registration.options import FieldRefinement
from neuralreg.review.findings.label_check import drives_by_network, label_finding
from neuralreg.review.report_model import Agreement, SegmentOverlap

from Testing.support.band_network import phantom, write_band_network
from Testing.support.phantom import SQUARE, seen

GRID = Grid((48, 60, 48), (2.75, 2.75, 2.75), (-65, -75, -70), tuple(np.eye(3).ravel()))
AUTO = {"model": "convex", "label_source": "auto", "label_weight": 1.0, "linear": "none"}


@pytest.fixture(scope="module")
def heads() -> tuple[Image, Image]:
    """One head, and the same 6 mm to the left."""
    shift = np.eye(4)
    shift[0, 3] = -6.0
    return phantom(GRID)[0], phantom(GRID, shift)[0]


def test_structures_of_both_brains_drive_with_their_sides_apart(heads, tmp_path, monkeypatch):
    write_band_network(tmp_path / "own")
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    result = register(*heads, **AUTO, refinement=FieldRefinement(similarity="mind", steps=0))
    labels = set(result.provenance["labels"])
    assert {102, 202, 11} <= labels  # left, right, and of the middle
    assert any("no proof" in warning for warning in result.warnings)
    assert "labels" in result.timings
    points = np.array(
        [(x, y, z) for x in (-20, 20) for y in (-30, 0, 30) for z in (-20, 10)], float
    )
    moved = result.field(points) - points
    np.testing.assert_allclose(moved, [(6.0, 0, 0)] * len(points), atol=2.0)


def test_without_weights_one_error_names_the_way_to_them(heads, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path / "none"))
    with pytest.raises(WeightsUnavailable, match="models get subcortical18"):
        register(*heads, **AUTO)


def test_label_maps_beside_a_network_and_other_images_are_refused(heads):
    one = seen(SQUARE)
    maps = Image((one.data > 40).byte(), SQUARE)
    with pytest.raises(InvalidOption, match="given or made by a network"):
        register(one, one, **AUTO, labels=(maps, maps))
    with pytest.raises(InvalidImage, match=r"fixed image.*3D only|3D only.*fixed image"):
        register(one, one, **AUTO)


def test_a_check_by_the_same_labels_says_that_it_proves_nothing():
    record = {"options": {"label_source": "auto", "label_weight": 1.0}}
    assert drives_by_network(record)
    assert not drives_by_network({"options": {"label_weight": 1.0}})
    assert not drives_by_network(None)
    agreements = [Agreement(dice, *[None] * (len(fields(Agreement)) - 1)) for dice in (0.6, 0.9)]
    overlap = SegmentOverlap(1, "Thalamus", "measured", *agreements)
    assert "no proof" in label_finding([overlap], drove=True).words
    assert "no proof" not in label_finding([overlap]).words
