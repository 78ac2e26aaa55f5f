"""What a study will need in time and memory, before it is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neuralreg.geometry.grid import Grid
from neuralreg.registration.memory.memory_forecast import forecast_memory
from neuralreg.studies.execution.row_records import DONE, RowRecord
from neuralreg.studies.table.study_check import Headers, check_files
from neuralreg.studies.table.study_rows import StudyRow

# The default engine on one thread of a current core (python -m benchmarks.studies --forecast).
_START_S, _SECONDS_PER_MILLION = 3.0, 25.0
_HEADERS = 20  # that tell how much memory a worker may need
USUAL_MB = 700.0  # of a worker, where no header was read


@dataclass(frozen=True)
class StudyForecast:
    """Time and memory of a study.

    Attributes:
        rows: to compute.
        seconds: of one worker for all rows.
        memory_mb: of one worker at most.
        measured: whether rows of this study that are done were the measure.
    """

    rows: int
    seconds: float
    memory_mb: float
    measured: bool

    def in_words(self, workers: int) -> str:
        """A sentence."""
        time_s = self.seconds / max(1, workers)
        words = f"{time_s / 3600:.1f} hours" if time_s > 5400 else f"{time_s / 60:.1f} minutes"
        basis = "as the rows that are done" if self.measured else "as the default engine"
        return (
            f"about {words} with {workers} workers of {self.memory_mb / 1024:.1f} GB each ({basis})"
        )


def forecast_study(
    rows: Sequence[StudyRow], headers: Headers, records: Iterable[RowRecord]
) -> StudyForecast:
    """What rows will need: as those that are done, else by the sizes of their images.

    Args:
        rows: to compute.
        headers: of `check_files`.
        records: of the study.
    """
    done = [record for record in records if record.state == DONE and record.seconds is not None]
    if done:
        seconds = sum(record.seconds or 0.0 for record in done) / len(done)
        memory = max((record.memory_mb or 0.0 for record in done), default=0.0)
        return StudyForecast(len(rows), len(rows) * seconds, memory or USUAL_MB, True)
    pairs = [(row, _grids(row, headers)) for row in rows]
    counts = [max((grid.count for grid in grids), default=0) / 1e6 for _, grids in pairs]
    total = sum(_START_S + _SECONDS_PER_MILLION * count for count in counts)
    needs = [
        forecast_memory(grids[0], grids[-1], row.options).most / 2**20
        for row, grids in pairs
        if grids
    ]
    return StudyForecast(len(rows), total, max(needs, default=USUAL_MB), False)


def worker_memory_mb(rows: Sequence[StudyRow], records: Iterable[RowRecord]) -> float:
    """What a worker will need: as rows that are done, else by the headers of a few.

    Args:
        rows: to compute.
        records: of the study.
    """
    some = rows[:: max(1, len(rows) // _HEADERS)]
    return forecast_study(some, check_files(some)[1], records).memory_mb


def _grids(row: StudyRow, headers: Headers) -> list[Grid]:
    """Of both images, as far as their headers could be read."""
    both = (headers.get(row.inputs[role]) for role in ("fixed", "moving"))
    return [grid for grid in both if isinstance(grid, Grid)]
