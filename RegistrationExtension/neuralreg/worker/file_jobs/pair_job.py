"""The job "register_files": one row of a study, as `neuralreg register` does it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from neuralreg.errors import InvalidImage, InvalidOption, RegistrationError, UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.warp import warp, warp_labels
from neuralreg.io.files import draft_folder, make_folder, suffix_of
from neuralreg.io.formats.segmentations import is_segmentation
from neuralreg.io.image_files import read_image, read_labels, write_image
from neuralreg.io.landmark_files import Pairs, read_pairs
from neuralreg.io.point_sets.point_files import is_point_file
from neuralreg.io.point_sets.point_transforms import move_file
from neuralreg.io.resample import warp_segments
from neuralreg.progress import Progress
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.options import RegistrationOptions
from neuralreg.registration.result import RegistrationResult
from neuralreg.worker.file_jobs.file_job import FILES, Summary, run
from neuralreg.worker.file_jobs.job_files import Images, Job

BEFORE, AFTER = "before.png", "after.png"
_LANDMARKS = ("landmarks_fixed", "landmarks_moving")
_STEERS = ("fixed_landmarks", "moving_landmarks")
_DOUBLE_ENDINGS = (".mrk.json", ".seg.nrrd")
_PIXELS = 96  # along the longer side of a thumbnail


def register_files(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Register two files into a folder.

    Args:
        arguments: inputs: paths by the names of `Job`, landmarks that measure, and what is
            brought along (images, label maps, segmentations, points); options: their record;
            initial_format; folder: for the results, overwrite: whether it may hold some;
            thumbnails: a folder for them, or None; review: whether the result is reviewed.
        progress: called with a fraction and a message.

    Returns:
        seconds, memory_mb, failures in words, numbers, and verdict and risk of a review.

    Raises:
        RegistrationError: as `neuralreg.register` does.
        UnwritableOutput: the folder holds results and may not.
    """
    start = time.perf_counter()
    _reset_peak_memory()
    progress(0.0, "reading the images")
    folder = Path(arguments["folder"])
    job, points = _job(arguments), _points(arguments["inputs"])
    _require_own(folder, bool(arguments["overwrite"]))
    pictures = Path(arguments["thumbnails"]) if arguments["thumbnails"] else None
    more: dict[str, Callable[[Images, RegistrationResult], None]] = {
        "the pictures": _Pictures(pictures),
        "what was to be brought along": _BringAlong(folder, arguments["inputs"]),
    }
    summary = run(job, folder, progress, overwrite=True, more=more)
    facts: dict[str, Any] = {"failures": summary.failures, "verdict": "", "risk": None}
    facts["numbers"] = {} if points is None else _errors_mm(points, summary.result)
    if arguments["review"]:
        facts |= _review(job, summary)
    return {**facts, "seconds": time.perf_counter() - start, "memory_mb": _peak_memory_mb()}


def _job(arguments: Mapping[str, Any]) -> Job:
    inputs = {
        name: Path(path)
        for name, path in arguments["inputs"].items()
        if name not in _LANDMARKS and not name.startswith("bring")
    }
    options = RegistrationOptions.from_record(arguments["options"])
    if set(_STEERS) <= set(inputs):
        if options.landmarks is not None:
            raise InvalidOption(
                "landmarks that steer are named once",
                got=f"the columns {' and '.join(_STEERS)}, and the option landmarks",
            )
        options = options.replace(landmarks=LandmarkGuide.read(*(inputs[n] for n in _STEERS)))
    return Job.of(inputs, options, arguments["initial_format"])


def _points(inputs: Mapping[str, str]) -> Pairs | None:
    """The landmarks that measure the result; read before anything is computed."""
    if not set(_LANDMARKS) <= set(inputs):
        return None
    return read_pairs(*(inputs[name] for name in _LANDMARKS))


def _errors_mm(points: Pairs, result: RegistrationResult) -> dict[str, float]:
    """How far landmarks are from their partners, before and after the registration."""
    transform = result.fixed_to_moving
    pairs = list(zip(points.fixed, points.moving, strict=True))
    before = [math.dist(fixed, moving) for fixed, moving in pairs]
    after = [math.dist(transform.TransformPoint(fixed), moving) for fixed, moving in pairs]
    return {
        "landmark_error_mean_before_mm": sum(before) / len(before),
        "landmark_error_mean_mm": sum(after) / len(after),
        "landmark_error_max_mm": max(after),
    }


def _require_own(folder: Path, overwrite: bool) -> None:
    make_folder(folder)
    others = [name for name in FILES if (folder / name).exists()]
    if others and not overwrite:
        raise UnwritableOutput(
            f"{folder} holds results that this study did not make",
            got=others[0],
            remedy="Move them away, or give the row another id.",
        )


class _Pictures:
    """Makes the thumbnails while the images are in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def __call__(self, images: Images, result: RegistrationResult) -> None:
        if self._folder is None:
            return
        grid = _slice_grid(images.fixed.grid)
        nowhere = DisplacementField.identity(grid.resize([min(n, 2) for n in grid.size]))
        fixed, moving = images.fixed, images.moving
        fields = {BEFORE: nowhere, AFTER: result.field}
        parts = {name: _gray(warp(moving, field, grid)) for name, field in fields.items()}
        base = _gray(warp(fixed, nowhere, grid))
        self._folder.mkdir(parents=True, exist_ok=True)
        with draft_folder(self._folder, last=AFTER) as draft:
            for name, gray in parts.items():
                _save_overlay(base, gray, draft / name)


class _BringAlong:
    """Brings further files of the moving side to the fixed image, beside the results."""

    def __init__(self, folder: Path, inputs: Mapping[str, str]) -> None:
        self._folder = folder
        self._files = {role: Path(path) for role, path in inputs.items() if role[:5] == "bring"}

    def __call__(self, images: Images, result: RegistrationResult) -> None:
        grid, reasons, names = images.fixed.grid, [], set[str]()
        for role, path in self._files.items():
            output = self._folder / _free_name(path, names)
            try:
                if is_point_file(path):
                    content = result.fixed_to_moving
                    move_file(path, [content], output, images.notes, grid=grid)
                elif is_segmentation(path):
                    warp_segments(path, result.field, output, grid)
                elif role.startswith("bring_labels"):
                    write_image(warp_labels(read_labels(path), result.field, grid), output)
                else:
                    write_image(warp(read_image(path), result.field, grid), output)
            except RegistrationError as error:  # the others are brought nevertheless
                reasons.append(str(error))
        if reasons:
            raise InvalidImage("; ".join(reasons))


def _free_name(path: Path, names: set[str]) -> str:
    """A name for what comes of a file, which no other one has; images become NIfTI."""
    double = next((end for end in _DOUBLE_ENDINGS if path.name.lower().endswith(end)), "")
    suffix = double or suffix_of(path)
    stem = path.name[: -len(suffix)] if suffix else path.name
    ending = suffix if is_point_file(path) or is_segmentation(path) else ".nii.gz"
    name, number = f"{stem}_warped{ending}", 1
    while name in names:
        number += 1
        name = f"{stem}_warped_{number}{ending}"
    names.add(name)
    return name


def _slice_grid(grid: Grid) -> Grid:
    """The middle slice across the axis that is stored last, with few samples."""
    size = [float(n) for n in grid.size]
    extent = [n * step for n, step in zip(size, grid.spacing, strict=True)]
    scale = _PIXELS / max(extent[:2])
    pixels = [max(1, round(length * scale)) for length in extent[:2]]
    return grid.resize([*pixels, *([1] if grid.dimension == 3 else [])])


def _gray(image: Image) -> Any:
    """Values of the slice as 0 to 255, most of them between."""
    import numpy as np

    values = image.data[0].double().numpy().reshape(image.grid.shape[-2:])
    low, high = np.nanpercentile(values, (1, 99))
    scaled = (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12)
    return np.asarray(255 * np.clip(scaled, 0, 1), np.uint8)


def _save_overlay(fixed: Any, moving: Any, path: Path) -> None:
    """Both in one picture: gray where they agree, green and magenta where they do not."""
    import numpy as np
    from PIL import Image as Picture

    Picture.fromarray(np.stack((moving, fixed, moving), -1)).save(path)


def _review(job: Job, summary: Summary) -> dict[str, Any]:
    from neuralreg.review.assess import assess
    from neuralreg.review.workflow.worklist import risk_of
    from neuralreg.worker.file_jobs.file_job import FIXED_TO_MOVING, MOVING_TO_FIXED

    report = assess(
        str(summary.folder / FIXED_TO_MOVING),
        fixed=str(job.fixed),
        moving=str(job.moving),
        inverse=str(summary.folder / MOVING_TO_FIXED),
        fixed_labels=job.fixed_seg and str(job.fixed_seg),
        moving_labels=job.moving_seg and str(job.moving_seg),
        mask=job.fixed_mask and str(job.fixed_mask),
        sliding=job.sliding and str(job.sliding),
    )
    return {"verdict": report.verdict, "risk": risk_of(report)}


def _reset_peak_memory() -> None:
    """Let the system measure anew, where it can."""
    with suppress(OSError):  # only Linux has it, and a container may forbid it
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_mb() -> float | None:
    """The most memory that this process held since it was reset, or since it began."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024
