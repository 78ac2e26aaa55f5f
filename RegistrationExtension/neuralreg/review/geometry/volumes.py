"""Images of a review as ITK has them, and arrays brought from one grid to another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.io.itk_images import read_volume
from neuralreg.review.geometry.deformation import placed

Array = NDArray[Any]

_WIDENED = {np.bool_: np.uint8, np.float16: np.float32}


def volume_of(source: object, role: str, notes: list[str]) -> sitk.Image:
    """The gray volume in a file, a SimpleITK image, or an image of the core.

    role: how messages call it. notes: what had to be assumed, in words.
    Raises InvalidImage for colors, vectors and what is no image.
    """
    if isinstance(source, str | Path):
        image = read_volume(Path(source), notes)
    elif isinstance(source, sitk.Image):
        image = source
    else:
        image = _from_core(source, role)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidImage(
            f"the {role} has one value per voxel",
            got=f"{image.GetNumberOfComponentsPerPixel()} channels",
            remedy="Extract one channel, or convert colors to gray first.",
        )
    return image


def labels_of(source: object, role: str, notes: list[str]) -> sitk.Image:
    """A label map: whole numbers. Raises InvalidImage when the values are not whole."""
    image = volume_of(source, role, notes)
    values = sitk.GetArrayViewFromImage(image)
    if np.issubdtype(values.dtype, np.integer):
        return image
    if not (np.rint(values) == values).all():
        raise InvalidImage(
            f"the {role} holds whole numbers",
            got=f"values such as {float(values[np.rint(values) != values][0]):g}",
            remedy="Give the segmentation, not an image or a probability map.",
        )
    return sitk.Cast(image, sitk.sitkInt32)


def _from_core(source: object, role: str) -> sitk.Image:
    data, grid = getattr(source, "data", None), getattr(source, "grid", None)
    if data is None or not isinstance(grid, Grid):
        raise InvalidImage(f"the {role} is no image", got=type(source).__name__)
    array = data if isinstance(data, np.ndarray) else data.detach().cpu().numpy()[0]
    array = np.ascontiguousarray(array, _WIDENED.get(array.dtype.type, array.dtype))
    return placed(sitk.GetImageFromArray(array, isVector=array.ndim > grid.dimension), grid)


def on_grid(image: sitk.Image, grid: Grid, *, labels: bool = False, outside: float = 0.0) -> Array:
    """The image at the samples of a grid, linear, or nearest for labels: (z, y, x)."""
    if Grid.of(image).is_close(grid):
        same: Array = sitk.GetArrayFromImage(image)
        return same
    found = sitk.Resample(
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
    array: Array = sitk.GetArrayFromImage(found)
    return array


def warped(
    image: sitk.Image, u: Array, grid: Grid, *, labels: bool = False, outside: float = 0.0
) -> Array:
    """The image where the displacements u (z, y, x, d) lead to from the samples of `grid`."""
    field = placed(sitk.GetImageFromArray(u, isVector=True), grid)
    carry = sitk.WarpImageFilter()
    carry.SetInterpolator(sitk.sitkNearestNeighbor if labels else sitk.sitkLinear)
    carry.SetOutputParameteresFromImage(field)
    carry.SetEdgePaddingValue(outside)
    if labels:
        return np.asarray(sitk.GetArrayFromImage(carry.Execute(image, field)))
    return np.asarray(
        sitk.GetArrayFromImage(carry.Execute(sitk.Cast(image, sitk.sitkFloat32), field))
    )


def seen(moving: Grid, u: Array, grid: Grid) -> NDArray[np.bool_]:
    """Which samples of `grid` land in a voxel of the moving image: (z, y, x)."""
    inside = np.ones(grid.shape, bool)
    to_index = moving.world_to_index @ grid.index_to_world
    d = grid.dimension
    turn = moving.world_to_index[:d, :d].astype(np.float32)
    for c in range(d):
        place = np.einsum("...k,k->...", u, turn[c], dtype=np.float32)
        place += np.float32(to_index[c, d])
        for k in range(d):
            shape = [1] * d
            shape[d - 1 - k] = -1
            place += (to_index[c, k] * np.arange(grid.size[k])).reshape(shape).astype(np.float32)
        inside &= (place >= -0.5) & (place <= moving.size[c] - 0.5)
    return inside


def limited(grid: Grid, most: int) -> Grid:
    """The same field of view with at most about this many samples; coarse axes stay as they are."""
    if grid.count <= most:
        return grid
    low, high = min(grid.spacing), max(grid.extent_mm)
    for _ in range(40):
        middle = (low + high) / 2
        size = np.maximum(grid.extent_mm / np.maximum(grid.spacing, middle), 1)
        low, high = (middle, high) if np.prod(size) > most else (low, middle)
    return grid.with_spacing(np.maximum(grid.spacing, high).tolist())


def spacing_in_words(grid: Grid) -> str:
    """For instance "1 x 1 x 2.5 mm"."""
    return " x ".join(f"{s:.3g}" for s in grid.spacing) + " mm"


def as_points(points: Sequence[Sequence[float]], dimension: int, role: str) -> Array:
    """Points (n, d). Raises InvalidImage when they have another number of coordinates."""
    array = np.asarray(points, float)
    if not array.size:
        return np.zeros((0, dimension))
    if array.ndim != 2 or array.shape[1] < dimension:
        raise InvalidImage(
            f"the {role} have {dimension} coordinates each", got=f"array {array.shape}"
        )
    return array[:, :dimension]
