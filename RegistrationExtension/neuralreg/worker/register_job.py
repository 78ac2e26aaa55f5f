"""The job "register": from what was handed over to what is handed back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuralreg.errors import RegistrationError
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.slicer_interpolation import (
    crop_for_cubic_readers,
    resample_for_linear_readers,
)
from neuralreg.geometry.typing import Array
from neuralreg.io.itk import linear_to_itk, to_itk
from neuralreg.io.transform_files import read_itk_transform
from neuralreg.io.volume import whole_numbers
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.engine import register
from neuralreg.registration.result import RegistrationResult
from neuralreg.worker.messages import (
    Field,
    ImageInput,
    RegisterJob,
    Registration,
    Voxels,
    rows_of,
)
from neuralreg.worker.shared_images import (
    field_of,
    image_of,
    mask_of,
    record_of,
    voxels_of,
    warp_voxels,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

Engine = Callable[..., RegistrationResult]
_log = logging.getLogger(__name__)


def run(
    job: RegisterJob, progress: Progress = silent, engine: Engine = register
) -> tuple[Registration, RegistrationResult]:
    """What the job asks for, to be handed back, and the engine's own result.

    Raises:
        RegistrationError: as `neuralreg.register` does.
    """
    fixed, moving = voxels_of(job.fixed), voxels_of(job.moving)
    progress(0.0, "reading the images")
    images = image_of(fixed), image_of(moving)
    result = engine(
        *images,
        job.options,
        initial=_initial(job.initial),
        fixed_mask=mask_of(job.fixed_mask, fixed.world_grid),
        moving_mask=mask_of(job.moving_mask, moving.world_grid),
        **_guides(job),
        progress=stage(progress, 0.02, 0.85),
    )
    return _deliver(job, result, fixed, moving, stage(progress, 0.85, 1.0)), result


def _guides(job: RegisterJob) -> dict[str, object]:
    """What steers, as keywords of `neuralreg.register`."""
    guides: dict[str, object] = {}
    if job.channels:
        guides["channels"] = [(image_of(one), image_of(two)) for one, two in job.channels]
    if job.labels != (None, None):
        guides["labels"] = tuple(one if one is None else _labels(one) for one in job.labels)
    if job.rigid is not None:
        guides["rigid"] = _labels(job.rigid)
    if job.surfaces:
        guides["surfaces"] = [(np.asarray(one), np.asarray(two)) for one, two in job.surfaces]
    if job.sliding:
        guides["sliding"] = mask_of(job.sliding, voxels_of(job.fixed).world_grid)
    return guides


def _labels(source: ImageInput) -> Image:
    voxels = voxels_of(source, labels=True)
    name = voxels.name or (source if isinstance(source, str) else "")
    values = whole_numbers(voxels.data, "a label map holds whole numbers", name)
    return image_of(replace(voxels, data=values, labels=True))


def _deliver(
    job: RegisterJob, result: RegistrationResult, fixed: Voxels, moving: Voxels, progress: Progress
) -> Registration:
    progress(0.0, "preparing the transform")
    grid = fixed.world_grid
    field = resample_for_linear_readers(result.field, grid) if job.cubic else result.field
    progress(0.3, "warping")
    warped = warp_voxels(moving, field, grid) if job.warped else None
    along = []
    for number, source in enumerate(job.along, start=1):
        progress(0.3 + 0.4 * number / (len(job.along) + 1), "warping")
        along.append(_bring_along(source, field, grid))
    progress(1.0, "handing over")
    remarks = (*fixed.remarks, *moving.remarks)
    notes = [*map(str, remarks), *_resampling_notes(fixed, "fixed")]
    notes += _resampling_notes(moving, "moving")
    return Registration(
        model=result.model,
        outcome=result.outcome,
        warnings=(*notes, *result.warnings),
        timings=dict(result.timings),
        provenance=dict(result.provenance),
        linear=rows_of(result.linear.matrix),
        grid=grid,
        field=_field_record(result.field, grid, job),
        inverse_field=(
            _field_record(result.inverse_field, moving.world_grid, job) if job.inverse else None
        ),
        warped=warped,
        along=tuple(along),
    )


def _bring_along(source: ImageInput, field: DisplacementField, grid: Grid) -> Array | str:
    """The values on the fixed grid, or why there are none: the result is not lost for them."""
    try:
        return warp_voxels(voxels_of(source), field, grid)
    except (RegistrationError, MemoryError, RuntimeError, ValueError) as error:
        _log.warning("one image could not be brought along", exc_info=True)
        return str(error) or "there is too little memory"


def _field_record(field: DisplacementField, covered: Grid, job: RegisterJob) -> Field:
    return record_of(crop_for_cubic_readers(field, covered) if job.cubic else field)


def _resampling_notes(voxels: Voxels, role: str) -> list[str]:
    if voxels.bend is None:
        return []
    return [f"the {role} image was resampled: the transform above it bends or shears"]


def _initial(initial: Field | tuple[tuple[float, ...], ...] | str | None) -> sitk.Transform | None:
    if initial is None:
        return None
    if isinstance(initial, str):
        return read_itk_transform(Path(initial))
    if isinstance(initial, Field):
        return to_itk(field_of(initial))
    return linear_to_itk(LinearTransform(np.array(initial)))
