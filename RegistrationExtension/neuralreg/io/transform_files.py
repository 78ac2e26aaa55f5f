"""Transform files: displacement fields as images, everything else as ITK keeps it."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import InvalidImage, InvalidTransform, UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, require_dimension
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.files import (
    quiet_itk,
    require_existing,
    suffix_of,
    write_whole,
    writing_error,
)
from neuralreg.io.formats import nifti_header
from neuralreg.io.itk import (
    field_from_itk,
    field_to_itk,
    from_itk,
    linear_from_itk,
    linear_to_itk,
    to_itk,
)
from neuralreg.io.itk_images import WRITABLE as IMAGE_SUFFIXES
from neuralreg.io.itk_images import write_itk_image
from neuralreg.io.itk_transforms import (
    TRANSFORM_SUFFIXES,
    VELOCITY,
    VELOCITY_KEYS,
    holds_transform,
    innermost_transform,
    read_itk_transform,
    read_vectors,
)

__all__ = [
    "TRANSFORM_SUFFIXES",
    "holds_transform",
    "innermost_transform",
    "read_itk_transform",
    "read_transform",
    "write_transform",
    "write_velocity",
]
_BYTES_OF_A_NUMBER, _HDF5_OVERHEAD, _CHUNK_BYTES = 8, 1 << 16, 1 << 22
_DISPLACEMENT = "1006"  # NIfTI's DISPVECT, which 3D Slicer also writes into NRRD and MetaImage


def read_transform(
    path: str | Path, grid: Grid | None = None
) -> DisplacementField | LinearTransform:
    """The transform in a file: a field on the grid it is stored on, or a linear transform.

    Images of vectors (NIfTI with intent 1007 in LPS or 1006 in RAS, NRRD, MetaImage) and ITK's
    transform files (.h5 .tfm .txt .mat), also with several transforms in a row. A velocity that
    `write_velocity` wrote comes as the displacement that it causes.

    Args:
        path: the file.
        grid: for transforms that have none of their own: splines, and chains that begin with a
            linear transform and are not linear later. Everything else comes as it is stored, if it
            has the axes of the grid.

    Returns:
        The transform from fixed to moving, in LPS mm.

    Raises:
        UnreadableFile: when the file is missing or damaged.
        InvalidTransform: when what it holds is not finite, points the other way, or needs a grid.
    """
    path = require_existing(Path(path))
    try:
        if suffix_of(path) in IMAGE_SUFFIXES:
            field = field_from_itk(read_vectors(path))
            require_dimension(
                field.grid.dimension, grid.dimension if grid else field.grid.dimension
            )
            return field
        transform = read_itk_transform(path)
        if grid is not None:
            require_dimension(transform.GetDimension(), grid.dimension)
        return _from_itk_file(transform, grid)
    except (InvalidTransform, InvalidImage) as error:
        raise InvalidTransform(
            error.what, where=str(path), got=error.got, wanted=error.wanted, remedy=error.remedy
        ) from error


def write_transform(
    transform: DisplacementField | LinearTransform | sitk.Transform, path: str | Path
) -> None:
    """Write a transform so that ITK, ANTs and 3D Slicer read the same; never a partial file.

    .nii.gz .nii .nrrd .nhdr .mha .mhd: a displacement field in LPS mm (NIfTI intent 1007; NRRD and
    MetaImage marked as displacements the way 3D Slicer does). A NIfTI field of one slice gets the
    same slice before and behind, because ITK reads NIfTI vectors of one slice as 2D.
    .h5 .tfm .txt .mat: any transform.

    Args:
        transform: fixed to moving.
        path: its ending decides the format.

    Raises:
        UnwritableOutput: when the format is unknown or the folder cannot be written to.
        InvalidTransform: when an image format is to hold something that is not a field.
    """
    path = Path(path)
    if suffix_of(path) in IMAGE_SUFFIXES:
        write_itk_image(_as_image(transform, path), path)
    elif suffix_of(path) in TRANSFORM_SUFFIXES:
        _write_itk_file(_as_itk(transform), path)
    else:
        raise UnwritableOutput(
            f"{path} has no ending of a transform format",
            wanted=" ".join((*IMAGE_SUFFIXES, *TRANSFORM_SUFFIXES)),
        )


def write_velocity(velocity: DisplacementField, path: str | Path) -> None:
    """Write a stationary velocity field as an image of vectors in LPS.

    It is marked, so that `read_transform` integrates it; other programs would take it for a
    displacement.

    Args:
        velocity: mm per unit of time.
        path: its ending is that of an image format.

    Raises:
        UnwritableOutput: when the format is that of a transform file or unknown, or the folder
            cannot be written to.
    """
    path = Path(path)
    if suffix_of(path) not in IMAGE_SUFFIXES:
        raise UnwritableOutput(
            f"{path} has no ending of an image format", wanted=" ".join(IMAGE_SUFFIXES)
        )
    image = _as_image(velocity, path)
    for key in VELOCITY_KEYS:
        image.SetMetaData(key, VELOCITY)
    write_itk_image(image, path)


def _from_itk_file(
    transform: sitk.Transform, grid: Grid | None
) -> DisplacementField | LinearTransform:
    if transform.IsLinear():
        return linear_from_itk(transform)
    first = innermost_transform(transform)
    if isinstance(first, sitk.DisplacementFieldTransform):
        field = field_from_itk(first.GetDisplacementField())
        return field if first is transform else from_itk(transform, field.grid)
    if grid is not None:
        return from_itk(transform, grid)
    raise InvalidTransform(
        "this transform has no grid of its own",
        got=f"{transform.GetName()} that begins with {first.GetName()}",
        remedy="Give the image whose grid it is for (reference).",
    )


def _as_image(
    transform: DisplacementField | LinearTransform | sitk.Transform, path: Path
) -> sitk.Image:
    if isinstance(transform, sitk.Transform):
        transform = transform.Downcast()
        if isinstance(transform, sitk.DisplacementFieldTransform):
            transform = field_from_itk(transform.GetDisplacementField())
    if not isinstance(transform, DisplacementField):
        raise InvalidTransform(
            "an image file can only hold a displacement field",
            where=str(path),
            got=type(transform).__name__,
            remedy="Write it as .h5 or .tfm, or sample it on a grid first.",
        )
    as_nifti = suffix_of(path) in nifti_header.SUFFIXES
    if as_nifti and transform.grid.dimension == 3 and transform.grid.size[2] == 1:
        transform = transform.resample(transform.grid.pad((0, 0, 1)))
    image = field_to_itk(transform)
    if not as_nifti:
        image.SetMetaData("intent_code", _DISPLACEMENT)
        image.SetMetaData("displacement field type", "resampling")
    return image


def _as_itk(transform: DisplacementField | LinearTransform | sitk.Transform) -> sitk.Transform:
    if isinstance(transform, DisplacementField):
        return to_itk(transform)
    return linear_to_itk(transform) if isinstance(transform, LinearTransform) else transform


def _write_itk_file(transform: sitk.Transform, path: Path) -> None:
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
