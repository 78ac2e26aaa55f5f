"""How far the warped image still is from the fixed one, block by block, by looking around.

Around each block of the fixed image the warped one is searched for the place that looks most
alike. Where a shift explains a block much better than no shift does, and its neighbors say the
same, the deformation is probably off by about that shift. This sees no error without structure,
and along an edge only the part across it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuralreg.geometry.grid import Grid

Array = NDArray[Any]
Mask = NDArray[np.bool_]

_CELL = 4  # samples of a cell's side; a block is two cells wide
_REACH = {2: 4, 3: 2}  # samples searched each way, by dimension
_LEAST_CONTRAST = 0.15  # of the body's contrast: below, a block shows nothing
_SAME_KIND = 0.25  # median local correlation from which both images are of one kind
_NEAR_BEST = 0.25  # of the gain: a smaller shift that comes so near is preferred


@dataclass(frozen=True, eq=False)
class Residual:
    """What the search found, one value per block, in array order (z, y, x).

    centers: LPS mm of the blocks, (..., d). shift_mm: the shift of the warped image that explains
    a block best, components x y z along the grid's axes, in mm. gain: how much local correlation
    rises by it. score: the correlation there. usable: blocks that show enough to tell.
    """

    centers: Array
    shift_mm: Array
    gain: Array
    score: Array
    usable: Mask
    cell_mm: Array

    @property
    def length_mm(self) -> Array:
        """Length of the shift."""
        return np.asarray(np.linalg.norm(self.shift_mm, axis=-1))


def residual(fixed: Array, warped: Array, seen: Mask, inside: Mask, grid: Grid) -> Residual:
    """Search around each block of the fixed image, (z, y, x), on one grid with the warped one.

    seen: where the warped image shows something. inside: where it counts.
    """
    d = grid.dimension
    cells = [_CELL if n >= 6 * _CELL else 2 if n >= 6 else 1 for n in grid.shape]
    reach = [min(_REACH[d], cell) if cell > 1 else 0 for cell in cells]
    moments = _Moments(_centered(fixed, inside), _centered(warped, inside & seen), cells, reach)
    scores = np.stack([moments.correlation(shift) for shift in moments.shifts])
    shifts = np.array(moments.shifts)
    zero = scores[moments.shifts.index((0,) * d)]
    usable = moments.contrast & moments.share(inside) & moments.share(seen, least=0.999)
    alike = np.median(zero[usable]) > _SAME_KIND if usable.any() else True
    scores = scores if alike else scores**2
    zero = scores[moments.shifts.index((0,) * d)]
    best = scores.max(0)
    gain = best - zero
    close = scores >= best - _NEAR_BEST * gain
    lengths = np.linalg.norm(shifts * grid.spacing[::-1], axis=1)
    chosen = np.where(close, lengths.reshape(-1, *[1] * d), np.inf).argmin(0)
    shift_mm = (shifts[chosen] * grid.spacing[::-1])[..., ::-1]
    return Residual(
        centers=moments.centers(grid),
        shift_mm=shift_mm,
        gain=gain,
        score=best,
        usable=usable,
        cell_mm=np.multiply(cells, grid.spacing[::-1]),
    )


def agreed(found: Residual, least_mm: float, least_gain: float, least_score: float) -> Mask:
    """Blocks that are off by at least so much, and whose neighbors say about the same."""
    strong = found.usable & (found.length_mm >= least_mm)
    strong &= (found.gain >= least_gain) & (found.score >= least_score)
    d = strong.ndim
    unit = found.shift_mm / np.maximum(found.length_mm, 1e-6)[..., None]
    partners = np.zeros(strong.shape, int)
    wide = np.pad(strong, 1)
    wide_unit = np.pad(unit, [(1, 1)] * d + [(0, 0)])
    for step in product((0, 1, 2), repeat=d):
        if step == (1,) * d:
            continue
        view = tuple(slice(s, s + n) for s, n in zip(step, strong.shape, strict=True))
        same_way = (wide_unit[view] * unit).sum(-1) > 0.5
        partners += wide[view] & same_way
    return np.asarray(strong & (partners >= d))


def clusters(chosen: Mask) -> list[Mask]:
    """The connected groups of blocks, corners count as touching."""
    parts, n = ndimage.label(chosen, np.ones((3,) * chosen.ndim))
    return [parts == k for k in range(1, n + 1)]


def _centered(values: Array, inside: Mask) -> Array:
    """Values with mean 0 and deviation 1 where they count, so that single precision is enough."""
    chosen = values[inside] if inside.any() else values
    deviation = float(chosen.std()) or 1.0
    low, high = np.percentile(chosen, (0.5, 99.5))
    return np.asarray((np.clip(values, low, high) - chosen.mean()) / deviation, np.float32)


class _Moments:
    """Sums over blocks of two images, one of which is shifted."""

    def __init__(self, fixed: Array, warped: Array, cells: list[int], reach: list[int]) -> None:
        self.cells, self.reach, self.shape = cells, reach, fixed.shape
        self.shifts = list(product(*(range(-r, r + 1) for r in reach)))
        self._fixed = fixed
        self._wide = np.pad(warped, [(r, r) for r in reach], mode="edge")
        self._n = float(np.prod([2 * c if c > 1 else 1 for c in cells]))
        self._mean = self._blocks(fixed) / self._n
        self._variance = np.maximum(self._blocks(fixed * fixed) / self._n - self._mean**2, 0)
        self.contrast = np.sqrt(self._variance) > _LEAST_CONTRAST

    def correlation(self, shift: tuple[int, ...]) -> Array:
        """Local correlation of the fixed image and the warped one, read at a shift."""
        view = tuple(
            slice(r + s, r + s + n) for r, s, n in zip(self.reach, shift, self.shape, strict=True)
        )
        other = self._wide[view]
        mean = self._blocks(other) / self._n
        variance = np.maximum(self._blocks(other * other) / self._n - mean**2, 0)
        shared = self._blocks(self._fixed * other) / self._n - mean * self._mean
        floor = _LEAST_CONTRAST**2 / 4
        return np.asarray(shared / np.sqrt((self._variance + floor) * (variance + floor)))

    def share(self, mask: Mask, least: float = 0.5) -> Mask:
        """Blocks of which at least this share lies in a mask."""
        return np.asarray(self._blocks(mask.astype(np.float32)) / self._n >= least)

    def centers(self, grid: Grid) -> Array:
        """LPS mm of the middle of each block."""
        axes = [
            (np.arange(n // c - (c > 1)) + (c > 1)) * c - (0.5 if c > 1 else 0)
            for n, c in zip(self.shape, self.cells, strict=True)
        ]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), -1)[..., ::-1]
        return grid.points_at(index.astype(float))

    def _blocks(self, values: Array) -> Array:
        """Sums over blocks of two cells a side, which overlap by one cell."""
        for axis, cell in enumerate(self.cells):
            count = values.shape[axis] // cell
            values = values.take(range(count * cell), axis) if values.shape[axis] % cell else values
            shape = (*values.shape[:axis], count, cell, *values.shape[axis + 1 :])
            values = values.reshape(shape).sum(axis + 1)
            if cell > 1:
                values = _neighbors(values, axis)
        return values


def _neighbors(values: Array, axis: int) -> Array:
    low: list[slice] = [slice(None)] * values.ndim
    high = list(low)
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return np.asarray(values[tuple(low)] + values[tuple(high)])


def levels(grid: Grid) -> Iterator[Grid]:
    """The grids to search on, the finer first; the coarser one reaches twice as far."""
    yield grid
    if min(n for n in grid.size if n > 1) >= 6 * _CELL:
        yield grid.resized([max(n // 2, 1) for n in grid.size])
