"""The lines between a worker and whoever gives it jobs: one JSON object each.

To the worker:   job (id, kind, arguments, folder for the arrays of the answer)
From the worker: ready (pid, version), beat (once a second, at whatever stage), progress (id, stage,
fraction, remaining_s), result (id, value), error (id, kind, and the parts of the message)

The worker's standard error is its log.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from neuralreg import errors
from neuralreg.errors import RegistrationError, WorkerFailed

Message = Mapping[str, Any]

BEAT_S = 1.0
SILENT_S = 60.0  # without a sign of life, a worker hangs; loading torch can silence it for long
_PARTS = ("what", "where", "got", "wanted", "remedy")
_MOST_LOG_LINES = 2000


def line_of(message: Message) -> bytes:
    """The message as a line.

    Raises:
        ValueError: for what is no JSON (NaN, objects).
    """
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def error_message(job: str, error: RegistrationError) -> Message:
    """The message that a job failed, and how."""
    parts = {name: getattr(error, name) for name in _PARTS}
    return {"type": "error", "id": job, "kind": type(error).__name__, **parts}


def error_of(message: Message) -> RegistrationError:
    """The error in a message."""
    kind = getattr(errors, str(message.get("kind")), WorkerFailed)
    parts = {name: str(message.get(name, "")) for name in _PARTS}
    error: RegistrationError = kind(parts.pop("what"), **parts)
    return error


class Answers:
    """The messages in what a worker writes, however the bytes are cut."""

    def __init__(self) -> None:
        self.ready: Message | None = None
        self._rest = b""

    def read(self, data: bytes) -> tuple[list[Message], str]:
        """The messages that are complete now, and what came before the first of them.

        Programs that start Python may greet; that belongs to the log.

        Raises:
            WorkerFailed: for anything else that is no message.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages: list[Message] = []
        greeting = ""
        for line in lines:
            message = _message(line)
            if message is not None:
                self.ready = message if message["type"] == "ready" else self.ready
                messages.append(message)
            elif self.ready is None:
                greeting += line.decode(errors="replace") + "\n"
            else:
                raise WorkerFailed(
                    "the computing process sent an unreadable message",
                    got=repr(line[:80].decode(errors="replace")),
                    remedy="Try again; if it comes back, see the log.",
                )
        return messages, greeting


def _message(line: bytes) -> Message | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "type" in message else None


class Log:
    """The last lines that a worker wrote for people."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_MOST_LOG_LINES)
        self._rest = ""

    def add(self, text: str) -> None:
        """More of it, cut anywhere."""
        *lines, self._rest = (self._rest + text).split("\n")
        self._lines.extend(lines)

    @property
    def text(self) -> str:
        """All that is kept."""
        return "\n".join([*self._lines, *([self._rest] if self._rest else [])])


class WorkerKilled(WorkerFailed):
    """Somebody ended the computing process, for which the system had no reason."""


class MemoryKilled(WorkerKilled):
    """The system ended the computing process for want of memory, or may have."""


def worker_exited(
    code: int | None, signal: int | None, log: str, for_memory: bool = True
) -> WorkerFailed:
    """The error for a worker that ended by itself.

    Args:
        code: with which it ended, unless a signal ended it.
        signal: that ended it.
        log: what it wrote for people.
        for_memory: whether a system short of memory may have killed it.
    """
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "")
    if signal == 9 and not for_memory:
        return WorkerKilled(
            "the computing process was killed",
            got="SIGKILL from somebody; the system was not short of memory",
            remedy="Try again. If it comes back, see what ends processes here: a batch system's "
            "limit, or another program that watches memory.",
        )
    if signal == 9:
        return MemoryKilled(
            "the computing process was killed",
            got="SIGKILL, which is what a system short of memory does",
            remedy="Close other programs, crop the images or choose a coarser model; then try "
            "again.",
        )
    ended = f"signal {signal}" if signal else f"exit code {code}"
    return WorkerFailed(
        "the computing process ended",
        got=f"{ended}: {last}" if last else ended,
        remedy="Try again; the log has more.",
    )


def worker_timed_out(seconds: float) -> WorkerFailed:
    """The error for a worker that gives no sign of life."""
    return WorkerFailed(
        "the computing process hung",
        got=f"no sign of life for {seconds:.0f} s",
        remedy="It was ended. Try again; if it comes back, see the log.",
    )
