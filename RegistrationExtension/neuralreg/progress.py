"""Progress of long work: a callable that takes a fraction and a message.

A caller that wants to cancel raises `neuralreg.errors.Cancelled` from its callable.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]


def silent(fraction: float, message: str) -> None:
    """Report to nobody."""


def stage(progress: Progress, start: float, stop: float) -> Progress:
    """The part of `progress` between two fractions, as a progress of its own from 0 to 1."""

    def report(fraction: float, message: str) -> None:
        progress(start + (stop - start) * min(max(fraction, 0.0), 1.0), message)

    return report
