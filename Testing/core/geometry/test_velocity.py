"""Exponentials of velocity fields, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.velocity import exponentiate
from neuralreg.measures.jacobian import jacobian_determinant
from scipy.linalg import expm


def samples_of(grid: Grid) -> np.ndarray:
    return grid.points_at(np.argwhere(np.ones(grid.shape))[:, ::-1].astype(float))


def test_a_linear_velocity_flows_by_the_matrix_exponential(a_grid):
    d = a_grid.dimension
    rate = 0.1 * np.random.default_rng(7).normal(size=(d, d))
    wide = a_grid.pad(6)
    samples = samples_of(wide) - a_grid.center
    vectors = torch.from_numpy((samples @ rate.T).T.reshape(d, *wide.shape)).float()
    found = exponentiate(DisplacementField(vectors, wide))
    middle = 0.4 * (samples_of(a_grid) - a_grid.center)
    wanted = middle @ expm(rate).T + a_grid.center
    np.testing.assert_allclose(found(middle + a_grid.center), wanted, atol=0.02)


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_a_constant_velocity_is_a_shift_in_mm_at_any_spacing(spacing):
    grid = Grid((8, 8, 8), (spacing,) * 3, (0, 0, 0), np.eye(3).ravel())
    mm = torch.tensor([3.0, -1, 2]).view(3, 1, 1, 1).repeat(1, 8, 8, 8)
    torch.testing.assert_close(exponentiate(DisplacementField(mm, grid)).vectors, mm)


def test_the_negated_velocity_gives_the_inverse(a_grid, smooth_field):
    velocity = smooth_field(a_grid, 0.5 * min(a_grid.spacing))
    back = DisplacementField(-velocity.vectors, a_grid)
    way = compose(exponentiate(velocity), exponentiate(back)).vectors.norm(dim=0)
    inside = tuple(slice(1, -1) for _ in a_grid.size)
    assert way[inside].max() < 0.05 * min(a_grid.spacing)


def test_a_velocity_that_would_fold_as_a_displacement_does_not_fold(smooth_field):
    grid = Grid((24, 24, 24), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    velocity = smooth_field(grid, 9.0)
    assert jacobian_determinant(velocity).min() < 0
    assert jacobian_determinant(exponentiate(velocity)).min() > 0


def test_gradients_reach_the_velocity():
    grid = Grid((5, 5), (1, 1), (0, 0), (1, 0, 0, 1))
    velocity = (0.1 * torch.rand(2, 5, 5, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: exponentiate(DisplacementField(v, grid), steps=2).vectors, velocity
    )


def test_a_negative_number_of_squarings_is_refused():
    grid = Grid((5, 5), (1, 1), (0, 0), (1, 0, 0, 1))
    with pytest.raises(InvalidOption, match="-1"):
        exponentiate(DisplacementField.identity(grid), steps=-1)
