"""The networks that come with the program against the training-free engine, on every pair.

    python -m benchmarks.shipped [--pairs d01 d05]

The aim: better on three quarters of the pairs, on none worse by more than 0.01 Dice or 10 % TRE.
Needs the shared data beside the repository, see accuracy.py.
"""

from __future__ import annotations

import argparse
import json

from benchmarks import RESULTS
from benchmarks.accuracy import WEAK, run
from Testing.support.independent_scorer import load_scorer
from Testing.support.paths import SHARED

NETWORKS = {2: "descriptor.shapes_2d", 3: "descriptor.shapes"}
DICE, SHARE_OF_TRE = 0.01, 0.1  # allowed losses
SHOWN = 0.0005  # Dice or mm: less is not seen in three digits


def gain(before: dict[str, object], after: dict[str, object]) -> tuple[float, float]:
    """By how much the second is better, in Dice or mm, and the loss that is allowed."""
    if before["tre_mm"] is not None:
        return before["tre_mm"] - after["tre_mm"], SHARE_OF_TRE * before["tre_mm"]
    return after["dice"] - before["dice"], DICE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", default=[""], help="beginnings of names")
    options = parser.parse_args()
    scorer, rows = load_scorer(), []
    pairs = scorer.load_manifest(str(SHARED / "data"))
    print(f"{'pair':26} {'convex':>15} {'network':>15}  fold %")
    for name, pair in pairs.items():
        if pair["kind"] != "quant" or not name.startswith(tuple(options.pairs)):
            continue
        model = NETWORKS[len(pair["fixed_info"]["size"])]
        before, after = (run(scorer, pair, m) for m in ("convex", model))
        better, allowed = gain(before, after)
        said = "better" if better >= SHOWN else "same" if better > -SHOWN else "worse"
        said += " beyond the allowance" if better < -allowed else ""
        row = {"pair": name, "model": model, "convex": before, "network": after}
        rows.append({**row, "gain": better, "verdict": said, "weak": name[:3] in WEAK})
        print(
            f"{name:26} {figures(before):>15} {figures(after):>15}  {after['folding_percent']:.4f}"
            f"  {said}{' (weak)' if name[:3] in WEAK else ''}",
            flush=True,
        )
    found = [row["verdict"] for row in rows]
    print(
        f"better on {found.count('better')}, the same on {found.count('same')} of {len(found)}; "
        f"beyond the allowance on {sum('beyond' in said for said in found)}"
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "shipped.json").write_text(json.dumps(rows, indent=2))


def figures(row: dict[str, object]) -> str:
    """Dice and TRE, as far as there are."""
    units = (("dice", ""), ("tre_mm", " mm"))
    return " ".join(f"{row[name]:.3f}{unit}" for name, unit in units if row[name] is not None)


if __name__ == "__main__":
    main()
