"""A worker for programs without an event loop: studies and tests drive the process with it.

with Worker() as worker:
    result = worker.run("register", RegisterJob(fixed="fixed.nii.gz", moving="moving.nii.gz"))
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from neuralreg.errors import OutOfMemory, RegistrationError, WorkerFailed
from neuralreg.progress import Progress, silent
from neuralreg.resources import memory_kills
from neuralreg.worker.processes import MARK, end_tree, environment
from neuralreg.worker.protocol import (
    SILENT_S,
    Answers,
    Log,
    Message,
    error_of,
    line_of,
    worker_exited,
    worker_timed_out,
)
from neuralreg.worker.serialization import arguments_of, at_once, pack, unpack

_STEP_S = 0.2  # how often a progress is asked, at least: it may want to cancel


class Worker:
    """A process that is started with the first job, kept warm, and replaced when it dies.

    Args:
        command: how to start one.
        silent_s: without a sign of life for so long, it hangs.
        environ: variables of the process, those of this one unless given.
    """

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-m", "neuralreg.worker"),
        *,
        silent_s: float = SILENT_S,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._command, self._silent_s = list(command), silent_s
        self._scratch = tempfile.TemporaryDirectory(prefix="neuralreg-", ignore_cleanup_errors=True)
        self._environment = environment(self._scratch.name, environ)
        self._ids = map(str, count(1))
        self._process: _Process | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """What the process wrote for people."""
        return self._process.log.text if self._process else ""

    @property
    def pid(self) -> int | None:
        """The process that was started, if one runs."""
        return self._process.pid if self._process and self._process.runs else None

    def run(self, kind: str, job: object, progress: Progress = silent) -> Any:
        """What the job gives; its arrays are memory maps of files that are gone from the folder.

        Args:
            kind: of the job, see `neuralreg.worker.jobs`.
            job: its record, or its arguments by name.
            progress: may raise, as `Cancelled`; the process is then ended, and the error goes on.

        Raises:
            RegistrationError: the job's own, or WorkerFailed.
        """
        name = next(self._ids)
        with tempfile.TemporaryDirectory(
            dir=self._scratch.name, ignore_cleanup_errors=True
        ) as folder:
            (into := Path(folder, "in")).mkdir()
            (results := Path(folder, "out")).mkdir()
            arguments = at_once(pack(arguments_of(job), into))
            message = {"type": "job", "id": name, "kind": kind, "folder": str(results)}
            message["arguments"] = arguments
            try:
                value = self._attempt(message, progress)
            except _WorkerRetired:  # it had been idle for long just when the job came
                value = self._attempt(message, progress)
            return unpack(value)

    def _attempt(self, message: Message, progress: Progress) -> Any:
        process = self._live_process()
        try:
            process.send(message)
            return self._await_result(process, progress)
        except _JobFailed as failure:
            if isinstance(failure.error, OutOfMemory):
                process.end()  # what it holds goes back to the system
            raise failure.error from None
        except BaseException:
            process.end()
            raise

    def _live_process(self) -> _Process:
        if self._process is None or not self._process.runs:
            command = [*self._command, "--scratch", self._scratch.name]
            self._process = _Process(command, self._environment, self._silent_s)
        return self._process

    def _await_result(self, process: _Process, progress: Progress) -> Any:
        last = (0.0, "starting")
        progress(*last)
        while True:
            message = process.next(_STEP_S)
            if message is not None and message["type"] == "result":
                return message["value"]
            if message is not None and message["type"] == "error":
                raise _JobFailed(error_of(message))
            if message is not None and message["type"] == "bye":
                raise _WorkerRetired
            if message is not None and message["type"] == "progress":
                last = (message["fraction"], message["stage"])
            progress(*last)

    def close(self) -> None:
        """End the process and all that it started, and delete every file."""
        if self._process is not None:
            self._process.end()
        self._scratch.cleanup()


class _JobFailed(Exception):
    """The worker is well and said that the job failed."""

    def __init__(self, error: RegistrationError) -> None:
        super().__init__(str(error))
        self.error = error


class _WorkerRetired(Exception):
    """The worker ended for want of work."""


class _Process:
    """A running worker, read by two threads."""

    def __init__(self, command: list[str], environ: dict[str, str], silent_s: float) -> None:
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerFailed(
                "the computing process could not be started",
                where=command[0],
                got=error.strerror or str(error),
                remedy="Check that this Python exists.",
            ) from error
        self.pid, self.log, self._silent_s = self._popen.pid, Log(), silent_s
        self._mark, self._memory_kills = environ[MARK], memory_kills()
        self._answers = Answers()
        self._messages: SimpleQueue[Message | WorkerFailed | None] = SimpleQueue()
        self._heard = time.monotonic()
        self._readers = [
            threading.Thread(target=read, daemon=True) for read in (self._read, self._read_log)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def runs(self) -> bool:
        return self._popen.poll() is None

    def send(self, message: Message) -> None:
        assert self._popen.stdin is not None
        self._memory_kills = memory_kills()
        try:
            self._popen.stdin.write(line_of(message))
            self._popen.stdin.flush()
        except BrokenPipeError:
            self._readers[0].join()  # its last words
            if any(message["type"] == "bye" for message in self._unread()):
                raise _WorkerRetired from None
            self._raise_death()

    def _unread(self) -> Iterator[Message]:
        while not self._messages.empty():
            if isinstance(message := self._messages.get(), dict):
                yield message

    def next(self, timeout_s: float) -> Message | None:
        """The next message; None when none came in time. Raises WorkerFailed."""
        try:
            message = self._messages.get(timeout=timeout_s)
        except Empty:
            if time.monotonic() > self._heard + self._silent_s:
                raise worker_timed_out(self._silent_s) from None
            return None
        self._heard = time.monotonic()
        if message is None:
            self._raise_death()
        if isinstance(message, WorkerFailed):
            raise message
        return message

    def end(self) -> None:
        end_tree({self.pid}, self._mark)
        self._popen.wait()
        assert self._popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended with a job half read
            self._popen.stdin.close()
        for reader in self._readers:  # each closes what it reads
            reader.join(timeout=1.0)

    def _raise_death(self) -> None:
        code = self._popen.wait()
        end_tree({self.pid}, self._mark)  # what it started
        self._readers[1].join(timeout=1.0)
        kills = memory_kills()
        for_memory = kills is None or kills != self._memory_kills
        raise worker_exited(code, -code if code < 0 else None, self.log.text, for_memory)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            while data := os.read(stream.fileno(), 1 << 16):
                try:
                    messages, greeting = self._answers.read(data)
                except WorkerFailed as error:
                    self._messages.put(error)
                    return
                self.log.add(greeting)
                for message in messages:
                    self._messages.put(message)
        self._messages.put(None)

    def _read_log(self) -> None:
        assert self._popen.stderr is not None
        with self._popen.stderr as stream:
            while data := os.read(stream.fileno(), 1 << 16):
                self.log.add(data.decode(errors="replace"))
