"""Inverse of a field like a registration's against SimpleITK's InvertDisplacementField.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.inverse [--threads 2] [--repeats 3]

The error is the forward-backward error in mm at the samples where the field moves something. ITK
is run with growing numbers of iterations: the first run with an error as small as ours is the one
to compare with, or the last one when none gets there.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np
import SimpleITK as sitk
import torch
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.inverse import inverse_error, invert
from neuralreg.geometry.smoothing import gaussian
from neuralreg.geometry.velocity import exponentiate
from neuralreg.io.itk import field_from_itk
from neuralreg.measures.jacobian import jacobian_determinant

from benchmarks import RESULTS

ITERATIONS = (10, 20, 40)
FIELD_OF_VIEW_MM = 192.0


def diffeomorphism(size: int, largest_mm: float) -> DisplacementField:
    """A smooth random deformation that fades towards the border, without folds."""
    spacing = (FIELD_OF_VIEW_MM / size,) * 3
    grid = Grid((size,) * 3, spacing, (0.0,) * 3, tuple(np.eye(3).ravel()))
    knots = grid.pad(2).resize([8] * 3)
    rough = DisplacementField(torch.randn(3, *knots.shape), knots).resample(grid).vectors
    fade = torch.linspace(0, math.pi, size).sin().clamp(min=0)
    velocity = gaussian(rough, (size / 20,) * 3) * fade * fade[:, None] * fade[:, None, None]
    velocity *= largest_mm / velocity.norm(dim=0).max()
    return exponentiate(DisplacementField(velocity, grid))


def by_itk(
    field: DisplacementField, iterations: int, tolerance_mm: float
) -> tuple[float, float, float]:
    """Seconds, largest error in mm, seconds of all processors."""
    vectors = field.vectors.movedim(0, -1).double().contiguous().numpy()
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing(field.grid.spacing)
    start, start_cpu = time.perf_counter(), time.process_time()
    inverse = sitk.InvertDisplacementField(
        image,
        maximumNumberOfIterations=iterations,
        maxErrorToleranceThreshold=tolerance_mm,
        meanErrorToleranceThreshold=tolerance_mm / 1000,  # else the mean stops it first
        enforceBoundaryCondition=False,
    )
    spent, spent_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    found = DisplacementField(field_from_itk(inverse).vectors.float(), field.grid)
    return spent, float(inverse_error(field, found).max()), spent_cpu


def by_us(field: DisplacementField, tolerance_mm: float) -> tuple[float, float, float]:
    """Seconds, largest error in mm, seconds of all processors."""
    start, start_cpu = time.perf_counter(), time.process_time()
    inverse = invert(field, tolerance_mm=tolerance_mm)
    spent, spent_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return spent, float(inverse_error(field, inverse).max()), spent_cpu


def compare(size: int, largest_mm: float, tolerance_mm: float, repeats: int) -> dict[str, object]:
    field = diffeomorphism(size, largest_mm)
    determinant = jacobian_determinant(field)
    ours = min(by_us(field, tolerance_mm) for _ in range(repeats))
    for iterations in ITERATIONS:
        theirs = min(by_itk(field, iterations, tolerance_mm) for _ in range(repeats))
        if theirs[1] <= ours[1]:
            break
    return {
        "size": size,
        "largest_mm": float(field.vectors.norm(dim=0).max()),
        "determinant": [float(determinant.min()), float(determinant.max())],
        "seconds": ours[0],
        "error_mm": ours[1],
        "cpu_seconds": ours[2],
        "iterations_itk": iterations,
        "seconds_itk": theirs[0],
        "error_mm_itk": theirs[1],
        "cpu_seconds_itk": theirs[2],
        "faster": theirs[0] / ours[0],
        "faster_cpu": theirs[2] / ours[2],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tolerance-mm", type=float, default=0.1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    cases = ((96, 15.0), (96, 30.0), (128, 20.0))
    rows = [compare(*case, options.tolerance_mm, options.repeats) for case in cases]
    print("size    mm  ours s  max mm   ITK s  max mm  faster  in CPU s")
    for row in rows:
        print(
            f"{row['size']:4} {row['largest_mm']:5.1f} {row['seconds']:7.2f} "
            f"{row['error_mm']:7.3f} {row['seconds_itk']:7.2f} {row['error_mm_itk']:7.3f} "
            f"{row['faster']:7.1f} {row['faster_cpu']:9.1f}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "inverse.json").write_text(json.dumps({**vars(options), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
