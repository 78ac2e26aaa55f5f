"""Progress of long work: a callable that takes a fraction and a message.

A caller that wants to cancel raises `neuralreg.errors.Cancelled` from its callable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Progress = Callable[[float, str], None]


def silent(fraction: float, message: str) -> None:
    """Ignore the progress."""


def stage(progress: Progress, start: float, stop: float) -> Progress:
    """The part of a progress between two fractions, as a progress of its own.

    Args:
        progress: the progress of the whole work.
        start: fraction of the whole at which the part begins.
        stop: fraction of the whole at which it ends.

    Returns:
        A progress whose fractions, clamped to 0..1, run from `start` to `stop` of the whole.
    """

    def report(fraction: float, message: str) -> None:
        progress(start + (stop - start) * min(max(fraction, 0.0), 1.0), message)

    return report


@dataclass
class Timer:
    """Seconds per stage, and the part of the progress that each one takes."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, start: float, stop: float) -> Iterator[Progress]:
        """Time a stage; gives its part of the progress."""
        part = stage(self.progress, start, stop)
        part(0.0, name)
        began = time.perf_counter()
        yield part
        part(1.0, name)
        self.seconds[name] = time.perf_counter() - began
