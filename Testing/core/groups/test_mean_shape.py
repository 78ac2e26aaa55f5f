"""Poses and means of displacements, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.groups.mean_shape import mean_rigid, toward_mean, without_pose

GRID = Grid((12, 13, 14), (3.0, 3.0, 3.0), (-18.0, -20.0, -21.0), tuple(np.eye(3).ravel()))
INSIDE = torch.ones(GRID.shape, dtype=torch.bool)


def rigid(*angles_and_shift: float) -> LinearTransform:
    turn = sitk.Euler3DTransform((0, 0, 0), *angles_and_shift[:3])
    matrix = np.reshape(turn.GetMatrix(), (3, 3))
    return LinearTransform.from_parts(matrix, np.array(angles_and_shift[3:]))


def test_the_nearest_rigid_transform_of_a_rigid_motion_is_that_motion():
    points = np.random.default_rng(0).normal(0, 20, (100, 3))
    truth = rigid(0.3, -0.2, 0.5, 4, -7, 2)
    found = LinearTransform.fit_rigid(points, truth(points))
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-9)


def test_a_mirror_image_has_no_reflection_as_its_pose():
    points = np.random.default_rng(0).normal(0, [20, 10, 5], (100, 3))
    assert LinearTransform.fit_rigid(points, points * [-1, 1, 1]).determinant == pytest.approx(1)


def test_the_mean_of_opposite_turns_is_none():
    center = np.array([5.0, -3.0, 8.0])
    both = [rigid(0, 0, 0.4, 0, 0, 0), rigid(0, 0, -0.4, 0, 0, 0)]
    mean = mean_rigid(both, [1, 1], center)
    np.testing.assert_allclose(mean.matrix[:3, :3], np.eye(3), atol=1e-12)
    heavier = mean_rigid(both, [3, 1], center).matrix
    assert np.arctan2(heavier[1, 0], heavier[0, 0]) > 0.1


def test_pose_is_taken_away_and_size_stays():
    larger = LinearTransform.from_parts(1.1 * np.eye(3), np.zeros(3))
    field = DisplacementField.from_linear(larger.then(rigid(0.2, 0.1, -0.3, 9, 2, 5)), GRID)
    shape, pose = without_pose(field, INSIDE)
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij")[::-1], -1)
    points = GRID.points_at(index)
    middle = points.reshape(-1, 3).mean(0)
    wanted = 0.1 * (points - middle)
    np.testing.assert_allclose(np.moveaxis(shape.numpy(), 0, -1), wanted, atol=2e-3)
    np.testing.assert_allclose(
        pose.matrix[:3, :3], rigid(0.2, 0.1, -0.3, 0, 0, 0).matrix[:3, :3], atol=1e-6
    )


def test_after_the_step_to_the_mean_no_displacement_is_left():
    z, y, x = np.indices(GRID.shape)
    bends = [np.stack([a * np.sin(y / 4), a * np.cos(z / 4), 0 * x]) for a in (1.0, 2.0, 4.5)]
    fields = [DisplacementField(torch.from_numpy(b).float(), GRID) for b in bends]
    mean = torch.stack([one.vectors for one in fields]).mean(0)
    step = toward_mean(mean, GRID)
    left = torch.stack([compose(step, one).vectors for one in fields]).mean(0)
    middle = (slice(None), *[slice(3, -3)] * 3)
    assert left[middle].abs().max() < 0.1
    assert mean[middle].abs().max() > 2
