"""Transform files: displacement fields as images, everything else as ITK keeps it."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import InvalidImage, InvalidTransform, UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, require_dimension
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.exchange.families import Content, read_content
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.files import require_existing, suffix_of
from neuralreg.io.itk import (
    field_from_itk,
    field_to_itk,
    from_itk,
    linear_from_itk,
    linear_to_itk,
    to_itk,
)
from neuralreg.io.itk_images import WRITABLE as IMAGE_SUFFIXES
from neuralreg.io.itk_output import write_field, write_transform_file
from neuralreg.io.itk_transforms import (
    TRANSFORM_SUFFIXES,
    VELOCITY,
    VELOCITY_KEYS,
    holds_transform,
    innermost_transform,
    read_itk_transform,
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


def read_transform(
    path: str | Path,
    grid: Grid | None = None,
    *,
    fixed: str | Path | None = None,
    moving: str | Path | None = None,
    source: str | None = None,
    notes: list[str] | None = None,
) -> DisplacementField | LinearTransform:
    """The transform in a file: a field on the grid it is stored on, or a linear transform.

    Files of ITK, ANTs, 3D Slicer, elastix, FSL, FreeSurfer, AFNI, NiftyReg, SPM, MRtrix,
    VoxelMorph, Learn2Reg and X5, recognized by their content: see docs/transforms.md. A velocity
    that `write_velocity` wrote comes as the displacement that it causes.

    Args:
        path: the file.
        grid: for transforms that have none of their own: splines, and chains that begin with a
            linear transform and are not linear later. Everything else comes as it is stored, if it
            has the axes of the grid.
        fixed, moving: files of the images that the transform is between; the coordinates of some
            programs depend on them.
        source: the program, such as "fsl", where content does not decide.
        notes: what had to be assumed is appended in words.

    Returns:
        The transform from fixed to moving, in LPS mm.

    Raises:
        UnreadableFile: when the file is missing or damaged.
        InvalidTransform: when what it holds is not finite, points the other way, can be read in
            several ways, or needs a grid or an image.
    """
    path = require_existing(Path(path))
    try:
        sides = Sides(*(None if side is None else Path(side) for side in (fixed, moving)))
        content, _ = read_content(path, sides, source=source, notes=notes)
        return transform_of(content, grid)
    except (InvalidTransform, InvalidImage) as error:
        raise InvalidTransform(
            error.what, where=str(path), got=error.got, wanted=error.wanted, remedy=error.remedy
        ) from error


def transform_of(content: Content, grid: Grid | None) -> DisplacementField | LinearTransform:
    """What `read_content` gave, as a field or a linear transform.

    Args:
        content: a transform of ITK, or displacements.
        grid: for transforms without one of their own.

    Raises:
        InvalidTransform: it is not finite, or needs a grid, or has other axes than that.
    """
    if grid is not None:
        require_dimension(content.GetDimension(), grid.dimension)
    if isinstance(content, sitk.Image):
        return field_from_itk(content)
    return _from_itk_file(content, grid)


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
        write_field(field_to_itk(_as_field(transform, path)), path)
    elif suffix_of(path) in TRANSFORM_SUFFIXES:
        write_transform_file(_as_itk(transform), path)
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
    image = field_to_itk(velocity)
    for key in VELOCITY_KEYS:
        image.SetMetaData(key, VELOCITY)
    write_field(image, path)


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


def _as_field(
    transform: DisplacementField | LinearTransform | sitk.Transform, path: Path
) -> DisplacementField:
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
    return transform


def _as_itk(transform: DisplacementField | LinearTransform | sitk.Transform) -> sitk.Transform:
    if isinstance(transform, DisplacementField):
        return to_itk(transform)
    return linear_to_itk(transform) if isinstance(transform, LinearTransform) else transform
