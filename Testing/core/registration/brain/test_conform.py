"""Images as the networks for brains take them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_from_itk, image_to_itk
from neuralreg.registration.brain.conform import ConformedImage, conformed_grid
from neuralreg.zoo.registry import model_card
from scipy.spatial.transform import Rotation

UPRIGHT = tuple(np.eye(3).ravel())


def ball(grid: Grid, center: tuple[float, float, float], radius: float, value: float = 100.0):
    """A ball of noise around a value on a background of 0."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    inside = np.linalg.norm(grid.points_at(index) - center, axis=-1) < radius
    noise = np.random.default_rng(0).uniform(0.8, 1.2, grid.shape)
    return Image(torch.from_numpy((inside * noise * value).astype(np.float32))[None], grid)


def test_axes_lead_to_the_left_down_and_to_the_front_around_the_middle_of_the_image():
    image = ball(Grid((20, 24, 18), (8, 8, 9), (-50, 30, 12), UPRIGHT), (26, 122, 88), 60)
    grid = conformed_grid(image, model_card("mindgrab"))
    assert grid.size == (256, 256, 256)
    assert grid.spacing == (1, 1, 1)
    step = grid.points_at([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert np.allclose(step[1:] - step[0], [[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    assert np.allclose(grid.center, image.grid.center)


def test_a_head_far_from_the_middle_of_a_large_field_of_view_is_followed_in_whole_millimeters():
    grid = Grid((100, 50, 50), (5, 5, 5), (-250, -125, -125), UPRIGHT)
    conformed = conformed_grid(ball(grid, (150, 0, 0), 80), model_card("mindgrab"))
    moved = conformed.center - grid.center
    assert np.allclose(moved, np.rint(moved))
    assert abs(conformed.center[0] - 150) < 6
    assert np.allclose(moved[1:], 0)


def test_of_a_body_the_part_from_the_top_down_counts():
    grid = Grid((40, 40, 100), (5, 5, 5), (-100, -100, -250), UPRIGHT)
    data = np.zeros(grid.shape, np.float32)
    data[:95, 5:35, 5:35] = 50 + np.random.default_rng(0).uniform(0, 50, (95, 30, 30))
    image = Image(torch.from_numpy(data)[None], grid)
    top = grid.points_at([0, 0, 94])[2]
    conformed = conformed_grid(image, model_card("mindgrab"))
    assert conformed.corners()[:, 2].max() == pytest.approx(top + 18, abs=6)


@pytest.mark.parametrize("low", [0.0, -3.5])
def test_quantiles_are_those_of_the_whole_grid_whatever_value_the_background_has(low):
    grid = Grid((40, 40, 40), (4, 4, 4), (-78, -78, -78), UPRIGHT)
    image = ball(grid, (0, 0, 0), 75)
    moved = Image(image.data + low, grid)
    conformed = ConformedImage.of(moved, model_card("mindgrab"))
    plain = ConformedImage.of(image, model_card("mindgrab"))
    assert conformed.background == 0
    assert np.allclose(conformed.values, plain.values, atol=1e-4)
    outside = 256**3 * 0.98 - (conformed.values < 1).sum()  # 2 % of all voxels are clipped
    assert abs(outside) < 256**3 * 0.001


def test_a_head_stored_with_other_axes_or_elsewhere_is_given_to_a_network_as_the_same_numbers():
    axes = Rotation.from_rotvec([0.2, -0.15, 0.3]).as_matrix()
    grid = Grid((40, 36, 30), (4, 4.3, 5), (-80, -60, -90), tuple(axes.ravel()))
    image = ball(grid, tuple(grid.center + (9, -12, 4)), 60)
    card, plain = model_card("subcortical18"), image_to_itk(image)
    numbers = ConformedImage.of(image, card).values
    other = sitk.PermuteAxes(sitk.Flip(plain, [True, False, False], False), [1, 2, 0])
    values = ConformedImage.of(image_from_itk(other), card).values
    assert np.abs(values - numbers).max() < 1e-4
    away = Grid(grid.size, grid.spacing, tuple(np.add(grid.origin, 512)), grid.direction)
    assert np.abs(ConformedImage.of(Image(image.data, away), card).values - numbers).max() < 1e-4


def test_one_bright_vessel_does_not_darken_a_brain_to_be_labeled():
    grid = Grid((40, 40, 40), (4, 4, 4), (-78, -78, -78), UPRIGHT)
    image = ball(grid, (0, 0, 0), 75)
    image.data[0, 20, 20, 20] = 5000
    values = ConformedImage.of(image, model_card("subcortical18")).values
    assert np.median(values[values > 0.1]) > 0.7


def test_an_image_of_bytes_that_was_scaled_before_stays_as_it_is():
    grid = Grid((40, 40, 40), (4, 4, 4), (-78, -78, -78), UPRIGHT)
    image = Image(ball(grid, (0, 0, 0), 75).data.round(), grid)
    image.data[0, 20, 20, 20] = 255
    values = ConformedImage.of(image, model_card("subcortical18")).values
    assert np.median(values[values > 0.1]) == pytest.approx(100 / 255, abs=0.02)


def test_the_box_of_a_head_leaves_out_what_does_not_hang_together_with_it():
    grid = Grid((50, 50, 50), (4, 4, 4), (-98, -98, -98), UPRIGHT)
    image = ball(grid, (10, 0, -6), 60)
    image.data[0, 2, 2, 2] = 100
    conformed = ConformedImage.of(image, model_card("mindgrab"))
    box = conformed.head_box(4)
    corners = conformed.part(box).corners()
    center, reach = (corners.max(0) + corners.min(0)) / 2, np.ptp(corners, axis=0) / 2
    assert np.abs(center - (10, 0, -6)).max() < 3
    assert np.all((reach > 60) & (reach < 70))
    assert np.allclose(conformed.tensor(box)[0, 0], conformed.values[box])
