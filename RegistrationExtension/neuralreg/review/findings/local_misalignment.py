"""How far the warped image still is from the fixed one, block by block, by a local search.

Around each block of the fixed image the warped one is searched for the position whose edges look
most alike: images of two modalities share edges, not brightness. A block is suspicious when a shift
beyond what is tolerated explains it better than any tolerable one does, and when its neighbors are
explained better by the same shift. This sees no error without structure, and along an edge only
the part across it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array, Mask
from neuralreg.resources import THREADS

_CELL = 3  # samples of a cell's side; a block is two cells wide
_REACH = {2: 4, 3: 2}  # finest samples searched each way, by dimension
_LEAST_CONTRAST = 0.15  # of the body's contrast: below, a block shows nothing
_FAINT = 1e-3  # of edges: below, a block shows none
_FITTING = 90  # percentile of the blocks' best agreement: what fitting parts of this pair reach
_NOWHERE = -1.0  # support of what cannot be judged
_SLACK = 1.05  # of lengths, for rounding
_GAIN, _GAIN_OF_NOISE, _ENOUGH = 0.08, 0.4, 0.24  # shares of the agreement where images fit


@dataclass(frozen=True, eq=False)
class Residual:
    """The result of the search, one value per block, in array order (z, y, x).

    Attributes:
        centers: LPS mm of the blocks, (..., d).
        shift_mm: Of the shifts beyond the tolerance the one that explains a block best, components
            x y z along the grid's axes, in mm.
        gain: How much more the edges agree than at the best tolerable shift, as a share of what
            they reach where the images fit.
        support: The gain that the block shares with as many neighbors as a cube of two blocks a
            side has, all at the block's shift.
        unexplained: 1 minus the usual agreement of edges at the best tolerable shift, 0 for equal
            images.
        usable: Blocks that show enough to tell.
        cell_mm: Sides of a cell, in array order.
    """

    centers: Array
    shift_mm: Array
    gain: Array
    support: Array
    unexplained: float
    usable: Mask
    cell_mm: Array

    @property
    def length_mm(self) -> Array:
        """Length of the shift."""
        return np.asarray(np.linalg.norm(self.shift_mm, axis=-1))


def residual(
    fixed: Array, warped: Array, valid: Mask, inside: Mask, grid: Grid, tolerance_mm: float
) -> Residual:
    """Search around each block of the fixed image for a shift that explains it better.

    Args:
        fixed: The fixed image (z, y, x).
        warped: The warped moving image on the same grid.
        valid: Where the warped image shows something.
        inside: Where it counts.
        grid: Of all of them.
        tolerance_mm: Shifts up to this length, and those by one sample, mean nothing.
    """
    d, finest = grid.dimension, min(grid.spacing)
    cells = [_CELL if n >= 6 * _CELL else 2 if n >= 6 else 1 for n in grid.shape]
    samples = [max(1, round(_REACH[d] * finest / step)) for step in grid.spacing[::-1]]
    reach = [min(n, cell) if cell > 1 else 0 for n, cell in zip(samples, cells, strict=True)]
    images = _standardize(fixed, inside), _standardize(warped, inside & valid)
    blocks = _Blocks(grid.shape, cells, reach)
    window = [2 * n + 1 for n in reach]  # edges beside what is not shown are artifacts
    visible = ndimage.minimum_filter(valid, window, mode="constant", cval=0)
    usable = (
        _contrast(images[0], blocks) & blocks.share(inside) & blocks.share(visible, least=0.999)
    )
    scores = _edge_agreements(*images, blocks)
    shifts_mm = np.array(blocks.shifts) * grid.spacing[::-1]
    lengths = np.linalg.norm(shifts_mm, axis=1)
    tolerable = lengths <= _SLACK * max(tolerance_mm, finest)
    near = scores[tolerable].max(0)
    fits, usual = _of_pair(scores.max(0)[usable], near[usable])
    gains = (scores - near) / max(fits, _FAINT)
    gains[tolerable] = -np.inf
    chosen = gains.argmax(0)
    return Residual(
        centers=blocks.centers(grid),
        shift_mm=shifts_mm[chosen][..., ::-1],
        gain=_at(gains, chosen),
        support=_support(gains, chosen, usable),
        unexplained=1.0 - usual,
        usable=usable,
        cell_mm=np.multiply(cells, grid.spacing[::-1]),
    )


def _of_pair(best: Array, near: Array) -> tuple[float, float]:
    """What the edges of this pair agree to where they fit, and usually."""
    if not len(best):
        return 1.0, 0.0
    return float(np.percentile(best, _FITTING)), float(np.median(near))


def _at(values: Array, chosen: Array) -> Array:
    """Of (shifts, ...) the value at each block's own shift."""
    return np.asarray(np.take_along_axis(values, chosen[None], 0)[0])


def _support(gains: Array, chosen: Array, usable: Mask) -> Array:
    """The gain that a block shares with enough neighbors, which are shifted as the block is."""
    d = usable.ndim
    wide = np.pad(gains, [(0, 0)] + [(1, 1)] * d, constant_values=_NOWHERE)
    wide_usable = np.pad(usable, 1)
    shares = []
    for step in product((0, 1, 2), repeat=d):
        if step == (1,) * d:
            continue
        view = tuple(slice(s, s + n) for s, n in zip(step, usable.shape, strict=True))
        shares.append(
            np.where(wide_usable[view], _at(wide[(slice(None), *view)], chosen), _NOWHERE)
        )
    enough = np.sort(np.stack(shares), axis=0)[-(2**d)]
    return np.asarray(np.where(usable, np.minimum(_at(gains, chosen), enough), _NOWHERE))


def suspicious_blocks(search: Residual) -> Mask:
    """Blocks that are off by more than is tolerated, together with their neighbors.

    What usually is left unexplained (noise, another modality) lets some shift explain more by
    chance: the more of it, the higher the threshold.
    """
    threshold = min(_GAIN + _GAIN_OF_NOISE * search.unexplained, _ENOUGH)
    return np.asarray(search.support >= threshold)


def clusters(chosen: Mask) -> list[Mask]:
    """The connected groups of blocks, corners count as touching."""
    parts, n = ndimage.label(chosen, np.ones((3,) * chosen.ndim))
    return [parts == k for k in range(1, n + 1)]


def _standardize(values: Array, inside: Mask) -> Array:
    """Values with mean 0 and deviation 1 where they count, so that single precision is enough."""
    low, high = np.percentile(values[inside] if inside.any() else values, (0.5, 99.5))
    clipped = np.clip(values, low, high)  # before anything is measured: one voxel may be huge
    chosen = clipped[inside] if inside.any() else clipped
    return np.asarray((clipped - chosen.mean()) / (float(chosen.std()) or 1.0), np.float32)


class _Blocks:
    """Blocks of two cells a side, which overlap by one cell, and the shifts to try."""

    def __init__(self, shape: tuple[int, ...], cells: list[int], reach: list[int]) -> None:
        self.shape, self.cells, self.reach = shape, cells, reach
        self.shifts = list(product(*(range(-r, r + 1) for r in reach)))
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

    def pad(self, values: Array) -> Array:
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


def _edge_agreements(fixed: Array, warped: Array, blocks: _Blocks) -> Array:
    """How parallel the edges of both images are at each shift: (shifts, ...), 0 to 1.

    Normalized gradient fields, Haber, Modersitzki 2006, doi:10.1007/11866763_89; as images of two
    modalities share edges, not brightness.
    """
    first = _edges(fixed)
    second = [blocks.pad(part) for part in _edges(warped)]
    strength, other_strength = _sum_of_squares(first), _sum_of_squares(second)
    own = blocks.mean(strength * strength) + _FAINT

    def at(shift: tuple[int, ...]) -> Array:
        shifted = [blocks.view(part, shift) for part in second]
        along = np.sum([a * b for a, b in zip(first, shifted, strict=True)], axis=0)
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
    with ThreadPoolExecutor(THREADS) as pool:
        return np.stack(list(pool.map(function, shifts)))


def _neighbors(values: Array, axis: int) -> Array:
    low: list[slice] = [slice(None)] * values.ndim
    high = list(low)
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return np.asarray(values[tuple(low)] + values[tuple(high)])


def levels(grid: Grid, tolerance_mm: float) -> Iterator[Grid]:
    """The grids to search on, the finer first; the coarser one reaches twice as far.

    The first one is no finer than the tolerance asks for, as it would reach less far. Coarse axes
    stay as they are, so that the search is equally wide along all.
    """
    finest = max(min(grid.spacing), tolerance_mm / 2)
    for step in (finest, 2 * finest):
        spacing = np.maximum(grid.spacing, step)
        level = grid if np.allclose(spacing, grid.spacing) else grid.with_spacing(spacing.tolist())
        if step == finest or min(n for n in level.size if n > 1) >= 6 * _CELL:
            yield level
