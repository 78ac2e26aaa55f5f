"""Images and label maps of a review, as the door gives them."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidImage
from neuralreg.review.geometry.volumes import labels_of, volume_of


def save_map(values: np.ndarray, path: Path) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def test_labels_beyond_32_bits_are_compared_as_they_are(tmp_path):
    values = np.zeros((4, 4, 4))
    values[1], values[2] = 614454277, 3000000001
    labels = labels_of(save_map(values, tmp_path / "ids.nii.gz"), "fixed segmentation", [])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), values.astype(np.int64))


def test_labels_that_are_not_finite_are_refused(tmp_path):
    values = np.zeros((4, 4, 4))
    values[0, 0, 0] = np.inf
    with pytest.raises(InvalidImage, match="fixed segmentation holds whole numbers"):
        labels_of(save_map(values, tmp_path / "inf.nrrd"), "fixed segmentation", [])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_values_that_are_not_finite_are_background_in_a_review(tmp_path, suffix):
    values = np.linspace(-1000, -800, 64, dtype=np.float32).reshape(4, 4, 4)
    values[3] = np.nan
    notes: list[str] = []
    image = volume_of(save_map(values, tmp_path / f"ct{suffix}"), "fixed image", notes)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image)[3], -1000)
    assert len(notes) == 1
