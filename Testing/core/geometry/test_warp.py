"""Images and points go through a displacement field as through ITK's resampling."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry import warp as warp_module
from neuralreg.geometry.cubic_spline import CubicSpline
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import invert
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.warp import warp, warp_points
from scipy import ndimage

ITK = {
    "linear": sitk.sitkLinear,
    "nearest": sitk.sitkNearestNeighbor,
    "bspline": sitk.sitkBSpline,
}


def image_at(array: np.ndarray, grid: Grid, *, vectors: bool = False) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=vectors)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def by_itk(image: Image, field: DisplacementField, grid: Grid, mode: int, outside: float):
    vectors = np.moveaxis(field.vectors.double().numpy(), 0, -1)
    transform = sitk.DisplacementFieldTransform(image_at(vectors, field.grid, vectors=True))
    moving = image_at(image.data[0].numpy(), image.grid)
    size = list(grid.size)
    resampled = sitk.Resample(
        moving, size, transform, mode, grid.origin, grid.spacing, grid.direction, outside
    )
    return sitk.GetArrayFromImage(resampled)


def an_image(grid: Grid, dtype: torch.dtype = torch.float32) -> Image:
    """Noise on a grid beside the given one, with other spacing and tilted a little."""
    d = grid.dimension
    tilt = np.eye(d)
    tilt[:2, :2] = [[0.995, -0.0998749], [0.0998749, 0.995]]
    cosines = np.linalg.qr(np.reshape(grid.direction, (d, d)) @ tilt)[0]
    size = [n + 2 for n in grid.size]
    own = Grid(
        size, np.multiply(grid.spacing, 0.9), grid.points_at(-0.6 * np.ones(d)), cosines.ravel()
    )
    values = torch.rand(1, *own.shape, generator=torch.Generator().manual_seed(4))
    return Image((values * 200).to(dtype), own)


@pytest.mark.parametrize("mode", ITK)
@pytest.mark.parametrize("coarse", [False, True], ids=["dense", "coarse"])
def test_an_image_is_warped_as_by_itk(a_grid, smooth_field, mode, coarse):
    d = a_grid.dimension
    field = smooth_field(a_grid.pad(1).resize([6] * d) if coarse else a_grid)
    image = an_image(a_grid)
    # ITK takes zero displacement beyond the samples of a field, we its border value.
    inside = field.grid.covers(
        a_grid.points_at(np.argwhere(np.ones(a_grid.shape))[:, ::-1].astype(float))
    ).reshape(a_grid.shape)
    found = warp(image, field, a_grid, interpolation=mode, outside=-7).data[0].numpy()
    wanted = by_itk(image, field, a_grid, ITK[mode], -7)
    assert inside.mean() > 0.3
    off = np.abs(found - wanted)[inside] > 1e-3 * 200
    assert off.mean() <= (0.002 if mode == "nearest" else 0)  # voxel borders fall to either side


def test_a_known_shift_in_mm_is_undone_at_two_spacings():
    for spacing in (1.0, 2.0):
        grid = Grid((12, 12, 12), (spacing,) * 3, (0, 0, 0), np.eye(3).ravel())
        data = torch.rand(1, 12, 12, 12)
        shift = LinearTransform.from_parts(np.eye(3), np.array([4.0, 0, -2]))
        warped = warp(Image(data, grid), DisplacementField.from_linear(shift, grid))
        x, z = int(4 / spacing), int(2 / spacing)
        torch.testing.assert_close(warped.data[:, z:, :, :-x], data[:, :-z, :, x:])


def test_the_identity_keeps_every_value(a_grid):
    image = Image(torch.rand(2, *a_grid.shape), a_grid)
    for mode in ITK:
        warped = warp(image, DisplacementField.identity(a_grid), interpolation=mode)
        torch.testing.assert_close(warped.data, image.data, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.int32, torch.uint16, torch.float64, torch.float16]
)
def test_the_number_type_is_kept_and_whole_numbers_are_rounded(smooth_field, dtype):
    grid = Grid((9, 9, 9), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    image, field = an_image(grid, dtype), smooth_field(grid)
    exact = warp(Image(image.data.double(), image.grid), field).data
    for mode in ("linear", "bspline"):
        warped = warp(image, field, interpolation=mode)
        assert warped.data.dtype == dtype
    warped = warp(image, field)
    step = 0.51 if not dtype.is_floating_point else 0.1
    assert (warped.data.double() - exact).abs().max() <= step


def test_a_spline_that_overshoots_stays_in_the_number_type(smooth_field):
    grid = Grid((9, 9), (1, 1), (0, 0), (1, 0, 0, 1))
    edges = torch.zeros(1, 9, 9, dtype=torch.uint8)
    edges[:, :, 4:] = 255
    warped = warp(Image(edges, grid), smooth_field(grid, 0.5), interpolation="bspline")
    smooth = warp(Image(edges.float(), grid), smooth_field(grid, 0.5), interpolation="bspline")
    assert smooth.data.max() > 256
    torch.testing.assert_close(warped.data.float(), smooth.data.clamp(0, 255).round())


@pytest.mark.parametrize("size", [(2, 9, 9), (9, 2, 1), (2, 2, 2), (3, 7), (2, 5)])
def test_splines_of_thin_images_are_those_of_scipy(size):
    """ITK itself reads beyond an axis of two samples."""
    values = torch.rand(1, *size[::-1])
    unit = torch.rand(len(size), *([6] * len(size))) * 2 - 1
    coefficients = ndimage.spline_filter(values[0].numpy(), mode="mirror", output=np.float64)
    last = np.reshape(size, (-1, *[1] * len(size))) - 1
    index = ((unit.numpy() + 1) / 2 * last)[::-1]
    read = ndimage.map_coordinates(coefficients, index, mode="mirror", prefilter=False)
    np.testing.assert_allclose(CubicSpline(values)(unit)[0], read, atol=2e-5)


def test_numbers_beyond_single_precision_stay_exact():
    grid = Grid((4, 4), (1, 1), (0, 0), (1, 0, 0, 1))
    data = torch.full((1, 4, 4), 2**24 + 1, dtype=torch.int32)
    assert (warp(Image(data, grid), DisplacementField.identity(grid)).data == 2**24 + 1).all()


def test_slabs_and_threads_do_not_change_the_result(a_grid, smooth_field, monkeypatch):
    image, field = an_image(a_grid), smooth_field(a_grid.pad(1).resize([5] * a_grid.dimension))
    whole = warp(image, field, a_grid)
    monkeypatch.setattr(warp_module, "_SLAB", 50)
    torch.set_num_threads(2)
    parts = warp(image, field, a_grid)
    torch.set_num_threads(1)
    torch.testing.assert_close(parts.data, whole.data, atol=2e-3, rtol=0)


def test_each_device_gives_the_same_image(a_grid, a_device, smooth_field):
    image, field = an_image(a_grid), smooth_field(a_grid)
    for mode in ITK:
        wanted = warp(image, field, interpolation=mode).data
        found = warp(image.to(a_device), field.to(a_device), interpolation=mode).data.cpu()
        assert ((found - wanted).abs() > 0.05).double().mean() < 0.005


def test_memory_beside_a_warp_with_a_coarse_field_stays_within_the_output(smooth_field):
    grid = Grid((128, 128, 128), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    image = Image(torch.rand(1, *grid.shape), grid)
    field = smooth_field(grid.resize([32] * 3), 10.0)
    with torch.profiler.profile(profile_memory=True) as profile:
        warped = warp(image, field, grid)
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    assert peak >= warped.data.nbytes
    assert peak < warped.data.nbytes + 40 * 2**20


def test_inputs_stay_as_they_were(a_grid, smooth_field):
    image, field = an_image(a_grid), smooth_field(a_grid)
    data, vectors = image.data.clone(), field.vectors.clone()
    for mode in ITK:
        warp(image, field, a_grid.pad(2), interpolation=mode)
    assert torch.equal(image.data, data)
    assert torch.equal(field.vectors, vectors)


def test_points_meet_the_image_that_they_belong_to(smooth_field):
    grid = Grid((24, 24, 24), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    bend = smooth_field(grid, 2.0)
    field = DisplacementField(bend.vectors + 1.5, grid)
    spot = np.array([[12.0, 11, 13]])  # a bright spot in the moving image, and a point on it
    index = np.argwhere(np.ones(grid.shape))[:, ::-1]
    bright = np.exp(-0.5 * ((index - spot) ** 2).sum(1) / 4).reshape(1, *grid.shape)
    warped = warp(Image(torch.from_numpy(bright), grid), field).data[0].numpy()
    peak = np.average(index, axis=0, weights=np.where(warped > 0.3, warped, 0).ravel())
    brought = warp_points(spot, invert(field, tolerance_mm=1e-3))[0]
    assert np.linalg.norm(peak - brought) < 0.3
    assert np.linalg.norm(peak - field(spot)[0]) > 1  # the wrong direction is told apart


def test_points_go_there_and_back(a_grid, smooth_field):
    field = smooth_field(a_grid, 0.4 * min(a_grid.spacing))
    samples = a_grid.points_at(np.argwhere(np.ones(a_grid.size)).astype(float))
    back = warp_points(samples, invert(field, tolerance_mm=1e-3))
    np.testing.assert_allclose(warp_points(back, field), samples, atol=2e-3)


def test_warping_twice_is_warping_by_the_composed_field(smooth_field):
    grid = Grid((20, 20, 20), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    first, then = smooth_field(grid, 1.0, 1), smooth_field(grid, 1.0, 2)
    ramps = torch.stack(torch.meshgrid(*[torch.arange(20.0)] * 3, indexing="ij"))
    image = Image(ramps, grid)  # linear, so that resampling twice costs nothing
    twice = warp(warp(image, then), first).data
    inside = (slice(None), *[slice(4, -4)] * 3)
    once, other_order = (warp(image, compose(a, b)).data for a, b in ((first, then), (then, first)))
    assert (twice - once)[inside].abs().max() < 1e-4
    assert (twice - other_order)[inside].abs().max() > 0.1


def test_images_and_fields_of_different_dimensions_are_refused(smooth_field):
    flat = Grid((4, 4), (1, 1), (0, 0), (1, 0, 0, 1))
    solid = Grid((4, 4, 4), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    with pytest.raises(InvalidImage, match="number of axes"):
        warp(Image(torch.rand(1, 4, 4), flat), DisplacementField.identity(solid))


@pytest.mark.parametrize(
    "options", [{"interpolation": "cubic"}, {"outside": -1.0}, {"outside": float("nan")}]
)
def test_options_that_make_no_sense_are_refused(options):
    grid = Grid((4, 4), (1, 1), (0, 0), (1, 0, 0, 1))
    image = Image(torch.zeros(1, 4, 4, dtype=torch.uint8), grid)
    with pytest.raises(InvalidOption, match="got"):
        warp(image, DisplacementField.identity(grid), **options)
