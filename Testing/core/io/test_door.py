"""The door: one content gives one image in any format, or is refused; judged by other libraries."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.geometry.warp import warp, warp_labels
from neuralreg.io.image_files import (
    read_grid,
    read_image,
    read_labels,
    read_series,
    write_image,
)
from neuralreg.registration.image_checks import on_grid, prepare, prepare_mask

from Testing.support.dicom_files import write_dose, write_multiframe, write_slices

FORMATS = (".nii", ".nii.gz", ".hdr", ".nrrd", ".mha")
INTEGERS = (
    np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64,
)  # fmt: skip
NUMBERS = (*INTEGERS, np.float32, np.float64)
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
GRID = Grid((6, 5, 4), (1.5, 2.0, 2.5), (-3.0, 4.0, 5.0), STRAIGHT)
SHIFT = 4.0  # mm along x: some samples of the result are outside of the image


def content(number: type) -> np.ndarray:
    """Values of a number type up to its ends, (z, y, x)."""
    values = np.arange(GRID.count).reshape(GRID.shape).astype(number)
    if np.issubdtype(number, np.integer):
        values[0, 0, :3] = np.iinfo(number).max
        values[1, 1, :3] = np.iinfo(number).min
    else:
        values[0, 0, :3] = (np.nan, np.inf, -1.5)
    return values


def image_of(values: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(GRID.spacing)
    image.SetOrigin(GRID.origin)
    return image


def save(values: np.ndarray, folder: Path, suffix: str, big_endian: bool = False) -> Path:
    """A file by SimpleITK, or by nibabel where that writes what SimpleITK does not."""
    path = folder / f"image{suffix}"
    if big_endian or suffix == ".hdr":
        matrix = np.diag([-1, -1, 1, 1]) @ GRID.index_to_world
        kind = nibabel.Nifti1Pair if suffix == ".hdr" else nibabel.Nifti1Image
        header = kind.header_class(endianness=">" if big_endian else "<")
        header.set_data_dtype(values.dtype)
        image = kind(values.T, matrix, header)
        image.set_qform(matrix, 1)
        nibabel.save(image, path.with_suffix(".img") if suffix == ".hdr" else path)
    else:
        sitk.WriteImage(image_of(values), str(path))
    return path


def shift() -> DisplacementField:
    vectors = torch.zeros(3, *GRID.shape)
    vectors[0] = SHIFT
    return DisplacementField(vectors, GRID)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.__name__)
def test_one_content_is_one_image_in_every_format(tmp_path, number, suffix):
    values = content(number)
    read = read_image(save(values, tmp_path, suffix))
    assert read.data.numpy().dtype == values.dtype
    np.testing.assert_array_equal(read.data[0].numpy(), values)
    assert read.grid.is_close(GRID)
    expected = [] if np.issubdtype(number, np.integer) else [(RemarkKind.NOT_FINITE, {"count": 2})]
    assert [(remark.kind, remark.values) for remark in read.remarks] == expected


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr"])
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.__name__)
def test_big_endian_files_hold_the_same(tmp_path, number, suffix):
    values = content(number)
    read = read_image(save(values, tmp_path, suffix, big_endian=True))
    np.testing.assert_array_equal(read.data[0].numpy(), values)
    assert read.grid.is_close(GRID)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.__name__)
def test_what_was_written_reads_the_same(tmp_path, number, suffix):
    values = content(number)
    write_image(Image(torch.from_numpy(values)[None], GRID), tmp_path / f"written{suffix}")
    read = read_image(tmp_path / f"written{suffix}")
    np.testing.assert_array_equal(read.data[0].numpy(), values)
    assert read.data.numpy().dtype == values.dtype


@pytest.mark.parametrize("number", INTEGERS, ids=lambda number: number.__name__)
def test_labels_of_every_number_type_are_exact_and_have_an_outside(tmp_path, number):
    values = content(number)
    labels = read_labels(save(values, tmp_path, ".nrrd"))
    warped = warp_labels(labels, shift(), GRID)
    transform = sitk.TranslationTransform(3, (SHIFT, 0, 0))
    theirs = sitk.Resample(image_of(values), transform, sitk.sitkNearestNeighbor, 0.0)
    np.testing.assert_array_equal(warped.data[0].numpy(), sitk.GetArrayFromImage(theirs))
    assert warped.data.numpy().dtype == values.dtype
    assert bool((warped.data[0, :, :, -1].double() == 0).all())
    largest = int(np.iinfo(number).max)
    filled = warp_labels(labels, shift(), GRID, outside=largest)
    assert (filled.data[0, :, :, -1].numpy() == largest).all()


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.__name__)
def test_images_of_every_number_type_are_warped_as_simpleitk_does(number):
    values = np.random.default_rng(0).integers(0, 99, GRID.shape).astype(number)
    warped = warp(Image(torch.from_numpy(values)[None], GRID), shift(), GRID, outside=3)
    transform = sitk.TranslationTransform(3, (SHIFT, 0, 0))
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(image_of(values), transform, sitk.sitkLinear, 3.0)
    )
    gap = np.abs(warped.data[0].numpy().astype(float) - theirs.astype(float)).max()
    assert gap <= (1e-4 if np.issubdtype(number, np.floating) else 1)
    assert (warped.data[0, :, :, -1].numpy() == 3).all()


@pytest.mark.parametrize("number", [np.int64, np.uint64, np.int32, np.uint32])
def test_the_largest_integers_do_not_turn_over(number):
    largest = np.iinfo(number).max
    image = Image(torch.from_numpy(np.full((1, *GRID.shape), largest, number)), GRID)
    warped = warp(image, DisplacementField.identity(GRID), GRID).data.numpy()
    assert (warped.astype(float) >= 0.999999 * float(largest)).all()


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.__name__)
def test_masks_of_every_number_type_count_where_they_are_above_zero(number):
    values = content(number)
    image = Image(torch.zeros(1, *GRID.shape), GRID)
    mask = Image(torch.from_numpy(values)[None], GRID)
    inside, _ = prepare_mask(mask, image, "fixed mask")
    np.testing.assert_array_equal(inside.data[0].numpy(), values > 0)


@pytest.mark.parametrize("number", INTEGERS, ids=lambda number: number.__name__)
def test_labels_on_another_grid_stay_exact(number):
    labels = Image(torch.from_numpy(content(number))[None], GRID)
    placed_labels, notes = on_grid(labels, GRID.pad((1, 0, 0)), "label map")
    np.testing.assert_array_equal(placed_labels.data[0, :, :, 1:-1].numpy(), labels.data[0].numpy())
    assert (placed_labels.data[0, :, :, 0].numpy() == 0).all()
    assert len(notes) == 1


def test_values_that_are_not_finite_are_background_for_a_registration(tmp_path):
    values = np.linspace(-1000, -800, GRID.count, dtype=np.float32).reshape(GRID.shape)
    values[:, 0] = np.nan
    read = read_image(save(values, tmp_path, ".nii.gz"))
    prepared, _ = prepare(read, "fixed image")
    np.testing.assert_array_equal(prepared.data[0, :, 0].numpy(), np.nanmin(values))


def test_labels_beyond_32_bits_stay_exact(tmp_path):
    values = np.zeros(GRID.shape)
    values[1], values[2] = 614454277, 3000000001
    labels = read_labels(save(values, tmp_path, ".nii.gz"))
    assert labels.data.unique().tolist() == [0, 614454277, 3000000001]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e300])
def test_labels_that_are_no_integers_are_refused_by_value(tmp_path, value):
    values = np.ones(GRID.shape)
    values[1, 2, 3] = value
    with pytest.raises(InvalidImage, match="whole numbers") as caught:
        read_labels(save(values, tmp_path, ".nrrd"))
    assert f"{value:.9g}" in caught.value.got


def nifti_with(path: Path, offset: int, form: str, *numbers: float) -> Path:
    raw = bytearray(path.read_bytes())
    struct.pack_into("<" + form, raw, offset, *numbers)
    path.write_bytes(raw)
    return path


def test_a_slope_of_zero_scales_nothing(tmp_path):
    path = save(content(np.uint8), tmp_path, ".nii")
    nifti_with(path, 112, "2f", 0.0, 5.0)  # scl_slope, scl_inter
    read = read_image(path)
    np.testing.assert_array_equal(read.data[0].numpy().T, nibabel.load(path).get_fdata())
    assert [remark.kind for remark in read.remarks] == [RemarkKind.SCALING_CONTRADICTS]


def test_scaled_values_are_those_of_nibabel(tmp_path):
    path = nifti_with(save(content(np.int16), tmp_path, ".nii"), 112, "2f", 0.25, -7.0)
    read = read_image(path)
    np.testing.assert_allclose(read.data[0].numpy().T, nibabel.load(path).get_fdata())
    assert read.remarks == ()


def test_an_sform_alone_gives_the_spacing(tmp_path):
    path = tmp_path / "sform.nii"
    matrix = np.array([[2.0, 0, 0, -10], [0, 2.5, 0, -20], [0, 0, 3, -30], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(content(np.int16).T, None)
    image.header.set_sform(matrix, 1)
    nibabel.save(image, path)
    read = read_image(path)
    np.testing.assert_allclose(read.grid.spacing, (2, 2.5, 3))
    np.testing.assert_allclose(
        read.grid.index_to_world, np.diag([-1, -1, 1, 1]) @ nibabel.load(path).affine
    )
    assert [remark.kind for remark in read.remarks] == [RemarkKind.SPACING_CONTRADICTS]
    assert read_grid(path) == read.grid


def test_nifti_2_lies_where_nibabel_has_it(tmp_path):
    matrix = nibabel.affines.from_matvec(np.diag([2.0, 2.5, 3.0]), (1.0, 2.0, 3.0))
    nibabel.save(nibabel.Nifti2Image(content(np.int16).T, matrix), tmp_path / "two.nii")
    read = read_image(tmp_path / "two.nii")
    np.testing.assert_array_equal(read.data[0].numpy(), content(np.int16))
    np.testing.assert_allclose(read.grid.index_to_world, np.diag([-1, -1, 1, 1]) @ matrix)


def test_freesurfer_lies_where_nibabel_has_it(tmp_path):
    matrix = np.array([[-1.0, 0, 0, 9], [0, 0, 1, 8], [0, -1, 0, 7], [0, 0, 0, 1]])
    nibabel.save(nibabel.MGHImage(content(np.int16).T.astype(">i2"), matrix), tmp_path / "a.mgz")
    read = read_image(tmp_path / "a.mgz")
    np.testing.assert_array_equal(read.data[0].numpy(), content(np.int16))
    np.testing.assert_allclose(read.grid.index_to_world, np.diag([-1, -1, 1, 1]) @ matrix)


def test_slices_with_slopes_of_their_own_are_scaled_by_them(tmp_path):
    stored = np.random.default_rng(0).integers(0, 30000, (5, 6, 7)).astype(np.uint16)
    slopes = np.array([1.0, 0.25, 0.5, 0.125, 0.001])
    write_slices(tmp_path, stored, slopes, Units="BQML", Modality="PT")
    read = read_image(tmp_path)
    np.testing.assert_allclose(read.data[0].numpy(), stored * slopes[:, None, None], rtol=1e-6)
    kinds = [remark.kind for remark in read.remarks]
    assert kinds == [RemarkKind.RESCALED_BY_SLICE, RemarkKind.UNITS]


def test_the_padding_around_a_scan_is_background(tmp_path):
    stored = np.random.default_rng(0).integers(0, 2000, (4, 6, 7)).astype(np.int16)
    stored[:, 0] = -2000
    write_slices(tmp_path, stored, np.ones(4), Modality="CT", PixelPaddingValue=-2000)
    read = read_image(tmp_path)
    np.testing.assert_array_equal(read.data[0].numpy(), np.maximum(stored, stored[:, 1:].min()))
    assert [remark.kind for remark in read.remarks] == [RemarkKind.PADDED]
    assert read.remarks[0].values["count"] == (stored == -2000).sum()


@pytest.mark.parametrize("given", ["file", "folder"])
def test_a_dose_has_its_factor_and_its_distances(tmp_path, given):
    stored = np.random.default_rng(0).integers(0, 60000, (5, 6, 7)).astype(np.uint16)
    path = write_dose(tmp_path / "dose.dcm", stored, scaling="0.001", step=3.0)
    read = read_image(path if given == "file" else tmp_path)
    np.testing.assert_allclose(read.data[0].numpy(), stored * 0.001, rtol=1e-6)
    np.testing.assert_allclose(read.grid.spacing, (2, 2, 3))
    assert [(r.kind, r.values) for r in read.remarks] == [(RemarkKind.UNITS, {"units": "GY"})]


@pytest.mark.parametrize("given", ["file", "folder"])
def test_frames_of_one_file_are_ordered_by_their_places(tmp_path, given):
    stored = np.random.default_rng(0).integers(0, 999, (5, 6, 7)).astype(np.uint16)
    places = [4.0, 0.0, 8.0, 2.0, 6.0]
    path = write_multiframe(tmp_path / "all.dcm", stored, places)
    read = read_image(path if given == "file" else tmp_path)
    np.testing.assert_array_equal(read.data[0].numpy(), stored[np.argsort(places)])
    np.testing.assert_allclose(read.grid.spacing, (2, 2, 2))
    np.testing.assert_allclose(read.grid.origin, (-15, -15, 0))
    assert read.remarks == ()


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii", ".nii.gz", ".mhd"])
def test_a_truncated_file_is_said_to_be_truncated_and_nothing_else(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (12, 11, 10)).astype(np.uint8)
    path = save(noise, tmp_path, suffix)
    values = path.with_suffix(".raw") if suffix == ".mhd" else path
    values.write_bytes(values.read_bytes()[:-600])
    code = (
        "import sys; from neuralreg.io.image_files import read_image\n"
        "try: read_image(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("UnreadableFile")
    assert "truncated or damaged" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("damage", [lambda raw: raw[:-50], lambda raw: raw[:-700] + raw[-690:],
                                    lambda raw: raw[:-700] + bytes(100) + raw[-600:]])  # fmt: skip
def test_damage_to_a_packed_file_is_noticed_quietly(tmp_path, capfd, suffix, damage):
    noise = np.random.default_rng(0).integers(0, 255, (12, 11, 10)).astype(np.uint8)
    path = tmp_path / f"packed{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    np.testing.assert_array_equal(read_image(path).data[0].numpy(), noise)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UnreadableFile, match="truncated or damaged"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [5, 10, 10**9])
def test_a_wrong_length_of_packed_values_is_noticed(tmp_path, size):
    """ITK takes that many bytes and hands out whatever was in memory."""
    path = tmp_path / "packed.mha"
    noise = np.random.default_rng(0).integers(0, 255, (12, 11, 10)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    raw = path.read_bytes()
    start = raw.index(b"CompressedDataSize = ") + len(b"CompressedDataSize = ")
    end = raw.index(b"\n", start)
    path.write_bytes(raw[:start] + str(size).encode() + raw[end:])
    with pytest.raises(UnreadableFile, match="damaged"):
        read_image(path)


def test_a_pair_without_its_values_is_refused(tmp_path):
    path = save(content(np.int16), tmp_path, ".hdr")
    path.with_suffix(".img").unlink()
    with pytest.raises(UnreadableFile, match=r"image\.img cannot be opened"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".nrrd"])
def test_a_color_image_gives_its_grid_but_no_values(tmp_path, suffix):
    colors = sitk.GetImageFromArray(np.zeros((8, 9, 3), np.uint8), isVector=True)
    sitk.WriteImage(colors, str(tmp_path / f"rgb{suffix}"))
    assert read_grid(tmp_path / f"rgb{suffix}").size == (9, 8)
    with pytest.raises(InvalidImage, match=r"one value per voxel.*rgb"):
        read_image(tmp_path / f"rgb{suffix}")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_field_gives_its_grid_but_no_values(tmp_path, suffix):
    field = sitk.GetImageFromArray(np.zeros((*GRID.shape, 3), np.float32), isVector=True)
    field.SetSpacing(GRID.spacing)
    field.SetOrigin(GRID.origin)
    sitk.WriteImage(field, str(tmp_path / f"field{suffix}"))
    assert read_grid(tmp_path / f"field{suffix}").is_close(GRID)
    with pytest.raises(InvalidImage, match="one value per voxel"):
        read_image(tmp_path / f"field{suffix}")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".nii"])
def test_a_series_has_every_frame_and_its_times(tmp_path, suffix):
    frames = [image_of(content(np.int16) + k) for k in range(4)]
    sitk.WriteImage(sitk.JoinSeries(frames, 0.0, 2.5), str(tmp_path / f"series{suffix}"))
    notes: list[str] = []
    series = read_series(tmp_path / f"series{suffix}", notes=notes)
    assert (len(series.frames), series.step, notes) == (4, 2.5, [])
    for read, written in zip(series.frames, frames, strict=True):
        np.testing.assert_array_equal(read.data[0].numpy(), sitk.GetArrayFromImage(written))
        assert read.grid.is_close(GRID)
    (remark,) = read_image(tmp_path / f"series{suffix}").remarks
    assert remark.kind is RemarkKind.FRAME_CHOSEN
    assert remark.values["frames"] == 4
