"""Python programs that a test starts in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from neuralreg.worker.processes import tree

from Testing.support.paths import EXTENSION, ROOT


def environment(*folders: Path, **variables: str) -> dict[str, str]:
    """The environment in which this checkout, and further folders, can be imported."""
    paths = [str(path) for path in (*folders, ROOT, EXTENSION)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables}


def run_python(code: str, *, env: Mapping[str, str] | None = None, timeout_s: float = 120) -> str:
    """What a program writes to its standard output; its errors fail the test."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, timeout=timeout_s, env=env or environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def all_end(pids: Iterable[int], within_s: float = 2.0) -> bool:
    """Whether these processes and all that came of them end in time."""
    end = time.monotonic() + within_s
    while tree(pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
