"""Images of a review as ITK has them, and arrays resampled from one grid to another."""

from __future__ import annotations

import os
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array
from neuralreg.io.in_memory.image_objects import itk_image_of
from neuralreg.io.volume import fill_not_finite, to_label_map
from neuralreg.review.geometry.deformation import place_on_grid

_WIDER_TYPES = {np.bool_: np.uint8, np.float16: np.float32}


@runtime_checkable
class ImageData(Protocol):
    """An Image of the core (a tensor, channels first), or the worker's record of one (an array)."""

    @property
    def data(self) -> Any:
        """The values."""

    @property
    def grid(self) -> Grid:
        """Of the values."""


ImageLike: TypeAlias = str | os.PathLike[str] | sitk.Image | ImageData


def volume_of(source: ImageLike, role: str, notes: list[str]) -> sitk.Image:
    """The gray volume in a file, or of an image of SimpleITK, nibabel or the core.

    NaN and infinite values are replaced as before a registration.

    Args:
        source: What holds the volume.
        role: What messages call it.
        notes: Takes what had to be assumed, in words.

    Raises:
        InvalidImage: The source has colors or vectors, or is no image.
    """
    return fill_not_finite(_gray_image(source, role, notes))


def labels_of(source: ImageLike, role: str, notes: list[str]) -> sitk.Image:
    """A label map: whole numbers; the arguments are those of `volume_of`.

    Raises:
        InvalidImage: Some values are not whole.
    """
    where = str(source) if isinstance(source, str | os.PathLike) else ""
    return to_label_map(_gray_image(source, role, notes), f"the {role} holds whole numbers", where)


def _gray_image(source: ImageLike, role: str, notes: list[str]) -> sitk.Image:
    image = _from_core(source)
    if image is None:
        image = itk_image_of(source, role, notes)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidImage(
            f"the {role} has one value per voxel",
            got=f"{image.GetNumberOfComponentsPerPixel()} channels",
            remedy="Extract one channel, or convert colors to gray first.",
        )
    return image


def _from_core(source: object) -> sitk.Image | None:
    """An image of the core as one of ITK, without torch; None for anything else."""
    if not isinstance(source, ImageData) or not isinstance(source.grid, Grid):
        return None
    data, grid = source.data, source.grid
    array = data if isinstance(data, np.ndarray) else data.detach().cpu().numpy()[0]
    array = np.ascontiguousarray(array, _WIDER_TYPES.get(array.dtype.type, array.dtype))
    return place_on_grid(sitk.GetImageFromArray(array, isVector=array.ndim > grid.dimension), grid)


def on_grid(image: sitk.Image, grid: Grid, *, labels: bool = False, outside: float = 0.0) -> Array:
    """The image at the samples of a grid, linear, or nearest for labels: (z, y, x).

    Args:
        image: What is resampled.
        grid: Of the result.
        labels: Whether the values are labels, which are never mixed.
        outside: The value beyond the image.
    """
    if Grid.of(image).is_close(grid):
        same: Array = sitk.GetArrayFromImage(image)
        return same
    resampled = sitk.Resample(
        image,
        grid.size,
        sitk.Transform(grid.dimension, sitk.sitkIdentity),
        sitk.sitkNearestNeighbor if labels else sitk.sitkLinear,
        grid.origin,
        grid.spacing,
        grid.direction,
        outside,
        image.GetPixelID() if labels else sitk.sitkFloat32,
    )
    array: Array = sitk.GetArrayFromImage(resampled)
    return array


def warp(
    image: sitk.Image, u: Array, grid: Grid, *, labels: bool = False, outside: float = 0.0
) -> Array:
    """The image, sampled where displacements lead from the samples of a grid: (z, y, x).

    Args:
        image: What is warped.
        u: Displacements at the samples of `grid`, (z, y, x, d) mm.
        grid: Of the displacements and of the result.
        labels: Whether the values are labels, which are never mixed.
        outside: The value beyond the image.
    """
    field = place_on_grid(sitk.GetImageFromArray(u, isVector=True), grid)
    warper = sitk.WarpImageFilter()
    warper.SetInterpolator(sitk.sitkNearestNeighbor if labels else sitk.sitkLinear)
    warper.SetOutputParameteresFromImage(field)
    warper.SetEdgePaddingValue(outside)
    if labels:
        return np.asarray(sitk.GetArrayFromImage(warper.Execute(image, field)))
    return np.asarray(
        sitk.GetArrayFromImage(warper.Execute(sitk.Cast(image, sitk.sitkFloat32), field))
    )


def valid_mask(moving: Grid, u: Array, grid: Grid) -> NDArray[np.bool_]:
    """Which samples of a grid are mapped into a voxel of the moving image: (z, y, x).

    Args:
        moving: The grid of the moving image.
        u: Displacements at the samples of `grid`, (z, y, x, d) mm.
        grid: Of the displacements.
    """
    inside = np.ones(grid.shape, bool)
    to_index = moving.world_to_index @ grid.index_to_world
    d = grid.dimension
    turn = moving.world_to_index[:d, :d].astype(np.float32)
    for c in range(d):
        index = np.einsum("...k,k->...", u, turn[c], dtype=np.float32)
        index += np.float32(to_index[c, d])
        for k in range(d):
            shape = [1] * d
            shape[d - 1 - k] = -1
            index += (to_index[c, k] * np.arange(grid.size[k])).reshape(shape).astype(np.float32)
        inside &= (index >= -0.5) & (index <= moving.size[c] - 0.5)
    return inside


def limit_samples(grid: Grid, most: int) -> Grid:
    """The same field of view with at most about this many samples; coarse axes stay as they are."""
    if grid.count <= most:
        return grid
    low, high = min(grid.spacing), max(grid.extent_mm)
    for _ in range(40):
        middle = (low + high) / 2
        size = np.maximum(grid.extent_mm / np.maximum(grid.spacing, middle), 1)
        low, high = (middle, high) if np.prod(size) > most else (low, middle)
    return grid.with_spacing(np.maximum(grid.spacing, high).tolist())


def format_spacing(grid: Grid) -> str:
    """The spacing for people, such as "1 x 1 x 2.5 mm"."""
    return " x ".join(f"{s:.3g}" for s in grid.spacing) + " mm"
