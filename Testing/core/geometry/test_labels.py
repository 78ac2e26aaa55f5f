"""Label maps keep their labels, and their shapes where the grid gets finer or coarser."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry import labels as labels_module
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.warp import warp_labels
from scipy import ndimage

METHODS = ("nearest", "smooth")
CUBE = Grid((16, 16, 16), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())


def balls(grid: Grid, dtype: torch.dtype = torch.int16) -> Image:
    """Two touching balls, 3 and 300, one inside of the other's neighborhood."""
    index = np.argwhere(np.ones(grid.shape))
    middle = np.subtract(grid.shape, 1) / 2
    near = np.linalg.norm((index - middle) / grid.shape, axis=1).reshape(grid.shape)
    beside = np.linalg.norm((index - middle * 0.6) / grid.shape, axis=1).reshape(grid.shape)
    values = np.where(beside < 0.2, 300, np.where(near < 0.35, 3, 0))
    return Image(torch.from_numpy(values)[None].to(dtype), grid)


@pytest.mark.parametrize("method", METHODS)
def test_only_labels_that_were_there_come_out(a_grid, smooth_field, method):
    labels = balls(a_grid)
    warped = warp_labels(labels, smooth_field(a_grid), a_grid.pad(2), method=method, outside=9)
    assert warped.data.dtype == labels.data.dtype
    assert set(warped.data.unique().tolist()) <= {0, 3, 300, 9}
    assert {3, 300} <= set(warped.data.unique().tolist())


@pytest.mark.parametrize("method", METHODS)
def test_the_identity_keeps_every_label_even_of_a_lone_voxel(a_grid, method):
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 5, (1, *a_grid.shape), generator=generator) * 1000
    lone = torch.zeros_like(noise)
    lone[(0, *[n // 2 for n in a_grid.shape])] = 7
    labels = Image(lone, a_grid)
    still = DisplacementField.identity(a_grid)
    assert torch.equal(warp_labels(labels, still, method=method).data, lone)
    if method == "nearest":
        assert torch.equal(warp_labels(Image(noise, a_grid), still).data, noise)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(METHODS), st.floats(0.5, 3))
def test_any_labels_on_any_finer_or_coarser_grid_stay_a_subset(seed, method, spacing):
    generator = torch.Generator().manual_seed(seed)
    grid = Grid((7, 6, 5), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    data = torch.randint(-3, 4, (1, *grid.shape), generator=generator, dtype=torch.int8)
    target = grid.with_spacing([spacing] * 3)
    found = warp_labels(Image(data, grid), DisplacementField.identity(grid), target, method=method)
    assert set(found.data.unique().tolist()) <= {*data.unique().tolist(), 0}


def test_the_label_value_does_not_decide_who_wins(smooth_field):
    labels = balls(CUBE)
    finer, field = CUBE.resize([27] * 3), smooth_field(CUBE)
    exchanged = Image(torch.where(labels.data == 3, 400, labels.data), CUBE)
    one = warp_labels(labels, field, finer, method="smooth").data
    other = warp_labels(exchanged, field, finer, method="smooth").data
    assert ((one == 3) == (other == 400)).double().mean() > 0.9999


def test_smooth_labels_agree_with_itks_gaussian_label_interpolation():
    labels = balls(CUBE)
    finer = CUBE.resize([30] * 3)
    moving = sitk.GetImageFromArray(labels.data[0].numpy())
    interpolator = sitk.sitkLabelGaussian
    wanted = sitk.GetArrayFromImage(
        sitk.Resample(
            moving,
            list(finer.size),
            sitk.Transform(3, sitk.sitkIdentity),
            interpolator,
            finer.origin,
            finer.spacing,
        )
    )
    found = warp_labels(labels, DisplacementField.identity(CUBE), finer, method="smooth")
    assert (found.data[0].numpy() == wanted).mean() > 0.98


def test_a_finer_grid_gets_a_smoother_ball_than_with_nearest():
    grid = Grid((20, 20, 20), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    finer = grid.resize([60] * 3)

    def ball(on: Grid) -> np.ndarray:
        index = np.argwhere(np.ones(on.shape))[:, ::-1]
        distance = np.linalg.norm(on.points_at(index) - 9.5, axis=1)
        return (distance < 6.3).reshape(on.shape)

    labels = Image(torch.from_numpy(ball(grid))[None].to(torch.uint8), grid)
    wrong = {
        method: (
            warp_labels(labels, DisplacementField.identity(grid), finer, method=method)
            .data[0]
            .numpy()
            != ball(finer)
        ).mean()
        for method in METHODS
    }
    assert wrong["smooth"] < 0.8 * wrong["nearest"]


def test_specks_make_no_holes_on_a_coarser_grid():
    grid = Grid((48, 48, 48), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    distance = np.linalg.norm(np.indices(grid.shape) - 23.5, axis=0)
    specks = np.random.default_rng(3).random(grid.shape) < 0.02
    labels = Image(torch.from_numpy((distance < 18) ^ specks)[None].to(torch.uint8), grid)
    coarser, still = grid.resize([19] * 3), DisplacementField.identity(grid)
    pieces = {}
    for method in METHODS:
        found = warp_labels(labels, still, coarser, method=method).data[0].numpy()
        pieces[method] = ndimage.label(found)[1], ndimage.label(found == 0)[1]
    assert pieces["smooth"] == (1, 1)
    assert min(pieces["nearest"]) > 10


@pytest.mark.parametrize("method", METHODS)
def test_labels_shifted_by_whole_voxels_are_the_shifted_labels(method):
    labels = balls(CUBE)
    shift = LinearTransform.from_parts(np.eye(3), np.array([2.0, 0, -3]))
    field = DisplacementField.from_linear(shift, CUBE)
    warped = warp_labels(labels, field, method=method).data
    assert torch.equal(warped[:, 3:, :, :-2], labels.data[:, :-3, :, 2:])


def test_slabs_do_not_change_smooth_labels(smooth_field, monkeypatch):
    labels, field = balls(CUBE), smooth_field(CUBE)
    whole = warp_labels(labels, field, CUBE.resize([21] * 3), method="smooth")
    monkeypatch.setattr(labels_module, "_SLAB", 500)
    parts = warp_labels(labels, field, CUBE.resize([21] * 3), method="smooth")
    assert (parts.data == whole.data).double().mean() > 0.9999


@pytest.mark.parametrize("method", METHODS)
def test_label_maps_stay_as_they_were(method, smooth_field):
    labels = balls(CUBE)
    before = labels.data.clone()
    warp_labels(labels, smooth_field(CUBE), method=method)
    assert torch.equal(labels.data, before)


def test_unknown_methods_and_several_channels_are_refused():
    still = DisplacementField.identity(CUBE)
    with pytest.raises(InvalidOption, match="nearest or smooth"):
        warp_labels(balls(CUBE), still, method="linear")
    two = Image(torch.zeros(2, *CUBE.shape, dtype=torch.uint8), CUBE)
    with pytest.raises(InvalidImage, match="2 channels"):
        warp_labels(two, still, method="smooth")
    with pytest.raises(InvalidOption, match="outside"):
        warp_labels(balls(CUBE, torch.uint8), still, outside=-1)
