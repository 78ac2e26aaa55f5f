"""What `neuralreg register` does between reading files and writing the folder."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuralreg import __version__
from neuralreg.cli.terminal import columns
from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.geometry.warp import warp, warp_labels
from neuralreg.io.files import draft_folder
from neuralreg.io.image_files import read_image, read_labels, write_image
from neuralreg.io.transform_files import write_transform
from neuralreg.measures.overlap import dice
from neuralreg.progress import Progress, stage
from neuralreg.registration.engine import register
from neuralreg.registration.image_checks import on_grid, overlap
from neuralreg.registration.options import RegistrationOptions
from neuralreg.registration.result import RegistrationResult
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.workflow.provenance import RECORD, describe_file, software
from neuralreg.zoo.registry import list_models

Overlaps = Mapping[int, float]  # Dice by label value
FIXED_TO_MOVING, MOVING_TO_FIXED = "fixed_to_moving.nii.gz", "moving_to_fixed.nii.gz"
WARPED, WARPED_SEG, SUMMARY = "warped.nii.gz", "warped_seg.nii.gz", RECORD
FILES = (FIXED_TO_MOVING, MOVING_TO_FIXED, WARPED, WARPED_SEG, SUMMARY)


@dataclass(frozen=True)
class Job:
    """What the command line was asked to do.

    Attributes:
        fixed, moving, fixed_seg, moving_seg, fixed_mask, moving_mask, initial: files.
        options: everything else.
    """

    fixed: Path
    moving: Path
    fixed_seg: Path | None
    moving_seg: Path | None
    fixed_mask: Path | None
    moving_mask: Path | None
    initial: Path | None
    options: RegistrationOptions

    def inputs(self) -> dict[str, Path]:
        """The files that were given, by the names of their options."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in named.items() if isinstance(path, Path)}


@dataclass(frozen=True)
class Images:
    """The images of a job.

    Attributes:
        fixed, moving, fixed_seg, moving_seg, fixed_mask, moving_mask: as read.
        notes: what had to be assumed while reading them.
    """

    fixed: Image
    moving: Image
    fixed_seg: Image | None
    moving_seg: Image | None
    fixed_mask: Image | None
    moving_mask: Image | None
    notes: list[str]


@dataclass(frozen=True)
class Summary:
    """What is written to result.json and shown to the user.

    Attributes:
        job, result: what was asked for, and what came out.
        warnings: in words.
        dice_before, dice_after: by label; empty without label maps.
        timings: seconds.
        folder, written: where the results are, and their names.
        time: of the end, ISO 8601.
    """

    job: Job
    result: RegistrationResult
    warnings: list[str]
    dice_before: Overlaps
    dice_after: Overlaps
    timings: Mapping[str, float]
    folder: Path
    written: list[str]
    time: str

    def facts(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "neuralreg": __version__,
            "time": self.time,
            "software": software(),
            "model": self.result.model,
            "weights_sha256": _weights(self.result.model),
            "options": self.job.options.as_record(),
            "inputs": {
                name: {"path": str(path.resolve()), **describe_file(path)}
                for name, path in self.job.inputs().items()
            },
            "warnings": self.warnings,
            "outcome": _measured(asdict(self.result.outcome)),
            "dice": _table(self.dice_before, self.dice_after),
            "timings_s": dict(self.timings),
            "provenance": json.loads(json.dumps(dict(self.result.provenance), default=str)),
            "output": str(self.folder),
            "files": self.written,
            "transform_sha256": Deformation.of(self.result).sha256,
        }

    def in_words(self) -> str:
        """A few lines for a person."""
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
        return columns(rows)


def run(job: Job, folder: Path, progress: Progress) -> Summary:
    """Register, and fill the folder with everything at once.

    Raises:
        RegistrationError: any of `neuralreg.errors`; then the folder is as it was before.
    """
    started = time.perf_counter()
    images = _read(job)
    read = time.perf_counter()
    result = register(
        images.fixed,
        images.moving,
        job.options,
        initial=job.initial,
        fixed_mask=images.fixed_mask,
        moving_mask=images.moving_mask,
        progress=stage(progress, 0.02, 0.9),
    )
    registered = time.perf_counter()
    progress(0.9, "writing results")
    with draft_folder(folder, last=SUMMARY) as draft:
        before, after = _overlaps(images, _write(result, images, draft))
        timings = {"reading": read - started, **result.timings}
        timings["writing"] = time.perf_counter() - registered
        written = sorted([*(file.name for file in draft.iterdir()), SUMMARY])
        notes = images.notes + list(result.warnings)
        time_now = datetime.now(UTC).isoformat(timespec="seconds")
        summary = Summary(job, result, notes, before, after, timings, folder, written, time_now)
        (draft / SUMMARY).write_text(json.dumps(summary.facts(), indent=2, allow_nan=False) + "\n")
        for stale in {*FILES} - {*written} | {SUMMARY}:
            (folder / stale).unlink(missing_ok=True)
    progress(1.0, "done")
    return summary


def _measured(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures, None for those that could not be measured: JSON has no NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _weights(model: str) -> str | None:
    """The hash of a model's weights; None for a model without any."""
    card = next((card for card in list_models() if card.name == model), None)
    return card.weights.sha256 if card and card.weights else None


def _read(job: Job) -> Images:
    notes: list[str] = []

    def image(path: Path) -> Image:
        return read_image(path, notes=notes)

    def labels(path: Path | None) -> Image | None:
        return None if path is None else read_labels(path, notes=notes)

    fixed, moving = image(job.fixed), image(job.moving)
    fixed_seg, moving_seg = labels(job.fixed_seg), labels(job.moving_seg)
    if fixed_seg:
        fixed_seg, more = on_grid(fixed_seg, fixed.grid, "fixed label map")
        notes += more
    if moving_seg and (share := overlap(moving_seg, moving.grid, "moving label map")) < 1:
        notes.append(f"the moving label map covers {100 * share:.0f} % of the moving image")
    masks = labels(job.fixed_mask), labels(job.moving_mask)
    return Images(fixed, moving, fixed_seg, moving_seg, *masks, notes)


def parse_numbers(texts: list[str]) -> dict[str, float]:
    """`["smoothness=0.3"]` as a mapping.

    Raises:
        InvalidOption: for anything else.
    """
    options = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            options[name] = float(value)
        except ValueError as error:
            raise InvalidOption(
                "an option of a model is a name and a number", got=f"'{text}'", wanted="name=0.3"
            ) from error
    return options


def _write(result: RegistrationResult, images: Images, folder: Path) -> Image | None:
    """Write all but the summary; the warped label map, where there is one."""
    fixed, moving = images.fixed, images.moving
    write_transform(result.field, folder / FIXED_TO_MOVING)
    write_transform(result.inverse_field, folder / MOVING_TO_FIXED)
    warped = warp(moving, result.field, fixed.grid, outside=_lowest(moving))
    write_image(warped, folder / WARPED)
    for name, image in result.maps.items():
        write_image(image, folder / f"{name}.nii.gz")
    if images.moving_seg is None:
        return None
    warped_seg = warp_labels(images.moving_seg, result.field, fixed.grid)
    write_image(warped_seg, folder / WARPED_SEG)
    return warped_seg


def _lowest(image: Image) -> float:
    """What the warped image shows where the moving one has nothing: air, background."""
    values = image.data.double()
    return float(values[values.isfinite()].min())


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
