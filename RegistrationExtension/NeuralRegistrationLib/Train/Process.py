"""A `neuralreg train` of its own, seen from Slicer's event loop: only signals of QProcess."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from neuralreg import errors
from neuralreg.errors import RegistrationError, WorkerFailed
from neuralreg.worker.processes import end_tree
from neuralreg.worker.protocol import Log, worker_exited

from NeuralRegistrationLib.Worker.WorkerProcess import command, keepUntilEnded, surroundings

_STOPPED = 130  # exit code
_LAST_WORDS_MS = 3000  # that a training may take to save when Slicer quits
_RETIREMENT_MS = 60_000  # and when only the scene is closed
_retired = set()  # those that nobody listens to any more, until they have ended


def _object(line: bytes) -> dict[str, Any] | None:
    """What a line of JSON says; None where it is something else, as a library may print."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _ignore(_what: Any) -> None:
    """Nobody wants to know."""


class TrainProcess:
    """A process that says a line of JSON for each step, and stops when it is told to.

    It is told by a line on its standard input, and stops as well when that ends, as with a Slicer
    that crashed: Windows has no Ctrl-C for a process without a console.
    onLine: called with each object that it says. onEnd: called once, with None after a training
    that came to its end, else with a RegistrationError; Cancelled where it was stopped and saved.
    """

    def __init__(self, onLine: Callable[[Any], None], onEnd: Callable[[Any], None]) -> None:
        self._onLine, self._onEnd = onLine, onEnd
        self.log, self.message = Log(), None
        self._rest, self._mark = b"", f"train-{uuid.uuid4()}"
        self._process = qt.QProcess()
        self._signals = (
            ("readyReadStandardOutput()", self._read),
            ("readyReadStandardError()", self._readLog),
            ("finished(int,QProcess::ExitStatus)", self._onFinish),
            ("errorOccurred(QProcess::ProcessError)", self._onError),
        )

    def start(self, arguments: Sequence[str]) -> None:
        """Start it. arguments: of `neuralreg train`. Raises WorkerFailed without a Python."""
        program, *others = command("-m", "neuralreg", "train", *arguments)
        for signal, slot in self._signals:
            self._process.connect(signal, slot)
        self._process.setProcessEnvironment(surroundings(self._mark))
        slicer.app.connect("aboutToQuit()", self.endSoon)
        self._process.start(program, [*others, "--json", "--attended"])

    @property
    def pid(self) -> int:
        """What was started; with a launcher, not the Python that computes."""
        return self._process.processId()

    def askToStop(self) -> None:
        """Let it end the step that it is in, save, and end."""
        self._process.write(b"stop\n")

    def end(self) -> None:
        """Kill it and all that it started."""
        self._leave()
        end_tree({self.pid}, self._mark)

    def endSoon(self) -> None:
        """Let it save if that is quick, and end it: Slicer quits."""
        self.askToStop()
        self._leave()
        self._process.waitForFinished(_LAST_WORDS_MS)
        end_tree({self.pid}, self._mark)

    def retire(self) -> None:
        """Let it save and end by itself; nobody is told."""
        self._onLine = self._onEnd = _ignore
        self.askToStop()
        _retired.add(self)
        qt.QTimer.singleShot(_RETIREMENT_MS, self._endRetired)

    def _endRetired(self) -> None:
        if self in _retired:
            _retired.discard(self)
            self.end()

    def _leave(self) -> None:
        """Hear no more of it."""
        _retired.discard(self)
        slicer.app.disconnect("aboutToQuit()", self.endSoon)
        for signal, slot in self._signals:
            self._process.disconnect(signal, slot)
        keepUntilEnded(self._process)

    def _read(self) -> None:
        data = self._rest + self._process.readAllStandardOutput().data()
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            message = _object(line)
            if message is None:
                self.log.add(line.decode(errors="replace") + "\n")
            elif "error" in message:
                self.message = message["error"]
            else:
                self._onLine(message)

    def _readLog(self) -> None:
        self.log.add(self._process.readAllStandardError().data().decode(errors="replace"))

    def _onFinish(self, code: int, status: Any) -> None:
        self._readLog()
        self._read()
        self._leave()
        crashed = status == qt.QProcess.CrashExit
        end_tree(set(), self._mark)  # what it may have left behind
        self._onEnd(self._outcome(code, crashed))

    def _outcome(self, code: int, crashed: bool) -> RegistrationError | None:
        if self.message is not None:
            kind = getattr(errors, self.message["kind"], RegistrationError)
            return kind(self.message["message"])
        if crashed or code:
            return worker_exited(
                None if crashed else code, code if crashed else None, self.log.text
            )
        return None

    def _onError(self, error: Any) -> None:
        if error == qt.QProcess.FailedToStart:
            self._leave()
            self._onEnd(
                WorkerFailed(
                    "the training could not be started",
                    got=self._process.errorString(),
                    remedy="Check that Slicer is installed completely.",
                )
            )
