"""The default engine against ANTs SyNQuick: time of the registration, and peak memory.

    python -m benchmarks.speed [--pairs NAME …] [--model convex] [--steps 32] [--repeats 2]
        [--threads 2] [--warm]

Without refinement is `--steps 0`. Both run in turn as whole processes on the same number of
threads; what counts is the time of `register` and `ants.registration`, without imports and files.
`--warm` takes our second run in one process, as a worker that is kept has it. The ratio of each
round counts, not the seconds. Needs the shared data and antspyx (`.[bench]`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks import RESULTS
from Testing.support.paths import SHARED

PAIRS = ("d01_brain_t1_fs",)
OURS = """
import sys, time, neuralreg
fixed, moving = map(neuralreg.read_image, sys.argv[1:3])
how = neuralreg.FieldRefinement(steps=int(sys.argv[5]))
for _ in range(1 + (sys.argv[6] == "warm")):
    start = time.perf_counter()
    result = neuralreg.register(fixed, moving, sys.argv[4], refinement=how)
    seconds = time.perf_counter() - start
neuralreg.write_transform(result.field, sys.argv[3] + "/fixed_to_moving.nii.gz")
print(seconds)
"""
THEIRS = """
import sys, time, ants
fixed, moving = map(ants.image_read, sys.argv[1:3])
start = time.perf_counter()
ants.registration(fixed, moving, "antsRegistrationSyNQuick[s]", outprefix=sys.argv[3] + "/ants_")
print(time.perf_counter() - start)
"""


def timed(program: str, pair: str, threads: int, *more: str) -> tuple[float, float]:
    """Seconds of the registration and peak memory in GB of a program given a pair, and more."""
    folder = SHARED / "data" / "dev" / pair
    names = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryFile("w+") as printed:
        arguments = [str(folder / "fixed.nii.gz"), str(folder / "moving.nii.gz"), out, *more]
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments], env=environment, stdout=printed
        )
        _, status, usage = os.wait4(child.pid, 0)
        printed.seek(0)
        lines = printed.read().splitlines()
    if status:
        raise SystemExit(f"the program ended with {status}")
    return float(lines[-1]), usage.ru_maxrss / 2**20


def compare(pair: str, options: argparse.Namespace) -> dict[str, float]:
    """One round on one pair."""
    warm = "warm" if options.warm else "cold"
    ours, ours_gb = timed(OURS, pair, options.threads, options.model, str(options.steps), warm)
    theirs, theirs_gb = timed(THEIRS, pair, options.threads)
    row = {"ours": ours, "synquick": theirs, "ratio": ours / theirs}
    return {**row, "ours_gb": ours_gb, "synquick_gb": theirs_gb}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS))
    parser.add_argument("--model", default="convex")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {}
    print("pair                  ours s  SyNQuick s  ratio  ours GB  SyNQuick GB")
    for pair in options.pairs:
        for _ in range(options.repeats):
            row = compare(pair, options)
            rounds.setdefault(pair, []).append(row)
            print(
                f"{pair:20} {row['ours']:7.1f} {row['synquick']:11.1f} {row['ratio']:6.2f} "
                f"{row['ours_gb']:8.2f} {row['synquick_gb']:9.2f}",
                flush=True,
            )
        print(f"{pair:20} median ratio {statistics.median(r['ratio'] for r in rounds[pair]):.2f}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed.json").write_text(json.dumps({**vars(options), "rounds": rounds}, indent=2))


if __name__ == "__main__":
    main()
