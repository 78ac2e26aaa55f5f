"""NIfTI headers that contradict themselves: placed by the standard with a remark, or refused."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from neuralreg.errors import InvalidImage
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.image_files import read_grid, read_image

C, S = np.cos(0.3), np.sin(0.3)
AFFINE = np.array(
    [[-2 * C, 2.5 * S, 0, 30], [-2 * S, -2.5 * C, 0, -12], [0, 0, 3, 7], [0, 0, 0, 1]]
)
STORED = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NAN = float("nan")
QFORM_ONLY, SFORM_ONLY, BOTH, NEITHER = (1, 0), (0, 1), (1, 1), (0, 0)
PIXDIM, QUATERNION, OFFSET, SFORM, UNITS = 80, 256, 268, 280, 123  # bytes of the header


def write(path: Path, codes: tuple[int, int], *edits: tuple[int, str, tuple[float, ...]]) -> Path:
    """A file by nibabel, its header edited byte by byte."""
    image = nibabel.Nifti1Image(STORED, AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    for offset, form, numbers in ((252, "2h", codes), *edits):
        struct.pack_into("<" + form, raw, offset, *numbers)
    path.write_bytes(raw)
    return path


def place_of(path: Path) -> np.ndarray:
    """From index to LPS mm, as nibabel has it."""
    return TO_LPS @ nibabel.load(path).affine


ODD = [
    (SFORM_ONLY, (PIXDIM, "3f", (NAN, 2.5, 3)), RemarkKind.SPACING_CONTRADICTS),
    (SFORM_ONLY, (PIXDIM, "3f", (0, 0, 0)), RemarkKind.SPACING_CONTRADICTS),
    (BOTH, (PIXDIM, "3f", (0, 0, 0)), RemarkKind.HEADER_REPAIRED),
    (BOTH, (PIXDIM, "f", (-2,)), RemarkKind.HEADER_REPAIRED),
    (BOTH, (PIXDIM, "f", (NAN,)), RemarkKind.HEADER_REPAIRED),
    (QFORM_ONLY, (PIXDIM, "f", (-2,)), RemarkKind.HEADER_REPAIRED),
    (BOTH, (QUATERNION, "f", (NAN,)), RemarkKind.HEADER_REPAIRED),
    (BOTH, (OFFSET, "f", (NAN,)), RemarkKind.HEADER_REPAIRED),
]


@pytest.mark.parametrize(("codes", "edit", "kind"), ODD)
def test_what_cannot_be_is_left_for_what_nibabel_follows_too(tmp_path, codes, edit, kind):
    path = write(tmp_path / "odd.nii", codes, edit)
    read = read_image(path)
    np.testing.assert_allclose(read.grid.index_to_world, place_of(path), atol=1e-4)
    assert kind in {remark.kind for remark in read.remarks}
    assert read_grid(path) == read.grid


@pytest.mark.parametrize("numbers", [(NAN,) * 4, (0.0,) * 4, (float("inf"), 0, 0, 0)])
def test_an_sform_that_is_no_placement_leaves_the_qform(tmp_path, numbers):
    path = write(tmp_path / "odd.nii", BOTH, (SFORM, "4f", numbers))
    read = read_image(path)
    np.testing.assert_allclose(read.grid.index_to_world, TO_LPS @ AFFINE, atol=1e-4)
    (remark,) = read.remarks
    assert remark.kind is RemarkKind.HEADER_REPAIRED
    assert "qform" in str(remark)


@pytest.mark.parametrize(
    "edit", [(OFFSET, "f", (NAN,)), (QUATERNION, "f", (NAN,)), (QUATERNION, "3f", (0.8, 0.8, 0.8))]
)
def test_a_qform_that_cannot_be_is_never_repaired_without_a_remark(tmp_path, edit):
    read = read_image(write(tmp_path / "odd.nii", QFORM_ONLY, edit))
    assert [remark.kind for remark in read.remarks] == [RemarkKind.HEADER_REPAIRED]


def test_a_header_without_a_placement_says_so(tmp_path):
    read = read_image(write(tmp_path / "nowhere.nii", NEITHER))
    assert [remark.kind for remark in read.remarks] == [RemarkKind.NO_PLACEMENT]
    np.testing.assert_allclose(read.grid.spacing, (2, 2.5, 3))


@pytest.mark.parametrize(("code", "factor"), [(1, 1000.0), (3, 0.001)])
@pytest.mark.parametrize("codes", [QFORM_ONLY, SFORM_ONLY, BOTH])
@pytest.mark.parametrize("pixdim", [(2, 2.5, 3), (1, 1, 1)])
def test_lengths_in_other_units_become_mm_with_a_remark(tmp_path, code, factor, codes, pixdim):
    edits = (UNITS, "b", (code,)), (PIXDIM, "3f", pixdim)
    read = read_image(write(tmp_path / "units.nii", codes, *edits))
    assert RemarkKind.LENGTH_UNIT in {remark.kind for remark in read.remarks}
    if codes == SFORM_ONLY:  # where the sform alone counts, pixdim may say what it likes
        expected = TO_LPS @ np.diag([factor, factor, factor, 1]) @ AFFINE
        np.testing.assert_allclose(read.grid.index_to_world, expected, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_allclose(read.grid.spacing, np.multiply(pixdim, factor), rtol=1e-5)


def test_a_sound_header_is_read_without_a_remark(tmp_path):
    for codes in (QFORM_ONLY, SFORM_ONLY, BOTH):
        assert read_image(write(tmp_path / "sound.nii", codes)).remarks == ()


def test_a_placement_that_is_sheared_names_its_file(tmp_path):
    path = write(tmp_path / "sheared.nii", SFORM_ONLY, (SFORM + 4, "f", (1.9,)))
    with pytest.raises(InvalidImage, match=r"right angles.*sheared\.nii"):
        read_image(path)


def test_a_line_of_voxels_is_refused_with_its_name(tmp_path):
    nibabel.save(nibabel.Nifti1Image(STORED[:, 0, 0], np.eye(4)), tmp_path / "line.nii")
    with pytest.raises(InvalidImage, match=r"line\.nii"):
        read_image(tmp_path / "line.nii")
