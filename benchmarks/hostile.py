"""A thousand made runs of files as people have them, each against an oracle of its own.

    python -m benchmarks.hostile [--runs 1000] [--only KIND ...] [--seed 0] [--show]

Formats, number types, headers, contents, transforms, landmarks, tables, worklists and damage are
combined by chance, and put through `info`, `warp`, `invert`, `review`, `worklist` and `register`.
No oracle shares code with the program: the arrays and transforms that the files were made from,
SimpleITK, nibabel, pydicom and closed forms. A run is right; other than the oracle with a remark;
refused, which must name the file; or WRONG: another result without a word, a refusal without need,
a traceback, a warning of Python or a line of a library on the terminal, a lost result, a process
or half a file left behind.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import (
    RESULTS,
    hostile_images,
    hostile_processes,
    hostile_records,
    hostile_transforms,
)
from benchmarks.hostile_tools import REFUSED, REMARKED, RIGHT, WRONG, Judgement

Kind = Callable[[np.random.Generator, Path], Judgement]
KINDS: dict[str, tuple[Kind, int]] = {
    **hostile_images.KINDS,
    **hostile_transforms.KINDS,
    **hostile_records.KINDS,
    **hostile_processes.KINDS,
}
VERDICTS = (RIGHT, REMARKED, REFUSED, WRONG)


@dataclass(frozen=True)
class Run:
    """One run: what kind it is of, its number within that, and how it ended."""

    kind: str
    number: int
    verdict: str
    words: str
    seconds: float


def plan(runs: int, only: list[str] | None = None) -> Iterator[tuple[str, int]]:
    """Kinds and numbers, in the shares of the whole."""
    kinds = {name: share for name, (_, share) in KINDS.items() if not only or name in only}
    total = sum(kinds.values())
    for name, share in kinds.items():
        count = max(round(share * runs / total), 1)
        yield from ((name, n) for n in range(count))


def run(kind: str, number: int, seed: int = 0) -> Run:
    """Make one run in a folder of its own."""
    started = time.perf_counter()
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        judgement = KINDS[kind][0](rng, folder)
        halves = [str(p.relative_to(folder)) for p in folder.rglob(".writing-*")]
        if halves and kind != "ended processes":  # which looks at them itself
            judgement = Judgement(WRONG, f"left behind: {halves}; {judgement.words}")
    except Exception:  # noqa: BLE001 - a fault of the program or of the oracle, to be looked at
        judgement = Judgement(WRONG, traceback.format_exc()[-900:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Run(kind, number, judgement.verdict, judgement.words, time.perf_counter() - started)


def table(done: list[Run]) -> str:
    """How many of each kind ended how."""
    lines = [
        f"{'kind':24} {'runs':>5} {'right':>6} {'remark':>7} {'refused':>8} {'WRONG':>6} {'s':>6}"
    ]
    for kind in [*dict.fromkeys(one.kind for one in done), "all"]:
        own = [one for one in done if kind in (one.kind, "all")]
        counts = Counter(one.verdict for one in own)
        numbers = [counts[verdict] for verdict in VERDICTS]
        seconds = sum(one.seconds for one in own)
        lines.append(
            f"{kind:24} {len(own):5} {numbers[0]:6} {numbers[1]:7} {numbers[2]:8} {numbers[3]:6} "
            f"{seconds:6.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=[*KINDS], help="kinds; all unless named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="each run, not only what is wrong")
    options = parser.parse_args()
    done = []
    for kind, number in plan(options.runs, options.only):
        one = run(kind, number, options.seed)
        done.append(one)
        if options.show or one.verdict == WRONG:
            print(f"{one.kind} {one.number}: {one.verdict}: {one.words}", flush=True)
    print(table(done))
    RESULTS.mkdir(exist_ok=True)
    facts = {"options": vars(options), "runs": [asdict(one) for one in done]}
    (RESULTS / "hostile.json").write_text(json.dumps(facts, indent=2))
    raise SystemExit(any(one.verdict == WRONG for one in done))


if __name__ == "__main__":
    main()
