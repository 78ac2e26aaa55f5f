"""Image files and DICOM folders as ITK has them; nothing here needs torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import (
    InvalidImage,
    InvalidTransform,
    RegistrationError,
    UnreadableFile,
    UnwritableOutput,
)
from neuralreg.io import nifti
from neuralreg.io.dicom import read_series
from neuralreg.io.files import itk_reason, quiet_itk, require_existing, suffix_of, write_whole

_DICOM_UID = "0008|0018"  # each DICOM file has one, no other file
_PLACEMENT_ROUNDING = 0.1  # voxels that a quaternion in single precision can lose
WRITABLE = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


def write_itk_image(image: sitk.Image, path: Path) -> None:
    """Write an ITK image, packed where the format can; never a half file."""
    if suffix_of(path) not in WRITABLE:
        raise UnwritableOutput(
            f"{path} has no ending of an image format", wanted=" ".join(WRITABLE)
        )
    with write_whole(path) as draft:
        try:
            sitk.WriteImage(image, str(draft), useCompression=suffix_of(path) != ".nii")
        except RuntimeError as error:
            raise UnwritableOutput(f"{path} cannot be written", got=itk_reason(error)) from error


def read_itk_image(path: Path) -> sitk.Image:
    """The whole content of an image file as ITK has it.

    Raises:
        UnreadableFile: when the file is missing or damaged.
        InvalidImage: when a NIfTI file holds NaN or infinite values, which ITK would turn into 0
            without a word.
    """
    _, bad = _check_header(path)
    if bad:
        raise InvalidImage("values are finite", where=str(path), got=f"{bad} NaN or infinite")
    return _execute(path, _open(path))


def open_image(path: Path) -> sitk.ImageFileReader:
    """A reader that knows the file's size, number type and tags, without its values.

    Raises:
        UnreadableFile: when the file is missing or no image.
        InvalidImage: when it is sheared.
    """
    return _open(require_existing(path))


def _check_header(path: Path) -> tuple[nifti.NiftiHeader | None, int]:
    """A NIfTI file's header and number of values that are not finite; None for other files."""
    if suffix_of(require_existing(path)) not in nifti.SUFFIXES:
        return None, 0
    header = nifti.read_header(path)
    return header, nifti.count_not_finite(path, header) if header else 0


def read_volume(path: Path, notes: list[str]) -> sitk.Image:
    """The volume in a file or in a folder with one DICOM series, frame 0 of several.

    Args:
        notes: each assumption made on the way is appended, in words.

    Raises:
        UnreadableFile: when the file is missing, damaged or of an unknown kind.
        InvalidImage: when its axes are not at right angles.
    """
    if require_existing(path).is_dir():
        return read_series(path)
    header, bad = _check_header(path)
    if bad:
        notes.append(f"{path}: {bad} NaN or infinite values were read as 0, as 3D Slicer does")
    if header:
        _note_two_placements(path, header, notes)
    reader = _open(path)
    _choose_frame(path, reader, notes)
    _note_single_slice(path, reader, notes)
    return _execute(path, reader)


def _open(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return reader


def _execute(path: Path, reader: sitk.ImageFileReader) -> sitk.Image:
    try:
        with quiet_itk():
            return reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: RuntimeError) -> RegistrationError:
    if "orthonormal" in str(error):
        return InvalidImage(
            "the axes of an image are at right angles",
            where=str(path),
            got="a sheared placement (sform), as gantry tilt makes it, and no usable qform",
            remedy="Straighten the volume first, for example by loading and saving it in "
            "3D Slicer.",
        )
    return UnreadableFile(
        f"{path} cannot be read as an image",
        got=itk_reason(error),
        wanted="NIfTI, NRRD, MetaImage, or a folder with one DICOM series",
        remedy="Open the file in another program to see whether it is damaged.",
    )


def _note_two_placements(path: Path, header: nifti.NiftiHeader, notes: list[str]) -> None:
    gap = header.disagreement_voxels
    if gap > _PLACEMENT_ROUNDING:
        notes.append(
            f"{path}: qform and sform place the image up to {gap:.2g} voxels apart; "
            "placed as ITK and 3D Slicer place it"
        )


def _choose_frame(path: Path, reader: sitk.ImageFileReader, notes: list[str]) -> None:
    size = reader.GetSize()
    if len(size) <= 3:
        return
    frames = 1
    for n in size[3:]:
        frames *= n
    reader.SetExtractSize([*size[:3], *[0] * (len(size) - 3)])
    if frames > 1:
        notes.append(f"{path}: {len(size)}D image, frame 0 of {frames} was chosen")


def _note_single_slice(path: Path, reader: sitk.ImageFileReader, notes: list[str]) -> None:
    if reader.HasMetaDataKey(_DICOM_UID) and reader.GetSize()[-1] == 1:
        notes.append(f"{path}: one DICOM file was read alone; give its folder to read the series")


def check_vectors(image: sitk.Image) -> None:
    """Raise InvalidTransform when there is not one finite vector per voxel."""
    components, axes = image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    if axes not in (2, 3) or components != axes:
        raise InvalidTransform(
            "a displacement field has one vector per voxel",
            got=f"{axes} axes and {components} numbers per voxel",
            wanted="3 and 3, or 2 and 2",
        )
    finite = np.isfinite(sitk.GetArrayViewFromImage(image))
    if not finite.all():
        raise InvalidTransform(
            "displacements are finite", got=f"{int((~finite).sum())} NaN or infinite numbers"
        )


def itk_image_of(source: object, role: str, notes: list[str]) -> sitk.Image:
    """The ITK image of a file, a folder with one DICOM series, or an image of ITK or nibabel.

    Args:
        source: anything else is refused, such as a NumPy array, which has no place in the world.
        role: how messages call it.
        notes: each assumption made while reading a file is appended, in words.

    Raises:
        InvalidImage: for what is no image.
        UnreadableFile: when a file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return read_volume(Path(source), notes)
    if isinstance(source, sitk.Image):
        return source
    nibabel: Any = sys.modules.get("nibabel")  # only a program that loaded it has its images
    if nibabel is not None and isinstance(source, nibabel.spatialimages.SpatialImage):
        return _from_nibabel(source, role)
    kind = type(source)
    raise InvalidImage(
        f"the {role} is of a type that has no position in space",
        got=f"a {kind.__module__}.{kind.__qualname__}".replace(" builtins.", " "),
        wanted="a path, or an image of neuralreg, SimpleITK or nibabel",
        remedy="Read a file with neuralreg.read_image, or give an array its position: "
        "neuralreg.Image(torch.as_tensor(array)[None], neuralreg.Grid(...)).",
    )


def _from_nibabel(image: Any, role: str) -> sitk.Image:
    """The same values where they are in the world: RAS becomes LPS."""
    values = np.asanyarray(image.dataobj)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    d = values.ndim
    if d not in (2, 3) or values.dtype.kind not in "biuf":
        raise InvalidImage(
            f"the {role} has one real value per voxel",
            got=f"shape {values.shape} of {values.dtype}",
            remedy="Extract one channel or one frame first.",
        )
    number = values.dtype.newbyteorder("=") if values.dtype.kind != "b" else np.dtype(np.uint8)
    made: sitk.Image = sitk.GetImageFromArray(np.ascontiguousarray(values.T, number))
    to_lps = np.diag([-1.0, -1.0, 1.0])[:d, :d]
    axes = to_lps @ np.asarray(image.affine, float)[:d, :d]
    spacing = np.linalg.norm(axes, axis=0)
    made.SetSpacing(spacing.tolist())
    made.SetOrigin((to_lps @ np.asarray(image.affine, float)[:d, 3]).tolist())
    try:
        made.SetDirection((axes / spacing).ravel().tolist())
    except RuntimeError as error:
        raise InvalidImage(
            f"the axes of the {role} span its space", got=f"affine {image.affine.tolist()}"
        ) from error
    return made
