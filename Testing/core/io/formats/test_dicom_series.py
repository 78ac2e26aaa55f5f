"""Folders of DICOM slices with faults: refused by name, or read with a remark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from neuralreg.errors import InvalidImage, RegistrationError, UnreadableFile
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.image_files import read_image

from Testing.support.dicom_files import new_file, write_slices

STORED = np.random.default_rng(0).integers(0, 2000, (6, 5, 4)).astype(np.int16)
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"


@pytest.fixture
def series(tmp_path) -> Path:
    return write_slices(tmp_path, STORED, np.ones(len(STORED)), Modality="CT")


def edit(folder: Path, change: Callable[[pydicom.Dataset], None], *numbers: int) -> None:
    """Change the headers of some slices, or of all."""
    for k in numbers or range(len(STORED)):
        path = folder / f"{k:03}.dcm"
        file = pydicom.dcmread(path)
        change(file)
        file.save_as(path)


def without(name: str) -> Callable[[pydicom.Dataset], None]:
    return lambda file: delattr(file, name)


def with_value(name: str, value: object) -> Callable[[pydicom.Dataset], None]:
    return lambda file: setattr(file, name, value)


@pytest.mark.parametrize(
    "name", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
def test_a_slice_without_its_placement_among_others_is_refused(series, name):
    edit(series, without(name), 3)
    with pytest.raises(RegistrationError):
        read_image(series)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ImagePositionPatient", RemarkKind.NO_PLACEMENT),
        ("ImageOrientationPatient", RemarkKind.NO_PLACEMENT),
        ("PixelSpacing", RemarkKind.NO_SPACING),
    ],
)
def test_what_no_slice_says_is_a_remark(series, name, kind):
    edit(series, without(name))
    assert [remark.kind for remark in read_image(series).remarks] == [kind]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_value("ImageOrientationPatient", [0.8, 0.6, 0, -0.6, 0.8, 0]), "parallel"),
        (with_value("PixelSpacing", [1, 1]), "pixel spacing"),
    ],
)
def test_slices_that_disagree_are_refused(series, change, words):
    edit(series, change, 4, 5)
    with pytest.raises(InvalidImage, match=words):
        read_image(series)


def test_slices_of_different_sizes_are_said_to_be_that(series):
    def shorten(file: pydicom.Dataset) -> None:
        file.Rows, file.PixelData = 3, file.PixelData[:24]

    edit(series, shorten, 4)
    with pytest.raises(UnreadableFile, match="different sizes"):
        read_image(series)


@pytest.mark.parametrize("number", [0, 3, 5])
@pytest.mark.parametrize("size", [0, 200, -30])
def test_a_truncated_slice_is_named_and_never_left_out(series, number, size):
    path = series / f"{number:03}.dcm"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UnreadableFile, match=rf"{path.name}.*truncated or damaged"):
        read_image(series)


def test_colors_in_slices_are_refused_as_in_one_file(series):
    def color(file: pydicom.Dataset) -> None:
        file.SamplesPerPixel, file.PhotometricInterpretation = 3, "RGB"
        file.PlanarConfiguration, file.PixelRepresentation = 0, 0
        file.BitsAllocated = file.BitsStored = 8
        file.HighBit, file.PixelData = 7, bytes(5 * 4 * 3)

    edit(series, color)
    for path in (series, series / "000.dcm"):
        with pytest.raises(InvalidImage, match="3 samples per pixel"):
            read_image(path)


def test_an_element_of_a_wrong_type_is_an_error_and_no_traceback(series):
    edit(series, lambda file: file.add_new(0x00281053, "LO", "1,5"))
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read_image(series)


@pytest.mark.parametrize("same_series", [True, False])
def test_a_structure_set_beside_the_slices_is_no_second_series_of_images(series, same_series):
    file = new_file(STRUCTURE_SET, STORED[0], "structures")
    file.Modality = "RTSTRUCT"
    pixels = ("Rows", "Columns", "PixelData", "BitsAllocated", "BitsStored", "HighBit")
    for name in (*pixels, "PixelRepresentation", "PhotometricInterpretation", "SamplesPerPixel"):
        delattr(file, name)
    if not same_series:
        file.SeriesInstanceUID = "1.2.9"
    file.save_as(series / "structures.dcm", enforce_file_format=True)
    (series / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (series / "readme.txt").write_text("of the exporting program")
    np.testing.assert_array_equal(read_image(series).data[0].numpy(), STORED)


def test_slices_a_little_off_an_even_spacing_are_a_remark(series):
    edit(series, with_value("ImagePositionPatient", [0, 0, 9.2]), 3)
    (remark,) = read_image(series).remarks
    assert remark.kind is RemarkKind.SHIFTED_SLICES
    assert remark.values["mm"] == pytest.approx(0.2)
