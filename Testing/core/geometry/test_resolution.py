"""Coarser fields say what they cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.resolution import coarsened, coarsest_within, largest_difference_mm


def wave(n: int = 65, amplitude_mm: float = 2.0) -> DisplacementField:
    """One period of a sine in x, in 2D."""
    grid = Grid((n, 9), (1, 1), (0, 0), (1, 0, 0, 1))
    vectors = torch.zeros(2, 9, n)
    vectors[1] = amplitude_mm * torch.sin(torch.linspace(0, 2 * np.pi, n))
    return DisplacementField(vectors, grid)


def test_the_stated_error_is_that_of_linear_interpolation():
    coarse, error = coarsened(wave(), 8)
    step = 8 * 2 * np.pi / 64
    assert coarse.grid.size[0] == 9
    middle = np.sin(3 * np.pi / 8)  # of the chords next to the peaks
    assert error == pytest.approx(2.0 * middle * (1 - np.cos(step / 2)), rel=1e-3)


def test_the_stated_error_bounds_every_point_between_the_samples():
    field = wave()
    coarse, error = coarsened(field, 5)
    points = np.random.default_rng(0).random((500, 2)) * [64, 8]
    gap = np.linalg.norm(field(points) - coarse(points), axis=1).max()
    assert 0.3 * error < gap <= error + 1e-5


def test_an_affine_loses_nothing_on_a_coarser_grid(a_grid):
    d = a_grid.dimension
    matrix = np.eye(d) + 0.1 * np.arange(d * d).reshape(d, d)
    linear = LinearTransform.from_parts(matrix, np.ones(d))
    _, error = coarsened(DisplacementField.from_linear(linear, a_grid), 3)
    assert error < 1e-4


def test_the_coarsest_field_within_a_tolerance_is_the_last_that_keeps_it():
    field = wave()
    coarse, error = coarsest_within(field, 0.1)
    assert 0 < error <= 0.1
    _, next_error = coarsened(field, 2 * (field.grid.size[0] - 1) / (coarse.grid.size[0] - 1))
    assert next_error > 0.1


def test_a_field_that_bears_no_halving_stays_as_it_is():
    field = DisplacementField(torch.rand(2, 9, 9), Grid((9, 9), (1, 1), (0, 0), (1, 0, 0, 1)))
    assert coarsest_within(field, 1e-3) == (field, 0.0)


def test_the_difference_of_a_field_and_its_shifted_copy_is_the_shift(a_grid, smooth_field):
    field = smooth_field(a_grid)
    moved = field.vectors.clone()
    moved[0] += 3
    assert largest_difference_mm(field, DisplacementField(moved, a_grid)) == pytest.approx(3)
    assert largest_difference_mm(field, field) == 0


def test_a_factor_below_one_and_a_tolerance_of_zero_are_refused():
    with pytest.raises(InvalidOption, match=">= 1"):
        coarsened(wave(), 0.5)
    with pytest.raises(InvalidOption, match="> 0 mm"):
        coarsest_within(wave(), 0.0)
