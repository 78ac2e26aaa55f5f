"""The job "register": from what was handed over to what is handed back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.slicer_interpolation import halvings
from neuralreg.io.itk import linear_to_itk, to_itk
from neuralreg.io.transform_files import read_itk_transform
from neuralreg.progress import Progress, silent, stage
from neuralreg.registration.engine import register
from neuralreg.registration.prealign import Prealign
from neuralreg.registration.refine import Refinement
from neuralreg.registration.result import RegistrationResult
from neuralreg.worker.messages import Array, Field, RegisterJob, Registration, Voxels, rows_of
from neuralreg.worker.shared_images import (
    brought,
    field_of,
    image_of,
    mask_of,
    record_of,
    voxels_of,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

_GIVEN_OTHERWISE = {"initial", "fixed_mask", "moving_mask", "progress"}

Engine = Callable[..., RegistrationResult]


def run(
    job: RegisterJob, progress: Progress = silent, engine: Engine = register
) -> tuple[Registration, RegistrationResult]:
    """What the job asks for, to be handed back, and the engine's own result.

    Raises RegistrationError as `neuralreg.register` does, InvalidOption for an unknown option.
    """
    fixed, moving = voxels_of(job.fixed), voxels_of(job.moving)
    options = options_of(job.options, engine)
    progress(0.0, "reading the images")
    images = image_of(fixed), image_of(moving)
    result = engine(
        *images,
        job.model,
        initial=_initial(job.initial),
        fixed_mask=mask_of(job.fixed_mask, fixed.place),
        moving_mask=mask_of(job.moving_mask, moving.place),
        progress=stage(progress, 0.02, 0.85),
        **options,
    )
    return _delivered(job, result, fixed, moving, stage(progress, 0.85, 1.0)), result


def _delivered(
    job: RegisterJob, result: RegistrationResult, fixed: Voxels, moving: Voxels, progress: Progress
) -> Registration:
    progress(0.0, "preparing the transform")
    field = _handed(result.field, fixed, job)
    sources = [moving] * job.warped + [voxels_of(source) for source in job.along]
    warped: list[Array] = []
    for number, source in enumerate(sources):
        progress(0.3 + 0.4 * number / len(sources), "warping")
        warped.append(brought(source, result.field, fixed.place))
    inverse = None
    if job.inverse:
        progress(0.7, "preparing the inverse")
        inverse = _handed(result.inverse_field, moving, job)
    progress(1.0, "handing over")
    return Registration(
        model=result.model,
        outcome=result.outcome,
        warnings=(*_bent(fixed, "fixed"), *_bent(moving, "moving"), *result.warnings),
        timings=dict(result.timings),
        provenance=dict(result.provenance),
        linear=rows_of(result.linear.matrix),
        grid=fixed.place,
        field=field,
        inverse_field=inverse,
        warped=warped.pop(0) if job.warped else None,
        along=tuple(warped),
    )


def _bent(voxels: Voxels, role: str) -> list[str]:
    if voxels.bend is None:
        return []
    return [f"the {role} image was resampled: the transform above it bends or shears"]


def _handed(field: DisplacementField, covered: Voxels, job: RegisterJob) -> Field:
    return record_of(field, halvings(field, covered.place) if job.cubic_readers else ())


def _initial(initial: Field | tuple[tuple[float, ...], ...] | str | None) -> sitk.Transform | None:
    if initial is None:
        return None
    if isinstance(initial, str):
        return read_itk_transform(Path(initial))
    if isinstance(initial, Field):
        return to_itk(field_of(initial))
    return linear_to_itk(LinearTransform(np.array(initial)))


def options_of(options: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """The engine's keyword arguments. Raises InvalidOption for what it does not know."""
    known = inspect.signature(engine).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        own = {name for name, p in known.items() if p.kind is p.KEYWORD_ONLY} - _GIVEN_OTHERWISE
        _require(options, own, "option")
    made = dict(options)
    if isinstance(made.get("prealign"), str):
        made["prealign"] = _prealign(made["prealign"])
    if isinstance(made.get("refinement"), Mapping):
        settings = made["refinement"]
        _require(settings, {part.name for part in fields(Refinement)}, "setting of the refinement")
        made["refinement"] = Refinement(**settings)
    return made


def _prealign(name: str) -> Prealign:
    names = [kind.value for kind in Prealign]
    if name not in names:
        raise InvalidOption("unknown pre-alignment", got=f"'{name}'", wanted=", ".join(names))
    return Prealign(name)


def _require(given: Mapping[str, Any], known: set[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise InvalidOption(
                f"there is no such {what}", got=f"'{name}'", wanted=", ".join(sorted(known))
            )
