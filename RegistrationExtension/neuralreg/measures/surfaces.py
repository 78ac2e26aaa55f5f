"""Distances between the surfaces of two structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from neuralreg.geometry.typing import Array, Mask
from neuralreg.resources import THREADS


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """From each surface voxel of one structure to the nearest one of the other, in mm, both ways.

    A surface voxel belongs to the structure and touches, face to face, a voxel that does not;
    distances go from center to center.

    Attributes:
        forward: From the first structure to the second.
        backward: From the second structure to the first.
    """

    forward: Array
    backward: Array

    @classmethod
    def between(
        cls, first: Mask, second: Mask, spacing: Sequence[float]
    ) -> SurfaceDistances | None:
        """The distances of two structures; None when one is empty.

        Only surface voxels in the box around both structures are used, by a k-d tree: the distances
        are those of a distance transform of the whole grid.

        Args:
            first: Mask (z, y, x).
            second: Mask on the same grid.
            spacing: In mm, in array order (z, y, x).
        """
        if not (first.any() and second.any()):
            return None
        box = _box(first, second)
        one, other = (surface(part[box]) * np.asarray(spacing) for part in (first, second))
        forward, _ = cKDTree(other).query(one, workers=THREADS)
        backward, _ = cKDTree(one).query(other, workers=THREADS)
        return cls(forward, backward)

    @property
    def mean(self) -> float:
        """Mean of all distances of both ways: TG-132's mean distance to agreement."""
        return float(np.concatenate([self.forward, self.backward]).mean())

    @property
    def hd95(self) -> float:
        """95 % Hausdorff distance: the larger of the 95th percentiles of both ways."""
        return float(max(np.percentile(self.forward, 95), np.percentile(self.backward, 95)))

    @property
    def maximum(self) -> float:
        """The Hausdorff distance."""
        return float(max(self.forward.max(), self.backward.max()))


def surface(mask: Mask) -> Array:
    """Indices (n, d), in array order, of the voxels that touch the outside; so does the border."""
    return np.argwhere(mask & ~binary_erosion(mask))


def _box(first: Mask, second: Mask) -> tuple[slice, ...]:
    """The smallest box that holds both."""
    both = first | second
    sides = []
    for axis in range(both.ndim):
        used = np.flatnonzero(both.any(axis=tuple(a for a in range(both.ndim) if a != axis)))
        sides.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(sides)
