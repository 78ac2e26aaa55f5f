"""A head as the networks for brains take it: 1 mm, one orientation, one scale of intensities.

Source: the layout that FreeSurfer calls conformed; BrainChop, doi:10.21105/joss.05098.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_to_itk
from neuralreg.zoo.card import ModelCard

Array = NDArray[np.floating[Any]]

_LIA = (0, 0, 1, -1, 0, 0, 0, -1, 0)  # x to anterior, y to inferior, z to the left
_HEAD = 0.2  # of the scaled intensities
_COARSE_MM = 4.0  # to look where the head is
_MOST_MM_BELOW_THE_TOP = 220.0  # of a head with its chin; what lies further down is neck
_BRIGHT_TAIL = 0.999
_BYTE = 255.0


@dataclass(frozen=True, eq=False)
class ConformedImage:
    """An image on the grid of a network for brains, its intensities as the network wants them.

    Attributes:
        values: (z, y, x).
        grid: of 1 mm.
        background: what the image's lowest value has become.
    """

    values: Array
    grid: Grid
    background: float

    @classmethod
    def of(cls, image: Image, card: ModelCard, like: Grid | None = None) -> ConformedImage:
        """An image as the network of a card takes it.

        Quantiles are those of the whole grid with its background, whatever box is cut out later.

        Args:
            image: in 3D, one value per voxel.
            card: of a network for labels.
            like: a grid whose orientation stands for the anatomical one, where the image's own
                header is wrong.

        Raises:
            InvalidImage: all values are the same.
        """
        low = image.lowest()
        finite = image.fill_not_finite()
        values = Image(finite.data.float() - low, image.grid)
        grid = conformed_grid(values, card, like)
        array = sitk.GetArrayFromImage(_resample(image_to_itk(values), grid, 0.0))
        if not array.max() > 0:
            raise InvalidImage("the image is constant", got=f"the value {low:g} everywhere")
        offset, width, clip = _RULES[card.input.intensity](array)
        if card.input.intensity == "bright_tail" and _spans_bytes(values.data):
            width = _BYTE

        def scale(numbers: Array) -> Array:
            scaled = (numbers - offset) / width
            return scaled.clip(0, 1) if clip else scaled

        return cls(scale(array), grid, float(scale(np.zeros(1, np.float32))[0]))

    def head_box(self, margin: int) -> tuple[slice, slice, slice]:
        """The box of what is bright and connected, with a margin in voxels: slices z y x."""
        return box_of(largest_component(self.values > _HEAD), margin)

    def tensor(self, box: tuple[slice, slice, slice]) -> Tensor:
        """The values in a box, (1, 1, z, y, x)."""
        return torch.from_numpy(np.ascontiguousarray(self.values[box]))[None, None]

    def part(self, box: tuple[slice, slice, slice]) -> Grid:
        """The grid of a box."""
        first = self.grid.points_at([part.start for part in reversed(box)])
        size = tuple(part.stop - part.start for part in reversed(box))
        return Grid(size, self.grid.spacing, tuple(first), self.grid.direction)


def conformed_grid(image: Image, card: ModelCard, like: Grid | None = None) -> Grid:
    """The grid of a network around an image.

    Its middle is that of the field of view. Where that would cut the head off, it is moved by whole
    millimeters; of a field of view with a neck, the part from the top of the head down counts.

    Args:
        image: its lowest value is 0.
        card: of the network.
        like: as for `ConformedImage.of`.
    """
    size = np.array(card.input.shape or ())[::-1]
    axes = np.reshape(_LIA, (3, 3)).astype(float)
    if like is not None:
        axes = np.reshape(like.direction, (3, 3))
    middle = image.grid.center
    half = (size - 1) / 2
    extent = np.abs((image.grid.corners() - middle) @ axes).max(0)
    if (extent > size / 2).any():
        middle = middle + axes @ _shift_to_head(image, axes, middle, size)
    origin = middle - axes @ half
    return Grid(tuple(size), (1.0,) * 3, tuple(origin), tuple(axes.ravel()))


def _shift_to_head(image: Image, axes: Array, middle: Array, size: Array) -> Array:
    """By how many whole mm along the axes of the grid its middle has to be moved for the head."""
    coarse = image.grid.with_spacing([max(spacing, _COARSE_MM) for spacing in image.grid.spacing])
    values = sitk.GetArrayFromImage(_resample(image_to_itk(image), coarse, 0.0))
    bright = largest_component(values > _HEAD * np.quantile(values[values > 0], 0.98))
    points = coarse.points_at(np.argwhere(bright)[:, ::-1].astype(float))
    along = (points - middle) @ axes
    low, high = along.min(0), along.max(0)
    high[1] = min(high[1], low[1] + _MOST_MM_BELOW_THE_TOP)  # the second axis leads down
    inside = (along[:, 1] <= high[1]).nonzero()[0]
    low[[0, 2]], high[[0, 2]] = along[inside].min(0)[[0, 2]], along[inside].max(0)[[0, 2]]
    half = size / 2
    fits = (low >= -half) & (high <= half)
    shift: Array = np.where(fits, 0.0, np.rint((low + high) / 2))
    return shift


def _spans_bytes(values: Tensor) -> bool:
    """Whether an image was scaled to the range of bytes before: its tail is clipped already."""
    return float(values.max()) == _BYTE and bool((values == values.round()).all())


def _quantiles(low: float, high: float) -> Callable[[Array], tuple[float, float]]:
    def of(values: Array) -> tuple[float, float]:
        first, last = np.quantile(values, [low, high])
        return float(first), float(last)

    return of


def _clipped_quantiles(values: Array) -> tuple[float, float, bool]:
    low, high = _quantiles(0.02, 0.98)(values)
    return low, high - low + 0.001, True


def _open_quantiles(values: Array) -> tuple[float, float, bool]:
    low, high = _quantiles(0.05, 0.95)(values)
    return low, max(high - low, 1e-6), False


def _bright_tail(values: Array) -> tuple[float, float, bool]:
    """One bright vessel must not darken everything else."""
    return 0.0, float(np.quantile(values[values > 0], _BRIGHT_TAIL)), True


_RULES: dict[str, Callable[[Array], tuple[float, float, bool]]] = {
    "quantiles": _clipped_quantiles,
    "wide_quantiles": _open_quantiles,
    "bright_tail": _bright_tail,
}


def largest_component(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part of a mask that hangs together by faces, edges or corners."""
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(inside.astype(np.uint8)), True)
    labels = sitk.GetArrayViewFromImage(parts)
    counts = np.bincount(labels.ravel())
    if len(counts) < 2:
        return inside
    largest: NDArray[np.bool_] = labels == counts[1:].argmax() + 1
    return largest


def box_of(inside: NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    """The smallest box around a mask with a margin, as far as the array reaches: slices z y x."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        at = np.flatnonzero(inside.any(axis=others))
        start, stop = (int(at[0]), int(at[-1]) + 1) if len(at) else (0, inside.shape[axis])
        box.append(slice(max(start - margin, 0), min(stop + margin, inside.shape[axis])))
    return box[0], box[1], box[2]


def resample_to_image(
    values: NDArray[Any], grid: Grid, image: Grid, outside: float, *, nearest: bool = False
) -> NDArray[Any]:
    """Values of a network's grid at the voxels of an image.

    Args:
        values: (z, y, x) on `grid`.
        grid: of the values.
        image: where they are wanted.
        outside: for voxels beyond `grid`.
        nearest: takes the nearest value in place of interpolating.

    Returns:
        (z, y, x) on the image's grid.
    """
    source = image_to_itk(Image(torch.from_numpy(np.ascontiguousarray(values))[None], grid))
    resampled: NDArray[Any] = sitk.GetArrayFromImage(
        _resample(source, image, outside, nearest=nearest)
    )
    return resampled


def _resample(
    image: sitk.Image, grid: Grid, outside: float, *, nearest: bool = False
) -> sitk.Image:
    interpolation = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    how = (sitk.Transform(), interpolation, grid.origin, grid.spacing, grid.direction, outside)
    return sitk.Resample(image, grid.size, *how)
