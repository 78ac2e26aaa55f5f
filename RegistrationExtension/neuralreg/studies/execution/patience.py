"""Waiting for what may come back: room on a disk, a network folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from neuralreg.errors import Cancelled, RegistrationError, UnreadableFile, UnwritableOutput

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 15.0
_PASSING = (
    "no space left",
    "only a part of it could be stored",
    "quota",
    "stale file handle",
    "input/output error",
    "host is down",
    "not connected",
    "timed out",
)
_Value = TypeVar("_Value")
Say = Callable[[str], None]


class Patience:
    """Waits for a disk that is full and a folder that is gone, and says so.

    Args:
        patience_s: for how long.
        stops: whether to give up at once.
        say: takes what a person should know.
    """

    def __init__(self, patience_s: float, stops: Callable[[], bool], say: Say) -> None:
        self._patience_s, self.stops, self._say = patience_s, stops, say

    def attempt(self, work: Callable[[], _Value], *paths: Path) -> _Value:
        """What the work gives, tried again while the system it needs may come back.

        Args:
            work: what is tried.
            paths: files that were there; one that is gone is waited for.

        Raises:
            RegistrationError: of the work, when waiting does not help or took too long.
            Cancelled: when told to stop meanwhile.
        """
        pause, begin = _FIRST_PAUSE_S, time.monotonic()
        while True:
            try:
                return work()
            except (UnwritableOutput, UnreadableFile) as error:
                waited = time.monotonic() - begin
                if waited + pause > self._patience_s or not _may_come_back(error, paths):
                    raise
                self._say(f"waiting, trying again in {pause:.0f} s: {error}")
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def say_if_unwritable(self, write: Callable[[], None]) -> None:
        """Write where that is possible at once; a row that is left is computed again anyway."""
        try:
            write()
        except UnwritableOutput as error:
            self._say(str(error))

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.stops():
                raise Cancelled("the row was left while it waited")
            time.sleep(min(0.2, max(0.0, end - time.monotonic())))


def is_passing(words: str) -> bool:
    """Whether words of the system are of what may pass, such as a full disk."""
    return any(each in words.lower() for each in _PASSING)


def _may_come_back(error: RegistrationError, paths: tuple[Path, ...]) -> bool:
    """A full disk may be cleared, a folder that is gone may be mounted again."""
    if not all(map(_exists, paths)):
        return True
    return isinstance(error, UnwritableOutput) and is_passing(str(error))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the disk is gone in the middle of the question
        return False
