"""Splines that ITK's readers do not take: tensor products on a grid, and between points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.io.volume import to_image

_CHUNK = 1 << 16  # points evaluated at once


def cubic_weights(positions: Matrix, count: int) -> Matrix:
    """How much each of `count` coefficients of a cubic B-spline weighs at positions.

    Args:
        positions: in units of knots, coefficient 0 at 0; beyond the coefficients they count as 0.
        count: number of coefficients.

    Returns:
        (positions, count).
    """
    distance = np.abs(np.asarray(positions)[:, None] - np.arange(count))
    near: Matrix = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights: Matrix = np.where(distance < 1, near, far)
    return weights


def bspline_of(coefficients: sitk.Image, order: int = 3) -> sitk.BSplineTransform:
    """ITK's B-spline transform of displacements at its control points.

    Args:
        coefficients: LPS mm, an image of the control points.
        order: 3, or 1 for linear.
    """
    spline = sitk.BSplineTransform(3, order)
    grid, values = Grid.of(coefficients), sitk.GetArrayViewFromImage(coefficients)
    spline.SetFixedParameters([*map(float, grid.size), *grid.origin, *grid.spacing,
                               *grid.direction])  # fmt: skip
    spline.SetParameters(np.moveaxis(values, -1, 0).astype(float).ravel().tolist())
    return spline


# Kernels of displacements between points, by their names in ITK and elastix.
KERNELS: dict[str, Callable[[Matrix], Matrix]] = {
    "ThinPlateSpline": lambda r: r,
    "ThinPlateR2LogRSpline": lambda r: r**2 * np.log(np.where(r > 1e-8, r, 1.0)),
    "VolumeSpline": lambda r: r**3,
}


@dataclass(frozen=True, eq=False)
class KernelSpline:
    """A thin-plate or volume spline: `p_moving = A p + t + sum_k w_k G(|p - q_k|)`.

    Attributes:
        points: q, LPS mm, (n, d).
        weights: w, (n, d).
        linear: (d + 1, d), rows A transposed and t.
        kernel: G, by its name.

    Source: Davis et al. 1997, doi:10.1109/42.585767, as in ITK's KernelTransform.
    """

    points: Matrix
    weights: Matrix
    linear: Matrix
    kernel: str

    @classmethod
    def fit(
        cls, fixed: Matrix, moving: Matrix, kernel: str, stiffness: float = 0.0
    ) -> KernelSpline:
        """The spline that takes points of the fixed image to those of the moving one.

        Args:
            fixed, moving: LPS mm, (n, d).
            kernel: a name of `KERNELS`.
            stiffness: above 0 the points are only approached.

        Raises:
            InvalidTransform: the kernel is not known, or the points span no space.
        """
        if kernel not in KERNELS:
            raise InvalidTransform(
                "this spline between points cannot be read", got=kernel, wanted=", ".join(KERNELS)
            )
        n, d = fixed.shape
        gaps = np.linalg.norm(fixed[:, None] - fixed[None], axis=2)
        design = np.column_stack([fixed, np.ones(n)])
        matrix = np.block([
            [KERNELS[kernel](gaps) + stiffness * np.eye(n), design],
            [design.T, np.zeros((d + 1, d + 1))],
        ])  # fmt: skip
        target = np.vstack([moving, np.zeros((d + 1, d))])
        try:
            solution = np.linalg.solve(matrix, target)
        except np.linalg.LinAlgError as error:
            raise InvalidTransform(
                "a spline between points needs points that span space, each once",
                got=f"{n} points",
            ) from error
        return cls(fixed, solution[:n], solution[n:], kernel)

    def __call__(self, points: Matrix) -> Matrix:
        """Points (n, d) in LPS mm, moved."""
        gaps = np.linalg.norm(points[:, None] - self.points[None], axis=2)
        linear = np.column_stack([points, np.ones(len(points))]) @ self.linear
        return np.asarray(linear + KERNELS[self.kernel](gaps) @ self.weights)

    def on(self, grid: Grid) -> sitk.Image:
        """The displacements at the samples of a grid."""
        d = grid.dimension
        index = np.moveaxis(np.indices(grid.shape, float)[::-1], 0, -1).reshape(-1, d)
        values = np.empty((len(index), d), np.float32)
        for start in range(0, len(index), _CHUNK):
            at = grid.points_at(index[start : start + _CHUNK])
            values[start : start + _CHUNK] = self(at) - at
        return to_image(values.reshape(*grid.shape, d), grid)
