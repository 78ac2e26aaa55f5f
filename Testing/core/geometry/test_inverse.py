"""The inverse of a field takes points back."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry import inverse as inverse_module
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.inverse import inverse_error, invert
from neuralreg.geometry.linear import LinearTransform

CUBE = Grid((24, 24, 24), (2, 2, 2), (0, 0, 0), np.eye(3).ravel())


def by_itk(field: DisplacementField, points: np.ndarray) -> np.ndarray:
    vectors = np.ascontiguousarray(np.moveaxis(field.vectors.double().numpy(), 0, -1))
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing(field.grid.spacing)
    image.SetOrigin(field.grid.origin)
    image.SetDirection(field.grid.direction)
    transform = sitk.DisplacementFieldTransform(image)
    return np.array([transform.TransformPoint(p.tolist()) for p in points])


def samples_of(grid: Grid) -> np.ndarray:
    return grid.points_at(np.argwhere(np.ones(grid.shape))[:, ::-1].astype(float))


@pytest.mark.parametrize("tolerance_mm", [0.1, 0.005])
def test_points_come_back_within_the_tolerance_as_itk_moves_them(
    a_grid, smooth_field, tolerance_mm
):
    field = smooth_field(a_grid, 0.6 * min(a_grid.spacing))
    samples = samples_of(a_grid)
    back = invert(field, tolerance_mm=tolerance_mm)(samples)
    inside = a_grid.covers(back)  # beyond the field ITK takes zero, we the border value
    assert inside.mean() > 0.3
    error = np.linalg.norm(by_itk(field, back[inside]) - samples[inside], axis=1)
    assert error.max() <= tolerance_mm + 1e-4


def test_both_orders_of_a_field_and_its_inverse_move_nothing(smooth_field):
    field = smooth_field(CUBE, 3.0)
    inverse = invert(field, tolerance_mm=0.01)
    assert compose(inverse, field).vectors.norm(dim=0).max() <= 0.0101
    inside = (slice(None), *[slice(4, -4)] * 3)
    # Here the inverse is read between its samples, where only the grid limits it.
    assert compose(field, inverse).vectors[inside].norm(dim=0).max() < 0.4


def test_an_affine_with_a_large_rotation_is_inverted_exactly(a_grid):
    d = a_grid.dimension
    turn = np.eye(d)
    turn[:2, :2] = [[0.1, -1.1], [1.1, 0.1]]  # 85 degrees, and larger
    linear = LinearTransform.from_parts(turn, np.arange(d) + 1.0, center=a_grid.center)
    inverse = invert(DisplacementField.from_linear(linear, a_grid.pad(8)), grid=a_grid)
    samples = samples_of(a_grid)
    field_covers = a_grid.pad(8).covers(linear.inverse()(samples))
    wanted = linear.inverse()(samples)
    error = np.linalg.norm(inverse(samples) - wanted, axis=1)
    assert error[field_covers].max() < 1e-3


def test_a_field_that_stretches_more_than_twofold_is_inverted():
    """A plain fixed point runs away there."""
    grid = Grid((60, 5), (1, 1), (0, 0), (1, 0, 0, 1))
    x = np.arange(60.0)
    u = 8 * np.tanh((x - 30) / 3)  # stretches by 3.7 in the middle
    vectors = torch.zeros(2, 5, 60)
    vectors[0] = torch.from_numpy(u)
    field = DisplacementField(vectors, grid)
    assert inverse_error(field, invert(field, tolerance_mm=0.01)).max() <= 0.0101
    wanted = np.interp(x, x + u, x)
    found = invert(field, tolerance_mm=1e-3).vectors[0, 2].numpy() + x
    inside = (x > (x + u)[0]) & (x < (x + u)[-1])
    np.testing.assert_allclose(found[inside], wanted[inside], atol=2e-3)


def test_the_inverse_can_lie_on_another_grid(smooth_field):
    field = smooth_field(CUBE, 3.0)
    moving = Grid((15, 14, 13), (2.5, 2.5, 2.5), (5, 6, 7), (0, -1, 0, 1, 0, 0, 0, 0, 1))
    inverse = invert(field, grid=moving, tolerance_mm=0.02)
    assert inverse.grid == moving
    samples = samples_of(moving)
    assert np.linalg.norm(field(inverse(samples)) - samples, axis=1).max() <= 0.0201


def test_the_error_map_is_what_itk_finds(smooth_field):
    field = smooth_field(CUBE, 4.0)
    wrong = DisplacementField(-field.vectors, CUBE)  # a first guess, not an inverse
    samples = samples_of(CUBE)
    back = wrong(samples)
    inside = CUBE.covers(back)
    wanted = np.linalg.norm(by_itk(field, back) - samples, axis=1)
    found = inverse_error(field, wrong).flatten().numpy()
    np.testing.assert_allclose(found[inside], wanted[inside], atol=1e-4)
    assert wanted[inside].max() > 0.1


def test_where_a_field_folds_the_error_map_and_the_log_tell(caplog):
    grid = Grid((40, 6), (1, 1), (0, 0), (1, 0, 0, 1))
    vectors = torch.zeros(2, 6, 40)
    vectors[0, :, 20] = 30.0  # a spike that goes beyond its neighbors and comes back
    vectors[1, :, 15:25] = torch.linspace(-20, 20, 10)
    field = DisplacementField(vectors, grid)
    with caplog.at_level(logging.WARNING):
        inverse = invert(field, tolerance_mm=0.01)
    missed = int((inverse_error(field, inverse) > 0.0101).sum())
    assert (missed > 0) == bool(caplog.records)
    if missed:
        assert f"{missed} of 240" in caplog.text


def test_slabs_do_not_change_the_inverse(smooth_field, monkeypatch):
    field = smooth_field(CUBE, 4.0)
    whole = invert(field, tolerance_mm=1e-3)
    monkeypatch.setattr(inverse_module, "_SLAB", 1500)
    parts = invert(field, tolerance_mm=1e-3)
    torch.testing.assert_close(parts.vectors, whole.vectors, atol=2e-3, rtol=0)


def test_each_device_gives_the_same_inverse(a_device, smooth_field):
    field = smooth_field(CUBE, 4.0)
    found = invert(field.to(a_device), tolerance_mm=1e-3).vectors.cpu()
    torch.testing.assert_close(found, invert(field, tolerance_mm=1e-3).vectors, atol=5e-3, rtol=0)


def test_a_field_on_a_single_slice_is_inverted_in_the_slice():
    grid = Grid((14, 14, 1), (1, 1, 5), (0, 0, 0), np.eye(3).ravel())
    vectors = torch.zeros(3, 1, 14, 14)
    vectors[0] = torch.linspace(-1, 1, 14)
    field = DisplacementField(vectors, grid)
    inverse = invert(field, tolerance_mm=1e-3)
    assert inverse_error(field, inverse).max() <= 0.0011
    assert inverse.vectors[1:].abs().max() < 1e-5


def test_the_field_stays_as_it_was(smooth_field):
    field = smooth_field(CUBE)
    before = field.vectors.clone()
    invert(field)
    assert torch.equal(field.vectors, before)


@pytest.mark.parametrize("options", [{"tolerance_mm": 0.0}, {"max_iterations": 0}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(InvalidOption, match="positive tolerance"):
        invert(DisplacementField.identity(CUBE), **options)


def test_a_field_that_brings_everything_to_one_point_is_refused():
    collapse = -torch.from_numpy(samples_of(CUBE).T.reshape(3, *CUBE.shape)).float()
    with pytest.raises(InvalidTransform, match="collapses"):
        invert(DisplacementField(collapse, CUBE))
