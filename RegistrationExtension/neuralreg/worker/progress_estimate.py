"""How much of the time has passed: fractions that mean time, and what remains."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from neuralreg.geometry.typing import Array

_KNOTS = np.linspace(0.0, 1.0, 41)
# The default engine on two brains, hearts, hippocampi and prostates, one thread: mean of the four.
REGISTRATION = (
    (0.0, 0.0),
    (0.27, 0.30),
    (0.39, 0.34),
    (0.72, 0.80),
    (0.85, 0.84),
    (0.90, 0.98),
    (1.0, 1.0),
)
_SURE = 0.04  # of the time: before that the rest is unknown


class Pace:
    """The share of the time that a job of one kind takes up to each fraction that it reports.

    A job reports that it is half-way when half of its stages are done, which is not half of the
    time. Until a job of the kind has been observed, the usual pace counts.

    Args:
        usual: pairs of a reported fraction and the share of the time, in order.
    """

    def __init__(self, usual: Sequence[tuple[float, float]] = ((0.0, 0.0), (1.0, 1.0))) -> None:
        fractions, shares = zip(*usual, strict=True)
        self._shares: Array = np.interp(_KNOTS, fractions, shares)

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
        """The job is done: the next one of its kind is estimated better."""
        self.at(1.0)
        self._pace.learn(self._fractions, self._seconds)
