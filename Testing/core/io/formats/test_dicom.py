"""DICOM series, made slice by slice with SimpleITK."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.io.image_files import read_image

SPACING, STEP = (1.5, 2.0), 3.0
ACROSS, DOWN = (0.8, 0.6, 0.0), (0.0, 0.0, -1.0)
NORMAL = np.cross(ACROSS, DOWN)
START = np.array((10.0, 20.0, 30.0))


def slice_values(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(-1000, 1000, (8, 10)).astype(np.int16)


def write_slice(folder: Path, index: int, position: np.ndarray, *, uid: str = "1.2.10",
                name: str = "", description: str = "T1") -> None:  # fmt: skip
    image = sitk.GetImageFromArray(slice_values(index)[None])
    image.SetSpacing((*SPACING, STEP))
    tags = {
        "0008|0060": "MR",
        "0008|103e": description,
        "0020|000d": "1.2.3",
        "0020|000e": uid,
        "0020|0052": "1.2.3.4",
        "0020|0013": str(index),
        "0020|0032": "\\".join(f"{value:.6f}" for value in position),
        "0020|0037": "\\".join(str(value) for value in (*ACROSS, *DOWN)),
    }
    for key, value in tags.items():
        image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    # Names in an order of their own: the series must be sorted by place.
    writer.SetFileName(str(folder / f"{name or uid}-{(7 * index) % 10}.dcm"))
    writer.Execute(image)


def a_series(folder: Path, places: list[float], **options: str) -> Path:
    for index, place in enumerate(places):
        write_slice(folder, index, START + place * NORMAL, **options)
    return folder


def test_a_series_is_stacked_by_place_with_its_geometry(tmp_path):
    image = read_image(a_series(tmp_path, [STEP * k for k in range(6)]))
    assert image.grid.size == (10, 8, 6)
    np.testing.assert_allclose(image.grid.spacing, (*SPACING, STEP), atol=1e-5)
    np.testing.assert_allclose(
        image.grid.points_at((2, 3, 4)),
        START + 2 * SPACING[0] * np.array(ACROSS) + 3 * SPACING[1] * np.array(DOWN)
        + 4 * STEP * NORMAL,
        atol=1e-4,
    )  # fmt: skip
    expected = np.stack([slice_values(k) for k in range(6)])
    np.testing.assert_array_equal(image.data[0].numpy(), expected)


def test_several_series_in_one_folder_are_listed(tmp_path):
    a_series(tmp_path, [0.0, 3.0], description="T1 axial")
    a_series(tmp_path, [0.0, 3.0, 6.0], uid="1.2.11", description="FLAIR")
    with pytest.raises(UnreadableFile, match=r"2 DICOM series.*'T1 axial'.*2 files.*'FLAIR'"):
        read_image(tmp_path)


def test_a_folder_without_dicom_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(UnreadableFile, match="no DICOM series"):
        read_image(tmp_path)


def test_a_missing_slice_is_not_bridged(tmp_path):
    with pytest.raises(InvalidImage, match=r"not evenly spaced.*3\.000 to 6\.000 mm"):
        read_image(a_series(tmp_path, [0.0, 3.0, 6.0, 12.0, 15.0]))


def test_a_tilted_series_is_refused(tmp_path):
    for index in range(5):
        place = START + index * (STEP * NORMAL + 0.7 * np.array(DOWN))
        write_slice(tmp_path, index, place)
    with pytest.raises(InvalidImage, match="gantry tilt"):
        read_image(tmp_path)


def test_two_images_of_one_slice_are_refused(tmp_path):
    a_series(tmp_path, [0.0, 3.0, 6.0])
    a_series(tmp_path, [0.0, 3.0, 6.0], name="again")
    with pytest.raises(InvalidImage, match="6 files at 3 positions"):
        read_image(tmp_path)


def test_a_single_file_of_a_series_is_read_with_a_note(tmp_path):
    a_series(tmp_path, [0.0, 3.0])
    notes: list[str] = []
    file = sorted(tmp_path.iterdir())[0]
    assert read_image(file, notes=notes).grid.size == (10, 8, 1)
    assert "give its folder" in notes[0]
