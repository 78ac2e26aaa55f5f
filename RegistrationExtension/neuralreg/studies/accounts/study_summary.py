"""The accounts of a study: tables, record and page, each written whole while it runs."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuralreg import __version__
from neuralreg.errors import RegistrationError, UnwritableOutput
from neuralreg.io.files import DRAFTS, remove_path, write_whole
from neuralreg.io.locks.folder_locks import lock_folder
from neuralreg.io.tables import format_cell, format_table
from neuralreg.registration.options import RegistrationOptions
from neuralreg.studies.accounts.study_page import study_page
from neuralreg.studies.execution.row_records import (
    FAILED,
    WAITING,
    RowRecord,
    StudyFolder,
    read_record,
)
from neuralreg.studies.execution.study_plan import Plan
from neuralreg.studies.table.study_rows import StudyRow, version_class

GONE = "gone"  # from the table; its results stay
FACTS = ("id", "state", "reason", "seconds", "memory_mb", "host", "model", "warnings", "attempts")
LAST = ("verdict", "risk", "decision", "start", "end", "fixed", "moving")
FAILURES = ("id", "class", "reason", "what_to_do", "attempts", "host", "fixed", "moving")
_LEAST_PAUSE_S = 2.0
_SHARE = 20  # of the time goes at most one part into writing the accounts


@dataclass(frozen=True)
class StudyFacts:
    """What is known about a study as a whole.

    Attributes:
        source: the table, or what stood for it.
        options: common to all rows.
    """

    source: str
    options: RegistrationOptions


class Ledger:
    """Keeps the accounts of a study.

    Args:
        study: its folder.
        plan: of the run.
        facts: about the study.
        say: takes what a person should know.
    """

    def __init__(
        self,
        study: StudyFolder,
        plan: Plan,
        facts: StudyFacts,
        say: Callable[[str], None],
    ) -> None:
        self.study, self._facts, self._say = study, facts, say
        self._rows, self._gone, self._outdated = plan.rows, plan.gone, plan.changed
        self._own = dict(plan.records)
        self._next, self._warned = 0.0, False
        self._doubted = False
        self._how: dict[str, Any] = {}
        self._start = datetime.now(UTC).isoformat(timespec="seconds")

    def keep(self, record: RowRecord) -> None:
        """Take the record of a row that is done with."""
        self._own[record.id] = record

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Take what is known about the workers."""
        self._how.update(facts)

    def refresh(self) -> None:
        """Write everything, unless that was done just now; a full disk is tried again later."""
        if time.monotonic() < self._next:
            return
        begin = time.monotonic()
        try:
            self.write()
            self._warned = False
        except UnwritableOutput as error:
            if not self._warned:
                self._say(f"the accounts are written later: {error}")
            self._warned = True
        took = time.monotonic() - begin
        self._next = time.monotonic() + max(_LEAST_PAUSE_S, _SHARE * took)

    def write(self) -> list[RowRecord]:
        """Write everything now.

        Returns:
            The records of all rows of the table, in its order.

        Raises:
            UnwritableOutput: The folder is closed, or the disk full.
        """
        try:
            with lock_folder(self.study.path):
                return self._write()
        except OSError as error:
            raise UnwritableOutput(
                f"{self.study.path} cannot be written to", got=error.strerror or str(error)
            ) from error

    def _write(self) -> list[RowRecord]:
        for draft in self.study.path.glob(DRAFTS):  # of a leader that was killed: the lock is ours
            remove_path(draft)
        records = [self._current(row) for row in self._rows]
        gone = [record for name in self._gone if (record := _readable(self.study, name))]
        decisions = self._decisions()
        text = format_summary(self._rows, records, gone, decisions)
        _replace(self.study.table, text)
        _replace(self.study.failures, format_failures(self._rows, records))
        _replace(self.study.record, json.dumps(self._record(records), indent=1) + "\n")
        _replace(self.study.page, study_page(self.study, self._rows, records, decisions))
        return records

    def _decisions(self) -> dict[str, dict[str, Any]]:
        """What reviews said; a worklist that somebody broke stops no study, and is said once."""
        try:
            decisions = read_decisions(self.study)
        except RegistrationError as error:
            if not self._doubted:
                self._say(f"the worklist is left out of the accounts: {error}")
            self._doubted = True
            return {}
        self._doubted = False
        return decisions

    def _current(self, row: StudyRow) -> RowRecord:
        """What is known now; another run may have the row."""
        own = self._own.get(row.id)
        if own is not None:
            return own
        record = _readable(self.study, row.id) or RowRecord(row.id)
        if record == self._outdated.get(row.id):
            return RowRecord(row.id)
        return record

    def _record(self, records: Sequence[RowRecord]) -> dict[str, Any]:
        return {
            "neuralreg": __version__,
            "version_class": version_class(),
            "source": self._facts.source,
            "options": self._facts.options.as_record(),
            "host": platform.node(),
            "start": self._start,
            "update": datetime.now(UTC).isoformat(timespec="seconds"),
            **self._how,
            "states": count_states(records),
            "gone": list(self._gone),
            "rows": {
                row.id: {"options": row.key, "inputs": record.inputs}
                for row, record in zip(self._rows, records, strict=True)
            },
        }


def _replace(path: Path, text: str) -> None:
    with write_whole(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def _readable(study: StudyFolder, row: str) -> RowRecord | None:
    """What is known about a row; a record that cannot be read says so."""
    try:
        return read_record(study, row)
    except RegistrationError as error:
        return RowRecord(row, WAITING, warnings=(str(error),))


def count_states(records: Sequence[RowRecord]) -> dict[str, int]:
    """How many rows are in each state."""
    states = [record.state for record in records]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def read_decisions(study: StudyFolder) -> dict[str, dict[str, Any]]:
    """Verdict, risk and decision by row, of the worklist beside the results, if there is one."""
    path = study.path / "worklist.csv"
    if not path.is_file():
        return {}
    from neuralreg.review.workflow.worklist import read_worklist

    return {
        Path(entry.transform).parent.name: {
            "verdict": entry.verdict,
            "risk": entry.risk,
            "decision": entry.decision,
        }
        for entry in read_worklist(path)
        if Path(entry.transform).parent.parent == study.path.resolve()
    }


def format_summary(
    rows: Sequence[StudyRow],
    records: Sequence[RowRecord],
    gone: Sequence[RowRecord],
    decisions: Mapping[str, Mapping[str, Any]],
) -> str:
    """The text of study.csv: a line for each row, with all its numbers."""
    names = list(dict.fromkeys(name for record in [*records, *gone] for name in record.numbers))
    by_id = {row.id: row for row in rows}
    lines = []
    for record in [*records, *gone]:
        state = record.state if record.id in by_id else GONE
        about = {"verdict": record.verdict, "risk": record.risk, **decisions.get(record.id, {})}
        cells = {
            **about,
            **{name: getattr(record, name) for name in FACTS if name not in ("reason", "state")},
            "state": state,
            "reason": record.failure.reason if record.failure else "",
            "warnings": "; ".join(record.warnings),
            "start": record.start,
            "end": record.end,
            **{role: _input(by_id.get(record.id), record, role) for role in ("fixed", "moving")},
            **record.numbers,
        }
        lines.append([format_cell(cells.get(name)) for name in (*FACTS, *names, *LAST)])
    return format_table((*FACTS, *names, *LAST), lines)


def format_failures(rows: Sequence[StudyRow], records: Sequence[RowRecord]) -> str:
    """The text of failures.csv: what failed, of which class, and what to do."""
    lines = [
        [
            record.id,
            record.failure.kind,
            record.failure.reason,
            record.failure.remedy,
            str(record.attempts),
            record.host,
            str(row.inputs["fixed"]),
            str(row.inputs["moving"]),
        ]
        for row, record in zip(rows, records, strict=True)
        if record.state == FAILED and record.failure is not None
    ]
    return format_table(FAILURES, lines)


def _input(row: StudyRow | None, record: RowRecord, role: str) -> str:
    if row is not None:
        return str(row.inputs[role])
    return str(record.inputs.get(role, {}).get("path", ""))
