"""Surfaces as they are given: meshes, segments, or points."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch.nn import functional

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.io.arguments import ImageLike, as_labels
from neuralreg.io.point_sets.point_files import is_point_file, read_points
from neuralreg.registration.guides.landmark_checks import share_beyond
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.surfaces.surface_pair import SurfacePair

SurfaceLike: TypeAlias = "ImageLike | Matrix"
_SIDES = ("fixed", "moving")
_FEWEST = 12  # points
_NEAR = 0.1  # of the extent: points so little outside may be of what the image cuts off
_MOST_BEYOND = 0.5  # of the points


def add_surfaces(
    inputs: Inputs, given: Sequence[tuple[SurfaceLike, SurfaceLike]], weight: float
) -> Inputs:
    """The inputs, with surfaces that pull where there are some.

    Args:
        inputs: of the registration.
        given: a surface of the fixed and one of the moving side each: a mesh, a label map whose
            labels above 0 are the inside, or points (n, d) in LPS mm.
        weight: beside the images.

    Raises:
        UnreadableFile: a file is missing, damaged or of another kind.
        InvalidOption: a surface has too few points, or lies outside of its image.
    """
    if not given:
        return inputs
    sides: list[list[Matrix]] = [[], []]
    for number, pair in enumerate(given, start=1):
        for side, one, surfaces in zip(_SIDES, pair, sides, strict=True):
            role = f"{side} surface" + f" {number}" * (len(given) > 1)
            grid: Grid = getattr(inputs, side).grid
            points = _read(one, role, inputs.notes)
            surfaces.append(_require_inside(points, grid, role))
    surfaces_given = SurfacePair(tuple(sides[0]), tuple(sides[1]), weight)
    return replace(inputs, surfaces=surfaces_given)


def _read(given: SurfaceLike, role: str, notes: list[str]) -> Matrix:
    if isinstance(given, np.ndarray):
        return np.asarray(given, float)
    if isinstance(given, str | os.PathLike) and is_point_file(Path(given)):
        return read_points(Path(given), notes).surface
    return _border(as_labels(given, role))


def _border(labels: Image) -> Matrix:
    """The middles of the faces between voxels with and without a label, LPS mm."""
    inside = functional.pad((labels.data[0] != 0).byte(), [1, 1] * labels.grid.dimension)
    points = []
    for axis in range(inside.dim()):
        at = torch.nonzero(inside.diff(dim=axis)).double() - 1
        at[:, axis] += 0.5
        points.append(labels.grid.points_at(at.flip(1).numpy()))
    border: Matrix = np.concatenate(points)
    return border


def _require_inside(points: Matrix, grid: Grid, role: str) -> Matrix:
    """The points, with as many coordinates as the image has axes."""
    d = grid.dimension
    if points.ndim != 2 or points.shape[1] < d or not np.isfinite(points).all():
        raise InvalidOption(
            f"the {role} has finite points with as many coordinates as its image has axes",
            got=f"an array {points.shape}",
            wanted=f"(n, {d})",
        )
    if len(points) < _FEWEST:
        raise InvalidOption(
            f"the {role} has enough points to be a surface",
            got=f"{len(points)}",
            wanted=f"at least {_FEWEST}",
            remedy="Give single points as landmarks (--landmarks).",
        )
    points = points[:, :d]
    beyond = float((share_beyond(points, grid) > _NEAR).mean())
    mirrored = points * np.array([-1.0, -1.0, 1.0])[:d]
    if beyond > _MOST_BEYOND:
        is_mirrored = float((share_beyond(mirrored, grid) > _NEAR).mean()) < beyond / 2
        center = ", ".join(f"{value:.4g}" for value in grid.center)
        raise InvalidOption(
            f"the {role} lies outside of its image"
            + ", and inside once x and y are negated: is it in RAS?" * is_mirrored,
            got=f"{100 * beyond:.0f} % of its points outside",
            wanted=f"a surface in an image that is centered at ({center}) mm LPS",
            remedy="Check that fixed and moving are not exchanged; files of meshes may say "
            "SPACE=RAS in their header.",
        )
    return points
