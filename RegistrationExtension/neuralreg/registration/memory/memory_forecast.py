"""What a registration needs in memory, said before it begins, and refused where there is less."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neuralreg.errors import OutOfMemory
from neuralreg.geometry.grid import Grid
from neuralreg.registration.options import FEWEST_SAMPLES, FieldRefinement, RegistrationOptions
from neuralreg.resources import MEMORY_LIMIT, free_memory, used_memory

# Peaks of `neuralreg register` (python -m benchmarks.memory, and real pairs; the default engine,
# one thread) are the largest of five stages. Each is a process with its libraries, what is held of
# both images for each voxel, and what the stage itself holds for each sample of the grid that it
# works on, whose size is limited: the search takes 700,000 samples of the fixed image, the steps at
# full resolution 3 million. The inverse continues that grid as far as the moving image reaches.
_PROCESS = 430_000_000
_HELD = 10  # bytes a voxel: the file's numbers, those in float32, and in 0..1
_ALIGNED, _SMOOTHED = 20, 13  # while images are smoothed for the alignment; the larger one again
_SEARCHED, _SEARCH_SAMPLES = 680, 700_000
_FOLLOWED, _FOLLOW_SAMPLES = 320, 3_000_000
_INVERTED, _MARGIN, _FARTHEST = 200, 1.1, 3.0  # an axis is made at most three times as long
_FULL = 222  # with a field of every voxel
_READ, _CHECKED = 4, 16  # before an image is made coarser: the file's numbers; the larger one's
# The forecasts were up to 25 % above what was measured; a run that may fit is not refused.
_CERTAIN = 0.8
_ROOM = 0.9  # of the memory that is there, for a proposal


@dataclass(frozen=True)
class MemoryForecast:
    """What a registration needs, in bytes of the whole process at its peak.

    Attributes:
        least: whatever the images show.
        most: where both show one modality, which is followed to the full resolution.
        available: what the process holds and can still have; None where that is not known.
    """

    least: int
    most: int
    available: int | None

    def in_words(self) -> str:
        """One line."""
        words = f"needs about {_gigabytes(self.most)} of memory"
        if self.most > 1.1 * self.least:
            words = f"needs {_gigabytes(self.least)} to {_gigabytes(self.most)} of memory"
        if self.available is not None:
            words += f", {_gigabytes(self.available)} are there"
        return words

    def as_record(self) -> dict[str, int | None]:
        """Plain values, ready for JSON."""
        return {
            "least_bytes": self.least,
            "most_bytes": self.most,
            "available_bytes": self.available,
        }


def forecast_memory(fixed: Grid, moving: Grid, options: RegistrationOptions) -> MemoryForecast:
    """What a registration by the default engine will need; a network's own needs are not in it.

    Args:
        fixed, moving: of the images as they were read.
        options: of the registration.
    """
    most = options.most_samples or max(fixed.count, moving.count)
    f, m = min(fixed.count, most), min(moving.count, most)
    held = _PROCESS + _HELD * (f + m)
    least = [
        _PROCESS + _ALIGNED * (f + m) + _SMOOTHED * max(f, m),
        held + _SEARCHED * _cubic_samples(fixed, min(most, _SEARCH_SAMPLES)),
    ]
    if options.full_resolution:
        least.append(held + _FULL * f)
    if (f, m) != (fixed.count, moving.count):
        read = _READ * (fixed.count + moving.count)
        least.append(_PROCESS + read + _CHECKED * max(fixed.count, moving.count))
    upper = list(least)
    refinement = options.refinement
    if not (isinstance(refinement, FieldRefinement) and refinement.similarity == "mind"):
        samples = min(f, _FOLLOW_SAMPLES)
        upper.append(held + _FOLLOWED * samples)
        upper.append(held + round(_INVERTED * samples * _continuation(fixed, moving)))
    free = free_memory()
    available = None if free is None else free + used_memory()
    return MemoryForecast(max(least), max(upper), available)


def _cubic_samples(grid: Grid, most: int) -> int:
    """How many samples `work_grid` makes of a grid."""
    return min(most, round(math.prod(grid.extent_mm) / min(grid.spacing) ** grid.dimension))


def _continuation(fixed: Grid, moving: Grid) -> float:
    """How many times as large the grid of the inverse is, where headers turn the images rightly."""
    d = fixed.dimension
    if moving.dimension != d:  # refused later
        return 1.0
    axes = [np.reshape(grid.direction, (d, d)) for grid in (fixed, moving)]
    reach = np.abs(axes[0].T @ axes[1]) @ np.array(moving.extent_mm)
    longer = np.clip(reach / np.array(fixed.extent_mm), 1.0, _FARTHEST)
    return float(np.prod(_MARGIN * longer))


def require_memory(
    fixed: Grid, moving: Grid, options: RegistrationOptions, device: str
) -> tuple[MemoryForecast, list[str]]:
    """The forecast of a registration that can begin, and a sentence where it may not end.

    Args:
        fixed, moving: of the images, which are in memory already.
        options: of the registration.
        device: kind of what computes, "cpu" or "cuda"; only on a CPU anything is refused.

    Raises:
        OutOfMemory: there is certainly too little.
    """
    forecast = forecast_memory(fixed, moving, options)
    available = forecast.available
    if available is None or device != "cpu" or forecast.most <= available:
        return forecast, []
    remedy = _proposal(fixed, moving, options, available)
    if _CERTAIN * forecast.least > available:
        raise OutOfMemory(
            "there is too little memory for this registration",
            got=f"{_gigabytes(available)} (free memory, limits of the container and the shell, "
            f"{MEMORY_LIMIT})",
            wanted=f"about {_gigabytes(forecast.most)} for {_voxels(fixed)} and {_voxels(moving)} "
            "voxels",
            remedy=remedy,
        )
    return forecast, [f"the memory may not suffice: it {forecast.in_words()}. {remedy}"]


def _proposal(fixed: Grid, moving: Grid, options: RegistrationOptions, available: int) -> str:
    """How the pair could be registered with so much memory, in words."""
    samples = max(fixed.count, moving.count)
    while (samples := samples * 3 // 4) >= FEWEST_SAMPLES:
        coarser = options.replace(most_samples=samples)
        if forecast_memory(fixed, moving, coarser).most <= _ROOM * available:
            digits = 10 ** (len(str(samples)) - 2)
            words = f"Use --most-samples {samples // digits * digits} (most_samples in Python)"
            return f"{words}, crop the images, or free memory."
    return "Free memory, or crop the images."


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _voxels(grid: Grid) -> str:
    return "x".join(map(str, grid.size))
