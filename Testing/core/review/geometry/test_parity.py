"""The geometry of the review, which needs no torch, agrees with the geometry of the core."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import inverse_error
from neuralreg.geometry.inverse import invert as invert_field
from neuralreg.geometry.warp import warp as warp_image
from neuralreg.measures.jacobian import jacobian_determinant as determinant_of_the_core
from neuralreg.review.geometry.consistency import forward_backward
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.geometry.local_deformation import jacobian_determinant
from neuralreg.review.geometry.volumes import volume_of, warp


def on_grid(field) -> np.ndarray:
    """The vectors of a field of the core, components last."""
    return field.vectors.movedim(0, -1).contiguous().numpy()


def test_both_geometries_agree_on_grids_of_every_kind(a_grid, smooth_field):
    """Fields, warped images, Jacobian determinants and errors of the inverse."""
    field = smooth_field(a_grid)
    deformation, u = Deformation.of(field), on_grid(field)

    other = a_grid.resize([max(n - 3, 2) for n in a_grid.size]).pad(1)
    assert deformation.on(other) == pytest.approx(on_grid(field.resample(other)), abs=1e-4)
    points = other.corners()
    assert deformation(points) == pytest.approx(field(points), abs=1e-5)

    image = Image(torch.rand(1, *a_grid.shape, generator=torch.Generator().manual_seed(1)), a_grid)
    theirs = warp_image(image, field).data[0].numpy()
    ours = warp(volume_of(image, "image", []), u, a_grid)
    assert ours[inside(field)] == pytest.approx(theirs[inside(field)], abs=1e-4)

    theirs = determinant_of_the_core(field).numpy()
    assert jacobian_determinant(u, a_grid) == pytest.approx(theirs, abs=1e-5)

    inverse = invert_field(field)
    theirs = inverse_error(inverse, field).numpy()  # forward first, as the review goes
    ours = forward_backward(u, a_grid, Deformation.of(inverse))
    # Beyond the samples ITK continues the nearest vector, the core interpolates along the border.
    assert ours[inside(field)] == pytest.approx(theirs[inside(field)], abs=1e-4)


def inside(field) -> np.ndarray:
    """The samples that are mapped well inside of their own grid, where borders do not matter."""
    grid = field.grid
    samples = np.moveaxis(np.indices(grid.shape)[::-1], 0, -1).reshape(-1, grid.dimension)
    index = grid.indices_at(field(grid.points_at(samples))).reshape(*grid.shape, -1)
    return ((index >= 0.01) & (index <= np.subtract(grid.size, 1.01))).all(-1)
