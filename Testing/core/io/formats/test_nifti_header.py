"""NIfTI headers that contradict themselves: placed by the standard with a remark, or refused."""

from __future__ import annotations

import gzip
import json
import struct
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.image_files import read_grid, read_image

from Testing.support.command_line import neuralreg

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


@pytest.mark.parametrize(
    ("offset", "form", "number"), [(70, "h", 9999), (72, "h", 0), (40, "h", 9)]
)
def test_a_damaged_header_is_refused_by_name(tmp_path, offset, form, number):
    path = write(tmp_path / "damaged.nii", BOTH, (offset, form, (number,)))
    with pytest.raises(UnreadableFile, match=r"damaged\.nii"):
        read_image(path)


def test_a_header_is_known_by_its_mark_where_its_size_is_damaged(tmp_path):
    """ITK reads it, too, but with NaN as 0: the door is the same for it."""
    image = nibabel.Nifti1Image(np.where(STORED == 7, NAN, STORED).astype(np.float32), AFFINE)
    nibabel.save(image, tmp_path / "mark.nii")
    raw = bytearray((tmp_path / "mark.nii").read_bytes())
    struct.pack_into("<i", raw, 0, 0)
    (tmp_path / "mark.nii").write_bytes(raw)
    read = read_image(tmp_path / "mark.nii")
    assert [remark.kind for remark in read.remarks] == [RemarkKind.NOT_FINITE]
    assert int(read.data.isnan().sum()) == 1


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_asks_for_more_than_a_file_can_hold_is_damage_and_no_lack_of_memory(
    tmp_path, suffix
):
    sizes = (42, "7h", (32767,) * 4 + (1,) * 3)
    path = write(tmp_path / "huge.nii", BOTH, (40, "h", (4,)), sizes)
    if suffix == ".nii.gz":
        path = path.with_name("huge.nii.gz")
        path.write_bytes(gzip.compress((tmp_path / "huge.nii").read_bytes()))
    with pytest.raises(UnreadableFile, match=r"huge\.nii.*damaged"):
        read_image(path)


@pytest.mark.parametrize("turned", [True, False])
def test_a_single_plane_that_is_not_axial_says_that_it_loses_its_place(tmp_path, turned):
    affine = AFFINE[:, [0, 2, 1, 3]] if turned else AFFINE
    nibabel.save(nibabel.Nifti1Image(STORED[:, :, 0], affine), tmp_path / "plane.nii")
    kinds = [remark.kind for remark in read_image(tmp_path / "plane.nii").remarks]
    assert kinds == [RemarkKind.TURNED_PLANE] * turned


@pytest.mark.parametrize("content", [b"text", bytes(600)])
def test_what_is_no_nifti_is_refused_as_that(tmp_path, content):
    (tmp_path / "no.nii").write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"no\.nii is no NIfTI"):
        read_image(tmp_path / "no.nii")


def test_an_analyze_pair_keeps_nan_and_says_that_it_has_no_placement(tmp_path):
    values = np.where(STORED == 7, NAN, STORED).astype(np.float32)
    nibabel.save(nibabel.AnalyzeImage(values, AFFINE), tmp_path / "old.img")
    read = read_image(tmp_path / "old.hdr")
    np.testing.assert_array_equal(read.data[0].numpy(), values.T)
    kinds = {remark.kind for remark in read.remarks}
    assert kinds == {RemarkKind.NOT_FINITE, RemarkKind.NO_PLACEMENT}
    np.testing.assert_allclose(read.grid.spacing, (2, 2.5, 3))


def test_every_command_reads_nifti_2(tmp_path):
    z, y, x = np.mgrid[:16, :16, :16] - 7.5
    ball = (100 / (1 + np.exp(np.sqrt(x**2 + 1.3 * y**2 + z**2) - 5))).astype(np.float32)
    path, out = tmp_path / "two.nii", tmp_path / "out"
    nibabel.save(nibabel.Nifti2Image(ball.T, AFFINE), path)
    commands = (
        ["info", path],
        ["register", path, path, "-o", out, "--prealign", "none", "-q"],
        ["warp", path, out / "fixed_to_moving.nii.gz", "-r", path, "-o", tmp_path / "w.nii"],
        ["review", out / "fixed_to_moving.nii.gz", "--fixed", path, "--moving", path, "-q"],
    )
    for command in commands:
        done = neuralreg(*command)
        assert done.exit_code == 0, done.output


def test_a_tiny_cosine_does_not_make_itk_complain(tmp_path, capfd):
    affine = AFFINE.copy()
    affine[2, 0] = -4e-318
    nibabel.save(nibabel.Nifti2Image(STORED, affine), tmp_path / "tiny.nii")
    read_image(tmp_path / "tiny.nii")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("number", [np.uint64, np.int64, np.uint32])
def test_info_lists_the_largest_labels_exactly(tmp_path, number):
    labels = np.zeros((4, 5, 6), number)
    labels[1], labels[2] = np.iinfo(number).max, 3
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE, dtype=number), tmp_path / "labels.nii")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = neuralreg("info", str(tmp_path / "labels.nii"), "--json")
    assert json.loads(done.stdout)["labels"] == [0, 3, int(np.iinfo(number).max)]
