"""Images and label maps through ITK and through files; SimpleITK is the judge."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import (
    InvalidImage,
    InvalidTransform,
    RegistrationError,
    UnreadableFile,
    UnwritableOutput,
)
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.image_files import read_image, read_labels, write_image
from neuralreg.io.itk import (
    from_itk,
    image_from_itk,
    image_to_itk,
    linear_from_itk,
    linear_to_itk,
    to_itk,
)
from neuralreg.io.itk_images import WRITABLE

DTYPES = (torch.uint8, torch.int16, torch.uint16, torch.int32, torch.float32, torch.float64)


def rotation(*degrees: float) -> sitk.Euler3DTransform:
    return sitk.Euler3DTransform([0.0] * 3, *np.deg2rad(degrees).tolist())


OBLIQUE = Grid((7, 6, 5), (0.7, 1.3, 2.9), (11.0, -23.0, 37.0), rotation(20, -30, 40).GetMatrix())
PLANE = Grid((7, 6), (0.7, 1.3), (11.0, -23.0), (0.6, -0.8, 0.8, 0.6))


def ramp(grid: Grid, dtype: torch.dtype = torch.int16) -> Image:
    return Image(torch.arange(grid.count).view(1, *grid.shape).to(dtype), grid)


def random_points(grid: Grid, count: int = 200) -> np.ndarray:
    index = np.random.default_rng(0).uniform(0.01, 0.99, (count, grid.dimension))
    return grid.points_at(index * np.subtract(grid.size, 1))


def test_a_voxel_stands_at_the_same_point_for_itk(a_grid):
    image = image_to_itk(ramp(a_grid))
    for index in ((0,) * a_grid.dimension, (3, 1, 4)[: a_grid.dimension]):
        np.testing.assert_allclose(
            image.TransformIndexToPhysicalPoint(index), a_grid.points_at(index), atol=1e-9
        )
        assert image.GetPixel(index) == ramp(a_grid).data[0][index[::-1]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_image_comes_back_from_itk_with_its_number_type_and_grid(dtype):
    back = image_from_itk(image_to_itk(ramp(OBLIQUE, dtype)))
    assert back.data.dtype == dtype
    assert back.grid.is_close(OBLIQUE, 1e-9)
    np.testing.assert_array_equal(back.data.numpy(), ramp(OBLIQUE, dtype).data.numpy())


def test_the_image_is_a_copy_of_itks_memory():
    source = sitk.Image(4, 4, 4, sitk.sitkFloat32)
    ours = image_from_itk(source)
    ours.data.fill_(7)
    assert source.GetPixel(1, 1, 1) == 0


def test_several_channels_keep_their_order():
    data = torch.arange(2 * PLANE.count).view(2, *PLANE.shape).float()
    image = image_to_itk(Image(data, PLANE))
    assert image.GetPixel(3, 1) == (float(data[0, 1, 3]), float(data[1, 1, 3]))
    np.testing.assert_array_equal(image_from_itk(image).data.numpy(), data.numpy())


def test_complex_values_are_refused():
    with pytest.raises(InvalidImage, match="real values"):
        image_from_itk(sitk.Image(4, 4, 4, sitk.sitkComplexFloat32))


def test_four_axes_are_refused():
    with pytest.raises(InvalidImage, match="two or three axes"):
        image_from_itk(sitk.Image([4, 4, 4, 2], sitk.sitkFloat32))


def bspline(grid: Grid) -> sitk.Transform:
    transform = sitk.BSplineTransformInitializer(image_to_itk(ramp(grid)), [3] * grid.dimension)
    count = len(transform.GetParameters())
    transform.SetParameters(np.random.default_rng(1).normal(0, 2, count).tolist())
    return transform


def test_any_itk_transform_is_sampled_exactly_at_the_samples(a_grid):
    transform = bspline(a_grid)
    field = from_itk(transform, a_grid)
    for index in np.ndindex(*a_grid.size):
        point = a_grid.points_at(index)
        moved = point + field.vectors[(slice(None), *index[::-1])].numpy()
        np.testing.assert_allclose(moved, transform.TransformPoint(point.tolist()), atol=1e-5)


def test_our_field_and_itks_transform_move_points_alike(a_grid):
    field = from_itk(bspline(a_grid), a_grid)
    points = random_points(a_grid)
    theirs = [to_itk(field).TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(field(points), theirs, atol=1e-5)


def test_a_transform_of_another_dimension_is_refused():
    with pytest.raises(InvalidTransform, match="2D for images in 3D"):
        from_itk(sitk.TranslationTransform(2), OBLIQUE)


def test_a_chain_of_linear_itk_transforms_becomes_one_matrix():
    similarity = sitk.Similarity3DTransform(
        1.2, (0.0, 0.6, 0.0, 0.8), (5.0, -6.0, 7.0), (30.0, 20.0, 10.0)
    )
    chain = sitk.CompositeTransform([rotation(10, 20, 30), similarity])
    points = random_points(OBLIQUE, 10)
    ours = linear_from_itk(chain)
    np.testing.assert_allclose(
        ours(points), [chain.TransformPoint(p) for p in points.tolist()], atol=1e-9
    )
    np.testing.assert_allclose(
        [linear_to_itk(ours).TransformPoint(p) for p in points.tolist()], ours(points), atol=1e-9
    )


def test_a_bending_transform_is_no_linear_one():
    with pytest.raises(InvalidTransform, match="linear"):
        linear_from_itk(bspline(OBLIQUE))


@pytest.mark.parametrize("suffix", WRITABLE)
def test_itk_reads_what_we_write(tmp_path, suffix, a_grid):
    path = tmp_path / f"image{suffix}"
    write_image(ramp(a_grid), path)
    read = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), ramp(a_grid).data[0].numpy())
    assert Grid.of(read).is_close(a_grid)


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_we_read_what_itk_writes(tmp_path, suffix, dtype):
    path = tmp_path / f"image{suffix}"
    sitk.WriteImage(image_to_itk(ramp(OBLIQUE, dtype)), str(path))
    notes: list[str] = []
    read = read_image(path, notes=notes)
    assert read.data.dtype == dtype
    assert read.grid.is_close(OBLIQUE)
    np.testing.assert_array_equal(read.data.numpy(), ramp(OBLIQUE, dtype).data.numpy())
    assert notes == []


def test_a_single_slice_stays_a_volume(tmp_path):
    grid = Grid((6, 5, 1), (1, 1, 4), (0, 0, 9), np.eye(3).ravel())
    write_image(ramp(grid), tmp_path / "slice.nii.gz")
    assert read_image(tmp_path / "slice.nii.gz").grid.is_close(grid)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(b"the old one")

    def half_written(image: sitk.Image, name: str, **_: object) -> None:
        Path(name).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(sitk, "WriteImage", half_written)
    with pytest.raises(KeyboardInterrupt):
        write_image(ramp(OBLIQUE), path)
    assert path.read_bytes() == b"the old one"
    assert [file.name for file in tmp_path.iterdir()] == ["image.nii.gz"]


def test_writing_into_a_missing_folder_says_so(tmp_path):
    with pytest.raises(UnwritableOutput, match="Choose a folder that exists"):
        write_image(ramp(OBLIQUE), tmp_path / "nowhere" / "image.nii.gz")


def test_an_unknown_ending_is_refused_before_writing(tmp_path):
    with pytest.raises(UnwritableOutput, match=r"\.nii\.gz"):
        write_image(ramp(OBLIQUE), tmp_path / "image.doc")
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableFile, match=r"absent\.nii\.gz cannot be opened"):
        read_image(tmp_path / "absent.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".png"])
@pytest.mark.parametrize("content", [b"", b"no image at all " * 40], ids=["empty", "text"])
def test_a_file_that_is_no_image_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile):
        read_image(path)


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32], ids=str)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_truncated_file_is_refused_although_itk_may_invent_the_rest(tmp_path, suffix, dtype):
    path = tmp_path / f"image{suffix}"
    noise = np.random.default_rng(0).integers(0, 999, (1, 20, 20, 20))
    grid = Grid((20, 20, 20), (1, 1, 1), (0, 0, 0), np.eye(3).ravel())
    write_image(Image(torch.from_numpy(noise).to(dtype), grid), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UnreadableFile):
        read_image(path)


def test_colors_are_refused(tmp_path):
    sitk.WriteImage(sitk.Image([5, 5, 5], sitk.sitkVectorUInt8, 3), str(tmp_path / "rgb.nrrd"))
    with pytest.raises(InvalidImage, match="one value per voxel"):
        read_image(tmp_path / "rgb.nrrd")


def test_the_first_frame_of_a_series_is_taken_and_said(tmp_path):
    frames = [image_to_itk(ramp(OBLIQUE, torch.float32)) + shift for shift in (0, 1000, 2000)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / "series.nii.gz"))
    notes: list[str] = []
    read = read_image(tmp_path / "series.nii.gz", notes=notes)
    np.testing.assert_array_equal(read.data.numpy(), ramp(OBLIQUE, torch.float32).data.numpy())
    assert read.grid.is_close(OBLIQUE)
    assert len(notes) == 1
    assert "frame 0 of 3" in notes[0]


def with_header(path: Path, offset: int, form: str, *values: float) -> None:
    """Overwrite some numbers of a NIfTI-1 header."""
    raw = bytearray(path.read_bytes())
    struct.pack_into("<" + form, raw, offset, *values)
    path.write_bytes(raw)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_values_that_are_not_finite_stay_and_are_counted(tmp_path, suffix):
    image = ramp(OBLIQUE, torch.float32)
    image.data[0, 1, 1, :3] = float("nan")
    image.data[0, 2, 2, 0] = float("inf")
    path = tmp_path / f"nan{suffix}"
    write_image(image, path)
    notes: list[str] = []
    read = read_image(path, notes=notes)
    np.testing.assert_array_equal(read.data.numpy(), image.data.numpy())
    assert read.remarks == (Remark(RemarkKind.NOT_FINITE, path, {"count": 4}),)
    assert notes == [f"{path}: 4 NaN or infinite values"]


def test_two_placements_that_disagree_are_said(tmp_path):
    path = tmp_path / "two.nii"
    write_image(ramp(OBLIQUE), path)
    with_header(path, 268, "3f", -31.0, 23.0, 37.0)  # qoffset: x was -11
    notes: list[str] = []
    read = read_image(path, notes=notes)
    assert "qform and sform" in notes[0]
    assert "29 voxels" in notes[0]  # 20 mm of 0.7
    np.testing.assert_allclose(read.grid.origin, sitk.ReadImage(str(path)).GetOrigin(), atol=1e-6)


def test_a_sheared_placement_is_refused_in_words(tmp_path):
    path = tmp_path / "sheared.nii"
    write_image(ramp(OBLIQUE), path)
    with_header(path, 252, "hh", 0, 1)
    with_header(path, 280, "12f", 1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    with pytest.raises(InvalidImage, match="right angles"):
        read_image(path)


def test_a_nifti_file_of_several_packed_parts_is_whole(tmp_path):
    write_image(ramp(OBLIQUE), tmp_path / "plain.nii")
    raw = (tmp_path / "plain.nii").read_bytes()
    (tmp_path / "parts.nii.gz").write_bytes(gzip.compress(raw[:400]) + gzip.compress(raw[400:]))
    read = read_image(tmp_path / "parts.nii.gz")
    np.testing.assert_array_equal(read.data.numpy(), ramp(OBLIQUE).data.numpy())


def test_whole_numbers_stored_as_floating_point_are_labels_with_a_note(tmp_path):
    write_image(ramp(OBLIQUE, torch.float32), tmp_path / "labels.nii.gz")
    notes: list[str] = []
    labels = read_labels(tmp_path / "labels.nii.gz", notes=notes)
    assert labels.data.dtype == torch.int32
    np.testing.assert_array_equal(labels.data.numpy(), ramp(OBLIQUE).data.numpy())
    assert "floating point" in notes[0]


def test_fractions_are_no_labels(tmp_path):
    write_image(Image(ramp(OBLIQUE).data / 2, OBLIQUE), tmp_path / "half.nii.gz")
    with pytest.raises(InvalidImage, match=r"whole numbers .*0\.5"):
        read_labels(tmp_path / "half.nii.gz")


def test_one_flipped_byte_in_a_packed_file_is_noticed(tmp_path):
    path = tmp_path / "image.nii.gz"
    noise = np.random.default_rng(0).integers(0, 999, (1, *OBLIQUE.shape)).astype(np.int16)
    write_image(Image(torch.from_numpy(noise), OBLIQUE), path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) * 3 // 4] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(UnreadableFile, match="truncated or damaged"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_a_damaged_header_ends_in_an_image_or_in_one_of_our_errors(tmp_path, suffix):
    path, random = tmp_path / f"image{suffix}", np.random.default_rng(3)
    write_image(ramp(OBLIQUE, torch.float32), path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(60):
        raw = bytearray(whole)
        for place in random.integers(0, min(352, len(raw)), 3):
            raw[place] = random.integers(0, 256)
        path.write_bytes(raw)
        try:
            read_image(path)
        except RegistrationError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), -4.0, 1e30])
def test_a_header_that_points_nowhere_is_refused(tmp_path, offset):
    path = tmp_path / "image.nii"
    write_image(ramp(OBLIQUE), path)
    with_header(path, 108, "f", offset)
    with pytest.raises(UnreadableFile, match="damaged NIfTI header"):
        read_image(path)
