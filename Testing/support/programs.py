"""Python programs that a test starts in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

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
