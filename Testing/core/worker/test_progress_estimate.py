"""Fractions that mean time, on a clock that the tests turn."""

from __future__ import annotations

import pytest
from neuralreg.worker.progress_estimate import Pace, Watch


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def run(pace: Pace, stages: list[tuple[float, float]]) -> list[tuple[float, float | None]]:
    """Stages of (reported fraction, seconds when it was reported)."""
    clock = Clock()
    watch = Watch(pace, clock)
    told = []
    for fraction, seconds in stages:
        clock.now = 100.0 + seconds
        told.append(watch.at(fraction))
    watch.end()
    return told


SLOW_FIRST = [(0.1, 6.0), (0.5, 30.0), (0.75, 35.0), (1.0, 40.0)]


def test_the_first_job_counts_its_stages():
    told = run(Pace(), SLOW_FIRST)
    assert [share for share, _ in told] == pytest.approx([0.1, 0.5, 0.75, 1.0])
    assert told[1][1] == pytest.approx(30.0)  # as long again as it took so far


def test_the_second_job_of_a_kind_knows_how_the_time_is_spread():
    pace = Pace()
    run(pace, SLOW_FIRST)
    told = run(pace, [(fraction, 2 * seconds) for fraction, seconds in SLOW_FIRST])
    for (share, remaining), (_, seconds) in zip(told, SLOW_FIRST, strict=True):
        assert share == pytest.approx(seconds / 40, abs=0.02)
        assert remaining == pytest.approx(2 * (40 - seconds), abs=2.0)


def test_a_usual_pace_counts_until_a_job_was_seen():
    told = run(Pace(((0.0, 0.0), (0.5, 0.75), (1.0, 1.0))), SLOW_FIRST)
    assert told[1][0] == pytest.approx(0.75, abs=0.01)
    assert told[1][1] == pytest.approx(10.0, abs=0.5)


def test_a_fraction_never_goes_back():
    told = run(Pace(), [(0.5, 1.0), (0.3, 2.0), (0.6, 3.0)])
    shares = [share for share, _ in told]
    assert shares == sorted(shares)


def test_nothing_is_promised_before_anything_is_known():
    assert run(Pace(), [(0.0, 0.5), (0.01, 0.6)])[1][1] is None
