"""The job "correction": both directions of a result in a scene, corrected by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.slicer_interpolation import resample_for_linear_readers
from neuralreg.progress import Progress
from neuralreg.registration.corrections.correction import Correction
from neuralreg.registration.corrections.local_repair import (
    CorrectedFields,
    apply_corrections,
    usual_radius_mm,
)
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
            one, or None; lock: layers of a mask where nothing moves; warped: whether the moving
            image is wanted; content, sha256: the transform as it is now and what the last
            correction left, where there was one.
        progress: called with a fraction and a message.

    Returns:
        field, inverse (or None), corrections, before_mm, after_mm, largest_change_mm, notes, sha256
        of the field, grid of the fixed image, warped (or None).

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
    return {
        "field": record,
        "inverse": None if arguments["inverse"] is None else record_of(fields.inverse),
        "corrections": [each.as_record() for each in corrections],
        "before_mm": fields.before_mm,
        "after_mm": fields.after_mm,
        "largest_change_mm": fields.largest_change_mm,
        "notes": notes,
        "sha256": Deformation.of(record).sha256,
        "grid": arguments["fixed"].world_grid,
        "warped": _warp(arguments, fields.field) if arguments["warped"] else None,
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


def _warp(arguments: Mapping[str, Any], field: DisplacementField) -> Any:
    """The moving image through the field as Slicer reads it."""
    fixed: Voxels = arguments["fixed"]
    grid = fixed.world_grid
    return warp_voxels(arguments["moving"], resample_for_linear_readers(field, grid), grid)
