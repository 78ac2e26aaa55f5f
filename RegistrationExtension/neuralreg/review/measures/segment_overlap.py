"""How well segmentations agree on both sides, structure by structure, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from neuralreg.geometry.grid import Grid
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.geometry.volumes import on_grid, warped
from neuralreg.review.measures.surfaces import SurfaceDistances
from neuralreg.review.report_model import Agreement, SegmentOverlap

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Box = tuple[slice, ...]

_COARSER = 0.8  # times the volume of a voxel: less is a finer grid
_MOST = 1 << 26  # samples of the finer grid
_MOST_TABLED = 1 << 20  # labels that a table finds faster than sorting


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

    names: of the labels. grid: where both are compared (nearest voxels); the finer one of both
    over the fixed side unless given. surfaces: whether distances are wanted.
    """
    grid = grid or finer(Grid.of(fixed), Grid.of(moving))
    here = on_grid(fixed, grid, labels=True)
    there = on_grid(moving, grid, labels=True)
    brought = warped(moving, deformation.on(grid), grid, labels=True)
    original = set(boxes_of(sitk.GetArrayViewFromImage(moving)))
    sides = [(part, boxes_of(part)) for part in (here, there, brought)]
    found = sorted(set(sides[0][1]) | original)
    return tuple(
        _compared(
            label, (names or {}).get(label, f"label {label}"), sides, original, grid, surfaces
        )
        for label in found
    )


def finer(fixed: Grid, moving: Grid) -> Grid:
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
        found = np.flatnonzero(np.bincount(values.ravel().astype(np.int64, copy=False)))
    else:
        found = np.unique(values)
    return [int(label) for label in found if label > 0]


def boxes_of(labels: Array) -> dict[int, Box]:
    """The box of each label above 0."""
    found = present(labels)
    if not found:
        return {}
    if found[-1] >= _MOST_TABLED:
        labels = np.searchsorted(found, labels) + 1
        labels = np.where(np.isin(labels, np.arange(1, len(found) + 1)), labels, 0)
        return dict(zip(found, ndimage.find_objects(labels), strict=False))
    boxes = ndimage.find_objects(labels.astype(np.int32, copy=False))
    return {label: boxes[label - 1] for label in found}


def _compared(
    label: int,
    name: str,
    sides: Sequence[tuple[Array, dict[int, Box]]],
    original: set[int],
    grid: Grid,
    surfaces: bool,
) -> SegmentOverlap:
    (here, here_boxes), (there, there_boxes), (brought, brought_boxes) = sides
    if label not in here_boxes:
        return SegmentOverlap(label, name, "missing in the fixed segmentation", None, None)
    if label not in original:
        return SegmentOverlap(label, name, "missing in the moving segmentation", None, None)
    before = _agreement(label, here, there, here_boxes, there_boxes, grid, surfaces)
    after = _agreement(label, here, brought, here_boxes, brought_boxes, grid, surfaces)
    empty = label not in brought_boxes
    status = "empty after the deformation: it left the fixed image" if empty else "measured"
    return SegmentOverlap(label, name, status, before, after)


def _agreement(
    label: int,
    here: Array,
    there: Array,
    here_boxes: dict[int, Box],
    there_boxes: dict[int, Box],
    grid: Grid,
    surfaces: bool,
) -> Agreement:
    if label not in there_boxes:
        return Agreement(0.0, 0.0, None, None, None, None, None)
    box = _around(here_boxes[label], there_boxes[label])
    one, other = here[box] == label, there[box] == label
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
