"""Rigid and affine transforms of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.grid import Matrix


@dataclass(frozen=True, eq=False)
class LinearTransform:
    """`p_moving = A p_fixed + t` in LPS mm.

    Attributes:
        matrix: homogeneous, (d+1, d+1), float64.

    Raises:
        InvalidTransform: when it cannot be inverted.
    """

    matrix: Matrix

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, float)
        object.__setattr__(self, "matrix", matrix)
        if matrix.shape not in ((3, 3), (4, 4)) or not np.isfinite(matrix).all():
            raise InvalidTransform(
                "a linear transform is a finite matrix", got=f"{matrix.tolist()}"
            )
        if abs(self.determinant) < 1e-9:
            raise InvalidTransform(
                "a linear transform can be inverted",
                got=f"{matrix.tolist()}, which squeezes space flat",
                remedy="Check how the transform was made.",
            )

    @classmethod
    def identity(cls, dimension: int) -> LinearTransform:
        """The transform that leaves every point where it is."""
        return cls(np.eye(dimension + 1))

    @classmethod
    def from_parts(
        cls, linear: Matrix, translation: Matrix, center: Matrix | float = 0.0
    ) -> LinearTransform:
        """The transform `p -> linear (p - center) + center + translation`.

        Args:
            linear: (d, d), components x y z.
            translation: LPS mm, (d,).
            center: LPS mm, (d,); the origin of the world unless given.

        Raises:
            InvalidTransform: when it cannot be inverted.
        """
        d = len(linear)
        matrix = np.eye(d + 1)
        matrix[:d, :d] = linear
        matrix[:d, d] = (
            np.asarray(translation) + center - np.asarray(linear) @ np.broadcast_to(center, d)
        )
        return cls(matrix)

    @classmethod
    def fit_rigid(cls, points: Matrix, moved: Matrix) -> LinearTransform:
        """The rigid transform that takes points (n, d) nearest to where they moved (n, d), in mm.

        Source: Kabsch 1976, doi:10.1107/S0567739476001873; never a reflection.
        """
        center, shift = points.mean(0), moved.mean(0) - points.mean(0)
        rotation = nearest_rotation((moved - moved.mean(0)).T @ (points - center))
        return cls.from_parts(rotation, shift, center=center)

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.matrix) - 1

    @property
    def determinant(self) -> float:
        """Change of volume; negative for a reflection."""
        return float(np.linalg.det(self.matrix[:-1, :-1]))

    def __call__(self, points: Matrix) -> Matrix:
        """Points (..., d) in LPS mm, moved."""
        return np.asarray(points, float) @ self.matrix[:-1, :-1].T + self.matrix[:-1, -1]

    def inverse(self) -> LinearTransform:
        """The transform that takes the points back."""
        return LinearTransform(np.linalg.inv(self.matrix))

    def then(self, following: LinearTransform) -> LinearTransform:
        """The transform that applies this one first and `following` second."""
        return LinearTransform(following.matrix @ self.matrix)


def nearest_rotation(matrix: Matrix) -> Matrix:
    """The rotation nearest to a matrix (d, d); never a reflection."""
    u, _, v = np.linalg.svd(matrix)
    signs = np.ones(len(matrix))
    signs[-1] = np.sign(np.linalg.det(u @ v))
    rotation: Matrix = u @ np.diag(signs) @ v
    return rotation
