"""Points out of a file, which remembers all else that the file holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuralreg.geometry.grid import Grid, Matrix

_FLIP = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class PointSet:
    """The points of one file.

    Attributes:
        points: (n, d), LPS mm.
        write: the file again, with as many other points (LPS mm), to a path of the same kind; the
            grid is that of the image in which they lie now, where it is known.
        on_surface: indices of the points on the surface of a mesh, without those inside of it and
            those of no cell; None for all.
    """

    points: Matrix
    write: Callable[[Matrix, Path, Grid | None], None]
    on_surface: Matrix | None = None

    @property
    def surface(self) -> Matrix:
        """The points on the surface, (n, d), LPS mm."""
        return self.points if self.on_surface is None else self.points[self.on_surface]


def flip_ras(points: Matrix) -> Matrix:
    """Points (n, 2 or 3) from RAS to LPS, or back."""
    flipped: Matrix = points * _FLIP[: points.shape[1]]
    return flipped
