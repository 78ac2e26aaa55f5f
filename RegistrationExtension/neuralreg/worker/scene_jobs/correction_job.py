"""The job "correction": both directions of a result in a scene, corrected by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any

import numpy as np

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.slicer_interpolation import (
    crop_for_cubic_readers,
    resample_for_linear_readers,
)
from neuralreg.progress import Progress
from neuralreg.registration.corrections.correction import Correction
from neuralreg.registration.corrections.local_repair import (
    CorrectedFields,
    apply_corrections,
    usual_radius_mm,
)
from neuralreg.registration.corrections.local_velocity import REACH
from neuralreg.registration.guides.landmark_checks import check_landmarks
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.worker.messages import Field, Voxels
from neuralreg.worker.shared_images import field_of, mask_of, record_of, warp_voxels


def correct(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """All corrections of a result at once, so that their order does not matter.

    Args:
        arguments: field: the result before its first correction, fixed to moving; inverse: the
            other direction, or None; fixed, moving: the images; corrections: records of those that
            stay; points: fixed, moving, names, radius_mm (None for the usual one) and by of a new
            one, or None; former: records of all that there were before; lock: layers of a mask
            where nothing moves; warped: "whole" for the moving image on the fixed grid, "part" for
            where it may have changed, "" for none; content, sha256: the transform as it is now and
            what the last correction left, where there was one.
        progress: called with a fraction and a message.

    Returns:
        field, inverse (or None), corrections, before_mm, after_mm, largest_change_mm, notes, sha256
        of the field, grid of the fixed image, warped (or None) and the index z y x on that grid of
        its first voxel.

    Raises:
        InvalidTransform: the transform was changed since its last correction, or would fold.
        InvalidOption: as `neuralreg.repair`.
    """
    progress(0.0, "reading the transform")
    _require_as_left(arguments["content"], arguments["sha256"])
    field, inverse = field_of(arguments["field"]), _inverse(arguments)
    corrections = [Correction.from_record(each) for each in arguments["corrections"]]
    notes: list[str] = []
    if arguments["points"] is not None:
        corrections.append(_new_correction(arguments, field, notes))
    progress(0.1, "correcting")
    fields = CorrectedFields(field, inverse, (), (), 0.0)
    if corrections:
        lock = mask_of(arguments["lock"], field.grid)
        fields = apply_corrections(field, inverse, corrections, lock)
    progress(0.6, "warping")
    record = record_of(fields.field)
    grid = arguments["fixed"].world_grid
    first, part = (0,) * grid.dimension, grid
    if arguments["warped"] == "part":
        made = map(Correction.from_record, arguments["former"])
        first, part = _reach([*made, *corrections], grid)
    return {
        "field": record,
        "inverse": None if arguments["inverse"] is None else record_of(fields.inverse),
        "corrections": [each.as_record() for each in corrections],
        "before_mm": fields.before_mm,
        "after_mm": fields.after_mm,
        "largest_change_mm": fields.largest_change_mm,
        "notes": notes,
        "sha256": Deformation.of(record).sha256,
        "grid": grid,
        "warped": _warp(arguments["moving"], fields.field, part) if arguments["warped"] else None,
        "first": first,
    }


def _require_as_left(content: Field | None, sha256: str) -> None:
    """Corrections are made anew from the uncorrected result: what others did to it would be lost.

    Raises:
        InvalidTransform: the transform is another one.
    """
    if content is not None and Deformation.of(content).sha256 != sha256:
        raise InvalidTransform(
            "the transform was changed since it was last corrected",
            got="another field than that correction left",
            remedy="Revert that change, or take a copy of the transform: it is corrected from here "
            "on.",
        )


def _inverse(arguments: Mapping[str, Any]) -> DisplacementField:
    """The other direction; where the scene has none, something small that nobody reads."""
    if arguments["inverse"] is not None:
        return field_of(arguments["inverse"])
    grid = arguments["moving"].world_grid
    return DisplacementField.identity(grid.resize([min(n, 2) for n in grid.size]))


def _new_correction(
    arguments: Mapping[str, Any], field: DisplacementField, notes: list[str]
) -> Correction:
    points = arguments["points"]
    landmarks = LandmarkGuide(points["fixed"], points["moving"], tuple(points["names"]))
    grids = (arguments[side].world_grid for side in ("fixed", "moving"))
    notes += check_landmarks(landmarks, *grids)
    radius_mm = points["radius_mm"]
    if radius_mm is None:
        radius_mm = usual_radius_mm(field, landmarks)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Correction(landmarks, float(radius_mm), points["by"], now)


def _reach(corrections: Sequence[Correction], grid: Grid) -> tuple[tuple[int, ...], Grid]:
    """The part of a grid that corrections reach: the index z y x of its first sample, and it."""
    d = grid.dimension
    points = [
        (np.asarray(point[:d]), REACH * each.radius_mm)
        for each in corrections
        for point in each.landmarks.fixed
    ]
    corners = [
        point + np.array(sign) * r for point, r in points for sign in product((-1, 1), repeat=d)
    ]
    index = grid.indices_at(np.array(corners))
    low = np.clip(np.floor(index.min(0)).astype(int), 0, np.array(grid.size) - 1)
    high = np.clip(np.ceil(index.max(0)).astype(int) + 1, low + 1, grid.size)
    origin = grid.points_at(low[None].astype(float))[0]
    size = tuple((high - low).tolist())
    return tuple(low[::-1].tolist()), Grid(size, grid.spacing, tuple(origin), grid.direction)


def _warp(moving: Voxels, field: DisplacementField, grid: Grid) -> Any:
    """The moving image on a grid, through the field as Slicer reads it."""
    near = crop_for_cubic_readers(field, grid)
    return warp_voxels(moving, resample_for_linear_readers(near, grid), grid)
