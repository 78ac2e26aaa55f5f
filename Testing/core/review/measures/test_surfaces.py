"""Distances between surfaces, on shapes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from neuralreg.geometry.grid import Grid
from neuralreg.measures.surfaces import SurfaceDistances
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.measures.segment_overlap import finer_grid, overlaps
from scipy import ndimage

EYE = tuple(np.eye(3).ravel())


def cube(shape: tuple[int, ...], low: tuple[int, ...], size: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(at, at + size) for at in low)] = True
    return mask


def ball(shape: tuple[int, ...], center: np.ndarray, radius: float, spacing: np.ndarray):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return np.linalg.norm((index - center) * spacing, axis=-1) <= radius


def labels(mask: np.ndarray, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def still() -> Deformation:
    return Deformation(3, matrix=np.eye(4))


def test_equal_structures_are_zero_apart():
    mask = cube((20, 20, 20), (5, 5, 5), 8)
    found = SurfaceDistances.between(mask, mask, (1, 1, 1))
    assert (found.mean, found.hd95, found.maximum) == (0, 0, 0)


def test_a_thin_plate_shifted_across_is_as_far_as_the_shift_in_mm():
    first, second = np.zeros((30, 20, 20), bool), np.zeros((30, 20, 20), bool)
    first[10, 2:18, 2:18] = True
    second[14, 2:18, 2:18] = True
    found = SurfaceDistances.between(first, second, (2.5, 1, 1))
    assert found.mean == found.hd95 == found.maximum == pytest.approx(10.0)


def test_concentric_balls_are_the_difference_of_their_radii_apart_on_anisotropic_voxels():
    spacing = np.array([2.0, 1.0, 0.5])
    shape, center = (34, 68, 136), np.array([17.0, 34.0, 68.0])
    found = SurfaceDistances.between(
        ball(shape, center, 20, spacing), ball(shape, center, 26, spacing), spacing
    )
    assert found.mean == pytest.approx(6.0, abs=0.5)  # the nearest of many centers is nearer
    assert found.maximum == pytest.approx(6.0, abs=2.0)


def test_an_empty_structure_has_no_distance():
    mask = cube((9, 9, 9), (2, 2, 2), 3)
    assert SurfaceDistances.between(mask, np.zeros_like(mask), (1, 1, 1)) is None


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.7)])
def test_distances_are_those_of_monai(spacing):
    random = np.random.default_rng(1)
    first, second = (
        ndimage.gaussian_filter(random.normal(size=(24, 26, 28)), 3) > 0.03 for _ in range(2)
    )
    ours = SurfaceDistances.between(first, second, spacing)
    one, other = (torch.from_numpy(m)[None, None].float() for m in (first, second))
    options = {"include_background": True, "spacing": spacing}
    assert ours.hd95 == pytest.approx(
        float(compute_hausdorff_distance(one, other, percentile=95, **options)), rel=1e-5
    )
    assert ours.maximum == pytest.approx(
        float(compute_hausdorff_distance(one, other, **options)), rel=1e-5
    )
    forward = float(compute_average_surface_distance(one, other, **options))
    backward = float(compute_average_surface_distance(other, one, **options))
    assert ours.forward.mean() == pytest.approx(forward, rel=1e-5)
    assert ours.backward.mean() == pytest.approx(backward, rel=1e-5)


def test_a_structure_at_the_border_has_its_surface_there():
    """As in a transform of the whole grid that takes what lies beyond it as outside."""
    first, second = cube((12, 12, 12), (0, 0, 0), 6), cube((12, 12, 12), (3, 0, 0), 6)
    found = SurfaceDistances.between(first, second, (1, 1, 1))
    assert found.maximum == 3.0


def test_overlap_of_shifted_cubes_is_known():
    fixed = labels(cube((20, 20, 20), (5, 5, 5), 8))
    moving = labels(cube((20, 20, 20), (5, 5, 9), 8))
    (one,) = overlaps(fixed, moving, still())
    assert one.after.dice == pytest.approx(0.5)
    assert one.after.jaccard == pytest.approx(1 / 3)
    assert one.after.center_shift_mm == pytest.approx(4.0)
    assert one.after.volume_change_percent == 0.0
    assert one.before == one.after


def test_a_transform_that_undoes_the_shift_makes_them_equal():
    fixed = labels(cube((20, 20, 20), (5, 5, 5), 8))
    moving = labels(cube((20, 20, 20), (5, 5, 9), 8))
    matrix = np.eye(4)
    matrix[0, 3] = 4.0
    (one,) = overlaps(fixed, moving, Deformation(3, matrix=matrix))
    assert (one.before.dice, one.after.dice) == (pytest.approx(0.5), 1.0)
    assert one.after.hd95_mm == 0.0
    assert one.before.hd95_mm == pytest.approx(4.0)


def test_structures_that_are_missing_are_said_and_not_averaged_away():
    fixed = np.zeros((16, 16, 16), np.uint8)
    moving = fixed.copy()
    fixed[2:6, 2:6, 2:6] = 1
    moving[2:6, 2:6, 2:6] = 1
    fixed[10:12, 10:12, 10:12] = 2
    moving[10:12, 3:5, 3:5] = 3
    found = {one.label: one for one in overlaps(labels(fixed), labels(moving), still())}
    assert found[1].status == "measured"
    assert "missing in the moving" in found[2].status
    assert "missing in the fixed" in found[3].status
    assert found[2].after is None


def test_a_structure_that_leaves_the_image_is_empty_and_scores_zero():
    mask = cube((16, 16, 16), (4, 4, 4), 5)
    matrix = np.eye(4)
    matrix[0, 3] = 100.0
    (one,) = overlaps(labels(mask), labels(mask), Deformation(3, matrix=matrix))
    assert "left the fixed image" in one.status
    assert one.after.dice == 0.0
    assert one.after.hd95_mm is None


def test_both_are_compared_on_the_finer_grid():
    coarse = Grid((10, 10, 5), (2, 2, 4), (0, 0, 0), EYE)
    fine = Grid((40, 40, 40), (0.5, 0.5, 0.5), (0, 0, 0), EYE)
    assert finer_grid(coarse, fine).spacing == pytest.approx((0.5, 0.5, 0.5))
    assert finer_grid(coarse, fine).extent_mm == pytest.approx(coarse.extent_mm)
    assert finer_grid(fine, coarse) == fine


def test_the_finer_grid_follows_the_axes_of_the_moving_image():
    fixed = Grid((10, 10, 10), (2, 2, 2), (0, 0, 0), EYE)
    turned = Grid((20, 20, 20), (0.5, 1, 2), (0, 0, 0), (0, 0, 1, 1, 0, 0, 0, 1, 0))
    assert finer_grid(fixed, turned).spacing == pytest.approx((2, 0.5, 1))
