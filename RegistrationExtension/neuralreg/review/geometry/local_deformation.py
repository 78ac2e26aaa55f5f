"""What a deformation does to volume and how rough it is, from displacements on a grid."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from neuralreg.geometry.grid import Grid, require_dimension
from neuralreg.geometry.typing import Array, Mask
from neuralreg.resources import THREADS
from neuralreg.review.report_model import JacobianStatistics

if TYPE_CHECKING:
    from neuralreg.review.geometry.deformation import Deformation

_SLAB = 1 << 21  # samples at a time: about 60 bytes each
_LEAST = 1e-3  # determinants are clamped to 1e-3..1e3 in the logarithm, so that a fold counts
_MOST_RANKED = 1 << 22  # samples are enough to know percentiles


def jacobian_determinant(u: Array, grid: Grid) -> Array:
    """Local change of volume det(I + du/dp) at the samples of a grid: (z, y, x), 1 for no change.

    Above 1 the moving image is larger there, at 0 or less it folds. Central differences, one-sided
    at the ends, so an affine transform is exact; an axis of one sample is taken as constant.

    Args:
        u: Displacements (z, y, x, d), mm.
        grid: Of the displacements.
    """
    determinant = np.empty(grid.shape, np.float32)

    def fill(rows: slice) -> None:
        gradient, axes = _gradient(u, grid, rows)
        determinant[rows] = _determinant(gradient, axes)

    _in_slabs(fill, grid)
    return determinant


def determinant_of(deformation: Deformation, grid: Grid) -> Array:
    """The same of a transform, (z, y, x); of a matrix exactly its own.

    Raises:
        InvalidImage: the grid has other axes.
    """
    require_dimension(deformation.dimension, grid.dimension)
    if deformation.matrix is not None:
        return np.full(grid.shape, np.linalg.det(deformation.matrix[:-1, :-1]))
    return jacobian_determinant(deformation.on(grid), grid)


def log_determinant(determinant: Array) -> Array:
    """Natural logarithm, under which a fold counts as 0.001, as in ANTs."""
    logarithm: Array = np.log(np.maximum(determinant, _LEAST))
    return logarithm


def stretches(u: Array, grid: Grid) -> Array:
    """The largest change of length, |F v| for unit v, of F = I + du/dp: (z, y, x); 1 is none.

    The root of the largest eigenvalue of F^T F, or the inverse of the smallest where that is more.
    """
    most = np.empty(grid.shape, np.float32)
    d = grid.dimension
    straight = np.linalg.inv(_axes(grid)).astype(np.float32)

    def fill(rows: slice) -> None:
        gradient, axes = _gradient(u, grid, rows)
        slope = (
            np.stack(
                [
                    np.stack([g + a for g, a in zip(*row, strict=True)], -1)
                    for row in zip(gradient, axes, strict=True)
                ],
                -2,
            )
            @ straight
        )
        lengths = np.linalg.eigvalsh(np.swapaxes(slope, -1, -2) @ slope)
        low = np.sqrt(np.maximum(lengths[..., 0], 1e-6))
        most[rows] = np.maximum(np.sqrt(lengths[..., d - 1]), 1 / low)

    _in_slabs(fill, grid)
    return most


def bending_energy(u: Array, grid: Grid, inside: Mask) -> float:
    """Mean over samples of all squared second derivatives of u, in 1/mm2; 0 for an affine motion.

    Args:
        u: Displacements (z, y, x, d), mm.
        grid: Of the displacements.
        inside: The samples that count.

    Source: Rueckert et al. 1999, doi:10.1109/42.796284.
    """
    total = np.zeros(grid.shape, np.float32)
    for c in range(grid.dimension):
        slopes = _slopes(u[..., c], grid)
        for first, slope in enumerate(slopes):
            for second, again in enumerate(_slopes(slope, grid)):
                if second >= first:
                    total += (1 if first == second else 2) * again * again
    return float(total[inside].mean())


def harmonic_energy(u: Array, grid: Grid, inside: Mask) -> float:
    """Mean over samples of the squared length of du/dp; without unit, 0 for a shift."""
    total = np.zeros(grid.shape, np.float32)
    for c in range(grid.dimension):
        for slope in _slopes(u[..., c], grid):
            total += slope * slope
    return float(total[inside].mean())


def statistics(determinant: Array, grid: Grid, inside: Mask, region: str) -> JacobianStatistics:
    """The numbers of one region; see `JacobianStatistics`. `inside` must not be empty."""
    values = determinant[inside]
    folded = int((~(values > 0)).sum())
    few = values[:: max(1, len(values) // _MOST_RANKED)]
    low, high = np.percentile(few, (1, 99))
    logarithm = np.log(np.clip(values, _LEAST, 1 / _LEAST))
    return JacobianStatistics(
        region=region,
        count=len(values),
        minimum=float(values.min()),
        p1=float(low),
        p99=float(high),
        maximum=float(values.max()),
        folding_percent=100.0 * folded / len(values),
        folding_ml=folded * float(np.prod(grid.spacing)) / 1000,
        sd_log=float(logarithm.std(dtype=np.float64)),
    )


def without_border(grid: Grid) -> Mask:
    """All samples but the outermost, whose differences are one-sided and read beyond the field."""
    inner = np.zeros(grid.shape, bool)
    inner[tuple(slice(1, -1) if n > 2 else slice(None) for n in grid.shape)] = True
    return inner


def _in_slabs(fill: Any, grid: Grid) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(fill, rows) for rows in _slabs(grid)]:
            done.result()


def _slabs(grid: Grid) -> Iterator[slice]:
    step = max(1, _SLAB * grid.shape[0] // grid.count)
    return (
        slice(start, min(start + step, grid.shape[0])) for start in range(0, grid.shape[0], step)
    )


def _axes(grid: Grid) -> Array:
    d = grid.dimension
    return grid.index_to_world[:d, :d]


def _gradient(u: Array, grid: Grid, rows: slice) -> tuple[list[list[Array]], Array]:
    """du/dindex by component and axis x y z, in some rows, and the matrix of the grid's axes."""
    d = grid.dimension
    halo = slice(max(rows.start - 1, 0), min(rows.stop + 1, grid.shape[0]))
    inside = slice(rows.start - halo.start, rows.stop - halo.start)
    part = u[halo]
    gradient = [[_difference(part[..., c], d - 1 - k)[inside] for k in range(d)] for c in range(d)]
    return gradient, _axes(grid)


def _difference(values: Array, axis: int) -> Array:
    if values.shape[axis] < 2:
        return np.zeros_like(values)
    return np.asarray(np.gradient(values, axis=axis))


def _determinant(gradient: list[list[Array]], axes: Array) -> Array:
    """det(I + G A^-1) = det(A + G) / det(A), for G = du/dindex and the grid's axes A."""
    g = [
        [part + np.float32(a) for part, a in zip(row, line, strict=True)]
        for row, line in zip(gradient, axes, strict=True)
    ]
    if len(g) == 2:
        determinant = g[0][0] * g[1][1] - g[0][1] * g[1][0]
    else:
        determinant = g[0][0] * (g[1][1] * g[2][2] - g[1][2] * g[2][1])
        determinant -= g[0][1] * (g[1][0] * g[2][2] - g[1][2] * g[2][0])
        determinant += g[0][2] * (g[1][0] * g[2][1] - g[1][1] * g[2][0])
    determinant /= np.float32(np.linalg.det(axes))
    return np.asarray(determinant)


def _slopes(values: Array, grid: Grid) -> list[Array]:
    """Derivatives along the grid's own axes, per mm; their sums of squares need no turning."""
    d = grid.dimension
    return [_difference(values, d - 1 - k) / np.float32(grid.spacing[k]) for k in range(d)]
