"""A fixed sample of the hostile runs: files as people have them, each against an oracle."""

from __future__ import annotations

import pytest

pytest.importorskip("resource", reason="full disks are made with the limits of POSIX")
from benchmarks.hostile import plan, run
from benchmarks.hostile_tools import WRONG

SAMPLE = 60
SEED = 3  # not that of the benchmark


@pytest.mark.parametrize(("kind", "number"), list(plan(SAMPLE)))
def test_a_hostile_run_is_right_or_refused(kind, number):
    done = run(kind, number, SEED)
    assert done.verdict != WRONG, done.words
