"""Files that ITK, ANTs and 3D Slicer read: fields as images, everything else as transforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import UnwritableOutput
from neuralreg.io.files import quiet_itk, suffix_of, write_whole, writing_error
from neuralreg.io.formats import nifti_header
from neuralreg.io.itk_images import write_itk_image

SUFFIXES = (".h5", ".tfm", ".txt", ".mat")
_BYTES_OF_A_NUMBER, _HDF5_OVERHEAD, _CHUNK_BYTES = 8, 1 << 16, 1 << 22
_DISPLACEMENT = "1006"  # NIfTI's DISPVECT, which 3D Slicer also writes into NRRD and MetaImage


def write_field(field: sitk.Image, path: Path) -> None:
    """Write displacements in LPS mm as an image.

    Args:
        field: of one slice it gets the same slice before and behind in NIfTI, because ITK reads
            NIfTI vectors of one slice as 2D.
        path: its ending is that of an image format.

    Raises:
        UnwritableOutput: the file cannot be written.
    """
    as_nifti = suffix_of(path) in nifti_header.SUFFIXES
    if as_nifti and field.GetDimension() == 3 and field.GetSize()[2] == 1:
        field = _with_neighbors(field)
    if not as_nifti:
        field = sitk.Image(field)
        field.SetMetaData("intent_code", _DISPLACEMENT)
        field.SetMetaData("displacement field type", "resampling")
    write_itk_image(field, path)


def _with_neighbors(field: sitk.Image) -> sitk.Image:
    values = np.repeat(sitk.GetArrayFromImage(field), 3, 0)
    wide = sitk.GetImageFromArray(values, isVector=True)
    wide.SetSpacing(field.GetSpacing())
    wide.SetDirection(field.GetDirection())
    for key in field.GetMetaDataKeys():
        wide.SetMetaData(key, field.GetMetaData(key))
    wide.SetOrigin(field.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, -1.0)))
    return wide


def write_transform_file(transform: sitk.Transform, path: Path) -> None:
    """Write a transform as ITK keeps them; never a partial file.

    Args:
        transform: any.
        path: .h5, .tfm, .txt or .mat.

    Raises:
        UnwritableOutput: ITK cannot write it, or the disk is full.
    """
    if suffix_of(path) not in SUFFIXES:
        raise UnwritableOutput(
            f"{path} has no ending of a transform format", wanted=" ".join(SUFFIXES)
        )
    with write_whole(path) as draft:
        if suffix_of(path) == ".h5":
            _require_room(draft, _BYTES_OF_A_NUMBER * _count_numbers(transform) + _HDF5_OVERHEAD)
        try:
            with quiet_itk():
                sitk.WriteTransform(transform, str(draft))
                complete = _is_complete(draft, transform)  # ITK does not tell of a full disk
        except RuntimeError as error:
            raise writing_error(path, error) from error
        if not complete:
            raise writing_error(path, EOFError())


def _require_room(path: Path, size: int) -> None:
    """Raise OSError where a file of that size does not fit: HDF5 crashes the process at its end."""
    with path.open("wb") as trial:
        for start in range(0, size, _CHUNK_BYTES):
            trial.write(bytes(min(_CHUNK_BYTES, size - start)))
    path.unlink()


def _count_numbers(transform: sitk.Transform) -> int:
    """All parameters of a transform, also of those in a chain."""
    transform = transform.Downcast()
    if isinstance(transform, sitk.CompositeTransform):
        parts = range(transform.GetNumberOfTransforms())
        return sum(_count_numbers(transform.GetNthTransform(n)) for n in parts)
    return int(transform.GetNumberOfParameters()) + len(transform.GetFixedParameters())


def _is_complete(path: Path, transform: sitk.Transform) -> bool:
    """Whether a file that was written ends as it should."""
    if suffix_of(path) in (".tfm", ".txt"):
        lines = path.read_bytes().splitlines(keepends=True)
        return bool(lines) and lines[-1].startswith(b"FixedParameters:") and b"\n" in lines[-1]
    if suffix_of(path) == ".mat":
        written = sitk.ReadTransform(str(path))
        return len(written.GetFixedParameters()) == len(transform.GetFixedParameters())
    return True
