"""Animations and tables, as DeepReg's users know them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from Testing.support.command_line import neuralreg


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two volumes and a field that moves by 3 mm along x."""
    folder = tmp_path_factory.mktemp("pictures")
    values = np.zeros((5, 20, 24), np.float32)
    values[:, 8:12, 4:8] = 1
    values[:, 0, 0] = np.linspace(0.2, 0.4, 5)  # no slice is like the one before
    for name in ("one", "two"):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / f"{name}.nii.gz"))
    vectors = np.zeros((5, 20, 24, 3))
    vectors[..., 0] = -3
    field = sitk.GetImageFromArray(vectors, isVector=True)
    sitk.WriteImage(field, str(folder / "field.nrrd"))
    return folder


def vis(*arguments, command="visualise"):
    return neuralreg(command, *map(str, arguments))


def test_slices_become_an_animation(files, tmp_path):
    done = vis("-m", 0, "-i", f"{files}/one.nii.gz, {files}/two.nii.gz", "-s", tmp_path,
               "--interval", 70)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    picture = Image.open(tmp_path / "one.gif")
    assert picture.info["duration"] == 70
    assert (tmp_path / "two.gif").is_file()


def test_warping_ends_where_the_field_leads(files, tmp_path):
    done = vis("-m", 1, "-i", files / "one.nii.gz", "--ddf-path", files / "field.nrrd",
               "--slice-inds", "1,2", "--num-interval", 5, "-s", tmp_path)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    picture = Image.open(tmp_path / "one_slice_2.gif")
    assert (tmp_path / "one_slice_1.gif").is_file()
    assert picture.n_frames == 5
    bright = []
    for frame in (0, 4):
        picture.seek(frame)
        values = np.asarray(picture.convert("L"))
        bright.append((values > 128).nonzero()[1].mean() * 24 / values.shape[1])
    assert bright[1] - bright[0] == pytest.approx(3, abs=0.2)


def test_a_table_has_a_column_per_image_and_a_row_per_slice(files, tmp_path):
    arguments = ("-m", 2, "-i", files / "one.nii.gz", "-i", files / "two.nii.gz", "-s", tmp_path)
    done = vis(*arguments, "--slice-inds", "0,2,4", "--col-titles", "a,b", "--fname", "t.png",
               command="vis")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    width, height = Image.open(tmp_path / "t.png").size
    assert width / 24 / 2 == pytest.approx(height / 20 / 3, rel=0.1)
    wrong = vis(*arguments, "--slice-inds", "7")
    assert wrong.exit_code == 1
    assert "0..4" in wrong.stderr


def test_tiles_are_animated_together(files, tmp_path):
    one = str(files / "one.nii.gz")
    done = vis("-m", 3, "-i", ",".join([one] * 6), "--size", "2,3", "-s", tmp_path,
               command="visualize")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    picture = Image.open(tmp_path / "visualisation.gif")
    assert picture.size[0] / picture.size[1] == pytest.approx(3 * 24 / (2 * 20), rel=0.1)
    wrong = vis("-m", 3, "-i", one, "-s", tmp_path)
    assert "1 images" in wrong.stderr


def test_warping_without_a_field_is_an_error(files, tmp_path):
    done = vis("-m", 1, "-i", files / "one.nii.gz", "-s", tmp_path)
    assert done.exit_code == 1
    assert "--ddf-path" in done.stderr
