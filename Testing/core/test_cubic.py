"""Fields for readers that take them as cubic; Testing/slicer compares with what VTK reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidTransform
from neuralreg.geometry import cubic
from neuralreg.geometry.cubic import TOLERANCE_MM, readable, reading_gap
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid

CUBE = Grid((20,) * 3, (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))


def noise(size_mm: float = 5.0) -> DisplacementField:
    vectors = torch.randn(3, *CUBE.shape, generator=torch.Generator().manual_seed(0))
    return DisplacementField(size_mm * vectors, CUBE)


def test_a_fine_field_stays_as_it_is(a_grid, smooth_field):
    field = smooth_field(a_grid, 0.05)
    found = readable(field, a_grid)
    assert found.grid == field.grid
    assert torch.equal(found.vectors, field.vectors)


def test_a_coarse_field_becomes_fine_and_keeps_its_samples(a_grid, smooth_field):
    field = smooth_field(a_grid, 4.0)
    fine = readable(field, a_grid, 0.05)
    assert fine.grid.count > field.grid.count
    assert reading_gap(fine, a_grid)[0] <= 0.05
    index = np.stack(np.meshgrid(*map(np.arange, a_grid.shape), indexing="ij")[::-1], -1)
    points = a_grid.points_at(index.reshape(-1, a_grid.dimension))
    assert np.abs(fine(points) - field(points)).max() < 1e-3


def test_a_field_with_holes_is_refused():
    field = noise()
    field.vectors[0, 3, 4, 5] = torch.nan
    with pytest.raises(InvalidTransform, match="finite"):
        readable(field, CUBE)


def test_what_is_too_rough_to_refine_is_smoothed_or_named(caplog, monkeypatch):
    monkeypatch.setattr(cubic, "_MOST_SAMPLES", 20_000)
    found = readable(noise(), CUBE)
    assert found.grid.count <= 20_000
    assert reading_gap(found, CUBE)[0] <= TOLERANCE_MM or "cubic readers" in caplog.text
