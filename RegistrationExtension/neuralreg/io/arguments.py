"""Images and transforms as arguments: each accepted form becomes one type."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import SimpleITK as sitk

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, require_dimension
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.colors import read_colors_or_gray
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.image_files import read_image, read_labels
from neuralreg.io.in_memory.image_objects import itk_image_of
from neuralreg.io.itk import field_from_itk, from_itk, image_from_itk, linear_to_itk, to_itk
from neuralreg.io.itk_transforms import read_itk_transform
from neuralreg.io.transform_files import read_transform

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage

    NibabelImage: TypeAlias = SpatialImage

ImageLike: TypeAlias = "Image | sitk.Image | NibabelImage | str | os.PathLike[str]"
TransformLike: TypeAlias = (
    "DisplacementField | LinearTransform | sitk.Transform | str | os.PathLike[str]"
)
_TRANSFORM_KINDS = "a path, a DisplacementField, a LinearTransform or a SimpleITK transform"


def as_image(
    image: ImageLike,
    role: str = "image",
    *,
    notes: list[str] | None = None,
    colors: bool = False,
) -> Image:
    """The image that an argument stands for.

    Args:
        image: a file or a folder with one DICOM series, an image of this package (given back as it
            is), of SimpleITK, or of nibabel.
        role: how messages call it.
        notes: each assumption made while reading a file is appended, in words.
        colors: whether a file may hold colors, which become three channels.

    Raises:
        InvalidImage: for anything else, such as a NumPy array, which has no place in the world.
        UnreadableFile: when a file cannot be read.
    """
    if isinstance(image, Image):
        return image
    if isinstance(image, str | os.PathLike):
        read = read_colors_or_gray if colors else read_image
        return read(Path(image), notes=notes)
    return image_from_itk(itk_image_of(image, role, [] if notes is None else notes))


def as_labels(labels: ImageLike, role: str = "label map") -> Image:
    """The label map that an argument stands for.

    Args:
        labels: as `as_image` takes an image; a file holds whole numbers, see `read_labels`.
        role: how messages call it.

    Raises:
        InvalidImage: for what is no image, or a file whose values are not whole numbers.
        UnreadableFile: when a file cannot be read.
    """
    if isinstance(labels, str | os.PathLike):
        return read_labels(Path(labels))
    return as_image(labels, role)


def as_field(transform: TransformLike, grid: Grid | None = None) -> DisplacementField:
    """The displacement field that an argument stands for, fixed to moving.

    Args:
        transform: a file, an ITK transform, or a field or linear transform of this package. What
            has a grid of its own keeps it.
        grid: of the fixed image, for transforms without a grid of their own.

    Raises:
        InvalidTransform: for anything else, and for a transform without a grid where none is given.
        UnreadableFile: when a file cannot be read.
    """
    if isinstance(transform, str | os.PathLike):
        transform = read_transform(Path(transform), grid)
    if isinstance(transform, DisplacementField):
        return transform
    if isinstance(transform, sitk.Transform):
        exact = transform.Downcast()
        if isinstance(exact, sitk.DisplacementFieldTransform):
            return field_from_itk(exact.GetDisplacementField())
        if grid is not None:
            return from_itk(transform, grid)
    elif not isinstance(transform, LinearTransform):
        raise _unknown_transform(transform)
    elif grid is not None:
        few = grid.resize([min(n, 2) for n in grid.size]).pad(1)
        return DisplacementField.from_linear(transform, few)
    raise InvalidTransform(
        "this transform has no grid of its own",
        got=type(transform).__name__,
        remedy="Give the fixed image or its grid as well.",
    )


def as_itk_transform(
    transform: TransformLike,
    axes: int | None = None,
    fixed: ImageLike | None = None,
    moving: ImageLike | None = None,
) -> sitk.Transform:
    """The ITK transform that an argument stands for, fixed to moving.

    Args:
        transform: a file, or a transform of ITK or of this package.
        axes: of the images that it is for; not checked unless given.
        fixed, moving: these images; where they are files, a file that needs them is read by them.

    Raises:
        InvalidTransform: for what is no transform, or one with other axes.
        UnreadableFile: when a file cannot be read.
    """
    where = ""
    if isinstance(transform, str | os.PathLike):
        images = (Path(one) if isinstance(one, str | os.PathLike) else None
                  for one in (fixed, moving))  # fmt: skip
        where, transform = str(transform), read_itk_transform(Path(transform), Sides(*images))
    if isinstance(transform, DisplacementField):
        transform = to_itk(transform)
    if isinstance(transform, LinearTransform):
        transform = linear_to_itk(transform)
    if not isinstance(transform, sitk.Transform):
        raise _unknown_transform(transform)
    if axes is not None:
        require_dimension(transform.GetDimension(), axes, where)
    return transform


def _unknown_transform(transform: object) -> InvalidTransform:
    return InvalidTransform(
        "this is no transform",
        got=type(transform).__name__,
        wanted=_TRANSFORM_KINDS,
        remedy="Read a file with neuralreg.read_transform.",
    )
