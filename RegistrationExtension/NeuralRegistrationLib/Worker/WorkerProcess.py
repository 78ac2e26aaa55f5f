"""The computing process, seen from Slicer's event loop: no threads, only signals of QProcess."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import qt
import slicer
from neuralreg.errors import RegistrationError, UnwritableOutput, WorkerFailed
from neuralreg.worker.processes import end_tree, environment
from neuralreg.worker.protocol import (
    SILENT_S,
    Answers,
    Log,
    line_of,
    worker_exited,
    worker_timed_out,
)

from NeuralRegistrationLib.Worker.IncrementalWork import remove

_TICK_MS = 1000
_MOST_WAIT_MS = 2000
_ending = set()  # processes that were killed and not yet seen to end: Qt needs their objects


def command(*arguments: str) -> list[str]:
    """How to start a worker with Slicer's Python, or what the arguments name.

    Raises WorkerFailed when it cannot be found.
    """
    program = shutil.which("PythonSlicer") or sys.executable
    if not Path(program).name.lower().startswith("python"):
        raise WorkerFailed(
            "Slicer's Python cannot be found",
            got=program,
            wanted="PythonSlicer beside the application",
            remedy="Repair the installation of Slicer.",
        )
    return [program, *(arguments or ("-m", "neuralreg.worker"))]


def _newFolder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="neuralreg-", dir=slicer.app.temporaryPath))
    except OSError as error:
        raise UnwritableOutput(
            "images cannot be handed over to the computing process",
            where=str(slicer.app.temporaryPath),
            got=error.strerror or str(error),
            remedy="Choose another temporary folder in Slicer's settings, or make room there.",
        ) from error


def keepUntilEnded(process) -> None:
    """Qt's object must outlive the process, and the signal that it emits at the end."""
    _ending.add(process)

    def forget(*_) -> None:
        qt.QTimer.singleShot(0, lambda: _ending.discard(process))

    if process.state() == qt.QProcess.NotRunning:
        forget()
    else:
        process.connect("finished(int,QProcess::ExitStatus)", forget)


def surroundings(mark: str):
    """The environment of a process that computes. mark: what its children can be found by."""
    variables = qt.QProcessEnvironment()
    for name, value in environment(mark).items():
        if _isText(name + value):
            variables.insert(name, value)
    return variables


def _isText(value: str) -> bool:
    """Whether Qt can take it: bytes that are no UTF-8 are not text, and it takes "" for them."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def waitUntilEnded() -> None:
    """Let Qt see that all processes that were killed have ended: a moment each."""
    for process in list(_ending):
        process.waitForFinished(_MOST_WAIT_MS)


class WorkerProcess:
    """A worker, with a folder for the arrays of its jobs.

    onMessage: called with each message. onFailure: called once, with a WorkerFailed, when it ends
    by itself, hangs or answers garbage; by then nothing of it is left.
    """

    def __init__(
        self,
        log: Log,
        onMessage: Callable,
        onFailure: Callable,
        silentSeconds: float = SILENT_S,
    ) -> None:
        self.log, self._answers = log, Answers()
        self._onMessage, self._onFailure = onMessage, onFailure
        self._errors: list = []
        self._silent, self._mostSilent = 0, silentSeconds * 1000 / _TICK_MS
        self.folder = _newFolder()
        self._process = qt.QProcess()
        self._signals = (
            ("readyReadStandardOutput()", self._read),
            ("readyReadStandardError()", self._readLog),
            ("finished(int,QProcess::ExitStatus)", self._onFinished),
            ("errorOccurred(QProcess::ProcessError)", self._onError),
        )
        for signal, slot in self._signals:
            self._process.connect(signal, slot)
        self._clock = qt.QTimer()
        self._clock.interval = _TICK_MS
        self._clock.connect("timeout()", self._tick)

    def start(self, worker: Sequence[str]) -> None:
        """Start it. worker: program and arguments."""
        self._process.setProcessEnvironment(surroundings(str(self.folder)))
        self._clock.start()
        self._process.start(worker[0], [*worker[1:], "--background", "--scratch", str(self.folder)])

    @property
    def pid(self) -> int:
        """What was started; with a launcher, not yet the Python that computes."""
        return self._process.processId()

    def send(self, message) -> None:
        self._process.write(line_of(message))

    def end(self) -> None:
        """Kill the process and all that it started, and delete its files."""
        for signal, slot in self._signals:
            self._process.disconnect(signal, slot)
        self._clock.stop()
        keepUntilEnded(self._process)
        end_tree(self._pids(), str(self.folder))
        remove(self.folder)

    def _pids(self) -> set[int]:
        """The launcher that we started, and the Python behind it as soon as it is ready."""
        ready = self._answers.ready
        return {self.pid} | ({ready["pid"]} if ready else set())

    def _read(self) -> None:
        self._silent = 0
        try:
            messages, greeting = self._answers.read(self._process.readAllStandardOutput().data())
        except WorkerFailed as error:
            self._fail(error)
            return
        self.log.add(greeting)
        for message in messages:
            if message["type"] == "error":  # what it wrote about it comes on another way, by now
                self._errors.append(message)
                qt.QTimer.singleShot(0, self._tellErrors)
            else:
                self._onMessage(message)

    def _tellErrors(self) -> None:
        while self._errors:
            self._onMessage(self._errors.pop(0))

    def _readLog(self) -> None:
        self.log.add(self._process.readAllStandardError().data().decode(errors="replace"))

    def _tick(self) -> None:
        """Silence is counted in ticks, which stand still while the window itself is blocked."""
        self._silent += 1
        if self._silent > self._mostSilent:
            self._fail(worker_timed_out(self._mostSilent * _TICK_MS / 1000))

    def _onFinished(self, code, status) -> None:
        self._readLog()
        self._read()
        self._tellErrors()
        crashed = status == qt.QProcess.CrashExit
        self._fail(
            worker_exited(None if crashed else code, code if crashed else None, self.log.text)
        )

    def _onError(self, error) -> None:
        if error == qt.QProcess.FailedToStart:
            self._fail(
                WorkerFailed(
                    "the computing process could not be started",
                    got=self._process.errorString(),
                    remedy="Check that Slicer is installed completely.",
                )
            )

    def _fail(self, error: RegistrationError) -> None:
        self.end()
        self._onFailure(error)
