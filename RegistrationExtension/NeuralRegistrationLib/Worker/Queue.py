"""Jobs for the computing process, one after the other, while the window stays alive.

A job is prepared in short steps (arrays go into files), computed by the worker, and delivered in
short steps again. Cancelling it while the worker computes ends the worker with all of its children;
the next job starts a fresh one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import qt
import slicer
from neuralreg.errors import Cancelled, OutOfMemory, RegistrationError
from neuralreg.worker.protocol import SILENT_S, Log, error_of
from neuralreg.worker.serialization import Steps, arguments_of, pack, unpack

from NeuralRegistrationLib.Worker.IncrementalWork import InSteps, remove, removeAllNow
from NeuralRegistrationLib.Worker.WorkerProcess import WorkerProcess, command, waitUntilEnded

IDLE_S = 300.0
# Shares of the bar: what is neither handing over nor delivery is computing.
_PREPARED, _COMPUTED = 0.02, 0.98
_LOOK_S = 0.005


def _nothing() -> None:
    """Nothing to check or to undo."""


def _ignore(job: Job) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class JobProgress:
    """fraction: of the time, 0 to 1. remainingSeconds: None while it is unknown."""

    fraction: float = 0.0
    stage: str = "waiting"
    remainingSeconds: float | None = None


class Job:
    """One job of the queue.

    state: "waiting", "preparing", "running", "delivering"; at the end "done", "failed",
    "cancelled". result: what it gave, if done. error: why not, otherwise.
    """

    def __init__(self, queue: Queue, name: str, kind: str, log: Log) -> None:
        self.name, self.kind = name, kind
        self.state, self.progress = "waiting", JobProgress()
        self.result: Any = None
        self.error: RegistrationError | None = None
        self._queue, self._log = queue, log

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @property
    def log(self) -> str:
        """What the worker wrote while it did this job, and before."""
        return self._log.text

    def cancel(self) -> None:
        """End the job, whatever it does; nothing of it is left. No effect on one that has ended."""
        self._queue.cancel(self)

    def wait(self) -> None:
        """Let the window live until the job has ended. An interruption cancels it."""
        try:
            while not self.ended:
                slicer.app.processEvents()
                if self.state == "running":  # else there is work for this process
                    time.sleep(_LOOK_S)
        except BaseException:
            self.cancel()
            raise

    def waitForResult(self) -> Any:
        """The result, once the job has ended. Raises its error when it has none."""
        self.wait()
        if self.error is not None:
            raise self.error
        return self.result


@dataclass
class _Task:
    """What the queue does for a job, and with what."""

    job: Job
    arguments: Any
    deliver: Callable[[Any], Steps]
    check: Callable[[], None]
    onProgress: Callable[[Job], None]
    onDone: Callable[[Job], None]
    scene: Any = None
    folder: Path | None = None
    steps: InSteps | None = None
    unwatch: Callable[[], None] = _nothing


class Queue:
    """All jobs of a session, and the worker that is kept warm for them.

    worker: how to start it. silentSeconds: without a sign of life for so long, it hangs.
    idleSeconds: how long it is kept without a job. warm: it loads torch while its first job is
    still being prepared; for jobs that may do without, False.
    """

    def __init__(
        self,
        worker: list[str] | None = None,
        *,
        silentSeconds: float = SILENT_S,
        idleSeconds: float = IDLE_S,
        warm: bool = True,
    ) -> None:
        self._command, self._silentSeconds, self._warm = worker, silentSeconds, warm
        self._tasks: list[_Task] = []
        self._names = map(str, count(1))
        self._log = Log()
        self._worker: WorkerProcess | None = None
        self._idle = qt.QTimer()
        self._idle.interval = int(idleSeconds * 1000)
        self._idle.connect("timeout()", self._endWorker)
        slicer.app.connect("aboutToQuit()", self.close)

    @property
    def jobs(self) -> list[Job]:
        """The current job, if there is one, and those that wait, in order."""
        return [task.job for task in self._tasks]

    @property
    def current(self) -> Job | None:
        """The job that is worked on."""
        return next((job for job in self.jobs if job.state != "waiting"), None)

    @property
    def log(self) -> str:
        """The last lines that workers wrote."""
        return self._log.text

    @property
    def pid(self) -> int | None:
        """The process that was started and still runs."""
        return self._worker.pid if self._worker else None

    def submit(
        self,
        kind: str,
        arguments: object,
        *,
        deliver: Callable[[Any], Steps] | None = None,
        check: Callable[[], None] = _nothing,
        scene=None,
        onProgress: Callable[[Job], None] | None = None,
        onDone: Callable[[Job], None] | None = None,
    ) -> Job:
        """A job that is done after all that were submitted before.

        arguments: a record, a mapping, or steps that return one. deliver: makes of the value that
        comes back steps which return the job's result; the value itself unless given. check:
        raises RegistrationError when the job has become pointless. scene: closing it cancels the
        job, and while it is read or saved nothing is put into it. onProgress: called whenever there
        is news. onDone: called once, however the job ends.
        """
        job = Job(self, next(self._names), kind, self._log)
        task = _Task(
            job,
            arguments,
            deliver or _asItIs,
            check,
            onProgress or _ignore,
            onDone or _ignore,
            scene,
        )
        if scene is not None:
            tag = scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, lambda *_: job.cancel())
            task.unwatch = lambda: scene.RemoveObserver(tag)
        self._tasks.append(task)
        qt.QTimer.singleShot(0, self._advance)
        return job

    def cancel(self, job: Job) -> None:
        """End a job; where it is the current one, with the worker and all that it started."""
        for task in [task for task in self._tasks if task.job is job]:
            if job.state != "waiting":
                self._endWorker()
            self._end(task, "cancelled", error=Cancelled("the job was cancelled"))

    def close(self) -> None:
        """Cancel all jobs and end the worker."""
        for job in reversed(self.jobs):
            self.cancel(job)
        self._endWorker()
        waitUntilEnded()
        removeAllNow()

    def _endWorker(self) -> None:
        self._idle.stop()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _advance(self) -> None:
        if self._tasks and self._tasks[0].job.state == "waiting":
            self._prepare(self._tasks[0])

    def _prepare(self, task: _Task) -> None:
        self._idle.stop()
        self._tell(task, "preparing", 0.0, "handing over the images")
        if not task.job.ended:  # whoever follows it may have cancelled it
            self._requireWorker(task)
        if task.job.ended:
            return
        task.folder = self._worker.folder / task.job.name
        task.steps = InSteps(
            _handOver(task),
            lambda arguments: self._send(task, arguments),
            lambda error: self._end(task, "failed", error=error),
        )

    def _requireWorker(self, task: _Task) -> None:
        """Start a worker if none runs; the task ends when that fails."""
        if self._worker is not None:
            return
        try:
            self._worker = WorkerProcess(
                self._log, self._onMessage, self._onFailure, self._silentSeconds
            )
            options = [] if self._warm else ["--cold"]
            self._worker.start(self._command or [*command(), *options])
        except RegistrationError as error:
            self._endWorker()
            self._end(task, "failed", error=error)

    def _send(self, task: _Task, arguments) -> None:
        message = {"type": "job", "id": task.job.name, "kind": task.job.kind}
        self._worker.send({**message, "arguments": arguments, "folder": str(task.folder / "out")})
        self._tell(task, "running", _PREPARED, "starting")

    def _onMessage(self, message: Mapping[str, Any]) -> None:
        task = self._tasks[0] if self._tasks else None
        if task is None or message.get("id") != task.job.name or task.job.state != "running":
            return
        if message["type"] == "progress":
            self._goOn(task, message)
        elif message["type"] == "result":
            self._deliver(task, message["value"])
        elif message["type"] == "error":
            error = error_of(message)
            if isinstance(error, OutOfMemory):
                self._endWorker()  # what it holds goes back to the system
            self._end(task, "failed", error=error)

    def _goOn(self, task: _Task, message: Mapping[str, Any]) -> None:
        try:
            task.check()
        except RegistrationError as error:
            self._endWorker()
            self._end(task, "failed", error=error)
            return
        fraction = _PREPARED + (_COMPUTED - _PREPARED) * message["fraction"]
        self._tell(task, "running", fraction, message["stage"], message["remaining_s"])

    def _deliver(self, task: _Task, value) -> None:
        self._tell(task, "delivering", _COMPUTED, "showing the result")
        if task.job.ended:
            return
        task.steps = InSteps(
            _delivery(task, value),
            lambda result: self._end(task, "done", result=result),
            lambda error: self._end(task, "failed", error=error),
        )

    def _onFailure(self, error: RegistrationError) -> None:
        self._worker = None
        if self._tasks and self._tasks[0].job.state in ("preparing", "running"):
            self._end(self._tasks[0], "failed", error=error)

    def _tell(self, task: _Task, state: str, fraction: float, stage: str, remaining=None) -> None:
        task.job.state, task.job.progress = state, JobProgress(fraction, stage, remaining)
        task.onProgress(task.job)

    def _end(self, task: _Task, state: str, *, result=None, error=None) -> None:
        self._tasks.remove(task)
        task.unwatch()
        if task.steps is not None:
            task.steps.stop()
            task.steps = None  # it knows the task: both would keep the arrays alive
        if task.folder is not None:
            remove(task.folder)
        job = task.job
        job.state, job.result, job.error = state, result, error
        job.progress = JobProgress(1.0 if state == "done" else job.progress.fraction, state, 0.0)
        if self._worker is not None and not self._tasks:
            self._idle.start()
        qt.QTimer.singleShot(0, self._advance)
        task.onDone(job)


def _handOver(task: _Task) -> Steps:
    for name in ("in", "out"):
        (task.folder / name).mkdir(parents=True)
    arguments = task.arguments
    if isinstance(arguments, Generator):
        arguments = yield from arguments
    packing = yield from pack(arguments_of(arguments), task.folder / "in")
    task.check()
    return packing


def _delivery(task: _Task, value) -> Steps:
    with contextlib.closing(task.deliver(unpack(value))) as steps:
        while True:
            while _isBusy(task.scene):
                yield
            try:
                next(steps)
            except StopIteration as last:
                return last.value
            yield


def _isBusy(scene) -> bool:
    """Whether a scene is read or saved: a node that came meanwhile would get another one's id, or
    be in the file without its data."""
    if scene is None:
        return False
    isSaved = scene.GetStates() & scene.SaveState
    return bool(scene.IsImporting() or scene.IsRestoring() or isSaved)


def _asItIs(value) -> Steps:
    yield
    return value


_queues: list[Queue] = []


def queue() -> Queue:
    """The queue of this session."""
    if not _queues:
        _queues.append(Queue())
    return _queues[0]
