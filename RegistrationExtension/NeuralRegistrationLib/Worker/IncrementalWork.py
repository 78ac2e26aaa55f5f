"""Long work in the window's own thread: a few milliseconds, then the window, then on."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import qt
from neuralreg.errors import RegistrationError
from neuralreg.worker.serialization import Steps

_TURN_S = 0.01
_log = logging.getLogger(__name__)


class InSteps:
    """Takes steps whenever the event loop has time for them, until they end or are stopped.

    onEnd: called with what the steps return. onError: called with a RegistrationError.
    """

    def __init__(self, steps: Steps, onEnd: Callable, onError: Callable) -> None:
        self._steps, self._onEnd, self._onError = steps, onEnd, onError
        qt.QTimer.singleShot(0, self._turn)

    def stop(self) -> None:
        """Take no further step."""
        if self._steps is not None:
            self._steps.close()
        self._steps = None

    def _turn(self) -> None:
        end = time.perf_counter() + _TURN_S
        try:
            while self._steps is not None and time.perf_counter() < end:
                next(self._steps)
        except StopIteration as last:
            self._steps = None
            self._onEnd(last.value)
        except RegistrationError as error:
            self._steps = None
            self._onError(error)
        except Exception as error:  # noqa: BLE001 - else the job would never end
            self._steps = None
            _log.exception("a step of a job failed")
            self._onError(
                RegistrationError(
                    "the job failed for an unforeseen reason",
                    got=f"{type(error).__name__}: {error}",
                    remedy="Please report it, with Slicer's log.",
                )
            )
        else:
            if self._steps is not None:
                qt.QTimer.singleShot(0, self._turn)


_removing: set[Path] = set()
_AGAIN_MS = 2000
_MOST_ATTEMPTS = 30


def remove(folder: Path, attempts: int = _MOST_ATTEMPTS) -> None:
    """Delete a folder without blocking: large files take tens of milliseconds each.

    Windows keeps files that are mapped by a process, even by one that was just killed: what is left
    is tried again, and a last time when Slicer quits.
    """
    _removing.add(folder)

    def lookAgain(_) -> None:
        if not folder.exists():
            _removing.discard(folder)
        elif attempts > 1:
            qt.QTimer.singleShot(_AGAIN_MS, lambda: remove(folder, attempts - 1))

    InSteps(_deletion(folder), lookAgain, lambda error: None)


def removeAllNow() -> None:
    """Delete at once what is still to be deleted."""
    while _removing:
        shutil.rmtree(_removing.pop(), ignore_errors=True)


def _deletion(folder: Path) -> Steps:
    for path in sorted(folder.rglob("*.npy")):
        with contextlib.suppress(PermissionError):
            path.unlink(missing_ok=True)
        yield
    shutil.rmtree(folder, ignore_errors=True)
    return folder
