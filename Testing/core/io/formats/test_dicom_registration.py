"""DICOM registration objects: by the equations of the standard, and by pydicom's reading."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.io.exchange.families import WRITERS, read_content
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.itk_transforms import read_itk_transform
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from Testing.support import foreign_transforms as foreign
from Testing.support.command_line import neuralreg
from Testing.support.dicom_files import new_file, write_slices
from Testing.support.itk_points import transform_points

LINEAR, DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.1", "1.2.840.10008.5.1.4.1.1.66.3"
FIXED, MOVING = (generate_uid(entropy_srcs=[name]) for name in ("fixed", "moving"))
SHIFT = np.array([[1.0, 0, 0, 4], [0, 1, 0, -5], [0, 0, 1, 6], [0, 0, 0, 1]])
TURN = np.eye(4)
TURN[:3, :3] = foreign.TURN


@pytest.fixture
def series(tmp_path) -> Sides:
    """Two series of one patient, each with its own frame of reference."""
    folders = []
    for name, frame in (("fixed", FIXED), ("moving", MOVING)):
        folder = tmp_path / name
        folder.mkdir()
        stored = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
        write_slices(
            folder, stored, [1] * 4, FrameOfReferenceUID=frame, PatientID="P1",
            PatientName="Doe^Jane", SeriesInstanceUID=generate_uid(entropy_srcs=[name, "series"]),
        )  # fmt: skip
        folders.append(folder)
    return Sides(*folders)


def matrix_item(matrix: np.ndarray) -> Dataset:
    item = Dataset()
    item.FrameOfReferenceTransformationMatrixType = "AFFINE"
    item.FrameOfReferenceTransformationMatrix = [f"{v:.10g}" for v in matrix.ravel()]
    return item


def save(kind: str, path, name: str, items: list[Dataset]):
    made = new_file(kind, np.zeros((2, 2), np.uint16), "registration")
    del made.PixelData
    made.Modality, made.FrameOfReferenceUID = "REG", FIXED
    setattr(made, name, Sequence(items))
    made.save_as(path, enforce_file_format=True)
    return path


def linear_object(path, *parts: tuple[str, list[np.ndarray]]):
    items = []
    for frame, matrices in parts:
        item, registration = Dataset(), Dataset()
        item.FrameOfReferenceUID = frame
        registration.MatrixSequence = Sequence([matrix_item(matrix) for matrix in matrices])
        item.MatrixRegistrationSequence = Sequence([registration])
        items.append(item)
    return save(LINEAR, path, "RegistrationSequence", items)


def deformable_object(path, vectors: np.ndarray, steps=(4.0, 5.0, 6.0), before=None, after=None):
    """Vectors (z, y, x, 3) on an oblique grid; its samples, (z, y, x, 3), come back as well."""
    size, axes = vectors.shape[2::-1], foreign.TURN.T
    item, grid = Dataset(), Dataset()
    item.SourceFrameOfReferenceUID = MOVING
    for name, matrix in (("Pre", before), ("Post", after)):
        if matrix is not None:
            setattr(item, f"{name}DeformationMatrixRegistrationSequence",
                    Sequence([matrix_item(matrix)]))  # fmt: skip
    grid.ImagePositionPatient = [-10.0, 5.0, 7.0]
    grid.ImageOrientationPatient = [f"{v:.12g}" for v in axes[:2].ravel()]
    grid.GridDimensions, grid.GridResolution = list(size), list(steps)
    grid.VectorGridData = vectors.astype("<f4").tobytes()
    item.DeformableRegistrationGridSequence = Sequence([grid])
    save(DEFORMABLE, path, "DeformableRegistrationSequence", [item])
    z, y, x = np.indices(vectors.shape[:3])
    index = np.stack([x, y, z], -1) * np.array(steps)
    return np.array([-10.0, 5.0, 7.0]) + index @ axes


POINTS = np.random.default_rng(0).uniform(-20, 20, (9, 3))


def test_a_matrix_takes_points_of_the_other_frame_to_that_of_the_object(tmp_path):
    path = linear_object(tmp_path / "r.dcm", (FIXED, [np.eye(4)]), (MOVING, [SHIFT, TURN]))
    content, family = read_content(path)
    assert family == "dicom"
    onto_fixed = foreign.apply(TURN, foreign.apply(SHIFT, POINTS))  # the first is applied first
    np.testing.assert_allclose(transform_points(content, onto_fixed), POINTS, atol=1e-6)


def test_registrations_of_several_series_are_not_cut_to_one(tmp_path):
    other = generate_uid()
    path = linear_object(tmp_path / "r.dcm", (MOVING, [SHIFT]), (other, [TURN]))
    with pytest.raises(InvalidTransform, match=rf"two series.*{other}"):
        read_content(path)


@pytest.mark.parametrize("steps", [(4.0, 5.0, 6.0), (4.0, 5.0, -6.0), (-4.0, 5.0, 6.0)])
def test_a_deformation_is_matrix_vectors_matrix(tmp_path, steps):
    vectors = np.random.default_rng(1).normal(0, 2, (4, 5, 6, 3))
    points = deformable_object(tmp_path / "d.dcm", vectors, steps, before=SHIFT, after=TURN)
    expected = foreign.apply(TURN, foreign.apply(SHIFT, points) + vectors)
    inside = (slice(1, -1),) * 3
    transform = read_itk_transform(tmp_path / "d.dcm")
    ours = transform_points(transform, points[inside].reshape(-1, 3))
    np.testing.assert_allclose(ours, expected[inside].reshape(-1, 3), atol=1e-3)


def test_undefined_vectors_become_the_nearest_and_are_said(tmp_path):
    vectors = np.zeros((4, 5, 6, 3)) + [1, 2, 3]
    vectors[:, :, 0] = np.nan
    deformable_object(tmp_path / "d.dcm", vectors)
    notes: list[str] = []
    content, _ = read_content(tmp_path / "d.dcm", notes=notes)
    np.testing.assert_allclose(sitk.GetArrayFromImage(content)[:, :, 0], [[[1, 2, 3]] * 5] * 4)
    assert "lead outside" in notes[0]


def test_a_truncated_deformation_is_refused(tmp_path):
    deformable_object(tmp_path / "d.dcm", np.zeros((4, 5, 6, 3)))
    dataset = pydicom.dcmread(tmp_path / "d.dcm")
    grid = dataset.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
    grid.VectorGridData = grid.VectorGridData[:-12]
    dataset.save_as(tmp_path / "d.dcm")
    with pytest.raises(UnreadableFile, match="truncated"):
        read_content(tmp_path / "d.dcm")


def test_a_matrix_is_written_with_both_series_and_comes_back(tmp_path, series):
    path = tmp_path / "r.dcm"
    WRITERS["dicom"].linear(foreign.MATRIX, path, series, [])
    dataset = pydicom.dcmread(path)
    assert (dataset.SOPClassUID, dataset.Modality, dataset.PatientID) == (LINEAR, "REG", "P1")
    assert dataset.FrameOfReferenceUID == FIXED
    item = dataset.RegistrationSequence[1]
    assert item.FrameOfReferenceUID == MOVING
    assert len(item.ReferencedImageSequence) == 4
    numbers = item.MatrixRegistrationSequence[0].MatrixSequence[0]
    assert numbers.FrameOfReferenceTransformationMatrixType == "AFFINE"
    stored = np.reshape(np.array(numbers.FrameOfReferenceTransformationMatrix, float), (4, 4))
    np.testing.assert_allclose(stored, np.linalg.inv(foreign.MATRIX), atol=1e-8)
    np.testing.assert_allclose(
        transform_points(read_itk_transform(path), POINTS), foreign.linear(POINTS), atol=1e-6
    )


@pytest.mark.parametrize("axes", ["LPS", "oblique", "oblique left"])
def test_a_field_is_written_so_that_the_standard_means_it(tmp_path, series, axes):
    side = foreign.make_side(tmp_path / "fixed.nii", axes, (7, 6, 5))
    foreign.write_warp("spm", side, side, foreign.bent, tmp_path / "y.nii")
    content, _ = read_content(tmp_path / "y.nii")
    WRITERS["dicom"].field(content, tmp_path / "d.dcm", series, [])
    item = pydicom.dcmread(tmp_path / "d.dcm").DeformableRegistrationSequence[0]
    grid = item.DeformableRegistrationGridSequence[0]
    rows = np.reshape(np.array(grid.ImageOrientationPatient, float), (2, 3))
    directions = np.vstack([rows, np.cross(*rows)])
    size = tuple(grid.GridDimensions)
    vectors = np.frombuffer(grid.VectorGridData, "<f4").reshape(*size[::-1], 3)
    z, y, x = np.indices(size[::-1])
    index = np.stack([x, y, z], -1) * np.array(grid.GridResolution)
    points = np.array(grid.ImagePositionPatient, float) + index @ directions
    np.testing.assert_allclose(points + vectors, foreign.bent(points), atol=1e-3)
    back, _ = read_content(tmp_path / "d.dcm")
    inside = points[1:-1, 1:-1, 1:-1].reshape(-1, 3)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(back, sitk.sitkVectorFloat64))
    np.testing.assert_allclose(transform_points(transform, inside), foreign.bent(inside), atol=1e-3)


def test_the_command_writes_an_object_and_says_what_is_in_it(tmp_path, series):
    foreign_matrix = sitk.AffineTransform(3)
    foreign_matrix.SetTranslation((1.0, 2.0, 3.0))
    sitk.WriteTransform(foreign_matrix, str(tmp_path / "t.tfm"))
    out = tmp_path / "r.dcm"
    sides = ("--fixed", series.fixed, "--moving", series.moving)
    done = neuralreg("convert", tmp_path / "t.tfm", "-o", out, *sides)
    assert done.exit_code == 0, done.stderr
    assert "for DICOM" in done.stdout
    said = neuralreg("info", out)
    assert "moving to fixed (registered), LPS mm" in said.stdout
    refused = neuralreg("convert", tmp_path / "t.tfm", "-o", tmp_path / "s.dcm")
    assert "refers to both series" in refused.stderr


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("kind", ["linear", "field"])
def test_dciodvfy_finds_no_error(tmp_path, series, kind):
    path = tmp_path / "r.dcm"
    if kind == "linear":
        WRITERS["dicom"].linear(foreign.MATRIX, path, series, [])
    else:
        field = sitk.Image([5, 5, 5], sitk.sitkVectorFloat32, 3)
        WRITERS["dicom"].field(field, path, series, [])
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, env=os.environ)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert errors == []


@pytest.mark.skipif(shutil.which("plastimatch") is None, reason="plastimatch is not installed")
@pytest.mark.parametrize("axes", ["LPS", "oblique"])
def test_what_plastimatch_writes_is_read_as_it_means_it(tmp_path, series, axes):
    side = foreign.make_side(tmp_path / "fixed.nii", axes, (9, 8, 7))
    foreign.write_warp("spm", side, side, foreign.bent, tmp_path / "y.nii")
    done = neuralreg("convert", tmp_path / "y.nii", "-o", tmp_path / "field.mha")
    assert done.exit_code == 0, done.stderr
    files = ("--input", tmp_path / "field.mha", "--output-dicom", tmp_path / "out")
    folders = ("--fixed-rcs", series.fixed, "--moving-rcs", series.moving)
    command = ["plastimatch", "xf-convert", *files, *folders]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = (tmp_path / "out").rglob("*.dcm")
    points = side.points()[1:-1, 1:-1, 1:-1].reshape(-1, 3)
    ours = transform_points(read_itk_transform(path), points)
    np.testing.assert_allclose(ours, foreign.bent(points), atol=1e-3)
