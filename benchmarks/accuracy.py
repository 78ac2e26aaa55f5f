"""The default engine on every quantitative development pair, against what others reached.

    python -m benchmarks.accuracy [--pairs d01 d05] [--model convex]

Needs the shared data beside the repository: the pairs, the independent evaluator that scores a
transform, and the table of baselines, which is read from there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from types import ModuleType

import neuralreg
import SimpleITK as sitk

from benchmarks import RESULTS
from Testing.support.independent_scorer import load_scorer
from Testing.support.paths import SHARED

LINEAR = ("none", "SimpleITK affine", "ANTs affine")
DEFORMABLE = ("ANTs SyNQuick", "elastix B-spline", "ConvexAdam")
WEAK = ("d02", "d10", "d16")  # their reference is uncertain: run, not counted


def baselines() -> dict[str, dict[str, float]]:
    """Per pair and method one number, higher is better: minus the TRE where there is one."""
    lines = (SHARED / "BASELINES.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    methods = rows[0][1:]
    return {
        row[0]: {
            m: number(cell)
            for m, cell in zip(methods, row[1:], strict=True)
            if any(map(str.isdigit, cell))
        }
        for row in rows[2:]
    }


def number(cell: str) -> float:
    """`0.883 / 11.02 mm [0.1]` as -11.02, `0.741` as 0.741."""
    score = cell.split("[")[0].split("/")[-1].strip()
    return -float(score.removesuffix("mm")) if score.endswith("mm") else float(score)


def run(scorer: ModuleType, pair: dict[str, str], model: str) -> dict[str, object]:
    """One pair through register(), scored."""
    fixed, moving = (neuralreg.read_image(Path(pair["dir"]) / pair[k]) for k in ("fixed", "moving"))
    start = time.perf_counter()
    result = neuralreg.register(fixed, moving, model)
    seconds = time.perf_counter() - start
    scorer.read_transform = lambda transform, *_: transform  # it is in memory already
    scored = scorer.evaluate(pair, [sitk.Transform(result.fixed_to_moving)], hd=False)
    return {
        "pair": pair["id"],
        "dice": scored.get("dice_mean"),
        "tre_mm": (scored.get("tre") or {}).get("mean"),
        "folding_percent": scored.get("folding_pct"),
        "folding_percent_body": scored.get("folding_pct_mask"),
        "seconds": round(seconds, 1),
        "warnings": list(result.warnings),
    }


def verdict(row: dict[str, object], others: dict[str, float]) -> str:
    """How the score stands against the best deformable and the best linear result."""
    ours = -row["tre_mm"] if row["tre_mm"] is not None else row["dice"]
    best = max(others[m] for m in DEFORMABLE if m in others)
    linear = max(others[m] for m in LINEAR if m in others)
    row.update(best_deformable=best, best_linear=linear)
    return "best" if ours >= best else "between" if ours >= linear else "below linear"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", default=[""], help="beginnings of names")
    parser.add_argument("--model", default="convex")
    options = parser.parse_args()
    scorer, known = load_scorer(), baselines()
    pairs = scorer.load_manifest(str(SHARED / "data"))
    rows = []
    print(f"{'pair':26} {'Dice':>6} {'TRE mm':>7} {'fold %':>7} {'others':>7} {'linear':>7}")
    for name, pair in pairs.items():
        if pair["kind"] != "quant" or not name.startswith(tuple(options.pairs)):
            continue
        row = run(scorer, pair, options.model)
        row["verdict"] = verdict(row, known[name]) + (" (weak)" if name[:3] in WEAK else "")
        rows.append(row)
        dice, tre = (f"{row[k]:.3f}" if row[k] is not None else "-" for k in ("dice", "tre_mm"))
        print(
            f"{name:26} {dice:>6} {tre:>7} {row['folding_percent']:7.4f} "
            f"{row['best_deformable']:7.3f} {row['best_linear']:7.3f}  {row['verdict']}",
            flush=True,
        )
    strong = [str(row["verdict"]) for row in rows if "weak" not in str(row["verdict"])]
    print(f"best on {strong.count('best')} of {len(strong)} informative pairs")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "accuracy.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
