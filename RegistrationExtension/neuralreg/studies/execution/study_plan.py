"""Which rows of a study are to be computed now."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from neuralreg.errors import InvalidOption
from neuralreg.studies.execution.row_records import (
    DONE,
    FAILED,
    WORK,
    RowRecord,
    StudyFolder,
    is_current,
    is_open,
    read_record,
)
from neuralreg.studies.table.study_rows import StudyRow


@dataclass(frozen=True)
class Choice:
    """Which rows are wanted.

    Attributes:
        retry: whether rows that failed are tried again.
        only: ids; all unless given.
        limit: at most so many are computed; any number unless given.
        shard: the part of the table that is this run's, and the number of parts.
    """

    retry: bool = False
    only: tuple[str, ...] = ()
    limit: int | None = None
    shard: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Plan:
    """What a run of a study has to do.

    Attributes:
        rows: of the table.
        wanted: those of this run: of its shard, and among its ids.
        compute: those of the wanted ones that are computed now.
        records: what is known, by id.
        changed: earlier records of rows whose inputs or options changed since, by id.
        gone: ids that were computed once and are in the table no longer.
        retry: whether attempts are counted anew.
    """

    rows: tuple[StudyRow, ...]
    wanted: tuple[StudyRow, ...]
    compute: tuple[StudyRow, ...]
    records: Mapping[str, RowRecord]
    changed: Mapping[str, RowRecord]
    gone: tuple[str, ...]
    retry: bool = False

    def attempt(self, row: str) -> int:
        """The number of a row's next attempt: a leader may have died between two."""
        record = self.records.get(row)
        return 1 if record is None or self.retry else record.attempts + 1

    def in_words(self) -> str:
        """How many rows are done, failed, changed, and to be computed."""
        states = [self.records[row.id].state for row in self.wanted if row.id in self.records]
        parts = [
            f"{len(self.wanted)} rows",
            f"{states.count(DONE)} done",
            f"{states.count(FAILED)} failed",
            f"{len(self.changed)} changed",
            f"{len(self.compute)} to compute",
        ]
        return ", ".join(part for part in parts if not part.startswith("0 "))


def parse_shard(text: str) -> tuple[int, int]:
    """ "3/40" as numbers.

    Raises:
        InvalidOption: for anything else.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InvalidOption("a shard is one of several parts", got=f"'{text}'", wanted="3/40")
    return int(match[1]), int(match[2])


def plan_study(study: StudyFolder, rows: Sequence[StudyRow], choice: Choice) -> Plan:
    """Compare the table with what was computed.

    Raises:
        InvalidOption: An id is not in the table.
        UnreadableFile: A record is none.
    """
    unknown = set(choice.only) - {row.id for row in rows}
    if unknown:
        raise InvalidOption("there is no such row", got=", ".join(sorted(unknown)))
    number, parts = choice.shard
    wanted = [row for row in rows[number - 1 :: parts] if not choice.only or row.id in choice.only]
    records = {row.id: record for row in rows if (record := read_record(study, row.id))}
    compute: list[StudyRow] = []
    changed: dict[str, RowRecord] = {}
    current: dict[str, RowRecord] = {}
    for row in rows:
        record = records.get(row.id)
        if record is not None and is_current(row, record):
            current[row.id] = record
        elif record is not None and record.state in (DONE, FAILED):
            changed[row.id] = record
    for row in wanted:
        record = current.get(row.id)
        if record is None or (record.state != DONE and (choice.retry or is_open(record))):
            compute.append(row)
    if choice.limit is not None:
        compute = compute[: choice.limit]
    gone = _ids_without_row(study, {row.id for row in rows})
    return Plan(tuple(rows), tuple(wanted), tuple(compute), current, changed, gone, choice.retry)


def _ids_without_row(study: StudyFolder, rows: Collection[str]) -> tuple[str, ...]:
    folder = study.path / WORK / "rows"
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if path.name not in rows))
