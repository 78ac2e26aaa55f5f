"""The same pair with its images exchanged: how far both results are from being inverse.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.symmetry [--pairs d05 d15]

Points of the fixed image's body go to the moving image by one result and back by that of the
exchanged pair. Needs the shared data beside the repository.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import neuralreg
import numpy as np
import torch
from neuralreg.registration.working_grid import foreground

from benchmarks import RESULTS
from benchmarks.accuracy import WEAK
from Testing.support.independent_scorer import load_scorer
from Testing.support.paths import SHARED

_POINTS = 20_000
_CLOSE = 1.0  # voxels


def measure(fixed: neuralreg.Image, moving: neuralreg.Image) -> dict[str, float]:
    """Distances there and back in voxels of the fixed image, over its body."""
    there = neuralreg.register(fixed, moving, "convex").field
    back = neuralreg.register(moving, fixed, "convex").field
    index = torch.nonzero(foreground(fixed)).flip(1).numpy()
    chosen = np.random.default_rng(0).permutation(len(index))[:_POINTS]
    points = fixed.grid.points_at(index[chosen])
    ends = there(points)
    at = moving.grid.world_to_index @ np.c_[ends, np.ones(len(ends))].T
    last = np.array(moving.grid.size)[:, None] - 1
    inside = ((at[:-1] >= 0) & (at[:-1] <= last)).all(0)
    errors = np.linalg.norm(back(ends[inside]) - points[inside], axis=1)
    voxels = errors / np.prod(fixed.grid.spacing) ** (1 / fixed.grid.dimension)
    return {
        "mean": float(voxels.mean()),
        "median": float(np.median(voxels)),
        "95 %": float(np.quantile(voxels, 0.95)),
        "share within a voxel": float((voxels <= _CLOSE).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", default=[""], help="beginnings of names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    for name, pair in load_scorer().load_manifest(str(SHARED / "data")).items():
        if pair["kind"] != "quant" or name[:3] in WEAK or not name.startswith(tuple(options.pairs)):
            continue
        images = [neuralreg.read_image(Path(pair["dir"]) / pair[s]) for s in ("fixed", "moving")]
        rows[name] = measure(*images)
        print(name, {key: round(value, 2) for key, value in rows[name].items()}, flush=True)
    close = sum(row["mean"] <= _CLOSE for row in rows.values())
    print(f"within a voxel on average on {close} of {len(rows)} pairs")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "symmetry.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
