"""Values between samples, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.sampling import (
    at_grid,
    between,
    change_index,
    index_grid,
    sample,
    sample_points,
    slabs,
)
from scipy import ndimage

EYE = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def by_scipy(values: torch.Tensor, index: np.ndarray) -> np.ndarray:
    """Linear, border repeated; index x y z (..., d)."""
    at = np.moveaxis(index[..., ::-1], -1, 0)
    read = [ndimage.map_coordinates(v, at, order=1, mode="nearest") for v in values.numpy()]
    return np.stack(read)


@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 7), (1, 6, 7), (5, 1), (2, 2, 2)])
@pytest.mark.parametrize("threads", [1, 2])
def test_reading_between_samples_agrees_with_scipy(shape, threads):
    torch.set_num_threads(threads)
    values = torch.rand(2, *shape, dtype=torch.float64)
    index = torch.rand(*[4] * len(shape), len(shape), dtype=torch.float64) * 10 - 2
    found = sample(values, index)
    torch.set_num_threads(1)
    np.testing.assert_allclose(found, by_scipy(values, index.numpy()), atol=1e-9)


@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 7), (1, 6, 7)])
def test_a_few_points_are_read_in_double_precision_from_single_values(shape):
    values = torch.rand(2, *shape)
    index = torch.rand(30, len(shape), dtype=torch.float64) * 10 - 2
    found = sample_points(values, index)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, by_scipy(values.double(), index.numpy()), atol=1e-12)


@pytest.mark.parametrize(
    "direction", [EYE, (-1, 0, 0, 0, 1, 0, 0, 0, -1), (0, 1, 0, 1, 0, 0, 0, 0, -1)]
)
def test_values_of_another_grid_agree_with_scipy(a_grid, direction):
    d = a_grid.dimension
    cosines = np.reshape(direction, (3, 3))
    if d == 2:
        cosines = np.reshape(a_grid.direction, (2, 2)) @ np.diag([1, -1])
    other = Grid([5, 6, 8][:d], np.multiply(a_grid.spacing, 1.7), a_grid.origin, cosines.ravel())
    values = torch.rand(3, *a_grid.shape, dtype=torch.float64)
    index = change_index(index_grid(other.shape, like=values), between(other, a_grid)).numpy()
    wanted = by_scipy(values, index)
    np.testing.assert_allclose(at_grid(values, a_grid, other), wanted, atol=1e-9)
    rows = slice(1, 3)
    np.testing.assert_allclose(at_grid(values, a_grid, other, rows), wanted[:, rows], atol=1e-9)


def test_values_on_their_own_grid_are_not_copied(a_grid):
    values = torch.rand(1, *a_grid.shape)
    assert at_grid(values, a_grid, a_grid).data_ptr() == values.data_ptr()


def test_many_threads_read_the_image_without_a_copy_of_it():
    values = torch.rand(1, 40, 40, 40)
    torch.set_num_threads(2)
    with torch.profiler.profile(profile_memory=True) as profile:
        sample(values, torch.rand(2, 2, 2, 3))
    torch.set_num_threads(1)
    taken = max(event.self_cpu_memory_usage for event in profile.key_averages())
    assert taken < values.nbytes / 10


def test_zeros_beyond_the_border_fade_over_one_voxel():
    values = torch.ones(1, 4, 4)
    index = torch.tensor([[[-0.25, 1.0], [3.5, 1.0], [1.0, -1.0], [1.0, 1.0]]])
    assert sample(values, index, outside="zeros").flatten().tolist() == pytest.approx(
        [0.75, 0.5, 0, 1]
    )


@pytest.mark.parametrize("samples", [1, 7, 24, 1000])
def test_slabs_cover_each_row_once(samples):
    rows = [i for part in slabs((9, 3, 4), samples) for i in range(9)[part]]
    assert rows == list(range(9))
