"""Parts that move as one piece: no distance in them changes, nothing folds, the rest follows."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.itk import to_itk
from neuralreg.registration.engine import register
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.rigid_parts.parts import RigidParts
from neuralreg.registration.rigid_parts.rigid_motion import make_rigid
from neuralreg.registration.unfold import unfold_displacement
from scipy.spatial.distance import pdist

from Testing.support.phantom import CUBE, SQUARE, seen

TWO = ((-14.0, -8.0, 2.0), (12.0, 8.0, -4.0))
QUICK = {"model": "convex", "linear": "none", "refinement": FieldRefinement(steps=8)}


def balls(grid: Grid, centers, radius: float = 7.0) -> Image:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), -1)
    points = grid.points_at(index.astype(float))
    labels = np.zeros(points.shape[:-1], np.int16)
    for n, center in enumerate(centers, start=1):
        labels[np.linalg.norm(points - center[: grid.dimension], axis=-1) < radius] = n
    return Image(torch.from_numpy(labels.T.copy())[None], grid)


def points_in(labels: Image, value: int):
    return labels.grid.points_at(torch.nonzero(labels.data[0] == value).flip(1).double().numpy())


def waves(grid: Grid, height: float = 3.0) -> DisplacementField:
    """Scaled by 1.05, turned, and bent."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), -1)
    points = grid.points_at(index.astype(float))
    turn = 0.05 * np.stack([points[..., 1], -points[..., 0], 0 * points[..., 0]], -1)
    turn = turn[..., : grid.dimension]
    vectors = 0.05 * points + turn + height * np.sin(points[..., ::-1] / 8)
    return DisplacementField(torch.from_numpy(vectors.T.copy()).float(), grid)


def determinants(field: DisplacementField):
    """By SimpleITK, whose code is another one."""
    image = to_itk(field).Downcast().GetDisplacementField()
    return sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))


def distances_change(transform, points) -> float:
    few = points[:: max(1, len(points) // 150)]
    return float(np.abs(pdist(transform(few)) - pdist(few)).max())


def test_distances_in_parts_stay_and_nothing_folds():
    grid = CUBE.with_spacing((2.3, 2.1, 2.4)).pad(2)  # other samples than those of the labels
    labels, field = balls(CUBE, TWO), waves(grid)
    parts = RigidParts.of(labels, None)
    rigid, _, moves = make_rigid(field, parts)
    for value, move in zip((1, 2), moves, strict=True):
        points = points_in(labels, value)
        assert distances_change(field, points) > 1
        assert distances_change(rigid, points) < 0.05
        np.testing.assert_allclose(rigid(points), move(points), atol=0.05)
        # no other rigid move is nearer to what it replaces
        gap = field(points) - move(points)
        np.testing.assert_allclose(gap.mean(0), 0, atol=1e-6)
    assert determinants(rigid)[2:-2, 2:-2, 2:-2].min() > 0
    change = np.linalg.norm((rigid.vectors - field.vectors).numpy(), axis=0)
    assert 0 < np.median(change) < 0.2 * change.max()


@pytest.mark.parametrize(("height", "least_mm"), [(5.0, 4.0), (8.0, 6.0)])
def test_a_part_that_was_bent_far_is_rigid_however_its_surroundings_are_squeezed(height, least_mm):
    grid = CUBE.pad(4)
    unfolded, _ = unfold_displacement(waves(grid, height).to_voxels())
    field = DisplacementField.from_voxels(unfolded, grid)
    labels = balls(CUBE, TWO, 9.0)
    parts = RigidParts.of(labels, [1])
    rigid, _, (move,) = make_rigid(field, parts)
    points = points_in(labels, 1)
    assert parts.errors_mm(field, [move])[0] > least_mm
    assert distances_change(rigid, points) < 0.01
    np.testing.assert_allclose(rigid(points), move(points), atol=0.01)
    assert determinants(rigid).min() > 0


def test_the_rest_follows_without_a_jump():
    labels, field = balls(CUBE, TWO), waves(CUBE)
    rigid, _, _ = make_rigid(field, RigidParts.of(labels, [1]))
    change = (rigid.vectors - field.vectors).numpy()
    steps = [np.linalg.norm(np.diff(change, axis=a), axis=0).max() for a in (1, 2, 3)]
    assert max(steps) < 0.6 * np.linalg.norm(change, axis=0).max()


def test_a_registration_keeps_parts_rigid_in_both_directions():
    bent = waves(SQUARE.pad(4), 2.0)
    fixed, moving = seen(SQUARE, lambda p: bent(p.reshape(-1, 2)).reshape(p.shape)), seen(SQUARE)
    labels = balls(SQUARE, TWO)
    free = register(fixed, moving, **QUICK)
    held = register(fixed, moving, **QUICK, rigid=labels, rigid_labels=(2,))
    points = points_in(labels, 2)
    assert distances_change(free.field, points) > 0.3
    assert distances_change(held.field, points) < 0.05
    assert distances_change(held.inverse_field, held.field(points)) < 0.1
    np.testing.assert_allclose(held.inverse_field(held.field(points)), points, atol=0.1)
    assert held.outcome.folding_percent == 0
    record = held.provenance["rigid parts"]
    assert record["labels"] == (2,)
    assert record["after_mm"][0] < 0.05 < record["before_mm"][0]
    far = points_in(labels, 1)
    assert np.abs(held.field(far) - free.field(far)).max() < 0.5


def test_parts_that_touch_do_not_fold_and_are_named():
    touching = balls(SQUARE, ((-7.0, 0.0), (7.0, 0.0)), 7.4)
    bent = waves(SQUARE.pad(4), 2.5)
    fixed, moving = seen(SQUARE, lambda p: bent(p.reshape(-1, 2)).reshape(p.shape)), seen(SQUARE)
    result = register(fixed, moving, **QUICK, rigid=touching)
    assert result.outcome.folding_percent == 0
    doubts = [w for w in result.warnings if "parts that are not rigid to 0.05 mm" in w]
    assert bool(doubts) == (max(result.provenance["rigid parts"]["after_mm"]) > 0.05)


def test_the_extension_of_known_values_keeps_their_range_and_fades_out():
    from neuralreg.registration.rigid_parts.smooth_extension import extend_smoothly

    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[28:36] = True
    values = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1)) * inside
    extension = extend_smoothly(values, inside, 5.0)[0]
    assert torch.equal(extension[inside], values[0][inside])
    assert 0 <= float(extension.min()) <= float(extension.max()) <= 1
    plane = extend_smoothly(inside[None].float(), inside, 5.0)[0, 36:, 32]
    expected = np.exp(-(np.arange(len(plane)) + 1) / 5)  # of a plane
    np.testing.assert_allclose(plane[:15], expected[:15], atol=0.06)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"rigid_labels": (1,)}, InvalidOption, "got no such map"),
        ({"rigid": balls(SQUARE, TWO), "rigid_labels": (1, 7)}, InvalidImage, "no label 7.*1, 2"),
        ({"rigid": balls(SQUARE, ())}, InvalidImage, "a map without labels"),
        ({"rigid": balls(CUBE, TWO)}, InvalidImage, "map of rigid parts has the dimension"),
    ],
)
def test_parts_that_are_not_there_are_named(given, error, message):
    with pytest.raises(error, match=message):
        register(seen(SQUARE), seen(SQUARE), **QUICK, **given)
