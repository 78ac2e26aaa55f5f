"""Where a point is after going forward and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from neuralreg.geometry.grid import Grid
from neuralreg.review.geometry.deformation import Deformation, placed, read_through

Array = NDArray[Any]

_SWEEPS = 30
_TOLERANCE_MM = 0.01
_PATIENCE, _SETTLED = 4, 0.95  # after so many sweeps this share of the error is still there
_FITTED = 12  # samples per axis that the linear part is fitted to
_LEAST_VOLUME = 0.05  # of a linear part that is worth to begin with


def forward_backward(u: Array, grid: Grid, inverse: Deformation) -> Array:
    """How far, in mm, a sample of `grid` is from itself after u and the inverse: (z, y, x)."""
    if inverse.vectors is not None and inverse.grid is not None:
        back = carried(inverse.vectors, inverse.grid, u, grid)
        return np.asarray(np.linalg.norm(u + back, axis=-1))
    d = grid.dimension
    index = np.indices(grid.shape, float)[::-1].reshape(d, -1).T
    start = grid.points_at(index)
    error = np.linalg.norm(inverse(start + u.reshape(-1, d)) - start, axis=1)
    return np.asarray(error.reshape(grid.shape), np.float32)


def carried(vectors: Array, of: Grid, u: Array, grid: Grid) -> Array:
    """Vectors (z, y, x, d) on the grid `of`, read where u leads to from the samples of `grid`.

    Beyond the grid `of` its border holds.
    """
    field = placed(sitk.GetImageFromArray(np.asarray(u, np.float64), isVector=True), grid)
    return read_through(vectors, of, grid, sitk.DisplacementFieldTransform(field))


def inverted(deformation: Deformation, grid: Grid) -> tuple[Deformation, Array]:
    """The deformation that takes the points of `grid` back, and what is left, in mm (z, y, x).

    Fixed points around the linear part, which is inverted exactly. Where they do not settle the
    transform folds, or stretches much more than elsewhere: what is left says so.
    Source: Chen et al. 2008, doi:10.1118/1.2816107 (v <- -u(y + v)).
    """
    if deformation.matrix is not None:
        back = Deformation(grid.dimension, matrix=np.linalg.inv(deformation.matrix))
        return back, np.zeros(grid.shape, np.float32)
    u = deformation.on(grid)
    vectors, of = (
        (u, grid)
        if deformation.vectors is None or deformation.grid is None
        else (deformation.vectors, deformation.grid)
    )
    start = np.linalg.inv(_linear_part(deformation, grid))
    step = start[: grid.dimension, : grid.dimension].T.astype(np.float32)
    v = Deformation(grid.dimension, matrix=start).on(grid)
    left, best = np.full(grid.shape, np.inf, np.float32), v
    totals: list[float] = []
    for _ in range(_SWEEPS):
        missing = -(v + carried(vectors, of, v, grid))
        error = np.linalg.norm(missing, axis=-1)
        better = error < left
        best = np.where(better[..., None], v, best)
        left = np.where(better, error, left)
        totals.append(float(left.sum()))
        stuck = len(totals) > _PATIENCE and totals[-1] > _SETTLED * totals[-1 - _PATIENCE]
        if stuck or float(left.max()) < _TOLERANCE_MM:
            break
        v = v + missing @ step
    return Deformation(grid.dimension, vectors=best, grid=grid), left


def _linear_part(deformation: Deformation, grid: Grid) -> Array:
    """The affine transform, homogeneous, that is nearest to the deformation on a few samples."""
    d = grid.dimension
    few = grid.resize([min(n, _FITTED) for n in grid.size])
    index = np.indices(few.shape, float)[::-1].reshape(d, -1).T
    points = few.points_at(index)
    center = points.mean(0)
    known = np.hstack([points - center, np.ones((len(points), 1))])
    fitted = np.linalg.lstsq(known, points + deformation.on(few).reshape(-1, d), rcond=None)[0].T
    matrix = np.eye(d + 1)
    matrix[:d, :d] = fitted[:, :d] if min(few.size) > 1 else np.eye(d)
    matrix[:d, d] = fitted[:, d] - matrix[:d, :d] @ center
    if abs(np.linalg.det(matrix)) < _LEAST_VOLUME:
        return np.eye(d + 1)
    return matrix
