"""Fields for readers that take them as cubic; Testing/slicer compares with what VTK reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidTransform
from neuralreg.geometry import finer_grid, slicer_interpolation
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.finer_grid import halve_steps, halve_vectors
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.slicer_interpolation import (
    TOLERANCE_MM,
    halvings,
    interpolation_difference,
    resample_for_cubic_readers,
)

CUBE = Grid((20,) * 3, (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))


def noise(size_mm: float = 5.0) -> DisplacementField:
    vectors = torch.randn(3, *CUBE.shape, generator=torch.Generator().manual_seed(0))
    return DisplacementField(size_mm * vectors, CUBE)


def test_a_fine_field_stays_as_it_is(a_grid, smooth_field):
    field = smooth_field(a_grid, 0.05)
    found = resample_for_cubic_readers(field, a_grid)
    assert found.grid == field.grid
    assert torch.equal(found.vectors, field.vectors)


def test_a_coarse_field_becomes_fine_and_keeps_its_samples(a_grid, smooth_field):
    field = smooth_field(a_grid, 4.0)
    fine = resample_for_cubic_readers(field, a_grid, 0.05)
    assert fine.grid.count > field.grid.count
    assert interpolation_difference(fine, a_grid) <= 0.05
    index = np.stack(np.meshgrid(*map(np.arange, a_grid.shape), indexing="ij")[::-1], -1)
    points = a_grid.points_at(index.reshape(-1, a_grid.dimension))
    assert np.abs(fine(points) - field(points)).max() < 1e-3


def test_a_field_with_holes_is_refused():
    field = noise()
    field.vectors[0, 3, 4, 5] = torch.nan
    with pytest.raises(InvalidTransform, match="finite"):
        resample_for_cubic_readers(field, CUBE)


def test_what_is_too_rough_to_refine_is_smoothed_or_named(caplog, monkeypatch):
    monkeypatch.setattr(slicer_interpolation, "_MOST_SAMPLES", 20_000)
    found = resample_for_cubic_readers(noise(), CUBE)
    assert found.grid.count <= 20_000
    assert interpolation_difference(found, CUBE) <= TOLERANCE_MM or "cubic readers" in caplog.text


@pytest.mark.parametrize("times", [(0, 0, 0), (1, 0, 2), (0, 3, 1), (2, 1, 0)])
def test_samples_made_in_between_are_those_of_the_linear_field(
    a_grid, smooth_field, times, monkeypatch
):
    monkeypatch.setattr(finer_grid, "_SLAB_BYTES", 600)  # so that seams between steps are seen
    field, times = smooth_field(a_grid, 4.0), times[: a_grid.dimension]
    grid = halve_steps(field.grid, times)
    made = np.full((*grid.shape, grid.dimension), np.nan, np.float32)
    steps = list(halve_vectors(field.vectors.movedim(0, -1).float().numpy(), times, made))
    assert len(steps) > 1
    expected = field.resample(grid).vectors.movedim(0, -1).numpy()
    assert np.abs(made - expected).max() < 1e-4


def test_a_single_slice_has_nothing_between():
    grid = Grid((5, 4, 1), (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert halve_steps(grid, (1, 0, 2)).size == (9, 4, 1)
    made = np.full((1, 4, 9, 3), np.nan, np.float32)
    slice_ = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype(np.float32)
    assert list(halve_vectors(slice_, (1, 0, 2), made)) == [None]
    assert np.array_equal(made[:, :, ::2], slice_)
    assert np.allclose(made[:, :, 1::2], (slice_[:, :, 1:] + slice_[:, :, :-1]) / 2)


def test_halving_stops_with_the_first_grid_that_is_fine_enough():
    field = noise(0.3)
    times = halvings(field, CUBE)
    assert min(times) > 0
    coarser = field.resample(halve_steps(CUBE, [n - 1 for n in times]))
    assert (
        interpolation_difference(resample_for_cubic_readers(field, CUBE), CUBE)
        <= TOLERANCE_MM
        < interpolation_difference(coarser)
    )
