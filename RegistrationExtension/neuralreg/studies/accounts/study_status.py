"""How far a study is, by its files alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralreg.errors import UnreadableFile
from neuralreg.studies.accounts.study_summary import count_states
from neuralreg.studies.execution.row_records import (
    DONE,
    FAILED,
    RUNNING,
    RowRecord,
    StudyFolder,
    read_record,
)

_MOST_NAMES = 10


@dataclass(frozen=True)
class StudyStatus:
    """How far a study is.

    Attributes:
        records: of all rows of the last table, as they are now.
        about: the content of study.json.
    """

    records: tuple[RowRecord, ...]
    about: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """Plain values."""
        names = ("source", "start", "update", "workers", "scheduler", "dashboard", "gone")
        about = {name: self.about[name] for name in names if name in self.about}
        return {"states": count_states(self.records), "left_s": self.left_s, **about}

    @property
    def left_s(self) -> float | None:
        """Seconds that are left for as many workers as have a row now; None if unknown."""
        seconds = [r.seconds for r in self.records if r.state == DONE and r.seconds is not None]
        running = sum(record.state == RUNNING for record in self.records)
        left = sum(record.state not in (DONE, FAILED) for record in self.records)
        if not seconds or not running:
            return None
        return left * sum(seconds) / len(seconds) / running

    def lines(self) -> list[tuple[str, str]]:
        """A few lines for a person: names and values."""
        states = ", ".join(f"{n} {state}" for state, n in count_states(self.records).items())
        lines = [("rows", f"{len(self.records)}: {states}")]
        if self.left_s is not None:
            lines.append(("time left", f"about {self.left_s / 60:.0f} minutes"))
        running = [f"{r.id} on {r.host}" for r in self.records if r.state == RUNNING]
        if running:
            lines.append(("in work", ", ".join(running[:_MOST_NAMES])))
        for record in [r for r in self.records if r.failure is not None][:_MOST_NAMES]:
            assert record.failure is not None
            lines.append((f"failed: {record.id}", record.failure.reason))
        lines += [
            (name, str(self.about[name]))
            for name in ("scheduler", "dashboard", "update")
            if self.about.get(name)
        ]
        return lines


def read_status(folder: Path) -> StudyStatus:
    """The state of a study.

    Args:
        folder: of the study.

    Raises:
        UnreadableFile: It is no study.
    """
    study = StudyFolder(folder)
    try:
        about = json.loads(study.record.read_text(encoding="utf-8"))
        rows = list(about["rows"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UnreadableFile(
            f"{folder} is no study",
            got=getattr(error, "strerror", None) or str(error),
            wanted="a folder with study.json, as `neuralreg batch` writes it",
        ) from error
    return StudyStatus(tuple(read_record(study, row) or RowRecord(row) for row in rows), about)
