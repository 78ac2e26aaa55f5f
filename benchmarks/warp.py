"""Warp of a 256^3 volume against SimpleITK's resampling with the same field.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.warp [--size 256] [--threads 2] [--repeats 3]

Each repetition runs both, so that the ratio survives a busy machine; the fastest run counts.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.warp import warp
from neuralreg.io.itk import image_to_itk, to_itk

from benchmarks import RESULTS

LARGEST_MM = 30.0
ALLOWED = 1e-3  # of the range; nearest may fall to either side of a voxel border
ITK = {
    "linear": sitk.sitkLinear,
    "nearest": sitk.sitkNearestNeighbor,
    "bspline": sitk.sitkBSpline,
}


def smooth_values(grid: Grid, channels: int, knots: int) -> torch.Tensor:
    """Random values on a few knots, interpolated: as smooth as what a registration gives."""
    coarse = grid.pad(4).resize([knots] * 3)
    values = DisplacementField(torch.randn(3, *coarse.shape), coarse).at(grid)
    return values[:channels].contiguous()


def case(size: int, across: int | None) -> tuple[Image, DisplacementField, Grid]:
    """An image with detail, a field of up to 30 mm, dense or with `across` samples per axis."""
    grid = Grid((size,) * 3, (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    own = grid if across is None else grid.pad(2).resize([across] * 3)
    vectors = smooth_values(own, 3, 8)
    field = DisplacementField(vectors * (LARGEST_MM / vectors.norm(dim=0).max()), own)
    return Image(smooth_values(grid, 1, size // 3), grid), field, grid


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def peak_mb(job: Callable[[], object]) -> float | None:
    """Memory that a call takes at most beyond what is held before, its result included."""
    status, refs = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not refs.exists():
        return None

    def read(key: str) -> int:
        return int(status.read_text().split(key + ":")[1].split()[0])

    refs.write_text("5")
    before = read("VmRSS")
    kept = job()
    peak = read("VmHWM")
    del kept
    return (peak - before) / 1024


def compare(size: int, across: int | None, mode: str, repeats: int) -> dict[str, object]:
    image, field, grid = case(size, across)
    transform, itk_image = to_itk(field), image_to_itk(image)

    def ours() -> Image:
        return warp(image, field, grid, interpolation=mode, outside=math.nan)

    def theirs() -> sitk.Image:
        return sitk.Resample(itk_image, itk_image, transform, ITK[mode], math.nan)

    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    fastest, fastest_itk = (min(column) for column in zip(*pairs, strict=True))
    gap = np.abs(ours().data[0].numpy() - sitk.GetArrayFromImage(theirs()))
    either = np.isfinite(gap)  # at the very edge of the image rounding decides what is outside
    share = gap[either] / np.ptp(image.data.numpy())
    memory = peak_mb(ours)
    output_mb = image.data.numel() * 4 / 2**20
    return {
        "field": "dense" if across is None else f"{across}^3",
        "interpolation": mode,
        "seconds": fastest,
        "seconds_itk": fastest_itk,
        "ratio": fastest / fastest_itk,
        "difference_of_range": float(share.max()),
        "voxels_off": int((share > ALLOWED).sum()),
        "peak_of_output": None if memory is None else memory / output_mb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--modes", nargs="+", choices=ITK, default=list(ITK))
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    rows = [
        compare(options.size, across, mode, options.repeats)
        for mode in options.modes
        for across in (None, 96)
    ]
    print("field    mode       ours s    ITK s  ratio     diff    off   mem")
    for row in rows:
        memory = row["peak_of_output"]
        print(
            f"{row['field']:8} {row['interpolation']:8} {row['seconds']:8.2f} "
            f"{row['seconds_itk']:8.2f} {row['ratio']:6.2f} {row['difference_of_range']:8.1e} "
            f"{row['voxels_off']:6} " + ("    -" if memory is None else f"{memory:5.2f}")
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "warp.json").write_text(json.dumps({**vars(options), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
