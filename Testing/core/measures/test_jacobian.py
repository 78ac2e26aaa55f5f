"""Changes of volume, against closed forms and ITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.measures import jacobian as jacobian_module
from neuralreg.measures.jacobian import folding_percent, jacobian_determinant, sd_log_jacobian


def test_the_determinant_of_an_affine_is_its_own_everywhere(a_grid):
    d = a_grid.dimension
    matrix = np.eye(d) + 0.3 * np.random.default_rng(5).normal(size=(d, d))
    linear = LinearTransform.from_parts(matrix, np.ones(d), center=a_grid.center)
    found = jacobian_determinant(DisplacementField.from_linear(linear, a_grid))
    assert found.shape == a_grid.shape
    np.testing.assert_allclose(found, linear.determinant, rtol=1e-4)


def test_a_reflection_has_a_negative_determinant(a_grid):
    mirror = LinearTransform(np.diag([-1.0, *[1] * a_grid.dimension]))
    found = jacobian_determinant(DisplacementField.from_linear(mirror, a_grid))
    np.testing.assert_allclose(found, -1, atol=1e-4)
    assert folding_percent(found) == 100


def test_a_bent_field_has_itks_determinant_inside(smooth_field):
    grid = Grid((12, 10, 11), (1, 1.5, 2), (3, 4, 5), np.eye(3).ravel())
    field = smooth_field(grid, 4.0)
    vectors = np.ascontiguousarray(np.moveaxis(field.vectors.numpy(), 0, -1))
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing(grid.spacing)
    wanted = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
    inside = (slice(1, -1),) * 3
    found = jacobian_determinant(field).numpy()
    np.testing.assert_allclose(found[inside], wanted[inside], atol=1e-5)
    assert np.ptp(wanted) > 0.5


def test_turning_the_world_does_not_change_volumes(smooth_field, a_grid):
    field = smooth_field(a_grid)
    d = a_grid.dimension
    turn = np.linalg.qr(np.random.default_rng(6).normal(size=(d, d)))[0]
    cosines = (turn @ np.reshape(a_grid.direction, (d, d))).ravel()
    turned_grid = Grid(a_grid.size, a_grid.spacing, a_grid.origin, cosines)
    turned = torch.einsum("ij,j...->i...", torch.from_numpy(turn).float(), field.vectors)
    found = jacobian_determinant(DisplacementField(turned, turned_grid))
    torch.testing.assert_close(found, jacobian_determinant(field), atol=1e-4, rtol=0)


def test_slabs_do_not_change_the_determinant(a_grid, smooth_field, monkeypatch):
    field = smooth_field(a_grid)
    whole = jacobian_determinant(field)
    monkeypatch.setattr(jacobian_module, "_SLAB", 1)
    torch.testing.assert_close(jacobian_determinant(field), whole)


def test_a_single_slice_changes_volume_only_in_its_plane():
    grid = Grid((6, 6, 1), (1, 1, 4), (0, 0, 0), np.eye(3).ravel())
    linear = LinearTransform.from_parts(np.diag([1.5, 1, 3]), np.zeros(3))
    found = jacobian_determinant(DisplacementField.from_linear(linear, grid))
    np.testing.assert_allclose(found, 1.5, rtol=1e-5)


def test_gradients_reach_the_field():
    grid = Grid((4, 4, 4), (1, 2, 1), (0, 0, 0), np.eye(3).ravel())
    vectors = torch.rand(3, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v: jacobian_determinant(DisplacementField(v, grid)), vectors
    )


def test_folding_is_the_share_of_samples_without_positive_volume():
    determinant = torch.tensor([1.0, 0.0, -2.0, float("nan"), 0.5])
    assert folding_percent(determinant) == pytest.approx(60)
    assert folding_percent(determinant, torch.tensor([1, 1, 0, 0, 1])) == pytest.approx(100 / 3)


def test_the_spread_of_the_log_determinant_is_that_of_its_exponents():
    exponents = np.random.default_rng(8).normal(0, 0.2, 50)
    found = sd_log_jacobian(torch.from_numpy(np.exp(exponents)))
    assert found == pytest.approx(exponents.std(), rel=1e-9)
    assert sd_log_jacobian(torch.full((9,), 2.0)) == 0


def test_a_fold_makes_the_spread_larger():
    even, folded = torch.ones(10), torch.ones(10)
    folded[0] = -1
    assert sd_log_jacobian(folded) > sd_log_jacobian(even) + 1


@pytest.mark.parametrize("measure", [folding_percent, sd_log_jacobian])
def test_an_empty_mask_is_refused(measure):
    with pytest.raises(InvalidImage, match="empty mask"):
        measure(torch.ones(4, 4), torch.zeros(4, 4))
