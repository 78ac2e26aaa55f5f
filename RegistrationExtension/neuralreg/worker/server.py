"""The worker's side: reads jobs, does one after the other, and answers.

It ends when it has been idle for long, when its memory is exhausted, and at once, with all of its
children, when whoever started it closes its input or dies.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, NoReturn

from neuralreg import __version__
from neuralreg.errors import (
    InvalidOption,
    OutOfMemory,
    PackageMissing,
    RegistrationError,
    WorkerFailed,
    convert_memory_errors,
)
from neuralreg.worker.jobs import function_of
from neuralreg.worker.processes import end_tree, lower_priority, tree
from neuralreg.worker.progress_estimate import REGISTRATION, Pace, Watch
from neuralreg.worker.protocol import BEAT_S, Message, error_message, line_of
from neuralreg.worker.serialization import at_once, pack, unpack

IDLE_S = 600.0
_REPORT_EVERY_S = 0.1
_log = logging.getLogger(__name__)


class Server:
    """A worker on a pair of streams.

    Args:
        source: gives the jobs.
        sink: gets the messages.
        idle_s: seconds to wait for the next job.
        finish: at the end of the input, do all jobs that were read first.
        warm: load the libraries that compute while the first job is still being prepared.
        scratch: a folder of the owner that is deleted when the owner has ended.
    """

    def __init__(
        self,
        source: BinaryIO,
        sink: BinaryIO,
        *,
        idle_s: float = IDLE_S,
        finish: bool = False,
        warm: bool = True,
        scratch: Path | None = None,
    ) -> None:
        self._source, self._sink, self._writing = source, sink, threading.Lock()
        self._idle_s, self._finish, self._warm, self._scratch = idle_s, finish, warm, scratch
        self._jobs: SimpleQueue[Message | None] = SimpleQueue()
        self._paces: dict[str, Pace] = {}

    def serve(self) -> None:
        """Work until there is no more to do."""
        self._say({"type": "ready", "pid": os.getpid(), "version": __version__})
        for work in (self._listen, self._beat):
            threading.Thread(target=work, daemon=True).start()
        if self._warm:
            _warm_up()
        job = self._jobs.get()
        while job is not None and self._do(job):
            try:
                job = self._jobs.get(timeout=self._idle_s)
            except Empty:
                self._say({"type": "bye"})  # a job that comes now belongs to another worker
                return

    def _listen(self) -> None:
        for line in self._source:
            try:
                self._jobs.put(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                self._say(error_message("", InvalidOption("a line is no job", got=str(error))))
        if self._finish:
            self._jobs.put(None)
            return
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        _leave()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_S)
            self._say({"type": "beat"})

    def _say(self, message: Message) -> None:
        with self._writing:
            self._sink.write(line_of(message))
            self._sink.flush()

    def _do(self, message: Message) -> bool:
        """Whether the worker can go on after this job."""
        job = str(message.get("id", ""))
        try:
            self._say({"type": "result", "id": job, "value": self._result(job, message)})
        except RegistrationError as error:
            self._say(error_message(job, error))
            return not isinstance(error, OutOfMemory)
        return True

    def _pace_of(self, message: Message) -> Pace:
        """Jobs of one sort take about the same shares of time for their stages."""
        kind, options = message["kind"], message["arguments"].get("options") or {}
        model = options.get("model", message["arguments"].get("model"))
        usual = Pace(REGISTRATION) if kind == "register" else Pace()
        return self._paces.setdefault(f"{kind} {model}", usual)

    def _result(self, job: str, message: Message) -> Any:
        try:
            function = function_of(message["kind"])
            report = _Report(self, job, self._pace_of(message))
            with convert_memory_errors():
                value = function(unpack(message["arguments"]), report)
                result = at_once(pack(value, Path(message["folder"])))
            report.watch.end()
        except OutOfMemory:
            traceback.print_exc()  # for the log
            raise
        except RegistrationError:
            raise
        except ModuleNotFoundError as error:
            raise _package_missing(error) from error
        except Exception as error:  # the boundary of the process
            traceback.print_exc()
            raise _unforeseen(error) from error
        return result


class _Report:
    """The progress of one job, reported at most ten times a second."""

    def __init__(self, server: Server, job: str, pace: Pace) -> None:
        self.watch = Watch(pace)
        self._server, self._job = server, job
        self._stage, self._told = "", 0.0

    def __call__(self, fraction: float, stage: str) -> None:
        share, remaining_s = self.watch.at(fraction)
        now = time.monotonic()
        if stage == self._stage and now < self._told + _REPORT_EVERY_S:
            return
        self._stage, self._told = stage, now
        facts = {"fraction": share, "stage": stage, "remaining_s": remaining_s}
        self._server._say({"type": "progress", "id": self._job, **facts})


def _warm_up() -> None:
    """Load what takes seconds."""
    try:
        import neuralreg.worker.register_job  # noqa: F401
    except ImportError as error:
        _log.warning("jobs that compute will fail here: %s", error)


def _package_missing(error: ModuleNotFoundError) -> PackageMissing:
    return PackageMissing(
        f"the Python that computes lacks the package {error.name}",
        where=sys.executable,
        remedy="Install it; in Slicer, the module's set-up card does that.",
    )


def _unforeseen(error: Exception) -> WorkerFailed:
    """What went wrong, in words."""
    text = f"{type(error).__name__}: {error}"
    return WorkerFailed(
        "the job failed for an unforeseen reason",
        got=text.splitlines()[0],
        remedy="Please report it, with the log.",
    )


def _own_output() -> BinaryIO:
    """Standard output for messages alone: what libraries print there goes to the log instead."""
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return messages


def _leave() -> NoReturn:
    """End without waiting for the thread that reads, which may hold the input for ever."""
    sys.stderr.flush()
    end_tree(tree({os.getpid()}))
    os._exit(0)


def main(arguments: list[str] | None = None) -> None:
    """Serve on standard input and output."""
    parser = argparse.ArgumentParser(prog="python -m neuralreg.worker", description=__doc__)
    parser.add_argument(
        "--idle", type=float, default=IDLE_S, help="seconds to wait for the next job"
    )
    parser.add_argument("--finish", action="store_true", help="do all jobs when the input ends")
    parser.add_argument("--cold", action="store_true", help="load libraries with the first job")
    parser.add_argument("--background", action="store_true", help="for a window that stays alive")
    parser.add_argument("--scratch", type=Path, help="a folder to delete when the owner dies")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    if options.background:
        lower_priority()
    server = Server(
        sys.stdin.buffer,
        _own_output(),
        idle_s=options.idle,
        finish=options.finish,
        warm=not options.cold,
        scratch=options.scratch,
    )
    server.serve()
    _leave()
