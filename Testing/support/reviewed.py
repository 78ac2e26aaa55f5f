"""What tests of the review make themselves: fields, label maps and images on a grid."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from neuralreg.geometry.grid import Grid
from neuralreg.review.geometry.deformation import Deformation, place_on_grid


def itk(values: np.ndarray, grid: Grid) -> sitk.Image:
    """Values (z, y, x) as an image on a grid."""
    return place_on_grid(sitk.GetImageFromArray(np.ascontiguousarray(values)), grid)


def places(grid: Grid) -> np.ndarray:
    """LPS mm of the samples, (z, y, x, d)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    return grid.points_at(index[..., ::-1].astype(float))


def wavy(grid: Grid, largest_mm: float = 4.0) -> np.ndarray:
    """A smooth displacement without folds, (z, y, x, d)."""
    at = places(grid)
    waves = [np.sin(at[..., (c + 1) % grid.dimension] / 14 + c) for c in range(grid.dimension)]
    return (np.stack(waves, -1) * largest_mm / grid.dimension**0.5).astype(np.float32)


def field(u: np.ndarray, grid: Grid) -> Deformation:
    """A deformation of displacements on a grid."""
    return Deformation(grid.dimension, vectors=np.asarray(u, np.float32), grid=grid)


def structures(points: np.ndarray) -> np.ndarray:
    """Two labels at LPS points (..., 3): a ball of 12 mm and a smaller one."""
    first = np.linalg.norm(points - [10.0, -10.0, 4.0], axis=-1) < 12
    second = np.linalg.norm(points - [-14.0, 10.0, -7.0], axis=-1) < 10
    return (first + 2 * second).astype(np.uint8)
