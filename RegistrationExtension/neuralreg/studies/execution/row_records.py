"""What is known about each row of a study, in a file of its own that is always whole."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neuralreg.errors import UnreadableFile, UnwritableOutput
from neuralreg.io.files import container_of, files_in, require_existing, sha256_of
from neuralreg.studies.table.study_rows import StudyRow

WORK = "_study"  # beside the folders of results; no id begins with an underscore
# What somebody killed is tried four times more, as it says nothing about the row; what the system
# may have killed for want of memory twice, and then alone; anything else once.
_MOST_ATTEMPTS = {"memory": 3, "killed": 5}
_USUAL_ATTEMPTS = 2
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass(frozen=True)
class StudyFolder:
    """Where the files of a study are.

    Attributes:
        path: of the study.
    """

    path: Path

    @property
    def table(self) -> Path:
        """One line for each row, with its state and numbers."""
        return self.path / "study.csv"

    @property
    def record(self) -> Path:
        """Options, versions and hashes."""
        return self.path / "study.json"

    @property
    def failures(self) -> Path:
        """What failed, why, and what to do."""
        return self.path / "failures.csv"

    @property
    def page(self) -> Path:
        """Everything at a glance."""
        return self.path / "index.html"

    def work(self, row: str) -> Path:
        """The folder of what is known about a row."""
        return self.path / WORK / "rows" / row

    def results(self, row: str) -> Path:
        """The folder of a row's results, as `neuralreg register` writes them."""
        return self.path / row

    @property
    def leases(self) -> Path:
        """Of those that lead a run of the study."""
        return self.path / WORK / "leaders"


@dataclass(frozen=True)
class Failure:
    """Why a row failed.

    Attributes:
        kind: the class of the failure, one of `row_execution.REMEDIES`.
        reason: in words.
        remedy: what to do.
    """

    kind: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class RowRecord:
    """What is known about a row.

    Attributes:
        id: of the row.
        state: "waiting", "running", "done" or "failed".
        key: of what was asked for, see `StudyRow.key`.
        inputs: by role: path, size, mtime_ns, and sha256 once it is done.
        attempts: how often it was tried.
        seconds: of the registration, with reading and writing.
        memory_mb: that the computing process held at most.
        host, model: what computed.
        start, end: ISO 8601.
        warnings: in words.
        numbers: of the outcome, by name.
        verdict, risk: of the review, where one was made.
        failure: of a row that failed.
    """

    id: str
    state: str = WAITING
    key: str = ""
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    attempts: int = 0
    seconds: float | None = None
    memory_mb: float | None = None
    host: str = ""
    model: str = ""
    start: str = ""
    end: str = ""
    warnings: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""
    risk: float | None = None
    failure: Failure | None = None


def read_record(study: StudyFolder, row: str) -> RowRecord | None:
    """What is known about a row; None when it was never begun.

    Raises:
        UnreadableFile: The file is none of ours.
    """
    path = study.work(row) / "row.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be opened", got=error.strerror or "") from error
    try:
        facts = json.loads(text)
        failure = facts.pop("failure")
        facts["warnings"] = tuple(facts["warnings"])
        return RowRecord(**facts, failure=None if failure is None else Failure(**failure))
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableFile(
            f"{path} is no record of a row",
            got=str(error),
            remedy="Delete it: the row is computed again.",
        ) from error


def write_record(study: StudyFolder, record: RowRecord) -> None:
    """Write what is known about a row, whole or not at all.

    Raises:
        UnwritableOutput: The folder is closed, or the disk full.
    """
    path = study.work(record.id) / "row.json"
    draft = path.with_name(f".{uuid.uuid4().hex}.json")  # a folder for it would cost more than it
    try:
        draft.write_text(json.dumps(asdict(record), allow_nan=False), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):  # the disk may be gone with it
            draft.unlink(missing_ok=True)
        raise UnwritableOutput(
            f"{path} cannot be written", got=error.strerror or str(error)
        ) from error


def is_open(record: RowRecord) -> bool:
    """Whether a row that failed gets another attempt without being asked for."""
    if record.failure is None:
        return False
    return record.attempts < _MOST_ATTEMPTS.get(record.failure.kind, _USUAL_ATTEMPTS)


def inputs_of(row: StudyRow, *, missing: bool = False) -> dict[str, dict[str, Any]]:
    """Size and time of each input, which tell without reading it whether it may have changed.

    Args:
        row: what is asked for.
        missing: whether a file may be missing, which then has neither.

    Raises:
        UnreadableFile: An input is missing and may not.
    """
    facts: dict[str, dict[str, Any]] = {}
    for role, path in row.inputs.items():
        facts[role] = {"path": str(path)}
        if container_of(path).exists() or not missing:
            size, mtime = _size_and_time(path)
            facts[role] |= {"size": size, "mtime_ns": mtime}
    return facts


def _size_and_time(path: Path) -> tuple[int, int]:
    """Of a file; of a folder the sum and the newest of its files."""
    path = container_of(require_existing(path))
    files = [path]
    if path.is_dir():
        files = files_in(path) or [path]
    facts = [file.stat() for file in files]
    return sum(each.st_size for each in facts), max(each.st_mtime_ns for each in facts)


def is_current(row: StudyRow, record: RowRecord | None) -> bool:
    """Whether a record, of a success or a failure, is of what the row asks for now.

    An input of another time or size is read: only its content decides. A failure keeps no hashes,
    so that another time is another input.
    """
    if record is None or record.state not in (DONE, FAILED) or record.key != row.key:
        return False
    if set(record.inputs) != set(row.inputs):
        return False
    for role, path in row.inputs.items():
        about = record.inputs[role]
        try:
            size, mtime = _size_and_time(path)
        except (UnreadableFile, OSError):
            if record.state == DONE or about.get("size") is not None:
                return False
            continue  # it failed for want of this file, which still is not there
        if (size, mtime) == (about.get("size"), about.get("mtime_ns")):
            continue
        if size != about.get("size") or "sha256" not in about or sha256_of(path) != about["sha256"]:
            return False
    return True
