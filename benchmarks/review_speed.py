"""How long the review of a 256^3 result takes: first numbers, all numbers.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.review_speed [--size 256] [--field 128]

Through the worker's own function with arrays in memory, as the panel hands them over: two images,
two label maps of 12 structures, 100 landmarks, both directions on grids of `--field` samples.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from neuralreg.geometry.grid import Grid
from neuralreg.worker.messages import Field, ReviewJob, Voxels
from neuralreg.worker.review_job import run
from scipy import ndimage

from benchmarks import RESULTS


def job(size: int, field: int) -> ReviewJob:
    random = np.random.default_rng(0)
    grid = Grid((size,) * 3, (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    coarse = grid.pad(size // 20).resize((field,) * 3)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    axes = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    inside = axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2 < 0.7
    texture = ndimage.zoom(random.normal(0, 1, (size // 8,) * 3), 8, order=1).astype(np.float32)
    fixed = np.where(inside, 100 + 20 * texture, 0).astype(np.int16)
    labels = np.zeros(fixed.shape, np.uint8)
    for label in range(1, 13):
        z, y, x = random.uniform(-0.5, 0.5, 3)
        near = (axes[0] - z) ** 2 + (axes[1] - y) ** 2 + (axes[2] - x) ** 2 < 0.03
        labels[near] = label
    knots = random.normal(0, 4, (3, 6, 6, 6))
    u = np.stack([ndimage.zoom(k, field / 6, order=1) for k in knots], -1).astype(np.float32)
    points = random.uniform(0.3, 0.7, (100, 3)) * size
    return ReviewJob(
        transform=Field(u, coarse),
        inverse=Field(-u, coarse),
        fixed=Voxels(fixed, grid),
        moving=Voxels(np.roll(fixed, 3, 0), grid),
        fixed_labels=Voxels(labels, grid),
        moving_labels=Voxels(np.roll(labels, 3, 0), grid),
        fixed_points=tuple(map(tuple, points.tolist())),
        moving_points=tuple(map(tuple, (points + 2).tolist())),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--field", type=int, default=128)
    options = parser.parse_args()
    from dataclasses import replace

    made = job(options.size, options.field)
    rows = {}
    for detail in ("quick", "full"):
        start, cpu = time.perf_counter(), time.process_time()
        found = run(replace(made, detail=detail))
        rows[detail] = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "stages": found.report["seconds"],
        }
        print(
            f"{detail:6} {rows[detail]['seconds']:6.2f} s, {rows[detail]['cpu_seconds']:6.2f} s of "
            f"processors: {found.report['seconds']}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "review_speed.json").write_text(json.dumps({**vars(options), **rows}, indent=2))


if __name__ == "__main__":
    main()
