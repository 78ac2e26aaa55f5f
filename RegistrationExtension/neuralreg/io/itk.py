"""Conversion between ITK's images and transforms and our own."""

from __future__ import annotations

import SimpleITK as sitk
import torch

from neuralreg.errors import InvalidImage, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, require_dimension
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.exchange.matrices import from_affine, to_affine
from neuralreg.io.itk_images import check_vectors
from neuralreg.io.volume import place_image

_COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)


def image_from_itk(image: sitk.Image) -> Image:
    """The values and the grid of a 2D or 3D ITK image; a copy, of the same number type.

    Args:
        image: its components become channels.

    Raises:
        InvalidImage: for complex values, more than three axes, or axes not at right angles.
    """
    if image.GetPixelID() in _COMPLEX:
        raise InvalidImage(
            "an image has real values",
            got=image.GetPixelIDTypeAsString(),
            remedy="Export the magnitude image.",
        )
    values = torch.from_numpy(sitk.GetArrayFromImage(image))
    channels_last = image.GetNumberOfComponentsPerPixel() > 1
    data = values.movedim(-1, 0).contiguous() if channels_last else values[None]
    return Image(data, Grid.of(image))


def image_to_itk(image: Image) -> sitk.Image:
    """An ITK image of the same numbers; truth values become 0 and 1, half precision single."""
    data = image.data.detach().cpu()
    if data.dtype == torch.bool:
        data = data.to(torch.uint8)
    if data.dtype in (torch.float16, torch.bfloat16):
        data = data.float()
    return _to_itk(data, image.grid, vectors=image.channels > 1)


def _to_itk(data: torch.Tensor, grid: Grid, *, vectors: bool) -> sitk.Image:
    array = data.movedim(0, -1) if vectors else data[0]
    image: sitk.Image = sitk.GetImageFromArray(array.contiguous().numpy(), isVector=vectors)
    return place_image(image, grid)


def field_from_itk(image: sitk.Image) -> DisplacementField:
    """The displacement field in an ITK image of vectors (LPS mm), in the same precision.

    Args:
        image: one finite vector per voxel; integers become single precision.

    Raises:
        InvalidTransform: when there is not one finite vector per voxel.
    """
    check_vectors(image)
    vectors = image_from_itk(image).data
    vectors = vectors if vectors.is_floating_point() else vectors.float()
    return DisplacementField(vectors, Grid.of(image))


def field_to_itk(field: DisplacementField) -> sitk.Image:
    """An ITK image of vectors in LPS mm, in the field's precision."""
    vectors = field.vectors.detach().cpu()
    vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
    return _to_itk(vectors, field.grid, vectors=True)


def to_itk(field: DisplacementField) -> sitk.DisplacementFieldTransform:
    """The ITK transform for resampling: it takes points of the fixed image to the moving one.

    Args:
        field: fixed to moving. Outside of its grid ITK does not displace at all, whereas
            `DisplacementField` keeps the border value.

    Returns:
        A transform in double precision that shares no memory with the field.
    """
    return sitk.DisplacementFieldTransform(sitk.Cast(field_to_itk(field), sitk.sitkVectorFloat64))


def from_itk(transform: sitk.Transform, grid: Grid) -> DisplacementField:
    """Any ITK transform, sampled in double precision.

    Args:
        transform: fixed to moving.
        grid: of the field.

    Raises:
        InvalidTransform: when transform and grid differ in dimension, or a displacement is not
            finite.
    """
    require_dimension(transform.GetDimension(), grid.dimension)
    sampled = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, grid.size, grid.origin, grid.spacing, grid.direction
    )
    return field_from_itk(sampled)


def linear_from_itk(transform: sitk.Transform) -> LinearTransform:
    """A rigid, affine, ... ITK transform, or a composite of such, as one matrix.

    Args:
        transform: fixed to moving.

    Raises:
        InvalidTransform: when the transform is not linear.
    """
    if not transform.IsLinear():
        raise InvalidTransform(
            "a linear transform was asked for",
            got=f"{transform.GetName()}",
            remedy="Give a rigid or affine transform, or sample this one on a grid.",
        )
    return LinearTransform(from_affine(transform))


def linear_to_itk(linear: LinearTransform) -> sitk.AffineTransform:
    """The same matrix as an ITK affine transform about the world's origin."""
    return to_affine(linear.matrix)
