"""The numbered examples run as they stand, each in a process and a folder of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from Testing.support.paths import EXTENSION, ROOT

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("[0-9]*.py"))
NEEDS_MRML = "05_slicer_batch.py"


def test_they_are_numbered_without_gaps_and_listed():
    assert [name[:2] for name in EXAMPLES] == [f"{n:02}" for n in range(1, len(EXAMPLES) + 1)]
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in listed for name in EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name, tmp_path):
    if name == NEEDS_MRML and importlib.util.find_spec("slicer") is None:
        pytest.skip("the package slicer-core is not installed")
    path = os.pathsep.join([str(EXTENSION), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout
