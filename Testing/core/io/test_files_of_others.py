"""Files as disks, scanners and other programs leave them; judged by NumPy and pydicom."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidImage, InvalidTransform, UnreadableFile
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.image_files import read_image
from neuralreg.io.transform_files import read_transform
from neuralreg.studies.table.pairings import images_in_folder

from Testing.support.dicom_files import new_file, write_multiframe, write_slices

VALUES = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


def kinds(path: Path) -> list[RemarkKind]:
    return [remark.kind for remark in read_image(path).remarks]


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd", "a.dcm", "a.mgz", "a.png", "a.tfm"]
)
def test_an_empty_file_is_said_to_be_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UnreadableFile, match="is empty"):
        (read_transform if name.endswith("tfm") else read_image)(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd"])
def test_a_file_that_was_not_fetched_is_known(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\n")
    with pytest.raises(UnreadableFile, match="git lfs pull"):
        read_image(tmp_path / name)
    (tmp_path / "b.nii.gz").symlink_to(tmp_path / "annex")
    with pytest.raises(UnreadableFile, match=r"link to .*annex, which is not there"):
        read_image(tmp_path / "b.nii.gz")


def test_a_home_folder_that_no_shell_wrote_out_is_explained():
    with pytest.raises(UnreadableFile, match="Write out what ~ stands for"):
        read_image(Path("~/a.nii.gz"))


def test_a_packed_nifti_with_the_wrong_ending_is_read(tmp_path):
    nibabel.save(nibabel.Nifti1Image(VALUES.T, np.eye(4)), tmp_path / "b.nii")
    (tmp_path / "a.nii").write_bytes(gzip.compress((tmp_path / "b.nii").read_bytes()))
    read, plain = read_image(tmp_path / "a.nii"), read_image(tmp_path / "b.nii")
    np.testing.assert_array_equal(read.data[0].numpy(), VALUES)
    assert read.grid.is_close(plain.grid)


def write_nrrd(path: Path, *lines: str) -> Path:
    head = ("NRRD0004", "type: int16", "dimension: 3", "sizes: 7 6 5", "endian: little",
            "encoding: raw", *lines)  # fmt: skip
    path.write_bytes("\n".join(head).encode() + b"\n\n" + VALUES.tobytes())
    return path


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], [RemarkKind.NO_PLACEMENT, RemarkKind.NO_SPACING]),
        (["spacings: 2 2 3"], [RemarkKind.NO_PLACEMENT]),
        (["spacings: 2 nan 3"], [RemarkKind.NO_PLACEMENT, RemarkKind.NO_SPACING]),
        (["space: LPS", "space directions: (2,0,0) (0,2,0) (0,0,3)"], [RemarkKind.HEADER_REPAIRED]),
        (["space: scanner-xyz", "space directions: (2,0,0) (0,2,0) (0,0,3)",
          "space origin: (1,2,3)"], [RemarkKind.AXES_ASSUMED]),
        (["space: RAS", "space directions: (2,0,0) (0,2,0) (0,0,3)", "space origin: (1,2,3)"], []),
    ],
)  # fmt: skip
def test_what_a_nrrd_does_not_say_is_said(tmp_path, lines, expected):
    assert kinds(write_nrrd(tmp_path / "a.nrrd", *lines)) == expected


def test_directions_of_a_nrrd_that_are_no_numbers_are_refused(tmp_path):
    """ITK places such a file as if it had none."""
    lines = "space: LPS", "space directions: (2,0,0) (0,2,0) (nan,nan,nan)", "space origin: (0,0,0)"
    with pytest.raises(InvalidImage, match="an image has a place"):
        read_image(write_nrrd(tmp_path / "a.nrrd", *lines))


def write_meta(path: Path, *lines: str) -> Path:
    head = ("ObjectType = Image", "NDims = 3", *lines, "DimSize = 7 6 5",
            "ElementType = MET_SHORT", "ElementDataFile = LOCAL\n")  # fmt: skip
    path.write_bytes("\n".join(head).encode() + VALUES.tobytes())
    return path


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], [RemarkKind.NO_PLACEMENT, RemarkKind.NO_SPACING]),
        (["ElementSize = 2 2 3", "Offset = 1 2 3"], []),
        (["ElementSpacing = 2 -2 3", "Offset = 1 2 3"], [RemarkKind.HEADER_REPAIRED]),
        (["ElementSpacing = 2 2e-1 3", "Position = 1 2 3"], []),
        (["ElementSpacing = 2 2 3", "Offset = 1 2 3", "ElementToIntensityFunctionSlope = 2"],
         [RemarkKind.INTENSITY_FUNCTION]),
    ],
)  # fmt: skip
def test_what_a_metaimage_does_not_say_or_says_in_vain_is_said(tmp_path, lines, expected):
    path = write_meta(tmp_path / "a.mha", *lines)
    assert kinds(path) == expected
    np.testing.assert_array_equal(read_image(path).data[0].numpy(), VALUES)


@pytest.mark.parametrize("fault", ["whole", "one less", "one cut", "one gone"])
def test_slices_that_a_metaimage_lists_are_all_there(tmp_path, fault):
    names = [f"s{k}.raw" for k in range(5)]
    for name, part in zip(names, VALUES, strict=True):
        (tmp_path / name).write_bytes(part.tobytes()[: -4 if (fault, name) == ("one cut", "s3.raw")
                                                     else None])  # fmt: skip
    if fault == "one gone":
        (tmp_path / "s2.raw").unlink()
    lines = ["ObjectType = Image", "NDims = 3", "Offset = 0 0 0", "ElementSpacing = 1 1 1",
             "DimSize = 7 6 5", "ElementType = MET_SHORT", "ElementDataFile = LIST 2",
             *names[: 4 if fault == "one less" else 5]]  # fmt: skip
    (tmp_path / "a.mhd").write_text("\n".join(lines) + "\n")
    if fault == "whole":
        np.testing.assert_array_equal(read_image(tmp_path / "a.mhd").data[0].numpy(), VALUES)
    else:
        with pytest.raises(UnreadableFile, match="lists files of slices that are missing or cut"):
            read_image(tmp_path / "a.mhd")


def test_values_that_a_metaimage_names_and_that_are_not_there_are_named(tmp_path):
    path = tmp_path / "a.mhd"
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(path))
    path.write_text(path.read_text().replace("a.raw", r"data\a.raw"))
    with pytest.raises(UnreadableFile, match=r"a\.mhd names a file .* got data\\a\.raw"):
        read_image(path)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("form", ["series", "file"])
def test_values_are_those_stored_also_where_small_ones_are_shown_white(tmp_path, signed, form):
    stored = VALUES.astype(np.int16 if signed else np.uint16)
    about = {"PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": "-10"}
    if not signed:
        about |= {"BitsStored": 12, "HighBit": 11}
    slices = stored if form == "series" else stored[:1]
    write_slices(tmp_path, slices, np.full(len(slices), 2.0), **about)
    read = read_image(tmp_path)
    np.testing.assert_allclose(read.data[0].numpy(), slices * 2.0 - 10)
    assert RemarkKind.NOT_INVERTED in [remark.kind for remark in read.remarks]


def test_a_mosaic_is_named(tmp_path):
    write_slices(tmp_path, VALUES[:1], [1.0], ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    assert RemarkKind.MOSAIC in kinds(tmp_path)


def test_slices_of_two_frames_of_reference_are_refused(tmp_path):
    write_slices(tmp_path, VALUES, np.ones(5))
    made = pydicom.dcmread(tmp_path / "002.dcm")
    made.FrameOfReferenceUID = "1.2.3"
    made.save_as(tmp_path / "002.dcm")
    with pytest.raises(InvalidImage, match="one frame of reference"):
        read_image(tmp_path)


def test_one_dicom_file_without_place_and_spacing_says_so(tmp_path):
    path = tmp_path / "a.dcm"
    new_file(SECONDARY, VALUES[0], "one").save_as(path, enforce_file_format=True)
    expected = {RemarkKind.NO_SPACING, RemarkKind.NO_PLACEMENT}
    assert set(kinds(tmp_path)) == expected
    assert set(kinds(path)) == {*expected, RemarkKind.SINGLE_SLICE}


def test_an_enhanced_file_of_one_frame_is_as_thick_as_it_says(tmp_path):
    path = write_multiframe(tmp_path / "a.dcm", VALUES[:1], [3.0])
    read = read_image(path)
    assert read.grid.spacing == (2, 2, 2)
    assert read.grid.origin == (-15, -15, 3)
    np.testing.assert_array_equal(read.data[0].numpy(), VALUES[:1])


def test_files_that_macos_leaves_beside_others_are_no_images(tmp_path):
    write_slices(tmp_path, VALUES, np.ones(5))
    (tmp_path / "._000.dcm").write_bytes(b"\0\5\x16\7" + b"Mac OS X        " * 9)
    np.testing.assert_array_equal(read_image(tmp_path).data[0].numpy(), VALUES)
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(tmp_path / "a.nii.gz"))
    (tmp_path / "._a.nii.gz").write_bytes(b"\0\5\x16\7" + b"Mac OS X        " * 9)
    assert [Path(image.files["image"]).name for image in images_in_folder(tmp_path)] == ["a.nii.gz"]


def test_elastix_that_names_no_initial_transform_is_refused_by_name(tmp_path):
    lines = ('(Transform "TranslationTransform")', "(NumberOfParameters 3)",
             "(TransformParameters 2 0 0)", '(InitialTransformParametersFileName "")',
             "(FixedImageDimension 3)", "(MovingImageDimension 3)")  # fmt: skip
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises((UnreadableFile, InvalidTransform), match=r"a\.txt names no initial"):
        read_transform(tmp_path / "a.txt")
