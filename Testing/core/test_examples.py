"""The numbered examples run as they stand, each in a folder of its own."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec

import pytest
from neuralreg.zoo import registry

from Testing.support.paths import EXTENSION, ROOT

FOLDER = ROOT / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.glob("[0-9]*.py"))
NEEDS_MRML = "05_slicer_batch.py"


def test_they_are_numbered_without_gaps_and_listed():
    assert [name[:2] for name in EXAMPLES] == [f"{n:02}" for n in range(1, len(EXAMPLES) + 1)]
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in listed for name in EXAMPLES)


@pytest.mark.parametrize("name", sorted({*EXAMPLES} - {NEEDS_MRML}))
def test_an_example_runs(name, tmp_path, monkeypatch, capfd):
    """In this process: starting Python and torch takes as long as what most of them do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    monkeypatch.setattr(registry, "_own_networks", {})
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    out, errors = capfd.readouterr()
    assert out
    assert "Traceback" not in errors


@pytest.mark.skipif(not find_spec("slicer"), reason="the package slicer-core is not installed")
def test_the_example_with_mrml_runs_in_a_process_without_a_scene(tmp_path):
    path = os.pathsep.join([str(EXTENSION), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(FOLDER / NEEDS_MRML)],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout
