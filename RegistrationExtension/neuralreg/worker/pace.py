"""How much of the time has passed: fractions that mean time, and what remains."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from neuralreg.worker.records import Array

_KNOTS = np.linspace(0.0, 1.0, 41)
_SURE = 0.04  # of the time: before that nothing can be said about the rest


class Pace:
    """How long work of one kind takes up to each fraction that it reports, as shares of the whole.

    A job reports that it is half-way when half of its stages are done, which is not half of the
    time. Until a job of the kind has been seen, both are taken for the same.
    """

    def __init__(self) -> None:
        self._shares: Array = _KNOTS

    def share(self, fraction: float) -> float:
        """The share of the time, 0 to 1, that has passed at a reported fraction."""
        return float(np.interp(fraction, _KNOTS, self._shares))

    def learn(self, fractions: list[float], seconds: list[float]) -> None:
        """Take what a finished job reported when, in order."""
        times = np.maximum.accumulate(seconds)
        if times[-1] > 0:
            self._shares = np.interp(_KNOTS, fractions, times / times[-1])


class Watch:
    """The time of one job."""

    def __init__(self, pace: Pace, now: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._now, self._start = pace, now, now()
        self._fractions, self._seconds = [0.0], [0.0]

    def at(self, fraction: float) -> tuple[float, float | None]:
        """The share of the time that has passed, never less than before, and seconds to go.

        None while too little has passed to tell.
        """
        fraction = max(fraction, self._fractions[-1])
        elapsed = self._now() - self._start
        self._fractions.append(fraction)
        self._seconds.append(elapsed)
        share = self._pace.share(fraction)
        return share, (elapsed * (1 - share) / share if share >= _SURE else None)

    def end(self) -> None:
        """The job is done: the next one of its kind is told better."""
        self.at(1.0)
        self._pace.learn(self._fractions, self._seconds)
