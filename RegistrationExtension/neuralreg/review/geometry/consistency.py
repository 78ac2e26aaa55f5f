"""Where a point is after going forward and back again."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array
from neuralreg.review.geometry.deformation import Deformation, place_on_grid, sample_through

_SWEEPS = 30
_TOLERANCE_MM = 0.01
_PATIENCE, _SETTLED = 4, 0.95  # stop where so many sweeps leave this share of the error
_FIT_SAMPLES = 12  # per axis, for the fit of the linear part
_LEAST_VOLUME = 0.05  # of a linear part that is worth starting from


def forward_backward(u: Array, grid: Grid, inverse: Deformation) -> Array:
    """How far a sample is from itself after the deformation and its inverse: (z, y, x), mm.

    Args:
        u: Displacements (z, y, x, d), mm.
        grid: Of the displacements.
        inverse: The deformation of the other direction.
    """
    if inverse.vectors is not None and inverse.grid is not None:
        backward = sample_displaced(inverse.vectors, inverse.grid, u, grid)
        return np.asarray(np.linalg.norm(u + backward, axis=-1))
    d = grid.dimension
    index = np.indices(grid.shape, float)[::-1].reshape(d, -1).T
    start = grid.points_at(index)
    error = np.linalg.norm(inverse(start + u.reshape(-1, d)) - start, axis=1)
    return np.asarray(error.reshape(grid.shape), np.float32)


def sample_displaced(vectors: Array, of: Grid, u: Array, grid: Grid) -> Array:
    """Vectors, sampled where displacements lead from the samples of a grid.

    Args:
        vectors: (z, y, x, d).
        of: Their grid; beyond it its border is continued.
        u: Displacements at the samples of `grid`, (z, y, x, d) mm.
        grid: Of the displacements and of the result.
    """
    field = place_on_grid(sitk.GetImageFromArray(np.asarray(u, np.float64), isVector=True), grid)
    return sample_through(vectors, of, grid, sitk.DisplacementFieldTransform(field))


def invert(deformation: Deformation, grid: Grid) -> tuple[Deformation, Array]:
    """The inverse deformation on a grid, and its error in mm (z, y, x).

    Fixed points around the linear part, which is inverted exactly. Where they do not converge the
    transform folds, or stretches much more than elsewhere: the error shows it.

    Source: Chen et al. 2008, doi:10.1118/1.2816107 (v <- -u(y + v)).
    """
    if deformation.matrix is not None:
        inverse = Deformation(grid.dimension, matrix=np.linalg.inv(deformation.matrix))
        return inverse, np.zeros(grid.shape, np.float32)
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
        correction = -(v + sample_displaced(vectors, of, v, grid))
        error = np.linalg.norm(correction, axis=-1)
        better = error < left
        best = np.where(better[..., None], v, best)
        left = np.where(better, error, left)
        totals.append(float(left.sum()))
        stuck = len(totals) > _PATIENCE and totals[-1] > _SETTLED * totals[-1 - _PATIENCE]
        if stuck or float(left.max()) < _TOLERANCE_MM:
            break
        v = v + correction @ step
    return Deformation(grid.dimension, vectors=best, grid=grid), left


def _linear_part(deformation: Deformation, grid: Grid) -> Array:
    """The affine transform, homogeneous, that is nearest to the deformation on a few samples."""
    d = grid.dimension
    few = grid.resize([min(n, _FIT_SAMPLES) for n in grid.size])
    index = np.indices(few.shape, float)[::-1].reshape(d, -1).T
    points = few.points_at(index)
    center = points.mean(0)
    design = np.hstack([points - center, np.ones((len(points), 1))])
    moved = points + deformation.on(few).reshape(-1, d)
    affine = np.linalg.lstsq(design, moved, rcond=None)[0].T
    matrix = np.eye(d + 1)
    matrix[:d, :d] = affine[:, :d] if min(few.size) > 1 else np.eye(d)
    matrix[:d, d] = affine[:, d] - matrix[:d, :d] @ center
    if abs(np.linalg.det(matrix)) < _LEAST_VOLUME:
        return np.eye(d + 1)
    return matrix
