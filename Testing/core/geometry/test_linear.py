"""Rigid and affine transforms, against ITK's."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidTransform
from neuralreg.geometry.linear import LinearTransform

POINTS = np.random.default_rng(1).normal(size=(10, 3)) * 50
MATRIX = np.array([[1.1, 0.2, 0], [-0.1, 0.9, 0.3], [0.05, 0, 1.2]])


def ours_and_itks() -> tuple[LinearTransform, sitk.AffineTransform]:
    shift, center = np.array([3.0, -2, 7]), np.array([10.0, 20, 30])
    theirs = sitk.AffineTransform(MATRIX.ravel().tolist(), shift.tolist(), center.tolist())
    return LinearTransform.from_parts(MATRIX, shift, center), theirs


def test_points_move_as_by_an_itk_affine_transform_about_a_center():
    ours, theirs = ours_and_itks()
    wanted = [theirs.TransformPoint(p.tolist()) for p in POINTS]
    np.testing.assert_allclose(ours(POINTS), wanted, atol=1e-9)


def test_the_inverse_takes_points_back():
    ours, theirs = ours_and_itks()
    np.testing.assert_allclose(ours.inverse()(ours(POINTS)), POINTS, atol=1e-9)
    wanted = [theirs.GetInverse().TransformPoint(p.tolist()) for p in POINTS]
    np.testing.assert_allclose(ours.inverse()(POINTS), wanted, atol=1e-9)


def test_the_following_transform_acts_last():
    first, _ = ours_and_itks()
    shift = LinearTransform.from_parts(np.diag([2.0, 2, 2]), np.zeros(3))
    np.testing.assert_allclose(first.then(shift)(POINTS), 2 * first(POINTS), atol=1e-9)


def test_the_determinant_is_the_change_of_volume():
    ours, _ = ours_and_itks()
    assert ours.determinant == pytest.approx(np.linalg.det(MATRIX))
    assert LinearTransform(np.diag([1.0, -1, 1])).determinant == -1


@pytest.mark.parametrize(
    "matrix", [np.eye(2), np.zeros((3, 3)), np.full((4, 4), np.nan), np.diag([1.0, 1, 0, 1])]
)
def test_a_matrix_that_is_no_transform_is_refused(matrix):
    with pytest.raises(InvalidTransform):
        LinearTransform(matrix)
