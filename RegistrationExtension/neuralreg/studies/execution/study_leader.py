"""Leads the computation of a study: hands out rows, tries again, and keeps the accounts."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Protocol

from neuralreg.errors import Cancelled, RegistrationError, UnwritableOutput, WorkerFailed
from neuralreg.studies.execution.row_execution import LOCKED, RowTask, failure_of
from neuralreg.studies.execution.row_records import DONE, FAILED, RowRecord, is_open

_STEP_S = 0.2
_ASK_LOCKS_S = 1.0  # between looks at rows that another run has


@dataclass(frozen=True)
class RowOutcome:
    """What became of a task.

    Attributes:
        task: as it was handed out.
        worker: that had it.
        record: that was written; None when the row was left, or could not be recorded.
        error: why there is no record; None when the row was left.
    """

    task: RowTask
    worker: str
    record: RowRecord | None = None
    error: RegistrationError | None = None


class Finished(Protocol):
    """A future of either kind that has ended."""

    def result(self) -> Any:
        """What was computed, or the error."""

    def exception(self) -> BaseException | None:
        """The error, if there was one."""


def outcome_of(task: RowTask, worker: str, future: Finished) -> RowOutcome:
    """What became of a task whose future has ended."""
    error = future.exception()
    if error is None:
        return RowOutcome(task, worker, future.result())
    if isinstance(error, Cancelled):
        return RowOutcome(task, worker)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        error = UnwritableOutput(f"{task.study} cannot be worked in", got=reason)
    if not isinstance(error, RegistrationError):
        error = WorkerFailed(
            "the row failed for an unforeseen reason",
            got=f"{type(error).__name__}: {error}",
            remedy="Please report it.",
        )
    return RowOutcome(task, worker, error=error)


class Engine(Protocol):
    """What computes rows: processes of this machine, or of many."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What study.json says about it."""

    def capacity(self) -> int:
        """How many rows may be in work at once."""

    def submit(self, task: RowTask, avoid: str) -> None:
        """Begin a row, if possible on another worker than `avoid`."""

    def outcomes(self, timeout_s: float) -> Sequence[RowOutcome]:
        """What ended since the last call; waits for something until the time is over."""

    def stop(self) -> None:
        """Leave all rows at once."""


class Interrupts:
    """What the signals of the system ask for.

    Attributes:
        draining: whether no more rows are begun.
        stopping: whether all rows are left at once.
        signal: the last one that came.
    """

    def __init__(self) -> None:
        self.draining = self.stopping = False
        self.signal = 0

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """A first Ctrl-C waits for the present rows, a second one and SIGTERM do not."""
        self.stopping = self.draining or number != signal.SIGINT
        self.draining, self.signal = True, number

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Handle signals in the block, where this thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        before = {number: signal.signal(number, self.handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class _Waiting:
    task: RowTask
    avoid: str = ""
    since: float = 0.0


class Leader:
    """Works through tasks.

    Args:
        engine: computes them.
        keep: takes the record of each row that is done with.
        say: takes what a person should know.
        interrupts: what signals ask for.
        refresh: called several times a second.
    """

    def __init__(
        self,
        engine: Engine,
        keep: Callable[[RowRecord], None],
        say: Callable[[str], None],
        interrupts: Interrupts,
        refresh: Callable[[], None],
    ) -> None:
        self._engine, self._keep, self._say = engine, keep, say
        self._interrupts, self._refresh = interrupts, refresh
        self._queue: deque[_Waiting] = deque()
        self._alone: deque[_Waiting] = deque()
        self._locked: deque[_Waiting] = deque()
        self._active = 0
        self._said_draining = self._stopped = False

    def work(self, tasks: Sequence[RowTask]) -> None:
        """Compute all tasks, or as many as signals allow."""
        self._queue.extend(_Waiting(task) for task in tasks)
        while self._active or self._is_open():
            self._heed_interrupts()
            self._hand_out()
            for outcome in self._engine.outcomes(_STEP_S):
                self._active -= 1
                self._take(outcome)
            self._refresh()

    def _is_open(self) -> bool:
        waiting = self._queue or self._alone or self._locked
        return bool(waiting) and not self._interrupts.draining

    def _heed_interrupts(self) -> None:
        if self._interrupts.stopping and not self._stopped:
            self._stopped = True
            self._say(f"stopping at once; rows that are left as they were: {self._active}")
            self._engine.stop()
        elif self._interrupts.draining and not self._said_draining and not self._stopped:
            self._said_draining = True
            self._say(f"stopping after the rows in work ({self._active}); again to stop at once")

    def _hand_out(self) -> None:
        if self._interrupts.draining:
            return
        while self._queue and self._active < self._engine.capacity():
            self._submit(self._queue.popleft())
        if self._queue or self._active:
            return
        if self._alone:
            self._submit(self._alone.popleft())
        elif self._locked and time.monotonic() - self._locked[0].since > _ASK_LOCKS_S:
            self._queue.extend(self._locked)
            self._locked.clear()

    def _submit(self, waiting: _Waiting) -> None:
        self._active += 1
        self._engine.submit(waiting.task, waiting.avoid)

    def _take(self, outcome: RowOutcome) -> None:
        task, record = outcome.task, outcome.record
        if record is None and outcome.error is None:
            return
        if record is None and outcome.error is not None:
            failure = failure_of(outcome.error)
            record = RowRecord(
                task.row.id, FAILED, task.row.key, attempts=task.attempt, failure=failure
            )
        assert record is not None
        if record.state == LOCKED:
            if not self._locked:
                self._say(f"{record.id} is in work in another run: waiting for it")
            self._locked.append(_Waiting(task, since=time.monotonic()))
        elif record.state == DONE or not self._try_again(outcome, record):
            self._keep(record)

    def _try_again(self, outcome: RowOutcome, record: RowRecord) -> bool:
        """Whether a row that failed gets another attempt."""
        task, failure = outcome.task, record.failure
        assert failure is not None
        if not is_open(record):
            return False
        again = _Waiting(replace(task, attempt=task.attempt + 1), outcome.worker)
        alone = failure.kind == "memory"
        self._say(f"{record.id} is tried again{' alone' * alone}: {failure.reason}")
        (self._alone if alone else self._queue).append(again)
        return True
