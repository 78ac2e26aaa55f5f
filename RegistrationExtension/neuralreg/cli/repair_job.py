"""What `neuralreg repair` does between reading a result and writing the corrected one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuralreg import __version__
from neuralreg.cli.rerun import registration_in
from neuralreg.errors import InvalidOption, InvalidTransform, RegistrationError, UnreadableFile
from neuralreg.geometry.field import DisplacementField
from neuralreg.io.files import container_of, draft_folder, require_existing, sha256_of
from neuralreg.io.image_files import read_image, read_labels, write_image
from neuralreg.io.resample import warp, warp_labels
from neuralreg.io.transform_files import read_transform
from neuralreg.progress import Progress, stage
from neuralreg.registration.corrections.correction import BY_HAND, Correction, in_words
from neuralreg.registration.corrections.local_repair import (
    CorrectedFields,
    apply_corrections,
    usual_radius_mm,
)
from neuralreg.registration.guides.landmark_checks import check_landmarks
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.workflow.provenance import describe_input, locate_input, software
from neuralreg.worker.file_jobs.file_job import (
    FIXED_TO_MOVING,
    MOVING_TO_FIXED,
    SUMMARY,
    WARPED,
    WARPED_SEG,
    write_transforms,
)
from neuralreg.worker.file_jobs.file_job import run as register
from neuralreg.worker.file_jobs.job_files import Job

UNCORRECTED = "uncorrected"  # folder of a repeated registration, before its corrections
DIRECTIONS = (FIXED_TO_MOVING, MOVING_TO_FIXED)


@dataclass(frozen=True)
class RepairJob:
    """A result, and what is to be changed about it.

    Attributes:
        result: its folder, or its record.
        landmarks: pairs of a new correction; None to take back only.
        radius_mm: of that correction; by its size unless given.
        lock: file of a mask where the result stays as it is; that of the record unless given.
        take_back: numbers of earlier corrections, from 1 on.
        by: who corrects.
    """

    result: Path
    landmarks: LandmarkGuide | None
    radius_mm: float | None
    lock: Path | None
    take_back: tuple[int, ...]
    by: str


@dataclass(frozen=True)
class Uncorrected:
    """The result as it was registered, and its corrections so far.

    Attributes:
        facts, folder: its record, and the folder of that.
        files: of both directions.
        field, inverse: both directions, mm.
        corrections: the earlier ones.
        lock: of the earlier ones.
    """

    facts: dict[str, Any]
    folder: Path
    files: tuple[Path, Path]
    field: DisplacementField
    inverse: DisplacementField
    corrections: tuple[Correction, ...]
    lock: Path | None

    @classmethod
    def read(cls, result: Path) -> Uncorrected:
        """From the folder of a result or its record.

        Raises:
            UnreadableFile: something of it is missing, changed or damaged.
        """
        facts, folder = registration_in(result)
        repair = facts.get("repair")
        files = (folder / FIXED_TO_MOVING, folder / MOVING_TO_FIXED)
        if repair:
            files = (_locate(repair["base"][0], folder), _locate(repair["base"][1], folder))
        return cls(facts, folder, files, *_read_fields(files), *corrections_in(facts, folder))


def corrections_in(
    facts: dict[str, Any], folder: Path
) -> tuple[tuple[Correction, ...], Path | None]:
    """The corrections of a record, and the file of their lock."""
    repair = facts.get("repair")
    if not repair:
        return (), None
    lock = None if repair["lock"] is None else _locate(repair["lock"], folder)
    return tuple(map(Correction.from_record, repair["corrections"])), lock


def repeat_corrected(
    job: Job, facts: dict[str, Any], folder: Path, target: Path, progress: Progress, overwrite: bool
) -> dict[str, Any]:
    """The registration of a record in a folder of its own, and its corrections after it."""
    registered = target / UNCORRECTED
    registered.mkdir(exist_ok=True)
    register(job, registered, stage(progress, 0.0, 0.9), overwrite=overwrite)
    base = Uncorrected.read(registered)
    part = stage(progress, 0.9, 1.0)
    return write_corrected(base, *corrections_in(facts, folder), target, part, overwrite=overwrite)


def run(job: RepairJob, output: Path, progress: Progress, *, overwrite: bool) -> dict[str, Any]:
    """Correct a result and fill the folder; what is in its record.

    Raises:
        RegistrationError: nothing was written, or only what can be made again.
    """
    progress(0.0, "reading the result")
    base = Uncorrected.read(job.result)
    corrections, lock = _change(job, base), job.lock or base.lock
    return write_corrected(base, corrections, lock, output, progress, overwrite=overwrite)


def write_corrected(
    base: Uncorrected,
    corrections: Sequence[Correction],
    lock: Path | None,
    output: Path,
    progress: Progress,
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Apply corrections and fill the folder, the transforms first; what is in its record.

    Raises:
        RegistrationError: before the transforms are written, the folder is as it was.
    """
    progress(0.2, "correcting")
    fields = CorrectedFields(base.field, base.inverse, (), (), 0.0)
    if corrections:
        mask = None if lock is None else read_image(lock)
        fields = apply_corrections(base.field, base.inverse, corrections, mask)
    progress(0.5, "writing")
    write_transforms(fields.field, fields.inverse, output, overwrite=overwrite)
    progress(0.6, "warping")
    written, notes = _warp(base, fields.field, output)
    facts = {
        **_record(base, corrections, fields, lock, output),
        "files": sorted([*DIRECTIONS, *written, SUMMARY]),
    }
    facts["warnings"] += notes
    with draft_folder(output, last=SUMMARY, overwrite=overwrite) as draft:
        text = json.dumps(facts, indent=2, allow_nan=False)
        (draft / SUMMARY).write_text(text + "\n", encoding="utf-8")
    progress(1.0, "done")
    return facts


def _change(job: RepairJob, base: Uncorrected) -> list[Correction]:
    """The corrections that hold from now on."""
    numbers = range(1, len(base.corrections) + 1)
    if unknown := [n for n in job.take_back if n not in numbers]:
        raise InvalidOption(
            "there is no such correction to take back",
            where=str(job.result),
            got=", ".join(map(str, unknown)),
            wanted=f"1 to {len(numbers)}" if numbers else "a result that was corrected",
        )
    kept = [c for n, c in zip(numbers, base.corrections, strict=True) if n not in job.take_back]
    if job.landmarks is None:
        return kept
    check_landmarks(job.landmarks, base.field.grid, base.inverse.grid)
    radius = usual_radius_mm(base.field, job.landmarks) if job.radius_mm is None else job.radius_mm
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [*kept, Correction(job.landmarks, radius, job.by, now)]


def _warp(base: Uncorrected, field: DisplacementField, output: Path) -> tuple[list[str], list[str]]:
    """Names of the warped images that could be written, and what could not, in words."""
    written, notes = [], []
    inputs = base.facts["inputs"]
    for role, name in (("moving", WARPED), ("moving_seg", WARPED_SEG)):
        if role not in inputs:
            continue
        try:
            fixed = read_image(_locate(inputs["fixed"], base.folder)).grid
            source = _locate(inputs[role], base.folder)
            image = (
                warp(read_image(source), field, fixed)
                if role == "moving"
                else warp_labels(read_labels(source), field, fixed)
            )
            write_image(image, output / name)
            written.append(name)
        except RegistrationError as error:
            notes.append(f"{name} could not be made ({error}); the transforms were written")
    return written, notes


def _record(
    base: Uncorrected,
    corrections: Sequence[Correction],
    fields: CorrectedFields,
    lock: Path | None,
    output: Path,
) -> dict[str, Any]:
    """The record of the registration, with its corrections; figures that no longer hold go."""
    records = [each.as_record() for each in corrections]
    repair = {
        "base": [describe_input(path, output) for path in base.files],
        "lock": None if lock is None else describe_input(lock, output),
        "corrections": records,
        "before_mm": list(fields.before_mm),
        "after_mm": list(fields.after_mm),
        "largest_change_mm": fields.largest_change_mm,
    }
    earlier = [w for w in base.facts["warnings"] if not w.startswith(BY_HAND)]
    return {
        **base.facts,
        "neuralreg": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": software(),
        "inputs": {
            name: _move_with_record(about, base.folder, output)
            for name, about in base.facts["inputs"].items()
        },
        "warnings": [*earlier, *([in_words(corrections)] if corrections else [])],
        "outcome": {},
        "dice": {},
        "provenance": {**base.facts.get("provenance", {}), "corrections": records},
        "repair": repair,
        "output": str(output),
        "transform_sha256": Deformation.of(fields.field).sha256,
    }


def _move_with_record(about: dict[str, Any], folder: Path, output: Path) -> dict[str, Any]:
    """What a record says about an input, for a record in another folder."""
    path = locate_input(about, folder)
    if not container_of(path).exists():
        return about
    where = {"path": str(path.resolve())}
    if path.resolve().drive == output.resolve().drive:
        relative = os.path.relpath(path.resolve(), output.resolve())
        where["relative_path"] = Path(relative).as_posix()
    return {**about, **where}


def _locate(about: dict[str, Any], folder: Path) -> Path:
    """A file that a record names, if it is the one.

    Raises:
        UnreadableFile: it is missing or another one.
    """
    path = require_existing(locate_input(about, folder))
    if sha256_of(path) != about["sha256"]:
        raise UnreadableFile(
            f"{path} is not the file that the record was made with",
            got="another hash",
            wanted=about["sha256"],
            remedy="Put the original file there.",
        )
    return path


def _read_fields(files: tuple[Path, Path]) -> tuple[DisplacementField, DisplacementField]:
    fields = []
    for path in files:
        field = read_transform(require_existing(path))
        if not isinstance(field, DisplacementField):
            raise InvalidTransform(
                f"{path} is no displacement field", wanted="a result of register"
            )
        fields.append(field)
    return fields[0], fields[1]
