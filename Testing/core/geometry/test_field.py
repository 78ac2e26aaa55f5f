"""Displacement fields move points as ITK's do."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField, compose, precede
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform


def itk_transform(field: DisplacementField) -> sitk.DisplacementFieldTransform:
    """Made here from plain arrays, so that our own converter is not part of the oracle."""
    vectors = np.ascontiguousarray(np.moveaxis(field.vectors.double().numpy(), 0, -1))
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing(field.grid.spacing)
    image.SetOrigin(field.grid.origin)
    image.SetDirection(field.grid.direction)
    return sitk.DisplacementFieldTransform(image)


def points_in(grid: Grid, margin: float = 0.0, n: int = 40) -> np.ndarray:
    last = np.subtract(grid.size, 1)
    share = np.random.default_rng(2).random((n, grid.dimension))
    return grid.points_at(margin + share * (last - 2 * margin))


def an_affine(d: int) -> LinearTransform:
    matrix = np.eye(d) + 0.1 * np.random.default_rng(3).normal(size=(d, d))
    return LinearTransform.from_parts(matrix, np.arange(d) - 0.5)


def test_points_go_where_itk_takes_them(a_grid, smooth_field):
    field, points = smooth_field(a_grid), points_in(a_grid)
    transform = itk_transform(field)
    wanted = [transform.TransformPoint(p.tolist()) for p in points]
    np.testing.assert_allclose(field(points), wanted, atol=1e-6)


def test_the_identity_moves_nothing(a_grid):
    points = points_in(a_grid)
    np.testing.assert_array_equal(DisplacementField.identity(a_grid)(points), points)


def test_beyond_the_grid_the_border_value_holds(a_grid, smooth_field):
    field = smooth_field(a_grid)
    last = np.subtract(a_grid.size, 1)
    beyond, border = a_grid.points_at([last + 30, 0 * last - 7]), a_grid.points_at([last, 0 * last])
    np.testing.assert_allclose(field(beyond) - beyond, field(border) - border, atol=1e-9)


def test_a_sampled_affine_is_exact_between_the_samples(a_grid):
    linear, points = an_affine(a_grid.dimension), points_in(a_grid)
    field = DisplacementField.from_linear(linear, a_grid)
    np.testing.assert_allclose(field(points), linear(points), atol=2e-5)


def test_composing_moves_points_by_the_first_field_and_then_by_the_second(a_grid, smooth_field):
    first = smooth_field(a_grid, 1.0, seed=1)
    then = smooth_field(a_grid.pad(6).resize([9] * a_grid.dimension), 3.0, seed=2)
    samples = a_grid.points_at(np.argwhere(np.ones(a_grid.size)).astype(float))
    chain = sitk.CompositeTransform([itk_transform(then), itk_transform(first)])
    wanted = [chain.TransformPoint(p.tolist()) for p in samples]
    np.testing.assert_allclose(compose(first, then)(samples), wanted, atol=1e-4)


def test_a_linear_transform_acts_after_or_before_a_field(a_grid, smooth_field):
    linear, field = an_affine(a_grid.dimension), smooth_field(a_grid.pad(8))
    samples = a_grid.points_at(np.argwhere(np.ones(a_grid.size)).astype(float))
    inner = field.resample(a_grid)
    np.testing.assert_allclose(compose(inner, linear)(samples), linear(inner(samples)), atol=1e-4)
    before = precede(linear, field, a_grid)
    np.testing.assert_allclose(before(samples), field(linear(samples)), atol=1e-4)


def test_a_field_on_a_finer_nested_grid_moves_points_the_same(a_grid, smooth_field):
    field = smooth_field(a_grid)
    finer = Grid(
        [2 * n - 1 for n in a_grid.size],
        np.divide(a_grid.spacing, 2),
        a_grid.origin,
        a_grid.direction,
    )
    points = points_in(a_grid)
    np.testing.assert_allclose(field.resample(finer)(points), field(points), atol=1e-5)


def test_landing_indices_are_those_of_the_moved_points(a_grid, smooth_field):
    field = smooth_field(a_grid)
    target = a_grid.pad(3).resize([7] * a_grid.dimension)
    samples = a_grid.points_at(np.argwhere(np.ones(a_grid.shape))[:, ::-1].astype(float))
    wanted = target.indices_at(field(samples))
    found = field.coordinates_in(target, a_grid).reshape(-1, a_grid.dimension)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_algebra_leaves_its_inputs_unchanged(a_grid, smooth_field):
    first, then = smooth_field(a_grid), smooth_field(a_grid, seed=5)
    before = first.vectors.clone(), then.vectors.clone()
    compose(first, then)
    compose(first, an_affine(a_grid.dimension))
    first.resample(a_grid.pad(1))
    assert torch.equal(first.vectors, before[0])
    assert torch.equal(then.vectors, before[1])


@pytest.mark.parametrize("shape", [(2, 12, 12, 12), (3, 12, 12, 11), (3, 12, 12)])
def test_vectors_that_do_not_fit_the_grid_are_refused(shape):
    grid = Grid((12, 12, 12), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(InvalidTransform, match="one floating-point vector"):
        DisplacementField(torch.zeros(shape), grid)


def test_whole_numbers_are_no_displacements():
    grid = Grid((4, 4), (1, 1), (0, 0), (1, 0, 0, 1))
    with pytest.raises(InvalidTransform, match="int64"):
        DisplacementField(torch.zeros(2, 4, 4, dtype=torch.int64), grid)
