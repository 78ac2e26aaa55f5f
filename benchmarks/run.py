"""All benchmarks, one after the other: what `make bench` runs. Results as JSON in results/."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import RESULTS
from Testing.support.paths import SHARED

EVERYWHERE = (
    "imports",
    "warp",
    "inverse",
    "surface",
    "review_speed",
    "faults",
    "robustness",
    "hostile",
    "studies",
)
WITH_SHARED_DATA = ("speed", "accuracy", "review_agreement")


def main() -> None:
    names = EVERYWHERE + (WITH_SHARED_DATA if SHARED.is_dir() else ())
    for name in names:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
    if not SHARED.is_dir():
        print(f"\nleft out, they need the shared data: {', '.join(WITH_SHARED_DATA)}")
    print(f"\nThe tables above as JSON: {RESULTS}")


if __name__ == "__main__":
    main()
