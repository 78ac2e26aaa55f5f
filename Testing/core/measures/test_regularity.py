"""Roughness of deformations, against MONAI and closed forms."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from monai.losses import BendingEnergyLoss, DiffusionLoss
from neuralreg.geometry.normalized import displace, identity_map
from neuralreg.measures.regularity import (
    bending,
    diffusion,
    gradient_inverse_consistency,
    inverse_consistency,
    jacobian_penalty,
)

SHAPES = {"3D": (7, 8, 9), "2D": (9, 10)}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def a_displacement(request):
    """Noise, (2, d, z, y, x)."""
    shape = request.param
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, len(shape), *shape, generator=generator, dtype=torch.float64)


def affine(matrix: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...]) -> torch.Tensor:
    """The displacement of x -> matrix x, in mm, (1, d, z, y, x)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")[::-1]).astype(float)
    points = index * np.reshape(spacing, (-1, *[1] * len(shape)))
    moved = np.tensordot(matrix - np.eye(len(shape)), points, axes=1)
    return torch.from_numpy(moved)[None]


def test_diffusion_and_bending_are_monais(a_displacement):
    for ours, theirs in ((diffusion, DiffusionLoss()), (bending, BendingEnergyLoss())):
        assert float(ours(a_displacement)) == pytest.approx(float(theirs(a_displacement)))


def test_a_shift_costs_nothing(a_displacement):
    shift = torch.ones_like(a_displacement)
    for measure in (diffusion, bending, jacobian_penalty):
        assert float(measure(shift)) == 0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0)])
def test_an_affine_costs_its_matrix_in_diffusion_and_nothing_in_bending(spacing):
    matrix = np.eye(3) + 0.2 * np.random.default_rng(2).normal(size=(3, 3))
    u = affine(matrix, (6, 7, 8), spacing)
    wanted = ((matrix - np.eye(3)) ** 2).sum() / 3
    assert float(diffusion(u, spacing=spacing)) == pytest.approx(wanted)
    assert float(bending(u, spacing=spacing)) == pytest.approx(0, abs=1e-20)


def test_bending_of_a_parabola_is_its_curvature():
    x = 2.0 * torch.arange(9, dtype=torch.float64)
    u = torch.zeros(1, 2, 8, 9, dtype=torch.float64)
    u[0, 1] = 0.5 * 0.3 * x**2
    assert float(bending(u, spacing=(2, 1))) == pytest.approx(0.3**2 / 2)


def test_mixed_derivatives_count_twice_in_bending():
    u = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    at = torch.arange(8, dtype=torch.float64)
    u[0, 0] = 0.1 * at[:, None] * at
    assert float(bending(u)) == pytest.approx(2 * 0.1**2 / 2)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0)])
def test_the_penalty_is_the_shortfall_of_the_determinant(spacing):
    matrix = np.array([[0.0, 1.2, 0], [1, 0.1, 0], [0, 0.3, 1]])
    assert np.linalg.det(matrix) == pytest.approx(-1.2)
    u = affine(matrix, (6, 7, 8), spacing)
    assert float(jacobian_penalty(u, spacing=spacing)) == pytest.approx(1.2)
    assert float(jacobian_penalty(u, spacing=spacing, least=0.5)) == pytest.approx(1.7)


def linear(*factors: float, shift: float = 0.0):
    """The transform that scales normalized coordinates, axis by axis, and shifts the first."""

    def transform(points: torch.Tensor) -> torch.Tensor:
        view = (1, -1, *[1] * (points.dim() - 2))
        offset = torch.zeros(len(factors)).to(points)
        offset[0] = shift
        return points * torch.tensor(factors).to(points).view(view) + offset.view(view)

    return transform


POINTS = identity_map((8, 9, 10), torch.zeros((), dtype=torch.float64))


def test_a_map_and_its_exact_inverse_are_consistent():
    forward, backward = linear(0.8, 0.8, 0.5), linear(1.25, 1.25, 2.0)
    for measure in (inverse_consistency, gradient_inverse_consistency):
        assert float(measure(forward, backward, POINTS)) == pytest.approx(0, abs=1e-12)


def test_a_shift_left_over_costs_in_inverse_consistency_only():
    """A quarter of the image is left, in one of three components, in both orders."""
    forward, backward = linear(1, 1, 1, shift=1.0), linear(1, 1, 1, shift=-0.5)
    assert float(inverse_consistency(forward, backward, POINTS)) == pytest.approx(2 * 0.25**2 / 3)
    gradient = gradient_inverse_consistency(forward, backward, POINTS)
    assert float(gradient) == pytest.approx(0, abs=1e-12)


def test_a_stretch_left_over_costs_its_square_in_gradient_inverse_consistency():
    nothing = linear(1, 1, 1)
    found = gradient_inverse_consistency(linear(1.1, 1, 1), nothing, POINTS)
    assert float(found) == pytest.approx(0.01 / 3)


def test_each_pair_of_a_batch_is_composed_by_itself():
    shifts = torch.zeros(2, 2, 6, 6)
    shifts[0, 0], shifts[1, 1] = 0.1, 0.2
    points = identity_map((6, 6))
    forward, backward = (partial(displace, fields=[sign * shifts]) for sign in (1, -1))
    assert float(inverse_consistency(forward, backward, points)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("measure", [diffusion, bending, jacobian_penalty])
def test_gradients_of_roughness_reach_the_field(measure, a_displacement):
    u = (3 * a_displacement[:1, :, :4, :4]).clone().requires_grad_()
    assert torch.autograd.gradcheck(measure, u)


@pytest.mark.parametrize("measure", [inverse_consistency, gradient_inverse_consistency])
def test_gradients_of_consistency_reach_both_fields(measure):
    fields = [torch.rand(1, 2, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    points = 0.3 * identity_map((5, 3), fields[0].detach()) + 0.02

    def of_fields(*pair: torch.Tensor) -> torch.Tensor:
        return measure(*(partial(displace, fields=[field]) for field in pair), points)

    assert torch.autograd.gradcheck(of_fields, fields)
