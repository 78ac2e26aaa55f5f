"""Where the samples of an image or a field lie in the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage, InvalidTransform

if TYPE_CHECKING:
    import SimpleITK as sitk

Matrix = NDArray[np.floating[Any]]

_ORTHONORMAL_TOLERANCE = 1e-3  # what a NIfTI header in single precision can lose


def require_dimension(transform: int, images: int, where: str = "") -> None:
    """Check that a transform has the axes of the images that it is for.

    Args:
        transform, images: numbers of axes.
        where: the file of the transform, for a message.

    Raises:
        InvalidTransform: they differ.
    """
    if transform != images:
        raise InvalidTransform(
            "images and transform have the same number of axes",
            where=where,
            got=f"a transform in {transform}D for images in {images}D",
            remedy="Give the transform that was made for these images.",
        )


@dataclass(frozen=True)
class Grid:
    """A regular grid of samples in 2D or 3D.

    Everything is in x y z order as in ITK, because that is how people read it; arrays on the grid
    are z y x, as torch and numpy want the fastest axis last: see `shape`.

    Attributes:
        size: samples per axis.
        spacing: mm.
        origin: LPS mm of the center of the first sample.
        direction: cosines, row by row, as `sitk.Image.GetDirection()` gives them.

    Raises:
        InvalidImage: when the numbers do not describe a grid.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, kind in (
            ("size", int),
            ("spacing", float),
            ("origin", float),
            ("direction", float),
        ):
            object.__setattr__(self, name, tuple(kind(value) for value in getattr(self, name)))
        d = len(self.size)
        lengths = (d, len(self.spacing), len(self.origin), len(self.direction))
        if d not in (2, 3) or lengths != (d, d, d, d * d):
            raise InvalidImage(
                "a grid has two or three axes",
                got=f"{lengths} numbers for size, spacing, origin and direction",
                wanted="(2, 2, 2, 4) or (3, 3, 3, 9)",
            )
        finite = np.isfinite([*self.spacing, *self.origin]).all()
        if min(self.size) < 1 or not finite or min(self.spacing) <= 0:
            raise InvalidImage(
                "a grid needs samples, a positive finite spacing and a finite origin",
                got=f"size {self.size}, spacing {self.spacing}, origin {self.origin}",
            )
        cosines = np.reshape(self.direction, (d, d))
        if not np.allclose(cosines.T @ cosines, np.eye(d), atol=_ORTHONORMAL_TOLERANCE):
            raise InvalidImage(
                "the axes of a grid are at right angles and have unit length",
                got=f"direction {np.round(self.direction, 4).tolist()}",
                remedy="Resample a sheared image (gantry tilt) onto a straight grid first.",
            )

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """The grid of a SimpleITK image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    def to_record(self) -> dict[str, list[int] | list[float]]:
        """Plain values for JSON.

        Returns:
            `size`, `spacing_mm`, `origin_lps` (each x y z) and `direction` (row by row).
        """
        return {
            "size": list(self.size),
            "spacing_mm": list(self.spacing),
            "origin_lps": list(self.origin),
            "direction": list(self.direction),
        }

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size in array order: z y x."""
        return self.size[::-1]

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(np.prod(self.size))

    @property
    def extent_mm(self) -> Matrix:
        """Field of view per axis, from voxel edge to voxel edge."""
        return np.multiply(self.size, self.spacing)

    @cached_property
    def index_to_world(self) -> Matrix:
        """Homogeneous matrix from a continuous index x y z to LPS mm."""
        d = self.dimension
        matrix = np.eye(d + 1)
        matrix[:d, :d] = np.reshape(self.direction, (d, d)) * self.spacing
        matrix[:d, d] = self.origin
        return matrix

    @cached_property
    def world_to_index(self) -> Matrix:
        """Homogeneous matrix from LPS mm to a continuous index x y z."""
        inverse: Matrix = np.linalg.inv(self.index_to_world)
        return inverse

    @property
    def center(self) -> Matrix:
        """LPS mm of the middle of the field of view."""
        return self.points_at(np.subtract(self.size, 1) / 2)

    def points_at(self, index: Sequence[float] | Matrix) -> Matrix:
        """LPS mm of continuous indices.

        Args:
            index: x y z, (..., d); 0 is the center of the first sample. Any value, also outside.

        Returns:
            Points (..., d).
        """
        d = self.dimension
        return np.asarray(index, float) @ self.index_to_world[:d, :d].T + self.index_to_world[:d, d]

    def indices_at(self, points: Sequence[float] | Matrix) -> Matrix:
        """Continuous indices of points.

        Args:
            points: LPS mm, (..., d), anywhere.

        Returns:
            Indices x y z, (..., d); 0 is the center of the first sample.
        """
        d = self.dimension
        return (
            np.asarray(points, float) @ self.world_to_index[:d, :d].T + self.world_to_index[:d, d]
        )

    def corners(self) -> Matrix:
        """LPS mm of the 2^d outer corners (voxel edges), shape (2^d, d)."""
        return self.points_at(np.array(list(product(*((-0.5, n - 0.5) for n in self.size)))))

    def resize(self, size: Sequence[int]) -> Grid:
        """The same field of view, divided into another number of samples.

        Args:
            size: samples x y z.
        """
        spacing = self.extent_mm / np.asarray(size)
        first_center = 0.5 * spacing / self.spacing - 0.5
        return Grid(
            tuple(size), tuple(spacing), tuple(self.points_at(first_center)), self.direction
        )

    def with_spacing(self, spacing_mm: Sequence[float]) -> Grid:
        """The same field of view with about this spacing: as near as whole samples allow.

        Args:
            spacing_mm: x y z.
        """
        return self.resize(np.maximum(np.rint(self.extent_mm / spacing_mm), 1).astype(int).tolist())

    def pad(self, samples: Sequence[int] | int) -> Grid:
        """The grid with more samples at both ends of each axis.

        Args:
            samples: number of samples to add at each end, x y z or one for all axes; negative
                crops.
        """
        pad = np.broadcast_to(np.asarray(samples, int), (self.dimension,))
        size = (np.add(self.size, 2 * pad)).tolist()
        return Grid(tuple(size), self.spacing, tuple(self.points_at(-pad)), self.direction)

    def covers(self, points: Matrix) -> NDArray[np.bool_]:
        """Which points lie between the outer sample centers.

        Args:
            points: LPS mm, (..., d).

        Returns:
            Truth values (...); a point less than 1e-6 voxels outside counts as inside.
        """
        index = self.indices_at(points)
        inside = (index >= -1e-6) & (index <= np.subtract(self.size, 1) + 1e-6)
        return np.asarray(inside.all(-1))

    def is_close(self, other: Grid, tolerance: float = 1e-4) -> bool:
        """Whether both grids have the same size and put each sample at the same location.

        Args:
            other: the grid to compare with.
            tolerance: largest distance of corresponding corners, in voxels of this grid.
        """
        if self.size != other.size:
            return False
        gap = self.corners() - other.corners()
        return bool(np.abs(gap).max() <= tolerance * min(self.spacing))
