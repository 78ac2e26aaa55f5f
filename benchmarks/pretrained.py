"""Each pretrained network on two brain pairs through the command line, from the original files.

    python -m benchmarks.pretrained [--pairs d01 d02] [--models NAME …]

The second pair shows heads: their brains are found first (--extract-brain). Needs the shared data
beside the repository, and the weights there or downloaded; networks without are left out, by name.
What the authors' own code reached stands beside: ../shared/NETWORKS.md, section 11.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from neuralreg import list_models

from benchmarks import RESULTS
from Testing.support.independent_scorer import load_scorer
from Testing.support.paths import SHARED

# Mean Dice of the authors' code, with the recommended intensity rule where it was measured.
AUTHORS = {
    "d01": {
        "lapirn_disp.fea7": 0.780,
        "conditional_lapirn.oasis_lite": 0.755,
        "symnet.oasis": 0.760,
        "lapirn_diff.fea7": 0.729,
        "lku_net.ixi_4ch": 0.705,
    },
    "d02": {
        "lapirn_disp.fea7": 0.666,
        "conditional_lapirn.oasis_lite": 0.682,
        "symnet.oasis": 0.672,
        "lapirn_diff.fea7": 0.667,
        "lku_net.ixi_4ch": 0.644,
    },
}
ALLOWED = 0.005
HEADS = ("d02",)


def register(pair: dict[str, str], model: str, out: Path) -> dict[str, object]:
    """The record of a run of the command line."""
    folder = Path(pair["dir"])
    command = [sys.executable, "-m", "neuralreg", "register", folder / pair["fixed"]]
    command += [folder / pair["moving"], "-o", out, "--model", model, "--quiet"]
    command += ["--extract-brain"] * pair["id"].startswith(HEADS)
    weights = {"NEURALREG_CACHE": str(SHARED / "weights"), **os.environ}
    subprocess.run([str(part) for part in command], check=True, env=weights)
    return json.loads((out / "result.json").read_text())


def score(scorer, pair: dict[str, str], name: str, model: str) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        record = register(pair, model, Path(folder) / "out")
        field = str(Path(folder) / "out" / "fixed_to_moving.nii.gz")
        scored = scorer.evaluate(pair, [field], hd=False)
    return {
        "pair": name,
        "model": model,
        "dice": scored["dice_mean"],
        "authors": AUTHORS[name[:3]].get(model),
        "folding_percent": scored["folding_pct"],
        "warnings": record["warnings"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", default=["d01", "d02"])
    parser.add_argument("--models", nargs="*", default=list(AUTHORS["d01"]))
    options = parser.parse_args()
    here = {card.name for card in list_models(available=True)}
    here |= {path.stem for path in (SHARED / "weights").glob("*.pth")}
    scorer, rows = load_scorer(), []
    pairs = scorer.load_manifest(str(SHARED / "data"))
    print(f"{'pair':6}{'model':32}{'Dice':>7}{'authors':>9}{'fold %':>9}")
    for name, pair in pairs.items():
        if name[:3] not in options.pairs or name[:3] not in AUTHORS:
            continue
        for model in options.models:
            if model not in here:
                print(f"{name[:3]:6}{model:32} left out: its weights are not here")
                continue
            row = score(scorer, pair, name, model)
            rows.append(row)
            theirs = row["authors"]
            reached = "" if theirs is None or row["dice"] >= theirs - ALLOWED else "  less"
            print(
                f"{name[:3]:6}{model:32}{row['dice']:7.3f}{theirs or float('nan'):9.3f}"
                f"{row['folding_percent']:9.4f}{reached}",
                flush=True,
            )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "pretrained.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
