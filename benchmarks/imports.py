"""How long the imports take that everybody pays: `neuralreg`, and the module file in Slicer.

    python -m benchmarks.imports [--repeats 5]

Each import runs in a process of its own; an empty process is subtracted. The module file is timed
with Slicer's and Qt's own modules replaced by empty ones, since those are loaded already when
Slicer reads it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from benchmarks import RESULTS
from Testing.support.paths import EXTENSION

PROGRAMS = {
    "empty": "",
    "neuralreg": "import neuralreg",
    "module file": f"""
import sys
from unittest.mock import MagicMock
for name in ("qt", "ctk", "slicer", "slicer.i18n", "slicer.ScriptedLoadableModule"):
    sys.modules[name] = MagicMock()
base = sys.modules["slicer.ScriptedLoadableModule"]
for part in ("", "Widget", "Logic", "Test"):
    setattr(base, "ScriptedLoadableModule" + part, type("Base", (), {{}}))
sys.path.insert(0, {str(EXTENSION)!r})
began = __import__("time").perf_counter()
import NeuralRegistration
print(__import__("time").perf_counter() - began)
""",
}


def seconds(program: str) -> float:
    """Wall time of a fresh Python that runs a program; what it prints counts when it prints."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    wall = time.perf_counter() - start
    return float(done.stdout) if done.stdout else wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    found = {
        name: statistics.median(seconds(program) for _ in range(options.repeats))
        for name, program in PROGRAMS.items()
    }
    found["neuralreg"] -= found["empty"]
    for name in ("neuralreg", "module file"):
        print(f"{name:12} {1000 * found[name]:6.0f} ms")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "imports.json").write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
