"""Images, label maps and points warped by a displacement field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.cubic_spline import CubicSpline
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.normalized import sample
from neuralreg.geometry.resampling_coordinates import SampleCoordinates
from neuralreg.geometry.sampling import index_to_normalized, slabs

Interpolation = Literal["linear", "bspline", "nearest"]

_SLAB = 1 << 19  # samples per slab: about 60 bytes each for one channel
_EXACT_IN_SINGLE = 1 << 24
_EXACT_IN_DOUBLE = 1 << 53
_SIGNED = {  # of the same width
    torch.uint16: torch.int16,
    torch.uint32: torch.int32,
    torch.uint64: torch.int64,
}
_WIDE = (torch.int32, torch.int64, torch.uint32, torch.uint64)


Reader = Callable[[Tensor], Tensor]


def warp(
    image: Image,
    field: DisplacementField,
    grid: Grid | None = None,
    *,
    interpolation: Interpolation = "linear",
    outside: float | None = None,
) -> Image:
    """The moving image as it looks on `grid` after `field` (fixed to moving), resampled once.

    Memory beside the output: about 40 MB, for an integer image a copy in floating point, for
    "bspline" twice the moving image in single precision.
    Why torch on a CPU too: ITK's resampling takes a field in double precision, as large as six
    outputs when dense, and measured slower but for "bspline" (see benchmarks/warp.py).

    Args:
        image: the moving image, any number of channels.
        field: fixed to moving. It may be much coarser than `grid`: it is interpolated slab by slab
            and never as a whole.
        grid: of the fixed image; the grid of the field unless given.
        interpolation: "linear", "bspline" (cubic, exact at the samples), "nearest".
        outside: the value for points that lie in no voxel of the image; unless given, its lowest
            finite one (air in a CT), and 0 by "nearest". Within the outer half voxel the last
            sample is repeated, as ITK does.

    Returns:
        An image of the same number type: integers are rounded and, where a spline overshoots,
        clamped. Not differentiable.

    Raises:
        InvalidImage: when dimensions disagree.
        InvalidOption: for an unknown interpolation or a value that the image's number type does not
            have.
    """
    grid = grid or field.grid
    _check(image, field, grid)
    if outside is None:
        outside = 0.0 if interpolation == "nearest" else image.lowest()
    _check_outside(outside, image.data.dtype)
    with torch.no_grad():
        read = _reader(image, interpolation)
        sample_coordinates = SampleCoordinates(field, image.grid, grid)
        output = image.data.new_empty(image.channels, *grid.shape)
        for rows in slabs(grid.shape, _SLAB):
            coordinates = sample_coordinates.normalized_rows(rows)
            values = read(coordinates)
            beyond = sample_coordinates.beyond(coordinates)
            if beyond is not None:
                _fill(values, beyond, outside)
            output[:, rows] = _as_type(values, image.data.dtype)
    return Image(output, grid)


def _fill(values: Tensor, where: Tensor, value: float) -> None:
    """The value at some samples; torch cannot do that for unsigned numbers of more than 8 bits."""
    if values.dtype not in _SIGNED:
        values.masked_fill_(where, value)
        return
    signed = _SIGNED[values.dtype]
    bits = torch.tensor(int(value), dtype=values.dtype).view(signed)
    values.view(signed).masked_fill_(where, bits)


def _check(image: Image, field: DisplacementField, grid: Grid) -> None:
    dimensions = image.grid.dimension, field.grid.dimension, grid.dimension
    if len(set(dimensions)) > 1:
        raise InvalidImage(
            "image, field and grid have the same number of axes",
            got=f"{dimensions[0]}, {dimensions[1]} and {dimensions[2]}",
        )


def _check_outside(outside: float, dtype: torch.dtype) -> None:
    if dtype.is_floating_point:
        return
    low, high = _limits(dtype)
    if not (low <= outside <= high and outside == int(outside)):  # NaN is in no range
        raise InvalidOption(
            "the value outside must exist in the image's number type",
            got=f"{outside} for {dtype}",
            wanted=f"{low} to {high}",
            remedy="Turn the image into floating point first, or choose another value.",
        )


def _limits(dtype: torch.dtype) -> tuple[int, int]:
    if dtype == torch.bool:
        return 0, 1
    limits = torch.iinfo(dtype)
    return limits.min, limits.max


def _as_type(values: Tensor, dtype: torch.dtype) -> Tensor:
    if values.dtype == dtype or dtype.is_floating_point:
        return values.to(dtype)
    low, high = _limits(dtype)
    if high > _EXACT_IN_DOUBLE:  # which is no number in double precision, but the next one
        high -= high // _EXACT_IN_DOUBLE
    return values.round_().clamp_(float(low), float(high)).to(dtype)


def _in_floating_point(data: Tensor) -> Tensor:
    """The values in single precision where that is exact, else in double."""
    if data.dtype in (torch.float32, torch.float64):
        return data
    single = data.float()
    return (
        data.double() if data.dtype in _WIDE and single.abs().max() >= _EXACT_IN_SINGLE else single
    )


def _reader(image: Image, interpolation: str) -> Reader:
    """What reads the image at normalized coordinates (d, z, y, x), giving (c, z, y, x)."""
    if interpolation == "nearest":
        return lambda coordinates: _nearest(image.data, coordinates)
    data = _in_floating_point(image.data)
    if interpolation == "linear":
        return lambda coordinates: sample(data[None], coordinates[None].to(data.dtype))[0]
    if interpolation == "bspline":
        return CubicSpline(data)
    raise InvalidOption(
        "unknown interpolation", got=interpolation, wanted="linear, bspline or nearest"
    )


def _nearest(data: Tensor, coordinates: Tensor) -> Tensor:
    """Values of any number type at the nearest samples; halfway goes up, as in ITK."""
    flat = torch.zeros(coordinates.shape[1:], dtype=torch.int64, device=coordinates.device)
    size = tuple(data.shape[:0:-1])
    to_index = np.linalg.inv(index_to_normalized(size))
    for c in range(len(size) - 1, -1, -1):
        index = coordinates[c] * float(to_index[c, c]) + float(to_index[c, -1] + 0.5)
        flat.mul_(size[c]).add_(index.floor_().clamp_(0, size[c] - 1).to(torch.int64))
    return data.flatten(1)[:, flat]


def warp_labels(
    labels: Image, field: DisplacementField, grid: Grid | None = None, *, outside: int = 0
) -> Image:
    """The moving label map as it looks on `grid` after `field` (fixed to moving), resampled once.

    Each voxel takes the label of the nearest one, so that only labels that are there (and
    `outside`) come out, in the same number type.

    Args:
        labels: the label map of the moving image.
        field: fixed to moving.
        grid: of the fixed image; the grid of the field unless given.
        outside: the label of points that lie in no voxel of the label map.

    Raises:
        InvalidImage: the numbers of axes disagree.
        InvalidOption: the number type of the label map does not have the value `outside`.
    """
    return warp(labels, field, grid, interpolation="nearest", outside=outside)


def warp_points(points: Matrix, field_of_the_other_direction: DisplacementField) -> Matrix:
    """Points or mesh vertices, moved along with the image that they belong to.

    Points go the opposite way to images: points on the moving image are taken onto the fixed one by
    the field from moving to fixed, `result.inverse_field` (images use `result.field`). The faces of
    a mesh stay as they are unless the transform mirrors.

    Args:
        points: LPS mm, (n, d).
        field_of_the_other_direction: for points of the moving image the field from moving to fixed.

    Returns:
        Points (n, d), LPS mm.
    """
    return field_of_the_other_direction(points)
