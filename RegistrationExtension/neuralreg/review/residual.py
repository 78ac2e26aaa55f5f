"""How far the warped image still is from the fixed one, block by block, by looking around.

Around each block of the fixed image the warped one is searched for the place that looks most
alike, in brightness and in edges; between modalities in edges alone. Where a shift explains a block
much better than no shift does, and its neighbors say the same, the deformation is probably off by
about that shift. This sees no error without structure,
and along an edge only the part across it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
_OPPOSITE = 0.5  # local correlation below minus this speaks for images of two kinds,
_OPPOSED = 0.05  # when this share of the blocks says so
_SURER = 0.05  # by which edges alone must explain more than brightness and edges together
_EDGES_COUNT = 2.0  # edges gain less than brightness does
_FAINT = 1e-3  # of edges: below, a block shows none
_THREADS = 2
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
    images = _centered(fixed, inside), _centered(warped, inside & seen)
    blocks = _Blocks(grid.shape, cells, reach)
    contrast = _contrast(images[0], blocks)
    usable = contrast & blocks.share(inside) & blocks.share(seen, least=0.999)
    scores, edges = _correlations(*images, blocks), _edge_agreements(*images, blocks)
    still = scores[blocks.still][usable]
    opposed = usable.any() and bool(np.mean(still < -_OPPOSITE) > _OPPOSED)
    surer = _SURER if opposed else 0.0
    scores = edges if opposed else scores  # where brightness tells nothing, edges must be sure
    chosen = _smallest_of_the_best(scores, blocks, grid)
    best, fit = (np.take_along_axis(values, chosen[None], 0)[0] for values in (scores, edges))
    gain = best - scores[blocks.still] - surer
    if not opposed:  # edges must fit better there as well
        gain = np.minimum(gain, _EDGES_COUNT * (fit - edges[blocks.still]))
    shift_mm = (np.array(blocks.shifts)[chosen] * grid.spacing[::-1])[..., ::-1]
    return Residual(
        centers=blocks.centers(grid),
        shift_mm=shift_mm,
        gain=gain,
        score=best - 2 * surer,
        usable=usable,
        cell_mm=np.multiply(cells, grid.spacing[::-1]),
    )


def _smallest_of_the_best(scores: Array, blocks: _Blocks, grid: Grid) -> Array:
    """Of the shifts that are nearly as good as the best one, the smallest: its number."""
    best = scores.max(0)
    close = scores >= best - _NEAR_BEST * (best - scores[blocks.still])
    lengths = np.linalg.norm(np.array(blocks.shifts) * grid.spacing[::-1], axis=1)
    return np.asarray(np.where(close, lengths.reshape(-1, *[1] * best.ndim), np.inf).argmin(0))


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


class _Blocks:
    """Blocks of two cells a side, which overlap by one cell, and the shifts to try."""

    def __init__(self, shape: tuple[int, ...], cells: list[int], reach: list[int]) -> None:
        self.shape, self.cells, self.reach = shape, cells, reach
        self.shifts = list(product(*(range(-r, r + 1) for r in reach)))
        self.still = self.shifts.index((0,) * len(shape))
        self._n = float(np.prod([2 * c if c > 1 else 1 for c in cells]))

    def mean(self, values: Array) -> Array:
        """Means over the blocks."""
        for axis, cell in enumerate(self.cells):
            count = values.shape[axis] // cell
            values = values.take(range(count * cell), axis) if values.shape[axis] % cell else values
            shape = (*values.shape[:axis], count, cell, *values.shape[axis + 1 :])
            values = values.reshape(shape).sum(axis + 1)
            if cell > 1:
                values = _neighbors(values, axis)
        return values / self._n

    def share(self, mask: Mask, least: float = 0.5) -> Mask:
        """Blocks of which at least this share lies in a mask."""
        return np.asarray(self.mean(mask.astype(np.float32)) >= least)

    def padded(self, values: Array) -> Array:
        """An array with room for the shifts."""
        return np.pad(values, [(r, r) for r in self.reach], mode="edge")

    def view(self, padded: Array, shift: tuple[int, ...]) -> Array:
        """A padded array, read at a shift."""
        parts = zip(self.reach, shift, self.shape, strict=True)
        return padded[tuple(slice(r + s, r + s + n) for r, s, n in parts)]

    def centers(self, grid: Grid) -> Array:
        """LPS mm of the middle of each block."""
        axes = [
            (np.arange(n // c - (c > 1)) + (c > 1)) * c - (0.5 if c > 1 else 0)
            for n, c in zip(self.shape, self.cells, strict=True)
        ]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), -1)[..., ::-1]
        return grid.points_at(index.astype(float))


def _contrast(values: Array, blocks: _Blocks) -> Mask:
    variance = blocks.mean(values * values) - blocks.mean(values) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0)) > _LEAST_CONTRAST)


def _correlations(fixed: Array, warped: Array, blocks: _Blocks) -> Array:
    """Local correlation of both images at each shift: (shifts, ...), -1 to 1."""
    floor = _LEAST_CONTRAST**2 / 4
    mean = blocks.mean(fixed)
    variance = np.maximum(blocks.mean(fixed * fixed) - mean**2, 0) + floor
    wide = blocks.padded(warped)

    def at(shift: tuple[int, ...]) -> Array:
        other = blocks.view(wide, shift)
        other_mean = blocks.mean(other)
        other_variance = np.maximum(blocks.mean(other * other) - other_mean**2, 0) + floor
        shared = blocks.mean(fixed * other) - mean * other_mean
        return np.asarray(shared / np.sqrt(variance * other_variance))

    return _for_each(blocks.shifts, at)


def _edge_agreements(fixed: Array, warped: Array, blocks: _Blocks) -> Array:
    """How parallel the edges of both images are at each shift: (shifts, ...), 0 to 1.

    Normalized gradient fields, Haber, Modersitzki 2006, doi:10.1007/11866763_89; as images of two
    modalities share edges, not brightness.
    """
    first = _edges(fixed)
    second = [blocks.padded(part) for part in _edges(warped)]
    strength, other_strength = _sum_of_squares(first), _sum_of_squares(second)
    own = blocks.mean(strength * strength) + _FAINT

    def at(shift: tuple[int, ...]) -> Array:
        there = [blocks.view(part, shift) for part in second]
        along = np.sum([a * b for a, b in zip(first, there, strict=True)], axis=0)
        strong = blocks.view(other_strength, shift)
        shared = blocks.mean(along * along)
        return np.asarray(shared / np.sqrt(own * (blocks.mean(strong * strong) + _FAINT)))

    return _for_each(blocks.shifts, at)


def _edges(values: Array) -> list[Array]:
    """The gradient of a smoothed image, of length 1 at strong edges and less at weak ones."""
    smooth = ndimage.gaussian_filter(values, [1.0 if n > 2 else 0.0 for n in values.shape])
    slopes = [
        np.gradient(smooth, axis=a) if n > 1 else np.zeros_like(smooth)
        for a, n in enumerate(values.shape)
    ]
    length = np.sqrt(_sum_of_squares(slopes))
    return [s / np.sqrt(length**2 + length.mean() ** 2) for s in slopes]


def _sum_of_squares(parts: list[Array]) -> Array:
    return np.asarray(np.sum([part * part for part in parts], axis=0))


def _for_each(shifts: list[tuple[int, ...]], function: Callable[..., Array]) -> Array:
    with ThreadPoolExecutor(_THREADS) as pool:
        return np.stack(list(pool.map(function, shifts)))


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
