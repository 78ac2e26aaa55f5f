"""Grids say where samples lie, as ITK does."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid

EYE = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def itk_image(grid: Grid) -> sitk.Image:
    image = sitk.Image(list(grid.size), sitk.sitkUInt8)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def test_samples_lie_where_itk_puts_them(a_grid):
    index = np.random.default_rng(0).uniform(-3, 20, (20, a_grid.dimension))
    image = itk_image(a_grid)
    wanted = [image.TransformContinuousIndexToPhysicalPoint(i.tolist()) for i in index]
    np.testing.assert_allclose(a_grid.points_at(index), wanted, atol=1e-9)
    np.testing.assert_allclose(a_grid.indices_at(wanted), index, atol=1e-9)


def test_a_grid_survives_the_way_through_itk(a_grid):
    assert Grid.of(itk_image(a_grid)) == a_grid


def test_the_array_shape_is_the_size_backwards(a_grid):
    assert a_grid.shape == sitk.GetArrayViewFromImage(itk_image(a_grid)).shape


def test_another_number_of_samples_keeps_the_field_of_view(a_grid):
    resized = a_grid.resize([n // 2 + 1 for n in a_grid.size])
    np.testing.assert_allclose(resized.corners(), a_grid.corners(), atol=1e-9)
    np.testing.assert_allclose(resized.center, a_grid.center, atol=1e-9)


def test_a_spacing_is_met_as_near_as_whole_samples_allow(a_grid):
    wanted = np.multiply(a_grid.spacing, 2)
    found = a_grid.with_spacing(wanted)
    np.testing.assert_allclose(found.spacing, wanted, rtol=0.2)
    np.testing.assert_allclose(found.corners(), a_grid.corners(), atol=1e-9)


def test_a_margin_leaves_the_samples_where_they_are(a_grid):
    padded = a_grid.pad(2)
    index = np.ones(a_grid.dimension)
    np.testing.assert_allclose(padded.points_at(index + 2), a_grid.points_at(index), atol=1e-9)
    assert padded.size == tuple(n + 4 for n in a_grid.size)


def test_points_beyond_the_outer_samples_are_not_covered(a_grid):
    last = np.subtract(a_grid.size, 1)
    assert a_grid.covers(a_grid.points_at([0 * last, last, last / 2])).all()
    assert not a_grid.covers(a_grid.points_at([0 * last - 0.1, last + 0.1])).any()


def test_a_grid_moved_by_a_thousandth_of_a_voxel_is_another_grid(a_grid):
    near = Grid(a_grid.size, a_grid.spacing, np.add(a_grid.origin, 1e-6), a_grid.direction)
    far = Grid(a_grid.size, a_grid.spacing, np.add(a_grid.origin, 6e-3), a_grid.direction)
    assert a_grid.is_close(near)
    assert not a_grid.is_close(far)


@pytest.mark.parametrize(
    "numbers",
    [
        ((4,), (1,), (0,), (1,)),
        ((4, 4, 0), (1, 1, 1), (0, 0, 0), EYE),
        ((4, 4, 4), (1, 0, 1), (0, 0, 0), EYE),
        ((4, 4, 4), (1, 1, float("nan")), (0, 0, 0), EYE),
        ((4, 4, 4), (1, 1, 1), (0, float("inf"), 0), EYE),
        ((4, 4, 4), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0.2, 1)),
        ((4, 4, 4), (1, 1), (0, 0, 0), EYE),
    ],
    ids=["1D", "no samples", "no spacing", "NaN spacing", "no origin", "sheared", "too few"],
)
def test_numbers_that_describe_no_grid_are_refused(numbers):
    with pytest.raises(InvalidImage, match="got"):
        Grid(*numbers)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.1, 9), min_size=3, max_size=3),
    st.lists(st.floats(-300, 300), min_size=3, max_size=3),
    st.lists(st.floats(-20, 20), min_size=3, max_size=3),
)
def test_an_index_comes_back_from_the_world(spacing, origin, index):
    grid = Grid((5, 6, 7), spacing, origin, (0, 0, 1, -1, 0, 0, 0, 1, 0))
    np.testing.assert_allclose(grid.indices_at(grid.points_at(index)), index, atol=1e-8)
