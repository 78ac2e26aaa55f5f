"""repair(): both directions of a result, corrected around some points and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.sampling import magnitude
from neuralreg.io.arguments import ImageLike, as_image
from neuralreg.registration.corrections.correction import Correction, in_words
from neuralreg.registration.corrections.local_velocity import (
    Lock,
    velocity_through,
)
from neuralreg.registration.guides.landmark_checks import coordinates
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.guides.landmark_targets import invert_at
from neuralreg.registration.result import RegistrationResult
from neuralreg.registration.unfold import least_determinant
from neuralreg.registration.working_grid import resample_to

_USUAL_RADIUS = 2.5  # times the largest shift
_LEAST_RADIUS = 6.0  # samples of the field
_FEWEST_SAMPLES = 3.0  # that a radius must be: less is not resolved
_LONGEST = 1.5  # radii: a longer shift would squeeze tissue to a fraction
_LOCKED_ABOVE = 0.01  # share of a sample in the lock


@dataclass(frozen=True, eq=False)
class CorrectedFields:
    """Both directions after corrections.

    Attributes:
        field: fixed to moving, mm.
        inverse: moving to fixed, mm.
        before_mm, after_mm: how far each point of the corrections is from its partner.
        largest_change_mm: of the field.
    """

    field: DisplacementField
    inverse: DisplacementField
    before_mm: tuple[float, ...]
    after_mm: tuple[float, ...]
    largest_change_mm: float


def repair(
    result: RegistrationResult,
    landmarks: LandmarkGuide,
    *,
    radius_mm: float | None = None,
    lock: ImageLike | None = None,
) -> RegistrationResult:
    """A result that takes some points to their partners, and is the same elsewhere.

    Args:
        result: of `register`; not changed.
        landmarks: where points of the fixed image belong in the moving one.
        radius_mm: within which the neighborhood moves along; beyond twice of it nothing changes.
            2.5 times the largest shift unless given, at least 6 samples of the field.
        lock: above 0 where the result must stay as it is, on any grid that overlaps the fixed one.

    Raises:
        InvalidOption: points in the lock, contradictory pairs, or a radius that is too small.
    """
    radius_mm = radius_mm or usual_radius_mm(result.field, landmarks)
    one = Correction(landmarks, radius_mm)
    corrected = apply_corrections(result.field, result.inverse_field, [one], lock)
    return replace(
        result,
        field=corrected.field,
        inverse_field=corrected.inverse,
        provenance={
            **result.provenance,
            "corrections": [*_corrections_of(result), one.as_record()],
        },
        warnings=(*result.warnings, in_words([one])),
    )


def _corrections_of(result: RegistrationResult) -> list[object]:
    earlier = result.provenance.get("corrections", [])
    return list(earlier) if isinstance(earlier, list | tuple) else []


def usual_radius_mm(field: DisplacementField, landmarks: LandmarkGuide) -> float:
    """The radius of a correction unless one is given."""
    d = field.grid.dimension
    points, partners = (coordinates(landmarks, side, d) for side in ("fixed", "moving"))
    shift = float(np.linalg.norm(invert_at(field, partners) - points, axis=1).max())
    return max(_USUAL_RADIUS * shift, _LEAST_RADIUS * max(field.grid.spacing))


def apply_corrections(
    field: DisplacementField,
    inverse: DisplacementField,
    corrections: Sequence[Correction],
    lock: ImageLike | None = None,
) -> CorrectedFields:
    """Both directions after all corrections at once, so that their order does not matter.

    A diffeomorphism comes before the field: the flow of a velocity that is zero beyond two radii.
    Its inverse is the flow backwards, so both directions stay inverse to each other.

    Args:
        field: fixed to moving, mm.
        inverse: moving to fixed, mm.
        corrections: at least one.
        lock: as `repair` takes it.

    Raises:
        InvalidOption: as `repair`.
        InvalidTransform: the corrected field folds.
    """
    d, device = field.grid.dimension, field.vectors.device
    field, inverse = field.to("cpu"), inverse.to("cpu")
    points, partners = (
        np.concatenate([coordinates(each.landmarks, side, d) for each in corrections])
        for side in ("fixed", "moving")
    )
    radii = np.repeat(
        [float(each.radius_mm) for each in corrections],
        [len(each.landmarks.names) for each in corrections],
    )
    names = tuple(name for each in corrections for name in each.landmarks.names)
    targets = invert_at(field, partners)
    _require_radii(np.linalg.norm(targets - points, axis=1), radii, names, field.grid)
    freedom = None if lock is None else _freedom(lock, field.grid, float(radii.min()))
    velocity = velocity_through(points, targets, radii, names, freedom)
    with torch.no_grad():
        corrected, change = _correct_forward(field, velocity.flow_field())
        backward = compose(inverse, velocity.flow_field(backwards=True))
    _require_no_folds(field, corrected, change, names)
    return CorrectedFields(
        corrected.to(device),
        backward.to(device),
        tuple(np.linalg.norm(field(points) - partners, axis=1).tolist()),
        tuple(np.linalg.norm(corrected(points) - partners, axis=1).tolist()),
        float(change.max()),
    )


def _correct_forward(
    field: DisplacementField, flow: DisplacementField
) -> tuple[DisplacementField, Tensor]:
    """The flow, then the field; and the size of the change (z, y, x) in mm."""
    grid = field.grid
    reach = grid.indices_at(flow.grid.corners())
    low = np.clip(np.floor(reach.min(0)), 0, grid.size).astype(int)
    high = np.clip(np.ceil(reach.max(0)) + 1, low, grid.size).astype(int)
    change = torch.zeros_like(field.vectors[0])
    if (high == low).any():
        return field, change
    part = Grid(
        tuple((high - low).tolist()),
        grid.spacing,
        tuple(grid.points_at(low.astype(float)).tolist()),
        grid.direction,
    )
    box = (slice(None), *(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True)))
    first = flow.resample(part)
    old = field.vectors[box]
    new = torch.where((first.vectors != 0).any(0), compose(first, field).vectors, old)
    vectors = field.vectors.clone()
    vectors[box] = new
    change[box[1:]] = magnitude(new - old)
    return DisplacementField(vectors, grid), change


def _freedom(lock: ImageLike, grid: Grid, radius: float) -> Lock:
    """0 in the lock and a sample around it, rising to 1 within half a radius."""
    mask = as_image(lock, "lock")
    inside = resample_to((mask.data > 0).float(), mask.grid, grid)[0] > _LOCKED_ABOVE
    if not bool(inside.any()):
        raise InvalidOption(
            "the lock holds nothing of the fixed image",
            wanted="values above 0 where the result must stay",
            remedy="Check that it is the right file, or leave it out.",
        )
    flat = sitk.GetImageFromArray(inside.to(torch.uint8).numpy())
    flat.SetSpacing(grid.spacing)
    distance = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(flat, squaredDistance=False, useImageSpacing=True)
    )
    ramp = np.clip((distance - max(grid.spacing)) / (0.5 * radius), 0, 1)
    return Lock(torch.from_numpy(ramp * ramp * (3 - 2 * ramp)).float()[None], grid)


def _require_radii(shifts: Matrix, radii: Matrix, names: tuple[str, ...], grid: Grid) -> None:
    least = _FEWEST_SAMPLES * max(grid.spacing)
    if (radii < least).any():
        raise InvalidOption(
            "the radius of a correction is smaller than the field resolves",
            got=f"{radii.min():.3g} mm",
            wanted=f"at least {least:.3g} mm, three of its samples",
            remedy="Give a larger radius, or register with --full-resolution.",
        )
    if (late := np.flatnonzero(shifts > _LONGEST * radii)).size:
        n = int(late[np.argmax(shifts[late] / radii[late])])
        raise InvalidOption(
            "a correction moves its point farther than its radius allows",
            got=f"{names[n]} by {shifts[n]:.3g} mm with a radius of {radii[n]:.3g} mm",
            wanted=f"a radius of at least {shifts[n] / _LONGEST:.3g} mm",
            remedy="Give a larger radius, or check the partner.",
        )


def _require_no_folds(
    before: DisplacementField, after: DisplacementField, change: Tensor, names: tuple[str, ...]
) -> None:
    at = (change > 0).nonzero()
    if not len(at):
        return
    low, high = (at.min(0).values - 2).clamp(min=0), at.max(0).values + 3
    box = (slice(None), *(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)))
    folds = _folds_in(after, box)
    if bool(folds.any()) and bool((folds & ~_folds_in(before, box)).any()):
        raise InvalidTransform(
            "the corrected field would fold",
            got=f"folds near {', '.join(names)}",
            remedy="Give a larger radius, or pairs that change less from one to the next.",
        )


def _folds_in(field: DisplacementField, box: tuple[slice, ...]) -> Tensor:
    """Where a part of a field folds, (z, y, x), bool."""
    part = field.vectors[box]
    to_index = torch.as_tensor(field.grid.world_to_index[: len(part), : len(part)]).to(part)
    return least_determinant((to_index @ part.flatten(1)).view(part.shape)) <= 0
