"""Transform files of other programs: right, or refused with what they are and the way out."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidTransform, RegistrationError, UnreadableFile
from neuralreg.io.transform_files import read_itk_transform, read_transform
from neuralreg.review.geometry.deformation import Deformation

from Testing.support.command_line import neuralreg

MATRIX = "1 0 0 4\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
READERS = (read_transform, read_itk_transform, Deformation.of)
AFFINE = """Transform: AffineTransform_double_3_3
Parameters: 1 0 0 0 1 0 0 0 1 {} {} 0
FixedParameters: 0 0 0
"""


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["flirt.mat", "flirt.txt", "matrix.tfm", "example_func2highres"])
def test_a_bare_matrix_is_refused_because_its_coordinates_are_not_known(tmp_path, read, name):
    (tmp_path / name).write_text(MATRIX)
    with pytest.raises(InvalidTransform, match=rf"of which coordinates.*{name}.*--from: fsl"):
        read(tmp_path / name)


@pytest.mark.parametrize(("name", "program"), [("a.m3z", "FreeSurfer")])
def test_a_format_of_another_program_is_named_with_the_way_out(tmp_path, name, program):
    (tmp_path / name).write_text("anything")
    with pytest.raises(InvalidTransform, match=program) as caught:
        read_transform(tmp_path / name)
    assert caught.value.remedy
    done = neuralreg("info", str(tmp_path / name))
    assert (done.exit_code, program in done.stderr) == (1, True)


@pytest.mark.parametrize("code", [2006, 2007])
@pytest.mark.parametrize("read", READERS)
def test_a_warp_of_fnirt_is_refused_without_the_moving_image(tmp_path, code, read):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4))
    image.header["intent_code"] = code
    nibabel.save(image, tmp_path / "warp.nii.gz")
    with pytest.raises(InvalidTransform, match=r"FSL's coordinates.*--"):
        read(tmp_path / "warp.nii.gz")


@pytest.mark.parametrize(
    ("name", "program"),
    [("a.lta", "FreeSurfer"), ("a.aff12.1D", "AFNI"), ("a.npz", "npz"), ("a.mif", "MRtrix")],
)
def test_a_damaged_file_of_another_program_is_named(tmp_path, name, program):
    (tmp_path / name).write_text("anything")
    with pytest.raises(UnreadableFile, match=rf"{name}.*{program}"):
        read_transform(tmp_path / name)


def two_transforms(folder: Path, suffix: str) -> Path:
    """A file with two shifts in a row, of which ITK reads the first alone."""
    path = folder / f"two{suffix}"
    if suffix == ".h5":
        sitk.WriteTransform(sitk.TranslationTransform(3, (5, 0, 0)), str(path))
        with h5py.File(path, "a") as file:
            file.copy("TransformGroup/0", "TransformGroup/1")
    else:
        parts = AFFINE.format(5, 0), AFFINE.format(0, 3)
        path.write_text("#Insight Transform File V1.0\n" + "".join(parts))
    return path


@pytest.mark.parametrize("suffix", [".txt", ".tfm", ".h5"])
def test_several_transforms_in_a_row_are_not_cut_to_the_first(tmp_path, capfd, suffix):
    path = two_transforms(tmp_path, suffix)
    for read in READERS:
        with pytest.raises(InvalidTransform, match="several transforms"):
            read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
def test_a_composite_of_several_transforms_is_read_whole(tmp_path, suffix):
    shifts = [sitk.TranslationTransform(3, shift) for shift in ((5, 0, 0), (0, 3, 0))]
    sitk.WriteTransform(sitk.CompositeTransform(shifts), str(tmp_path / f"both{suffix}"))
    moved = Deformation.of(tmp_path / f"both{suffix}")([[0, 0, 0]])
    np.testing.assert_allclose(moved, [[5, 3, 0]])


@pytest.mark.parametrize("command", ["review", "warp", "info", "invert"])
def test_a_transform_that_squeezes_space_flat_is_refused_by_name(tmp_path, command):
    flat, image = tmp_path / "flat.tfm", tmp_path / "image.nrrd"
    text = AFFINE.format(5, 0).replace("0 0 0 1 5", "0 0 0 0 5")
    flat.write_text("#Insight Transform File V1.0\n" + text)
    sitk.WriteImage(sitk.Image(8, 8, 8, sitk.sitkFloat32), str(image))
    arguments = {
        "review": [flat, "--fixed", image, "-q"],
        "warp": [image, flat, "-r", image, "-o", tmp_path / "warped.nrrd"],
        "info": [flat],
        "invert": [flat, "-o", tmp_path / "inverse.tfm"],
    }[command]
    done = neuralreg(command, *map(str, arguments))
    assert done.exit_code == (2 if command == "review" else 1)
    assert "can be inverted" in done.stderr
    assert command == "info" or "flat.tfm" in done.stderr


def test_a_folder_is_no_transform(tmp_path):
    with pytest.raises(UnreadableFile, match="is a folder"):
        read_transform(tmp_path)


@pytest.mark.parametrize("read", READERS)
def test_a_gray_image_is_refused_as_a_transform_by_its_name(tmp_path, read):
    sitk.WriteImage(sitk.Image(8, 8, 8, sitk.sitkFloat32), str(tmp_path / "gray.nii.gz"))
    with pytest.raises(RegistrationError, match=r"one vector per voxel.*gray\.nii\.gz"):
        read(tmp_path / "gray.nii.gz")


def test_a_mark_that_contradicts_the_named_program_is_said(tmp_path):
    path = tmp_path / "a.1D"
    head = "# 3dAllineate matrices (DICOM-to-DICOM, row-by-row):"
    path.write_text(f"{head}\n1 0 0 4 0 1 0 5 0 0 1 6 0 0 0 1\n")
    notes: list[str] = []
    read_itk_transform(path, source="niftyreg", notes=notes)
    assert "bears the mark of AFNI" in notes[0]
