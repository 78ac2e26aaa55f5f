"""Fields for readers that take them as cubic; Testing/slicer compares with what VTK reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidTransform
from neuralreg.geometry import slicer_interpolation
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.finer_grid import halve_steps, sample_cubic
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.slicer_interpolation import (
    TOLERANCE_MM,
    crop_for_cubic_readers,
    halvings,
    interpolation_difference,
    resample_for_cubic_readers,
    resample_for_linear_readers,
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


def test_a_parabola_is_itself_to_a_cubic_reader(a_grid):
    """Keys' kernel reproduces second powers, in the outer cells too."""
    shape, d = a_grid.shape, a_grid.dimension
    times = (2, 1, 3)[:d]

    def parabola(index):
        return np.stack([(index * (index - 3)).sum(-1)] * d, -1).astype(np.float32)

    vectors = parabola(np.stack(np.indices(shape), -1).astype(float))
    finer = halve_steps(a_grid, times)
    sampled = np.full((*finer.shape, d), np.nan, np.float32)
    list(sample_cubic(vectors, times, sampled))
    at = np.stack(np.indices(finer.shape), -1) / 2.0 ** np.array(times[::-1])
    assert np.abs(sampled - parabola(at)).max() < 1e-3 * np.abs(vectors).max()


def test_linear_readers_see_on_the_finer_grid_what_a_cubic_one_sees():
    field = noise(0.5)
    finer = resample_for_linear_readers(field, CUBE, 0.1)
    assert interpolation_difference(finer, CUBE) <= 0.1 < interpolation_difference(field, CUBE)
    parts = (finer.grid.size[0] - 1) // (CUBE.size[0] - 1)
    samples = finer.vectors[:, ::parts, ::parts, ::parts]
    assert torch.equal(samples, field.vectors)


def test_a_cubic_reader_sees_the_same_in_the_image_without_the_margin(a_grid, smooth_field):
    field = smooth_field(a_grid.pad(5), 5.0)
    cropped = crop_for_cubic_readers(field, a_grid)
    assert cropped.grid.is_close(a_grid.pad(1))
    times = [1] * a_grid.dimension
    whole, part = (_sample_finely(each, times) for each in (field, cropped))
    index = np.stack(np.meshgrid(*map(np.arange, a_grid.shape), indexing="ij")[::-1], -1)
    points = a_grid.points_at(index.reshape(-1, a_grid.dimension))
    points = np.concatenate([points, (points[1:] + points[:-1]) / 2])
    assert np.abs(whole(points) - part(points)).max() < 1e-5


def _sample_finely(field, times):
    grid = halve_steps(field.grid, times)
    vectors = np.empty((*grid.shape, grid.dimension), np.float32)
    list(sample_cubic(field.vectors.movedim(0, -1).float().numpy(), times, vectors))
    return DisplacementField(torch.from_numpy(vectors).movedim(-1, 0).contiguous(), grid)


def test_a_field_too_rough_for_linear_readers_is_named(caplog, monkeypatch):
    monkeypatch.setattr(slicer_interpolation, "_MOST_SAMPLES_IN_MEMORY", 60_000)
    finer = resample_for_linear_readers(noise(), CUBE)
    assert finer.grid.count <= 60_000
    assert "linear readers" in caplog.text


def test_a_single_slice_has_nothing_between():
    grid = Grid((5, 4, 1), (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert halve_steps(grid, (1, 0, 2)).size == (9, 4, 1)
    made = np.full((1, 4, 9, 3), np.nan, np.float32)
    slice_ = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype(np.float32)
    assert list(sample_cubic(slice_, (1, 0, 2), made)) == [None]
    assert np.array_equal(made[:, :, ::2], slice_)
    middle = (
        9 * (slice_[:, :, 1:3] + slice_[:, :, 2:4]) - slice_[:, :, :2] - slice_[:, :, 3:]
    ) / 16
    assert np.allclose(made[:, :, 3:6:2], middle, atol=1e-6)


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
