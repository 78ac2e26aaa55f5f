"""What functions of this package take for an image or a transform, whatever it comes as."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import SimpleITK as sitk
import torch

from neuralreg.errors import InvalidImage, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.image_files import read_image, read_labels
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
_IMAGE_KINDS = "a path, or an image of neuralreg, SimpleITK or nibabel"
_TRANSFORM_KINDS = "a path, a DisplacementField, a LinearTransform or a SimpleITK transform"
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


def as_image(image: ImageLike, role: str = "image", *, notes: list[str] | None = None) -> Image:
    """The image that an argument stands for.

    Args:
        image: a file or a folder with one DICOM series, an image of this package (given back as it
            is), of SimpleITK, or of nibabel.
        role: how messages call it.
        notes: each assumption made while reading a file is appended, in words.

    Raises:
        InvalidImage: for anything else, such as a NumPy array, which has no place in the world.
        UnreadableFile: when a file cannot be read.
    """
    if isinstance(image, Image):
        return image
    if isinstance(image, str | os.PathLike):
        return read_image(Path(image), notes=notes)
    if isinstance(image, sitk.Image):
        return image_from_itk(image)
    if _is_nibabel(image):
        return _from_nibabel(image, role)
    raise InvalidImage(
        f"the {role} is of a type that has no grid in the world",
        got=_type_name(image),
        wanted=_IMAGE_KINDS,
        remedy="Read a file with neuralreg.read_image, or give an array its place: "
        "neuralreg.Image(torch.as_tensor(array)[None], neuralreg.Grid(...)).",
    )


def as_labels(labels: ImageLike, role: str = "label map") -> Image:
    """The label map that an argument stands for; files hold whole numbers, see `read_labels`."""
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


def as_itk_transform(transform: TransformLike) -> sitk.Transform:
    """The ITK transform that an argument stands for, fixed to moving.

    Raises:
        InvalidTransform: for what is no transform.
        UnreadableFile: when a file cannot be read.
    """
    if isinstance(transform, str | os.PathLike):
        return read_itk_transform(Path(transform))
    if isinstance(transform, sitk.Transform):
        return transform
    if isinstance(transform, DisplacementField):
        return to_itk(transform)
    if isinstance(transform, LinearTransform):
        return linear_to_itk(transform)
    raise _unknown_transform(transform)


def _unknown_transform(transform: object) -> InvalidTransform:
    return InvalidTransform(
        "this is no transform",
        got=_type_name(transform),
        wanted=_TRANSFORM_KINDS,
        remedy="Read a file with neuralreg.read_transform.",
    )


def _type_name(value: object) -> str:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return f"a {name}"


def _is_nibabel(image: object) -> bool:
    """Whether this is an image of nibabel, which only a program that loaded it can have."""
    nibabel: Any = sys.modules.get("nibabel")
    return nibabel is not None and isinstance(image, nibabel.spatialimages.SpatialImage)


def _from_nibabel(image: Any, role: str) -> Image:
    """The values and the grid of an image of nibabel: x y z and RAS become z y x and LPS."""
    values = np.asanyarray(image.dataobj)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or values.dtype.kind not in "biuf":
        raise InvalidImage(
            f"the {role} has one real value per voxel",
            got=f"shape {values.shape} of {values.dtype}",
            remedy="Extract one channel or one frame first.",
        )
    d = values.ndim
    affine = np.asarray(image.affine, float)
    axes = _RAS_TO_LPS[:d, None] * affine[:d, :d]
    spacing = np.linalg.norm(axes, axis=0)
    origin = _RAS_TO_LPS[:d] * affine[:d, 3]
    direction = axes / np.where(spacing > 0, spacing, 1)
    data = np.ascontiguousarray(values.T, values.dtype.newbyteorder("="))
    grid = Grid(values.shape, tuple(spacing), tuple(origin), tuple(direction.ravel().tolist()))
    return Image(torch.from_numpy(data.copy())[None], grid)
