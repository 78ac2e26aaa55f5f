"""The registration of the other direction, for consistency: as the transform itself was made."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralreg.cli.rerun import job_of, registration_in
from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.progress import Progress
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.workflow.provenance import registration_of

if TYPE_CHECKING:
    from neuralreg.worker.file_jobs.job_files import Job


def is_own_inverse(transform: Path, inverse: Path | None) -> bool:
    """Whether a file is the inverse that was written with a transform, computed from it."""
    if inverse is None or inverse.parent.resolve() != transform.parent.resolve():
        return False
    record = registration_of(transform)
    return record is not None and inverse.name in record["files"]


def register_reverse(
    transform: Path, fixed: Path | None, moving: Path | None, model: str | None, progress: Progress
) -> tuple[Deformation, str]:
    """The registration of the fixed onto the moving image, and the model that made it.

    By the record beside the transform, with its model and options, where there is one; else
    `model` with its usual options.

    Args:
        transform: File of the transform, fixed to moving.
        fixed: File of the fixed image; needed without a record.
        moving: File of the moving image; needed without a record.
        model: For a transform without a record.
        progress: Called with a fraction and a stage.

    Raises:
        InvalidOption: There is neither a record nor a model.
        RegistrationError: What a registration raises.
    """
    from neuralreg.worker.file_jobs.file_job import FIXED_TO_MOVING, run

    job = _job(transform, fixed, moving, model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = _inverse_of(job, folder) if job.initial else None
        summary = run(job.exchange_sides(start), folder, progress)
        return Deformation.of(folder / FIXED_TO_MOVING), summary.result.model


def _job(transform: Path, fixed: Path | None, moving: Path | None, model: str | None) -> Job:
    from neuralreg.registration.options import RegistrationOptions
    from neuralreg.worker.file_jobs.job_files import Job

    if model is None and registration_of(transform) is not None:
        return job_of(*registration_in(transform.parent))
    if model is None or fixed is None or moving is None:
        raise InvalidOption(
            "consistency asks for a registration of the other direction, made in the same way",
            where=str(transform),
            got="no record of how it was made",
            remedy="Name a model (--model), with --fixed and --moving; or register the other way "
            "with the program that made it, and give that (--inverse).",
        )
    options = RegistrationOptions(model=model)
    return Job(fixed, moving, None, None, None, None, None, options)


def _inverse_of(job: Job, folder: Path) -> Path:
    """The inverse of the transform that the job began with, as a file."""
    import SimpleITK as sitk

    from neuralreg.worker.file_jobs.file_job import initial_of

    path = folder / "start.tfm"
    initial: Any = initial_of(job, [])
    try:
        sitk.WriteTransform(initial.GetInverse(), str(path))
    except RuntimeError as error:
        raise InvalidTransform(
            "the registration began with a transform that has no inverse",
            where=str(job.initial),
            remedy="Register the other way yourself, and give that (--inverse).",
        ) from error
    return path
