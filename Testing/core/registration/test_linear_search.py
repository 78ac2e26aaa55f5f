"""The measure of the linear search stays finite, whatever the images hold."""

import math

import pytest
import torch
from neuralreg.registration.linear_search import agreement, mutual_information

SHAPE = (1, 6, 7, 8)
NOISE = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
ONE_VOXEL = torch.zeros(SHAPE)
ONE_VOXEL[0, 3, 3, 3] = 1.0
IMAGES = {
    "constant": torch.full(SHAPE, 0.5),
    "dark": torch.zeros(SHAPE),
    "binary": (NOISE > 0.5).float(),
    "saturated": (2 * NOISE).clamp(max=1) * 1.0000001,
    "below zero": NOISE - 1e-7,
    "one voxel": ONE_VOXEL,
    "noise": NOISE,
}


def test_a_plateau_that_rounding_lifts_above_one_counts_as_one():
    """Interpolation makes 1.0000001 of 1; in closed form the entropy of two halves is log 2."""
    values = torch.tensor([[1.0000001] * 100 + [0.0] * 100])
    information = mutual_information(values, values, torch.ones_like(values))
    assert float(information) == pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.parametrize("mask", [torch.ones(SHAPE), ONE_VOXEL, torch.zeros(SHAPE)])
@pytest.mark.parametrize("second", IMAGES)
@pytest.mark.parametrize("first", IMAGES)
def test_agreement_and_its_gradient_are_finite(first, second, mask):
    assert math.isfinite(agreement(IMAGES[first], IMAGES[second], mask))
    one = IMAGES[first].flatten()[None].clone().requires_grad_()
    information = mutual_information(one, IMAGES[second].flatten()[None], mask.flatten()[None])
    (gradient,) = torch.autograd.grad(information.sum(), one)
    assert information.isfinite().all()
    assert gradient.isfinite().all()
    assert float(information.detach()) >= -1e-4
