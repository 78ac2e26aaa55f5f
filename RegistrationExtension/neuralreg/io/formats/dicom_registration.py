"""DICOM's Spatial Registration and Deformable Spatial Registration objects.

The object's frame of reference is the fixed (registered) one. A matrix takes points of another
frame, the moving one, to it; a deformation takes points of it to the other:
`p_moving = M_post (M_pre p + d(p))` at the samples p of its grid. Source: DICOM PS3.3, C.20.2 and
C.20.3. Patient, study and references to both series come from these.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from neuralreg import __version__
from neuralreg.errors import InvalidOption, InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.matrices import complete, to_affine
from neuralreg.io.exchange.sides import Side, Sides
from neuralreg.io.files import container_of, write_whole
from neuralreg.io.formats.dicom import is_dicom
from neuralreg.io.formats.dicom_header import read_header
from neuralreg.io.formats.dicom_series import series_files

_LINEAR, _DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.1", "1.2.840.10008.5.1.4.1.1.66.3"
_RIGID = 1e-4  # of a matrix times its transpose against the identity
_LONGEST = 64  # letters of a description
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
    "AccessionNumber",
)  # fmt: skip


def is_registration(path: Path) -> bool:
    """Whether a file is one of these objects."""
    if not path.is_file() or not is_dicom(path):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about values that it can read all the same
        kind = read_header(path, ["SOPClassUID"]).get("SOPClassUID", "")
    return str(kind) in (_LINEAR, _DEFORMABLE)


def read_registration(path: Path, notes: list[str]) -> sitk.Transform | sitk.Image:
    """The transform of an object, fixed to moving in LPS mm.

    Args:
        path: of the file.
        notes: a sentence is appended where samples are undefined.

    Raises:
        InvalidTransform: it registers several series, or holds something that is not known.
        UnreadableFile: it is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            if str(dataset.SOPClassUID) == _LINEAR:
                return to_affine(_read_linear(path, dataset))
            return vector_files.fill_outside(_read_deformable(path, dataset), path, notes)
    except (OSError, AttributeError, LookupError, ValueError, TypeError, EOFError) as error:
        raise UnreadableFile(f"{path} is a damaged registration object", got=str(error)) from error


def read_references(path: Path) -> tuple[set[str], set[str]]:
    """The UIDs of the image files that an object is between: of the fixed series, of the moving."""
    dataset: Any = pydicom.dcmread(path)
    own = str(dataset.get("FrameOfReferenceUID", ""))
    fixed = {uid for series in dataset.get("ReferencedSeriesSequence") or ()
             for uid in _instances(series.get("ReferencedInstanceSequence"))}  # fmt: skip
    moving: set[str] = set()
    for item in dataset.get("DeformableRegistrationSequence") or ():
        moving |= _instances(item.get("ReferencedImageSequence"))
    is_fixed_known = False
    for item in dataset.get("RegistrationSequence") or ():
        instances = _instances(item.get("ReferencedImageSequence"))
        matrix = _product(path, item.MatrixRegistrationSequence)
        is_own = str(item.get("FrameOfReferenceUID", "")) == own
        if is_own and np.allclose(matrix, np.eye(4)) and not is_fixed_known:
            is_fixed_known = True
            fixed |= instances
        else:
            moving |= instances
    return fixed - moving, moving


def _instances(sequence: Any) -> set[str]:
    return {str(item.ReferencedSOPInstanceUID) for item in sequence or ()}


def rename_series(path: Path, description: str, number: str) -> None:
    """Give the series of an object a description and a number; empty texts leave them as they are.

    Raises:
        InvalidOption: the number is none.
    """
    if number and not number.strip().isdigit():
        raise InvalidOption("the number of a series is a whole number", got=number)
    dataset = pydicom.dcmread(path)
    dataset.SeriesDescription = description[:_LONGEST] or dataset.SeriesDescription
    dataset.SeriesNumber = int(number) if number else dataset.SeriesNumber
    with write_whole(path) as draft:
        dataset.save_as(draft, enforce_file_format=True)


def write_linear(matrix: Matrix, path: Path, sides: Sides) -> None:
    """Write a Spatial Registration object.

    Args:
        matrix: fixed to moving, LPS mm.
        path: .dcm.
        sides: folders with one DICOM series each.
    """
    fixed, moving = (_series(sides, side, path) for side in ("fixed", "moving"))
    dataset = _new_object(_LINEAR, fixed, moving)
    items = []
    for series, to_fixed in ((fixed, np.eye(4)), (moving, np.linalg.inv(matrix))):
        item = Dataset()
        item.FrameOfReferenceUID = series[0].FrameOfReferenceUID
        item.ReferencedImageSequence = _references(series)
        registration = Dataset()
        registration.RegistrationTypeCodeSequence = Sequence()
        registration.MatrixSequence = Sequence([_matrix_item(to_fixed)])
        item.MatrixRegistrationSequence = Sequence([registration])
        items.append(item)
    dataset.RegistrationSequence = Sequence(items)
    _save(dataset, path)


def write_deformable(field: sitk.Image, path: Path, sides: Sides) -> None:
    """Write a Deformable Spatial Registration object.

    Args:
        field: displacements in LPS mm, on any grid.
        path: .dcm.
        sides: folders with one DICOM series each.
    """
    fixed, moving = (_series(sides, side, path) for side in ("fixed", "moving"))
    dataset = _new_object(_DEFORMABLE, fixed, moving)
    values, grid = sitk.GetArrayFromImage(field).astype("<f4"), Grid.of(field)
    axes = np.reshape(grid.direction, (3, 3)).T  # rows: along x, y, z
    origin = np.array(grid.origin)
    if np.linalg.det(axes) < 0:  # the third axis of the object is the product of the others
        origin, values = grid.points_at([0.0, 0.0, grid.size[2] - 1.0]), values[::-1]
    item = Dataset()
    item.SourceFrameOfReferenceUID = moving[0].FrameOfReferenceUID
    item.ReferencedImageSequence = _references(moving)
    item.RegistrationTypeCodeSequence = Sequence()
    item.PreDeformationMatrixRegistrationSequence = Sequence([_matrix_item(np.eye(4))])
    item.PostDeformationMatrixRegistrationSequence = Sequence([_matrix_item(np.eye(4))])
    deformation = Dataset()
    deformation.ImagePositionPatient = _decimals(origin)
    deformation.ImageOrientationPatient = _decimals(axes[:2].ravel())
    deformation.GridDimensions = list(grid.size)
    deformation.GridResolution = list(grid.spacing)
    deformation.VectorGridData = np.ascontiguousarray(values).tobytes()
    item.DeformableRegistrationGridSequence = Sequence([deformation])
    dataset.DeformableRegistrationSequence = Sequence([item])
    _save(dataset, path)


def _read_linear(path: Path, dataset: Any) -> Matrix:
    own = str(dataset.get("FrameOfReferenceUID", ""))
    to_fixed: Matrix = np.eye(4)
    others = []
    for item in dataset.RegistrationSequence:
        matrix = _product(path, item.MatrixRegistrationSequence)
        frame = str(item.get("FrameOfReferenceUID", ""))
        if frame == own and np.allclose(matrix, np.eye(4)):
            continue
        others.append((frame, matrix))
    moving = [matrix for frame, matrix in others if frame != own] or [m for _, m in others]
    if len(moving) > 1:
        raise _several(path, [frame for frame, _ in others])
    for frame, matrix in others:
        if frame == own and len(others) > 1:
            to_fixed = matrix
    return np.asarray(np.linalg.inv(moving[0]) @ to_fixed) if moving else np.eye(4)


def _read_deformable(path: Path, dataset: Any) -> sitk.Image:
    items = [item for item in dataset.DeformableRegistrationSequence
             if item.get("DeformableRegistrationGridSequence")]  # fmt: skip
    if len(items) != 1:
        raise _several(path, [str(item.SourceFrameOfReferenceUID) for item in items])
    item = items[0]
    before = _product(path, item.get("PreDeformationMatrixRegistrationSequence"))
    after = _product(path, item.get("PostDeformationMatrixRegistrationSequence"))
    part = item.DeformableRegistrationGridSequence[0]
    size = tuple(int(n) for n in part.GridDimensions)
    steps = np.array([float(v) for v in part.GridResolution])
    rows = np.reshape([float(v) for v in part.ImageOrientationPatient], (2, 3))
    axes = np.vstack([rows, np.cross(*rows)]) * np.sign(steps)[:, None]
    data = part.VectorGridData
    order = "<" if dataset.original_encoding[1] else ">"
    if len(data) != 12 * np.prod(size):
        raise UnreadableFile(
            f"{path} is truncated", got=f"{len(data)} bytes of vectors",
            wanted=f"{12 * np.prod(size)}",
        )  # fmt: skip
    values = np.frombuffer(data, f"{order}f4").reshape(*size[::-1], 3).astype(np.float32)
    origin = tuple(float(v) for v in part.ImagePositionPatient)
    grid = Grid(size, tuple(np.abs(steps)), origin, tuple(axes.T.ravel()))
    offset = after @ before @ grid.index_to_world - grid.index_to_world
    return vector_files.affine_image(values, grid, after[:3, :3], offset)


def _product(path: Path, sequence: Any) -> Matrix:
    """The matrices of a registration, the first of which is applied first."""
    matrix: Matrix = np.eye(4)
    for registration in sequence or ():
        for one in registration.get("MatrixSequence", [registration]):
            numbers = [float(v) for v in one.FrameOfReferenceTransformationMatrix]
            matrix = complete(np.reshape(numbers, (4, 4)), path) @ matrix
    return matrix


def _several(path: Path, frames: list[str]) -> InvalidTransform:
    names = ", ".join(frames) or "none"
    return InvalidTransform(
        "a registration object between two series was expected", where=str(path),
        got=f"{len(frames)} registrations, of the frames of reference {names}",
        remedy="Split it into one object for each pair of series.",
    )  # fmt: skip


def _series(sides: Sides, side: Side, path: Path) -> list[Any]:
    """The headers of a series."""
    folder = sides.require(side, path, "a registration object refers to both series")
    if not container_of(folder).is_dir():
        raise InvalidTransform(
            "a registration object refers to series", where=str(folder), got="a file",
            wanted="the folder of a DICOM series",
        )  # fmt: skip
    tags = [*_PATIENT, *_STUDY, "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID",
            "SOPInstanceUID"]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        headers = [read_header(Path(name), tags) for name in series_files(folder)]
    if not headers[0].get("FrameOfReferenceUID"):
        raise InvalidTransform(
            "this series has no frame of reference, to which an object could refer",
            where=str(folder),
        )
    return headers


def _new_object(kind: str, fixed: list[Any], moving: list[Any]) -> FileDataset:
    """An object of the fixed image's patient and study that refers to both series."""
    meta, now = FileMetaDataset(), datetime.now()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(kind), generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    for name in (*_PATIENT, *_STUDY):
        setattr(dataset, name, fixed[0].get(name, ""))
    dataset.Modality, dataset.SeriesInstanceUID = "REG", generate_uid()
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.SeriesDescription, dataset.Laterality = "Registration", ""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.Manufacturer = dataset.ManufacturerModelName = "neuralreg"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "0", __version__
    dataset.FrameOfReferenceUID = fixed[0].FrameOfReferenceUID
    dataset.PositionReferenceIndicator = ""
    dataset.ContentDate, dataset.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.SeriesDate, dataset.SeriesTime = dataset.ContentDate, dataset.ContentTime
    dataset.ContentLabel, dataset.ContentDescription = "REGISTRATION", "Registration"
    dataset.ContentCreatorName = ""
    own = [one for one in (fixed, moving)
           if one[0].StudyInstanceUID == fixed[0].StudyInstanceUID]  # fmt: skip
    dataset.ReferencedSeriesSequence = Sequence(_series_items(own))
    if len(own) == 1:
        study = Dataset()
        study.StudyInstanceUID = moving[0].StudyInstanceUID
        study.ReferencedSeriesSequence = Sequence(_series_items([moving]))
        dataset.StudiesContainingOtherReferencedInstancesSequence = Sequence([study])
    return dataset


def _series_items(all_series: list[list[Any]]) -> list[Dataset]:
    items = []
    for series in all_series:
        item = Dataset()
        item.SeriesInstanceUID = series[0].SeriesInstanceUID
        item.ReferencedInstanceSequence = _references(series)
        items.append(item)
    return items


def _references(series: list[Any]) -> Sequence:
    items = []
    for header in series:
        item = Dataset()
        item.ReferencedSOPClassUID = header.SOPClassUID
        item.ReferencedSOPInstanceUID = header.SOPInstanceUID
        items.append(item)
    return Sequence(items)


def _matrix_item(matrix: Matrix) -> Dataset:
    item = Dataset()
    turn = matrix[:3, :3]
    rigid = np.allclose(turn @ turn.T, np.eye(3), atol=_RIGID) and np.linalg.det(turn) > 0
    item.FrameOfReferenceTransformationMatrixType = "RIGID" if rigid else "AFFINE"
    item.FrameOfReferenceTransformationMatrix = _decimals(matrix.ravel())
    return item


def _decimals(numbers: Matrix) -> list[str]:
    """Numbers in the 16 characters that DICOM allows."""
    return [_decimal(float(number)) for number in numbers]


def _decimal(number: float) -> str:
    for digits in range(14, 5, -1):
        text = f"{number:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{number:.6g}"


def _save(dataset: FileDataset, path: Path) -> None:
    with write_whole(path) as draft:
        dataset.save_as(draft, enforce_file_format=True)
