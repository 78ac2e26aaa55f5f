"""How well segmentations agree on both sides, structure by structure, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array
from neuralreg.measures.surfaces import SurfaceDistances
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.geometry.volumes import on_grid, warp
from neuralreg.review.report_model import Agreement, OverlapStatus, SegmentOverlap

Box = tuple[slice, ...]

_COARSER = 0.8  # times the volume of a voxel: less is a finer grid
_MOST = 1 << 26  # samples of the finer grid
_MOST_TABLED = 1 << 20  # labels that a table finds faster than sorting


@dataclass(frozen=True, eq=False)
class _Labels:
    """A label map (z, y, x), and the box of each of its labels."""

    array: Array
    boxes: dict[int, Box]

    @classmethod
    def of(cls, array: Array) -> _Labels:
        return cls(array, boxes_of(array))


def overlaps(
    fixed: sitk.Image,
    moving: sitk.Image,
    deformation: Deformation,
    *,
    names: Mapping[int, str] | None = None,
    grid: Grid | None = None,
    surfaces: bool = True,
) -> tuple[SegmentOverlap, ...]:
    """The agreement of each label that either side has, the background 0 left out.

    Args:
        fixed: Label map.
        moving: Label map.
        deformation: The transform, fixed to moving.
        names: Of the labels.
        grid: Where both are compared (nearest voxels); the finer one of both over the fixed side
            unless given.
        surfaces: Whether distances are wanted.
    """
    grid = grid or finer_grid(Grid.of(fixed), Grid.of(moving))
    in_moving = set(boxes_of(sitk.GetArrayViewFromImage(moving)))
    fixed_labels = _Labels.of(on_grid(fixed, grid, labels=True))
    before = _Labels.of(on_grid(moving, grid, labels=True))
    after = _Labels.of(warp(moving, deformation.on(grid), grid, labels=True))
    compared = []
    for label in sorted(set(fixed_labels.boxes) | in_moving):
        status = _status(label, fixed_labels, in_moving, after)
        agreements: list[Agreement | None] = [None, None]
        if label in fixed_labels.boxes and label in in_moving:
            agreements = [
                _agreement(label, fixed_labels, side, grid, surfaces) for side in (before, after)
            ]
        name = (names or {}).get(label, f"label {label}")
        compared.append(SegmentOverlap(label, name, status, *agreements))
    return tuple(compared)


def _status(label: int, fixed: _Labels, in_moving: set[int], after: _Labels) -> OverlapStatus:
    if label not in fixed.boxes:
        return "missing in the fixed segmentation"
    if label not in in_moving:
        return "missing in the moving segmentation"
    if label not in after.boxes:
        return "empty after the deformation: it left the fixed image"
    return "measured"


def finer_grid(fixed: Grid, moving: Grid) -> Grid:
    """The fixed grid, or one over the same field of view that is as fine as the moving one."""
    if np.prod(moving.spacing) >= _COARSER * np.prod(fixed.spacing):
        return fixed
    d = fixed.dimension
    cosines = np.abs(np.reshape(fixed.direction, (d, d)).T @ np.reshape(moving.direction, (d, d)))
    along = np.asarray(moving.spacing)[cosines.argmax(1)]
    fine = fixed.with_spacing(np.minimum(fixed.spacing, along).tolist())
    return fine if fine.count <= _MOST else fixed


def present(labels: Array) -> list[int]:
    """The labels above 0 in an array, in order."""
    values = np.maximum(labels, 0)
    if values.max(initial=0) < _MOST_TABLED:
        labels_used = np.flatnonzero(np.bincount(values.ravel().astype(np.int64, copy=False)))
    else:
        labels_used = np.unique(values)
    return [int(label) for label in labels_used if label > 0]


def boxes_of(labels: Array) -> dict[int, Box]:
    """The box of each label above 0."""
    used = present(labels)
    if not used:
        return {}
    if used[-1] >= _MOST_TABLED:
        labels = np.searchsorted(used, labels) + 1
        labels = np.where(np.isin(labels, np.arange(1, len(used) + 1)), labels, 0)
        return dict(zip(used, ndimage.find_objects(labels), strict=False))
    boxes = ndimage.find_objects(labels.astype(np.int32, copy=False))
    return {label: boxes[label - 1] for label in used}


def _agreement(
    label: int, fixed: _Labels, moving: _Labels, grid: Grid, surfaces: bool
) -> Agreement:
    if label not in moving.boxes:
        return Agreement(0.0, 0.0, None, None, None, None, None)
    box = _around(fixed.boxes[label], moving.boxes[label])
    one, other = fixed.array[box] == label, moving.array[box] == label
    shared, first, second = (int(part.sum()) for part in (one & other, one, other))
    distances = SurfaceDistances.between(one, other, grid.spacing[::-1]) if surfaces else None
    shift = np.subtract(ndimage.center_of_mass(one), ndimage.center_of_mass(other))
    return Agreement(
        dice=2 * shared / (first + second),
        jaccard=shared / (first + second - shared),
        mean_mm=distances.mean if distances else None,
        hd95_mm=distances.hd95 if distances else None,
        max_mm=distances.maximum if distances else None,
        volume_change_percent=100.0 * (second - first) / first,
        center_shift_mm=float(np.linalg.norm(shift * grid.spacing[::-1])),
    )


def _around(first: Box, second: Box) -> Box:
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
