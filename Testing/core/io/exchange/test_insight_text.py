"""Text files of ITK as editors and programs of other countries leave them."""

from __future__ import annotations

import codecs

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidTransform
from neuralreg.io.itk_transforms import read_itk_transform

from Testing.support.command_line import neuralreg

POINTS = np.random.default_rng(0).uniform(-50, 50, (5, 3)).tolist()


@pytest.fixture
def turn(tmp_path):
    made = sitk.Similarity3DTransform(1.25, (1.0, 0.0, 0.0), 0.5, (1.5, 2.5, 3.5), (4.0, 5.0, 6.0))
    sitk.WriteTransform(made, str(tmp_path / "turn.tfm"))
    return made, tmp_path / "turn.tfm"


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_mark_and_the_ends_of_lines_change_nothing(turn, mark, line_end):
    made, path = turn
    path.write_bytes(mark + path.read_bytes().replace(b"\n", line_end))
    read = read_itk_transform(path)
    for point in POINTS:
        assert read.TransformPoint(point) == pytest.approx(made.TransformPoint(point), abs=1e-9)


@pytest.mark.parametrize("change", [(".", ","), ("3.5", "3.5x"), ("1.5", "#IND")])
def test_what_is_no_number_is_named(turn, change):
    """ITK reads 0,5 as 0 and goes on."""
    _, path = turn
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InvalidTransform, match="parameters of a transform are numbers"):
        read_itk_transform(path)


def test_a_transform_in_a_plane_is_refused_for_a_volume(tmp_path):
    sitk.WriteTransform(sitk.Euler2DTransform((0.0, 0.0), 0.3, (1.0, 2.0)), str(tmp_path / "t.tfm"))
    sitk.WriteImage(sitk.Image([6, 7, 8], sitk.sitkFloat32), str(tmp_path / "f.nii.gz"))
    out = tmp_path / "out.nii.gz"
    done = neuralreg("convert", tmp_path / "t.tfm", "--fixed", tmp_path / "f.nii.gz", "-o", out)
    assert done.exit_code == 1
    assert "a transform in 2D for images in 3D" in " ".join(done.output.split())
    assert not out.exists()
