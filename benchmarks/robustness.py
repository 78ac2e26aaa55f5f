"""Does the spread over several starts rank where a registration is wrong?

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.robustness [--pairs 4] [--starts 4] [--real]
        [--only d08 d11]   (--pairs 0: only --real)

Made pairs with a known deformation are registered by the default engine from several starts. In
the body, per pair: Spearman's rank correlation of spread and true error over the samples, the mean
error in the tenth of the body with the largest spread against the rest, and the share of the worst
tenth by error that lies in the worst fifth by spread. --real: the same at the known points of real
pairs (needs the shared data beside the repository).
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from neuralreg.geometry.grid import Grid
from neuralreg.io.itk import image_from_itk
from neuralreg.review.case import body
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.geometry.volumes import on_grid
from neuralreg.review.workflow.robustness import Robustness, robustness
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks import RESULTS
from benchmarks.fault_phantoms import Pair, pair
from Testing.support.paths import PAIRS

SMALL = Grid((58, 48, 46), (3.8, 3.8, 4.2), (-108.3, -89.3, -94.5), tuple(np.eye(3).ravel()))
# Pairs whose true deformation is known: what the rest is like is not known well enough.
REAL = (
    "d07_ms_flair_t2",
    "d08_ct_abdomen_gt",
    "d09_ct_lung_oblique_gt",
    "d11_prostate_hbv_adc",
    "d13_tmpl_t2_pd_gt",
    "od03_aniso_05_05_5",
    "od04_partial_fov",
)
Array = NDArray[np.floating]


def ranked(spread: Array, error: Array) -> dict[str, float]:
    """How well one ranks the other."""
    doubtful = spread >= np.quantile(spread, 0.9)
    wrong, suspect = error >= np.quantile(error, 0.9), spread >= np.quantile(spread, 0.8)
    return {
        "spearman": float(spearmanr(spread, error).statistic),
        "error_mm": float(error.mean()),
        "error_doubtful_mm": float(error[doubtful].mean()),
        "error_rest_mm": float(error[~doubtful].mean()),
        "worst_tenth_found": float((wrong & suspect).sum() / wrong.sum()),
        "spread_mm": float(spread.mean()),
    }


def made(one: Pair, starts: int) -> tuple[dict[str, float], Robustness]:
    images = image_from_itk(one.fixed), image_from_itk(one.moving)
    found = robustness(*images, "convex", starts=starts)
    spread = Deformation(3, vectors=np.repeat(found.spread_mm[..., None], 3, -1), grid=found.grid)
    inside = body(on_grid(one.fixed, one.grid))
    error = np.linalg.norm(Deformation.of(found.result).on(one.grid) - one.truth, axis=-1)
    return ranked(spread.on(one.grid)[inside][:, 0], error[inside]), found


def real(name: str, starts: int) -> dict[str, float]:
    """The same at the points of a real pair whose partners are known."""
    import neuralreg

    folder = PAIRS / name
    images = [neuralreg.read_image(folder / f"{k}.nii.gz") for k in ("fixed", "moving")]
    found = robustness(*images, "convex", starts=starts)
    points = np.loadtxt(folder / "points.csv", delimiter=",")
    error = np.linalg.norm(Deformation.of(found.result)(points[:, :3]) - points[:, 3:], axis=1)
    spread = Deformation(3, vectors=np.repeat(found.spread_mm[..., None], 3, -1), grid=found.grid)
    at = (spread(points[:, :3]) - points[:, :3])[:, 0]
    return {**ranked(at, error), "seconds": found.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of real pairs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    print("pair            rank corr.  error mm  where doubtful  elsewhere  worst 10 % found  s")
    for n in range(options.pairs):
        one = pair(700 + n, contrast=n % 2 == 1, grid=SMALL)
        row, found = made(one, options.starts)
        name = f"made {n}" + (", other contrast" if n % 2 else "")
        rows[name] = {**row, "seconds": found.seconds}
        show(name, rows[name])
    for name in REAL if options.real else ():
        if name.startswith(tuple(options.only)):
            rows[name] = real(name, options.starts)
            show(name, rows[name])
    RESULTS.mkdir(exist_ok=True)
    file = "robustness.json" if options.pairs else "robustness-real.json"
    (RESULTS / file).write_text(json.dumps({**vars(options), "rows": rows}, indent=2))


def show(name: str, row: dict[str, float]) -> None:
    print(
        f"{name:24} {row['spearman']:6.2f} {row['error_mm']:8.2f} {row['error_doubtful_mm']:10.2f} "
        f"{row['error_rest_mm']:12.2f} {100 * row['worst_tenth_found']:13.0f} % "
        f"{row['seconds']:8.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
