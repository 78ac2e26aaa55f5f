"""One row of a study, computed on a worker: its lock, its record, and what became of it."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from neuralreg import errors
from neuralreg.errors import Cancelled, RegistrationError, UnwritableOutput, WorkerFailed
from neuralreg.io.files import DRAFTS, remove_path, sha256_of
from neuralreg.progress import Progress
from neuralreg.studies.execution.patience import Patience, Say, is_passing
from neuralreg.studies.execution.row_locks import LockWatch, RowLock
from neuralreg.studies.execution.row_records import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    Failure,
    RowRecord,
    StudyFolder,
    inputs_of,
    is_current,
    read_record,
    write_record,
)
from neuralreg.studies.table.study_rows import StudyRow
from neuralreg.worker.protocol import MemoryKilled, WorkerKilled

RESULT = "result.json"  # as `review.workflow.provenance.RECORD`, which needs ITK
LOCKED = "locked"  # by another run; the state of no record
REMEDIES = {
    "input": "Mend or replace the file, or leave the row out; then run the study again.",
    "model": "Choose another model or device, or fetch its weights; then run the study again.",
    "memory": "Use fewer workers, a coarser model or smaller images, or a machine with more memory;"
    " then --retry failed.",
    "time": "Allow more time (--timeout), or look at the images; then --retry failed.",
    "output": "Make room or open the folder; then --retry failed.",
    "worker": "Run it again (--retry failed); when it comes back, see the log.",
    "killed": "See what ends processes on that machine, such as a batch system's limit; then"
    " --retry failed.",
    "partial": "The transforms are there; see the reason for what is missing.",
}
_KINDS: dict[type[RegistrationError], str] = {
    errors.InvalidImage: "input",
    errors.InvalidTransform: "input",
    errors.UnreadableFile: "input",
    errors.InputsChanged: "input",
    errors.InvalidOption: "model",
    errors.IncompatibleModel: "model",
    errors.WeightsUnavailable: "model",
    errors.ChecksumMismatch: "model",
    errors.DeviceUnavailable: "model",
    errors.PackageMissing: "model",
    errors.OutOfMemory: "memory",
    errors.UnwritableOutput: "output",
    errors.WorkerFailed: "worker",
    WorkerKilled: "killed",
    MemoryKilled: "memory",
}
_STARTING = "starting"  # what a worker's client says until the job says something
_MOST_STARTS = 3  # of workers that are killed before a row has begun


class RowWorker(Protocol):
    """What does the job of a row, as `neuralreg.worker.client.Worker`."""

    def run(self, kind: str, job: object, progress: Progress) -> Any:
        """What the job gives."""


@dataclass(frozen=True)
class Settings:
    """How rows are worked through.

    Attributes:
        timeout_s: longer takes a row only that hangs; None for any time.
        patience_s: for how long a full disk or a network folder that is gone is waited for.
        review: whether each result is reviewed.
        thumbnails: whether there are pictures of it.
        kind: of the worker's job.
    """

    timeout_s: float | None = None
    patience_s: float = 600.0
    review: bool = False
    thumbnails: bool = True
    kind: str = "register_files"


class TimeLimit(WorkerFailed):
    """A row took longer than it may."""


@dataclass(frozen=True)
class RowTask:
    """A row to be computed, as it travels to a worker.

    Attributes:
        study: the folder of the study.
        row: what is asked for.
        settings: of the study.
        attempt: 1 for the first one.
        complete: whether all inputs were there when the run was planned: one that is gone now may
            come back.
    """

    study: Path
    row: StudyRow
    settings: Settings
    attempt: int = 1
    complete: bool = True

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files that are waited for when they are gone."""
        return tuple(self.row.inputs.values()) if self.complete else ()


def compute_row(
    task: RowTask, worker: RowWorker, stops: Callable[[], bool], say: Say, watch: LockWatch
) -> RowRecord:
    """Compute a row unless it is done or another run has it.

    Args:
        task: what is asked for.
        worker: computes it.
        stops: whether to leave the row at once.
        say: takes what a person should know.
        watch: knows the locks of others.

    Returns:
        The record that was written; with the state "locked" while another run has the row.

    Raises:
        Cancelled: when it was left; its record says "waiting".
        UnwritableOutput: the record cannot be written, for longer than patience lasts.
    """
    study, row = StudyFolder(task.study), task.row
    patience = Patience(task.settings.patience_s, stops, say)
    lock = patience.attempt(lambda: _acquire(study, row, watch), study.record)
    if lock is None:
        return RowRecord(row.id, LOCKED, row.key)
    try:
        _clear_drafts(study, row.id)
        known = read_record(study, row.id)
        if known is not None and known.state == DONE and is_current(row, known):
            return known
        record = _compute(task, known, worker, patience)
        patience.attempt(lambda: write_record(study, record), study.record)
        return record
    finally:
        _clear_drafts(study, row.id)
        lock.release()


def _clear_drafts(study: StudyFolder, row: str) -> None:
    """Remove what a killed process left: whoever holds the lock is the only one that writes."""
    for folder in (study.results(row), study.work(row)):
        for draft in [*folder.glob(DRAFTS), *folder.glob(".*.json")]:
            with suppress(OSError):  # a disk that is gone is said elsewhere
                remove_path(draft)


def _acquire(study: StudyFolder, row: StudyRow, watch: LockWatch) -> RowLock | None:
    folder = study.work(row.id)
    if not study.record.exists():  # an empty folder is where a disk is mounted
        raise UnwritableOutput(f"{study.path} is gone", got="no study.json in it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return watch.acquire(folder / "lock")
    except OSError as error:
        raise UnwritableOutput(
            f"{folder} cannot be written to", got=error.strerror or str(error)
        ) from error


def _compute(
    task: RowTask, known: RowRecord | None, worker: RowWorker, patience: Patience
) -> RowRecord:
    study, row, begin = StudyFolder(task.study), task.row, _now()
    record = RowRecord(
        row.id, RUNNING, row.key, attempts=task.attempt, host=platform.node(), start=begin
    )
    patience.attempt(lambda: write_record(study, record), study.record)
    before = inputs_of(row, missing=True)
    try:
        before = patience.attempt(lambda: inputs_of(row), *task.inputs)
        facts = _attempt(task, known, worker, patience)
        if inputs_of(row) != before:
            raise errors.InputsChanged("an input changed while it was registered")
        done = replace(record, **_outcome(study, row, before, facts))
    except Cancelled:
        patience.say_if_unwritable(
            lambda: write_record(study, replace(known or record, state=WAITING))
        )
        raise
    except RegistrationError as error:
        done = replace(record, state=FAILED, inputs=before, failure=failure_of(error))
    return replace(done, end=_now())


def _attempt(
    task: RowTask, known: RowRecord | None, worker: RowWorker, patience: Patience
) -> Mapping[str, Any]:
    """The job itself, again while the disk is full."""
    study, row, settings = StudyFolder(task.study), task.row, task.settings
    arguments = {
        "inputs": {role: str(path) for role, path in row.inputs.items()},
        "options": row.options.as_record(),
        "initial_format": row.initial_format,
        "folder": str(study.results(row.id)),
        "overwrite": known is not None,
        "thumbnails": str(study.work(row.id)) if settings.thumbnails else None,
        "review": settings.review,
    }

    def once() -> Mapping[str, Any]:
        facts = _run_job(worker, settings, arguments, patience.stops)
        cut_off = [reason for reason in facts["failures"] if is_passing(reason)]
        if cut_off:  # the disk was full when the transforms were written already
            raise UnwritableOutput(cut_off[0])
        return facts

    def once_or_again() -> Mapping[str, Any]:
        try:
            return once()
        finally:
            arguments["overwrite"] = True  # what a full disk has cut off is our own

    try:
        return patience.attempt(once_or_again, study.record, *task.inputs)
    finally:
        folder = study.results(row.id)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _run_job(
    worker: RowWorker,
    settings: Settings,
    arguments: Mapping[str, Any],
    stops: Callable[[], bool],
) -> Mapping[str, Any]:
    """What the job gives; a worker that somebody kills before the row has begun is replaced."""
    for start in count(1):
        watch = _RowWatch(settings.timeout_s, stops)
        try:
            facts: Mapping[str, Any] = worker.run(settings.kind, dict(arguments), watch)
        except MemoryKilled:
            raise
        except WorkerKilled:
            if watch.begin is not None or start == _MOST_STARTS:
                raise
        else:
            return facts
    raise AssertionError("a count has no end")


class _RowWatch:
    """A progress that ends a row which is left or takes too long.

    Attributes:
        begin: when the row began; None while the worker loads libraries, which is not the row's
            time.
    """

    def __init__(self, timeout_s: float | None, stops: Callable[[], bool]) -> None:
        self._timeout_s, self._stops = timeout_s, stops
        self.begin: float | None = None

    def __call__(self, fraction: float, message: str) -> None:
        if self._stops():
            raise Cancelled("the row was left")
        if message != _STARTING and self.begin is None:
            self.begin = time.monotonic()
        took = time.monotonic() - self.begin if self.begin is not None else 0.0
        if self._timeout_s is not None and took > self._timeout_s:
            raise TimeLimit(
                "the row took longer than it may",
                got=f"{took:.0f} s, at {message}",
                wanted=f"{self._timeout_s:g} s",
            )


def _outcome(
    study: StudyFolder,
    row: StudyRow,
    before: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """What goes into the record of a row that was computed."""
    result = _read_result(study.results(row.id) / RESULT)
    known = {role: about["sha256"] for role, about in result["inputs"].items()}
    inputs = {
        role: {**about, "sha256": known.get(role) or sha256_of(Path(about["path"]))}
        for role, about in before.items()
    }
    failures = list(facts["failures"])
    failure = Failure("partial", "; ".join(failures), REMEDIES["partial"]) if failures else None
    return {
        "state": FAILED if failures else DONE,
        "inputs": inputs,
        "seconds": facts["seconds"],
        "memory_mb": facts["memory_mb"],
        "model": result["model"],
        "warnings": tuple(result["warnings"]),
        "numbers": {**numbers_of(result), **facts["numbers"]},
        "verdict": facts["verdict"],
        "risk": facts["risk"],
        "failure": failure,
    }


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkerFailed(
            "a result was deleted or changed just after it was written", where=str(path)
        ) from error
    return result


def numbers_of(result: Mapping[str, Any]) -> dict[str, float]:
    """All numbers of a record that say how good a result is."""
    numbers = {
        name: float(value)
        for name, value in result["outcome"].items()
        if isinstance(value, int | float)
    }
    overlaps = result.get("dice") or {}
    if overlaps:
        numbers["dice_before"] = float(overlaps["mean_before"])
        numbers["dice_after"] = float(overlaps["mean_after"])
    return numbers


def failure_of(error: RegistrationError) -> Failure:
    """The class of an error, its words, and what to do."""
    kind = next((_KINDS[each] for each in type(error).__mro__ if each in _KINDS), "worker")
    if isinstance(error, TimeLimit):
        kind = "time"
    return Failure(kind, str(error), REMEDIES[kind])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
