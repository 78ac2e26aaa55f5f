"""The default engine against ANTs SyNQuick on the 1 mm brain pair: wall time and peak memory.

    python -m benchmarks.speed [--model convex] [--steps 32] [--repeats 2] [--threads 2]

Without refinement is `--steps 0`.

Both run in turn as whole processes, from files to a transform, on the same number of threads; the
ratio of each round counts, not the seconds. Needs the shared data and antspyx (`.[bench]`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import RESULTS
from Testing.support.paths import SHARED

PAIR = "d01_brain_t1_fs"
OURS = """
import sys, neuralreg
fixed, moving = map(neuralreg.read_image, sys.argv[1:3])
how = neuralreg.FieldRefinement(steps=int(sys.argv[5]))
result = neuralreg.register(fixed, moving, sys.argv[4], refinement=how)
neuralreg.write_transform(result.field, sys.argv[3] + "/fixed_to_moving.nii.gz")
"""
THEIRS = """
import sys, ants
fixed, moving = map(ants.image_read, sys.argv[1:3])
ants.registration(fixed, moving, "antsRegistrationSyNQuick[s]", outprefix=sys.argv[3] + "/ants_")
"""


def timed(program: str, threads: int, *more: str) -> tuple[float, float]:
    """Seconds and peak memory in GB of a program given the pair, a folder for output, and more."""
    folder = SHARED / "data" / "dev" / PAIR
    names = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    with tempfile.TemporaryDirectory() as out:
        arguments = [str(folder / "fixed.nii.gz"), str(folder / "moving.nii.gz"), out, *more]
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"the program ended with {status}")
    return seconds, usage.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="convex")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rounds = []
    print("round   ours s  SyNQuick s  ratio  ours GB  SyNQuick GB")
    for n in range(options.repeats):
        ours, ours_gb = timed(OURS, options.threads, options.model, str(options.steps))
        theirs, theirs_gb = timed(THEIRS, options.threads)
        row = {"ours": ours, "synquick": theirs, "ratio": ours / theirs}
        rounds.append({**row, "ours_gb": ours_gb, "synquick_gb": theirs_gb})
        print(
            f"{n:5} {ours:8.1f} {theirs:11.1f} {ours / theirs:6.2f} {ours_gb:8.2f} {theirs_gb:9.2f}"
        )
    print(f"median ratio {statistics.median(r['ratio'] for r in rounds):.2f}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed.json").write_text(json.dumps({**vars(options), "rounds": rounds}, indent=2))


if __name__ == "__main__":
    main()
