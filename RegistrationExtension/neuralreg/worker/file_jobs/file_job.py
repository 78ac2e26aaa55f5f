"""The registration of files: what happens between reading them and writing the folder."""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import SimpleITK as sitk

from neuralreg import __version__
from neuralreg.errors import RegistrationError, UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import require_dimension
from neuralreg.geometry.image import Image
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.files import draft_folder, require_free
from neuralreg.io.image_files import write_image
from neuralreg.io.itk_transforms import read_itk_transform
from neuralreg.io.resample import warp, warp_labels
from neuralreg.io.transform_files import write_transform
from neuralreg.measures.overlap import dice
from neuralreg.progress import Progress, stage
from neuralreg.registration.engine import register
from neuralreg.registration.result import RegistrationResult
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.workflow.provenance import RECORD, describe_input, software
from neuralreg.worker.file_jobs.job_files import Images, Job, read_images
from neuralreg.zoo.registry import list_models

Overlaps = Mapping[int, float]  # Dice by label value
_Made = TypeVar("_Made")
FIXED_TO_MOVING, MOVING_TO_FIXED = "fixed_to_moving.nii.gz", "moving_to_fixed.nii.gz"
WARPED, WARPED_SEG, SUMMARY = "warped.nii.gz", "warped_seg.nii.gz", RECORD
FILES = (FIXED_TO_MOVING, MOVING_TO_FIXED, WARPED, WARPED_SEG, SUMMARY)


@dataclass(frozen=True)
class Summary:
    """What is written to result.json and shown to the user.

    Attributes:
        job, result: what was asked for, and what came out.
        warnings: in words.
        dice_before, dice_after: by label; empty without label maps.
        timings: seconds.
        failures: what could not be made beside the transforms, in words; part of the warnings.
        folder, written: where the results are, and their names.
        time: of the end, ISO 8601.
    """

    job: Job
    result: RegistrationResult
    warnings: list[str]
    failures: list[str]
    dice_before: Overlaps
    dice_after: Overlaps
    timings: Mapping[str, float]
    folder: Path
    written: list[str]
    time: str

    def facts(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        facts: dict[str, Any] = {
            "neuralreg": __version__,
            "time": self.time,
            "software": software(),
            "model": self.result.model,
            "weights_sha256": _weights(self.result.model),
            "options": self.job.options.as_record(),
            "initial_format": self.job.initial_format,
            "inputs": {
                name: describe_input(path, self.folder, plain_uids=self.job.keep_uids)
                for name, path in self.job.inputs().items()
            },
            "warnings": self.warnings,
            "outcome": asdict(self.result.outcome),
            "dice": _table(self.dice_before, self.dice_after),
            "timings_s": dict(self.timings),
            "provenance": json.loads(json.dumps(dict(self.result.provenance), default=str)),
            "output": str(self.folder),
            "files": self.written,
            "transform_sha256": Deformation.of(self.result).sha256,
        }
        return {name: _without_nan(value) for name, value in facts.items()}

    def rows(self) -> list[tuple[str, str]]:
        """A few lines for a person: names and values."""
        outcome = self.result.outcome
        rows = [
            (
                f"similarity ({outcome.similarity})",
                f"{outcome.similarity_initial:.3f} as they came, {outcome.similarity_linear:.3f} "
                f"aligned, {outcome.similarity_final:.3f} in the end",
            ),
            ("folding in the body", f"{outcome.folding_percent_body:.4g} %"),
            ("forward and back", f"{outcome.inverse_error_max_mm:.2g} mm off at most"),
            ("deformation", f"{outcome.displacement_max_mm:.3g} mm at most"),
            ("time", f"{sum(self.timings.values()):.1f} s"),
            ("results", str(self.folder)),
        ]
        if self.dice_after:
            before, after = _mean(self.dice_before), _mean(self.dice_after)
            rows.insert(1, ("mean Dice", f"{before:.3f} before, {after:.3f} after"))
        return rows


def run(
    job: Job,
    folder: Path,
    progress: Progress,
    *,
    overwrite: bool = False,
    more: Mapping[str, Callable[[Images, RegistrationResult], None]] | None = None,
) -> Summary:
    """Register, and fill the folder: the transforms first, then what is made with them.

    Args:
        job: what was asked for.
        folder: where the results go.
        progress: called with a fraction and a message.
        overwrite: whether results of another run, also of one that ended meanwhile, are replaced.
        more: by what it makes, called with the images and the result while both are in memory.

    Returns:
        What is in the record; what could not be made beside the transforms is among its failures.

    Raises:
        RegistrationError: any of `neuralreg.errors`. Before the transforms are written the folder
            is as it was before; afterwards they stay.
    """
    started = time.perf_counter()
    images = read_images(job)
    read = time.perf_counter()
    result = register(
        images.fixed,
        images.moving,
        job.options,
        initial=initial_of(job, images.notes, images.fixed.grid.dimension),
        fixed_mask=images.fixed_mask,
        moving_mask=images.moving_mask,
        **images.guides(job.options),
        progress=stage(progress, 0.02, 0.9),
    )
    registered = time.perf_counter()
    progress(0.9, "writing results")
    write_transforms(result.field, result.inverse_field, folder, overwrite=overwrite)
    made = _Derived(job, folder, [FIXED_TO_MOVING, MOVING_TO_FIXED], [])
    overlaps = made.fill(result, images)
    for name, make in (more or {}).items():
        made.attempt(name, partial(make, images, result))
    timings = {"reading": read - started, **result.timings}
    timings["writing"] = time.perf_counter() - registered
    notes = [*images.notes, *result.warnings, *made.failures]
    written = sorted([*made.written, SUMMARY])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    summary = Summary(job, result, notes, made.failures, *overlaps, timings, folder, written, now)
    _write_record(summary, folder, overwrite)
    progress(1.0, "done")
    return summary


def initial_of(job: Job, notes: list[str], axes: int | None = None) -> sitk.Transform | None:
    """The transform to begin with; the coordinates of some programs depend on the images."""
    if job.initial is None:
        return None
    sides = Sides(job.fixed, job.moving)
    initial = read_itk_transform(job.initial, sides, source=job.initial_format, notes=notes)
    if axes is not None:
        require_dimension(initial.GetDimension(), axes, str(job.initial))
    return initial


def _write_record(summary: Summary, folder: Path, overwrite: bool) -> None:
    text = json.dumps(summary.facts(), indent=2, allow_nan=False) + "\n"
    try:
        with draft_folder(folder, last=SUMMARY, overwrite=overwrite) as draft:
            (draft / SUMMARY).write_text(text)
    except UnwritableOutput as error:
        raise UnwritableOutput(
            f"the record {folder / SUMMARY} could not be written; the transforms were",
            got=error.got or error.what,
            remedy=error.remedy,
        ) from error


def write_transforms(
    field: DisplacementField, inverse: DisplacementField, folder: Path, *, overwrite: bool
) -> None:
    """Write both directions; what an earlier run left goes first, its record before all else."""
    with draft_folder(folder, last=MOVING_TO_FIXED, overwrite=overwrite) as draft:
        write_transform(field, draft / FIXED_TO_MOVING)
        write_transform(inverse, draft / MOVING_TO_FIXED)
        for name in (SUMMARY, WARPED, WARPED_SEG):
            require_free(folder / name, overwrite)
            (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Derived:
    """What is made beside the transforms; one thing that fails does not stop the others.

    Attributes:
        job, folder: of the registration.
        written: names of the files that are there.
        failures: what is missing, why, and how to make it, in words.
    """

    job: Job
    folder: Path
    written: list[str]
    failures: list[str]

    def fill(self, result: RegistrationResult, images: Images) -> tuple[Overlaps, Overlaps]:
        """Write the files, and measure the Dice per label, before and after."""
        grid, labels = images.fixed.grid, images.moving_seg
        self._write(WARPED, lambda: warp(images.moving, result.field, grid))
        for name, image in result.maps.items():
            self._write(f"{name}.nii.gz", partial(replace, image))
        if labels is None or labels.channels > 1:  # overlapping segments are no label map
            return {}, {}
        warped = self._write(WARPED_SEG, lambda: warp_labels(labels, result.field, grid))
        overlaps = self.attempt("the table of Dice", lambda: _overlaps(images, warped))
        return overlaps or ({}, {})

    def _write(self, name: str, make: Callable[[], Image]) -> Image | None:
        def write() -> Image:
            image = make()
            write_image(image, self.folder / name)
            self.written.append(name)
            return image

        return self.attempt(name, write)

    def attempt(self, name: str, make: Callable[[], _Made]) -> _Made | None:
        """What is made; None, and a failure, where that goes wrong."""
        try:
            return make()
        except (RegistrationError, RuntimeError, ValueError, TypeError, MemoryError) as error:
            self.failures.append(self._failure(name, error))
            return None

    def _failure(self, name: str, error: Exception) -> str:
        reason = f"{name} could not be made ({error}); the transforms were written"
        source = {WARPED: self.job.moving, WARPED_SEG: self.job.moving_seg}.get(name)
        if source is None:
            return reason
        files = [source, self.folder / FIXED_TO_MOVING, "-r", self.job.fixed]
        words = ["neuralreg", "warp", *map(str, files), "-o", str(self.folder / name)]
        return f"{reason}; try: {shlex.join(words + ['--labels'] * (name == WARPED_SEG))}"


def _without_nan(value: Any) -> Any:
    """Plain values, None for numbers that could not be measured: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _weights(model: str) -> str | None:
    """The hash of a model's weights; None for a model without any."""
    card = next((card for card in list_models() if card.name == model), None)
    return card.weights.sha256 if card and card.weights else None


def _overlaps(images: Images, warped_seg: Image | None) -> tuple[Overlaps, Overlaps]:
    """Dice per label as the images came, and in the end; empty without both label maps."""
    if not (images.fixed_seg and images.moving_seg and warped_seg):
        return {}, {}
    grid = images.fixed.grid
    nowhere = DisplacementField.identity(grid.resize([min(n, 2) for n in grid.size]))
    unmoved = warp(images.moving_seg, nowhere, grid, interpolation="nearest")
    return dice(images.fixed_seg, unmoved), dice(images.fixed_seg, warped_seg)


def _table(before: Overlaps, after: Overlaps) -> dict[str, object]:
    rows = {
        str(label): {"before": before.get(label, 0.0), "after": after[label]} for label in after
    }
    return (
        {"labels": rows, "mean_before": _mean(before), "mean_after": _mean(after)} if rows else {}
    )


def _mean(overlaps: Overlaps) -> float:
    return sum(overlaps.values()) / max(len(overlaps), 1)
