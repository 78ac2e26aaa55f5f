"""What becomes of inputs that are not as they should be."""

import numpy as np
import pytest
import torch
from neuralreg import devices, register
from neuralreg.errors import DeviceUnavailable, InvalidImage, InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration import image_checks


def a_cube(size: int | tuple[int, ...] = 12, spacing: float = 1.0, origin: float = 0.0) -> Grid:
    size = (size,) * 3 if isinstance(size, int) else size
    d = len(size)
    return Grid(size, (spacing,) * d, (origin,) * d, tuple(np.eye(d).ravel()))


def noise(grid: Grid | None = None) -> Image:
    grid = grid or a_cube()
    values = np.random.default_rng(0).normal(100, 20, (1, *grid.shape))
    return Image(torch.from_numpy(values).float(), grid)


def test_a_sound_image_passes_unchanged_and_without_a_word():
    image = noise()
    prepared, notes = image_checks.prepare(image, "fixed image")
    assert notes == []
    assert torch.equal(prepared.data, image.data)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.float64], ids=str)
def test_every_number_type_becomes_single_precision(dtype):
    image = Image(noise().data.to(dtype), a_cube())
    prepared, notes = image_checks.prepare(image, "fixed image")
    assert prepared.data.dtype == torch.float32
    assert notes == []
    np.testing.assert_allclose(prepared.data.numpy(), image.data.numpy(), rtol=1e-6)


def test_not_finite_values_are_replaced_and_counted_and_the_input_is_not_touched():
    image = noise()
    image.data[0, 0, 0, :4] = torch.tensor([np.nan, np.nan, np.inf, -np.inf])
    before = image.data.clone()
    prepared, notes = image_checks.prepare(image, "moving image")
    rest = before[torch.isfinite(before)]
    low, high = float(rest.min()), float(rest.max())
    np.testing.assert_allclose(prepared.data[0, 0, 0, :4], [low, low, high, low])
    assert len(notes) == 1
    assert "moving image: 2 NaN and 1 -inf" in notes[0]
    assert "1 +inf" in notes[0]
    assert torch.equal(image.data.nan_to_num(), before.nan_to_num())


def test_few_absurd_values_are_clipped_and_named():
    image = noise()
    image.data[0, 5, 5, 5] = 2e9
    prepared, notes = image_checks.prepare(image, "fixed image")
    assert float(prepared.data.max()) < 300
    assert "1 voxels with values up to 2e+09" in notes[0]


def test_a_few_bright_vessels_on_an_empty_background_are_no_outliers():
    image = Image(torch.zeros(1, 40, 40, 40), a_cube(40))
    image.data[0, 20, 20, 5:35] = torch.linspace(10, 2000, 30)
    prepared, notes = image_checks.prepare(image, "fixed image")
    assert notes == []
    assert torch.equal(prepared.data, image.data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.full((1, 12, 12, 12), 7), "constant.*the value 7"),
        (torch.full((1, 12, 12, 12), torch.nan), "no finite value"),
        (torch.rand(3, 12, 12, 12), "one value per voxel.*3 channels"),
    ],
    ids=["constant", "NaN only", "three channels"],
)
def test_an_image_that_shows_nothing_is_refused(data, words):
    with pytest.raises(InvalidImage, match=words):
        image_checks.prepare(Image(data, a_cube()), "fixed image")


@pytest.mark.parametrize("size", [(1, 1, 1), (12, 3, 3), (3, 3), (12, 1, 1)], ids=str)
def test_too_few_voxels_are_refused(size):
    with pytest.raises(InvalidImage, match="too few voxels"):
        image_checks.prepare(noise(a_cube(size)), "fixed image")


@pytest.mark.parametrize("size", [(12, 12, 1), (12, 1, 12), (16, 16)], ids=str)
def test_one_slice_is_enough(size):
    image, notes = image_checks.prepare(noise(a_cube(size)), "fixed image")
    assert image.grid.size == size
    assert notes == []


def test_a_plane_and_a_volume_do_not_go_together():
    with pytest.raises(InvalidImage, match="2D and a moving one in 3D"):
        image_checks.require_same_dimension(noise(a_cube((9, 9))), noise())


def a_label_map(grid: Grid) -> Image:
    labels = torch.zeros(1, *grid.shape, dtype=torch.int16)
    labels[0, 2:, 3:, 4:] = 1000
    return Image(labels, grid)


def test_a_label_map_on_the_images_grid_stays_as_it_is():
    labels = a_label_map(a_cube())
    placed, notes = image_checks.on_grid(labels, a_cube(), "fixed label map")
    assert placed is labels
    assert notes == []


def test_a_label_map_on_another_grid_lands_on_the_nearest_voxels_with_a_warning():
    labels, grid = a_label_map(a_cube(6, 2.0, 0.5)), a_cube(12, 1.0, 0.0)
    placed, notes = image_checks.on_grid(labels, grid, "fixed label map")
    expected = labels.data.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert placed.data.dtype == torch.int16
    np.testing.assert_array_equal(placed.data.numpy(), expected.numpy())
    assert "fixed label map has another grid" in notes[0]
    assert "covers 100 %" in notes[0]


def test_a_label_map_that_covers_half_says_so():
    _, notes = image_checks.on_grid(a_label_map(a_cube((12, 12, 6))), a_cube(), "fixed label map")
    assert "covers 50 %" in notes[0]


def test_a_label_map_elsewhere_is_refused():
    with pytest.raises(InvalidImage, match="is outside of its image"):
        image_checks.on_grid(a_label_map(a_cube(origin=100.0)), a_cube(), "fixed label map")


def test_a_label_map_of_another_dimension_is_refused():
    with pytest.raises(InvalidImage, match="dimension"):
        image_checks.on_grid(a_label_map(a_cube()), a_cube((9, 9)), "fixed label map")


def test_a_mask_becomes_zero_and_one():
    mask, notes = image_checks.prepare_mask(a_label_map(a_cube()), noise(), "fixed mask")
    assert set(mask.data.unique().tolist()) == {0.0, 1.0}
    assert notes == []


def test_an_empty_mask_is_refused():
    empty = Image(torch.zeros(1, 12, 12, 12), a_cube())
    with pytest.raises(InvalidImage, match=r"fixed mask is empty.*Leave the mask out"):
        image_checks.prepare_mask(empty, noise(), "fixed mask")


def test_a_mask_that_is_drawn_outside_of_the_image_only_is_refused():
    mask = torch.zeros(1, 12, 12, 24)
    mask[..., 20:] = 1
    with pytest.raises(InvalidImage, match="within the image"):
        image_checks.prepare_mask(Image(mask, a_cube((24, 12, 12))), noise(), "fixed mask")


def test_auto_is_a_gpu_exactly_where_there_is_one():
    assert (devices.choose_device("auto").type == "cuda") == torch.cuda.is_available()


def test_a_gpu_that_is_absent_is_an_error_not_a_slow_surprise():
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(DeviceUnavailable, match=f"no device '{absent}'"):
        devices.choose_device(absent)


def test_a_device_that_means_nothing_is_refused():
    with pytest.raises(InvalidOption, match="unknown device"):
        devices.choose_device("abacus")


def test_a_field_is_not_called_worse_for_what_it_brings_in():
    """Before and after are of the same samples; what lay outside at first would lower it here."""
    fixed, half = noise(a_cube(20)), a_cube((10, 20, 20))
    moving = Image(fixed.data[..., :10].clone(), half)
    x = torch.arange(20.0).expand(fixed.grid.shape)
    vectors = torch.stack([(9 - x).clamp(max=0), torch.zeros_like(x), torch.zeros_like(x)])
    field = DisplacementField(vectors, fixed.grid)
    inputs = image_checks.Inputs.prepare(fixed, moving, None, None, torch.device("cpu"))
    _, linear, final = inputs.similarities(LinearTransform.identity(3), field)
    assert linear > 1
    assert final == pytest.approx(linear, rel=1e-4)


def test_an_apple_gpu_is_refused_in_one_sentence_before_anything_is_computed(monkeypatch):
    """It has no double precision, in which coordinates are computed."""
    monkeypatch.setattr(devices, "_exists", lambda device: True)
    assert devices.choose_device("mps").type == "mps"  # a network can be trained on it
    with pytest.raises(DeviceUnavailable, match="double precision"):
        register(noise(), noise(), device="mps")
