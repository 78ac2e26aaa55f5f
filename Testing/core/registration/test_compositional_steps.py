"""Steps at full resolution go on where the velocity ended, and leave noise alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.measures.correlation_cost import LocalCorrelation
from neuralreg.progress import silent
from neuralreg.registration.compositional_steps import follow_at_full_resolution
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.refine import RefinementRecord
from neuralreg.registration.unfold import least_determinant

from Testing.support.phantom import CUBE, SQUARE, landmarks, seen

RECORD = RefinementRecord(("mind", "lncc"), "lncc", (0.0, 0.0, 0.0))


def wave(points):
    """A displacement in mm that a velocity on every second voxel smooths away."""
    return np.sin(points[..., ::-1] / 2.5) * 1.2


def follow(grid, field, moving, options=None, progress=silent):
    inputs = Inputs.prepare(seen(grid), moving, None, None, torch.device("cpu"))
    options = options or FieldRefinement(steps=64)
    identity = LinearTransform.identity(grid.dimension)
    return follow_at_full_resolution(inputs, field, identity, options, RECORD, progress)


@pytest.mark.parametrize("grid", [SQUARE, CUBE], ids=["2D", "3D"])
def test_they_find_what_is_finer_than_the_velocity(grid):
    moving = seen(grid, lambda p: p + wave(p), seed=1)
    still = DisplacementField.identity(grid.pad(3))
    field, record = follow(grid, still, moving)
    assert record.kept == "full resolution"
    before, after = record.full_resolution
    assert after > 1.02 * before
    points = landmarks(grid.dimension)
    truth = points.copy()
    for _ in range(30):  # the point p of the moving image that shows what the fixed one has here
        truth = points - wave(truth)
    left = np.linalg.norm(field(points) - truth, axis=1).mean()
    assert left < 0.8 * np.linalg.norm(points - truth, axis=1).mean()
    assert float(least_determinant(field.to_voxels()).min()) > 0
    assert (field.grid.indices_at(grid.corners()).min(0) > 0).all()


@pytest.mark.parametrize("grid", [SQUARE, CUBE], ids=["2D", "3D"])
def test_noise_alone_leaves_the_field_as_it_was_after_a_few_steps(grid):
    field = DisplacementField.identity(grid.pad(3))
    taken = []
    same, record = follow(
        grid, field, seen(grid, seed=1), progress=lambda part, _: taken.append(part)
    )
    assert same is field
    assert record.kept == "lncc"
    assert len(taken) == 3  # of 20


def test_nothing_pulls_where_the_moving_image_ends():
    moving = seen(SQUARE, lambda p: p + wave(p), seed=1)
    half = Image(moving.data[..., :32], replace(SQUARE, size=(32, 56)))
    field, record = follow(SQUARE, DisplacementField.identity(SQUARE.pad(3)), half)
    assert record.kept == "full resolution"
    far = np.array([[30.0, 0.0], [36.0, 20.0], [40.0, -10.0]])
    assert np.abs(field(far) - far).max() < 0.05


def test_the_gradient_of_the_correlation_is_that_of_automatic_differentiation():
    one, two = torch.rand(2, 12, 13, 14, generator=torch.Generator().manual_seed(0))
    windows = LocalCorrelation(one, torch.ones_like(one), 2)
    two.requires_grad_()
    cost = windows(two)
    (expected,) = torch.autograd.grad(cost, two)
    parts = windows.parts(two.detach())
    assert parts.cost().item() == pytest.approx(cost.item())
    assert torch.equal(windows.gradient(two.detach(), parts), expected)
