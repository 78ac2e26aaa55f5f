"""Images that were handed over become files of a training."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidImage, UnwritableOutput
from neuralreg.geometry.grid import Grid
from neuralreg.progress import silent
from neuralreg.worker.dataset_job import write_dataset
from neuralreg.worker.messages import Origin, Voxels

from Testing.support.dicom_files import write_slices

GRID = Grid((4, 5, 6), (1.0, 2.0, 3.0), (7.0, 8.0, 9.0), tuple(np.eye(3).ravel().tolist()))
HALF = Grid((2, 5, 6), (2.0, 2.0, 3.0), (7.5, 8.0, 9.0), GRID.direction)


def a_case(name="knee", layers=None, data=None) -> dict:
    data = np.arange(120, dtype=np.int16).reshape(6, 5, 4) if data is None else data
    return {"name": name, "split": "train", "image": Voxels(data, GRID), "layers": layers}


def a_layer(grid, box, value, numbers) -> dict:
    data = np.zeros(grid.shape, np.uint8)
    data[box] = value
    return {"voxels": Voxels(data, grid, labels=True), "numbers": numbers}


def test_labels_of_other_grids_and_numbers_come_onto_the_image_and_later_ones_win(tmp_path):
    layers = [
        a_layer(HALF, np.s_[:, :, 0], 9, {"9": 3}),
        a_layer(GRID, np.s_[0], 1, {"1": 5}),
    ]
    write_dataset({"folder": str(tmp_path), "cases": [a_case(layers=layers)]}, silent)
    image = sitk.ReadImage(str(tmp_path / "train" / "images" / "knee.nii.gz"))
    assert image.GetSpacing() == (1.0, 2.0, 3.0)
    assert image.GetOrigin() == (7.0, 8.0, 9.0)
    assert sitk.GetArrayFromImage(image)[5, 4, 3] == 119
    labels = sitk.ReadImage(str(tmp_path / "train" / "labels" / "knee.nii.gz"))
    assert labels.GetSize() == image.GetSize()
    values = sitk.GetArrayFromImage(labels)
    expected = np.zeros((6, 5, 4))
    expected[:, :, :2] = 3
    expected[0] = 5
    assert np.array_equal(values, expected)


def test_other_images_in_the_folder_are_not_trained_on_by_accident(tmp_path):
    write_dataset({"folder": str(tmp_path), "cases": [a_case("one")]}, silent)
    write_dataset({"folder": str(tmp_path), "cases": [a_case("one")]}, silent)
    with pytest.raises(UnwritableOutput, match="holds others"):
        write_dataset({"folder": str(tmp_path), "cases": [a_case("two")]}, silent)


def test_padding_and_units_of_what_is_handed_over_are_treated_and_remarked_as_in_files(tmp_path):
    stored = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    stored[:, 0] = -2000
    files = tmp_path / "files"
    files.mkdir()
    about = {"Modality": "PT", "PixelPaddingValue": -2000, "Units": "BQML"}
    write_slices(files, stored, np.ones(6), **about)
    image = Voxels(stored, GRID, name="knee", origin=Origin((str(files / "000.dcm"),)))
    case = {**a_case(), "image": image}
    written = write_dataset({"folder": str(tmp_path / "set"), "cases": [case]}, silent)
    image = sitk.ReadImage(str(tmp_path / "set" / "train" / "images" / "knee.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(image), np.maximum(stored, 4))
    padded, units = written["remarks"]
    assert "knee: 24 voxels have the padding value -2000" in padded
    assert units == "knee: the values are in BQML"


def test_colors_are_refused(tmp_path):
    colors = np.zeros((6, 5, 4, 3), np.uint8)
    with pytest.raises(InvalidImage, match="one value per voxel"):
        write_dataset({"folder": str(tmp_path), "cases": [a_case(data=colors)]}, silent)
