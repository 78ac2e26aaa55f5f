"""Points through transforms, forwards or backwards, without a grid between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.inverse import invert_points
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.exchange.families import Content
from neuralreg.io.point_sets.point_files import read_points
from neuralreg.io.transform_files import transform_of

_TOLERANCE_MM = 1e-3


def move_file(
    path: Path,
    contents: Sequence[Content],
    output: Path,
    notes: list[str],
    *,
    grid: Grid | None = None,
    to_fixed: bool = True,
) -> int:
    """Write the points of a file as they are in the other image, and all else that it holds.

    Args:
        path: of landmarks, a mesh or streamlines.
        contents, notes, grid, to_fixed: as `move_points` takes them.
        output: a file of the same kind.

    Returns:
        How many points there are.

    Raises:
        UnreadableFile, UnwritableOutput, PackageMissing: as `read_points`.
        InvalidTransform: as `move_points`.
    """
    given = read_points(path, notes)
    moved = move_points(given.points, contents, notes, grid=grid, to_fixed=to_fixed)
    given.write(moved, output, grid if to_fixed else None)
    return len(moved)


def move_points(
    points: Matrix,
    contents: Sequence[Content],
    notes: list[str],
    *,
    grid: Grid | None = None,
    to_fixed: bool = True,
) -> Matrix:
    """Points of one image in the other.

    Args:
        points: LPS mm, (n, d).
        contents: fixed to moving; the first moves the fixed points first.
        notes: how many points have no partner, or lie beyond a field, is appended in words.
        grid: of the fixed image, for transforms without a grid of their own.
        to_fixed: from the moving image to the fixed one, through the inverse; else forwards.

    Returns:
        LPS mm, (n, d).

    Raises:
        InvalidTransform: points and transforms differ in their number of axes, a transform has no
            inverse, or no grid.
    """
    for content in contents:
        if content.GetDimension() != points.shape[1]:
            raise InvalidTransform(
                "points have as many coordinates as their transform has axes",
                got=f"{points.shape[1]} coordinates and {content.GetDimension()} axes",
            )
    transforms = [transform_of(content, grid) for content in contents]
    moved = points
    for transform in reversed(transforms) if to_fixed else transforms:
        moved = _move(moved, transform, notes, to_fixed)
    return moved


def _move(
    points: Matrix, transform: DisplacementField | LinearTransform, notes: list[str], back: bool
) -> Matrix:
    if isinstance(transform, LinearTransform):
        return transform.inverse()(points) if back else transform(points)
    if not back:
        _note_outside(points, transform.grid, notes)
        return transform(points)
    moved, missed = invert_points(transform, points, tolerance_mm=_TOLERANCE_MM)
    _note_outside(moved, transform.grid, notes)
    if missed:
        notes.append(
            f"{missed} of {len(points)} points lie where the transform folds: they are off by more "
            f"than {_TOLERANCE_MM} mm"
        )
    return moved


def _note_outside(points: Matrix, grid: Grid, notes: list[str]) -> None:
    index = grid.indices_at(points)
    beyond = (index < -0.5) | (index > np.array(grid.size) - 0.5)
    count = int(beyond.any(1).sum())
    if count:
        notes.append(
            f"{count} of {len(points)} points lie beyond the field: the displacement of its border "
            "was taken for them"
        )
