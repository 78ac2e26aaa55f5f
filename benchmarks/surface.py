"""HD95 of two structures in 256^3: surfaces by k-d tree against a whole-grid distance transform.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.surface [--size 256] [--repeats 3]

Both look at the same surface voxels and take the larger 95th percentile of both ways, so the
values must be equal; the plain way computes two distance transforms of the whole grid (SciPy's
exact one, and SimpleITK's Maurer, two threads).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from neuralreg.measures.surfaces import SurfaceDistances
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import RESULTS

SPACING = (1.0, 0.9, 0.8)  # z y x
Mask = NDArray[np.bool_]


def blob(size: int, radius: float, seed: int, shift: float = 0.0) -> Mask:
    """A lopsided ball in the middle of the grid."""
    random = np.random.default_rng(seed)
    axes = [np.linspace(-1, 1, size) for _ in range(3)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    waves = sum(
        0.06 * np.sin(k * (x * a + y * b + z * c))
        for k, (a, b, c) in zip((3, 5, 7), random.normal(0, 1.5, (3, 3)), strict=True)
    )
    reach = np.sqrt((x - shift) ** 2 + y**2 + (z + 0.5 * shift) ** 2)
    return np.asarray(reach < radius * (1 + waves))


def by_us(first: Mask, second: Mask) -> float:
    found = SurfaceDistances.between(first, second, SPACING)
    assert found is not None
    return found.hd95


def by_scipy(first: Mask, second: Mask) -> float:
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    there = ndimage.distance_transform_edt(~edges[1], sampling=SPACING)[edges[0]]
    back = ndimage.distance_transform_edt(~edges[0], sampling=SPACING)[edges[1]]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def by_itk(first: Mask, second: Mask) -> float:
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    maps = []
    for edge in edges:
        image = sitk.GetImageFromArray(edge.astype(np.uint8))
        image.SetSpacing(SPACING[::-1])
        found = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
        maps.append(np.abs(sitk.GetArrayFromImage(found)))
    there, back = maps[1][edges[0]], maps[0][edges[1]]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def timed(
    function: Callable[[Mask, Mask], float], *masks: Mask, repeats: int
) -> tuple[float, float]:
    best, value = np.inf, 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        value = function(*masks)
        best = min(best, time.perf_counter() - start)
    return best, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(2)
    rows = []
    print("radius  HD95 mm   ours s  SciPy s    ITK s   faster than SciPy, ITK")
    for radius in (0.25, 0.5, 0.8):
        masks = blob(options.size, radius, 1), blob(options.size, radius, 2, 0.05)
        ours, theirs, itks = (
            timed(way, *masks, repeats=options.repeats) for way in (by_us, by_scipy, by_itk)
        )
        row = {
            "radius": radius,
            "hd95_mm": ours[1],
            "difference_mm": [abs(ours[1] - theirs[1]), abs(ours[1] - itks[1])],
            "seconds": [ours[0], theirs[0], itks[0]],
        }
        rows.append(row)
        print(
            f"{radius:6} {ours[1]:8.3f} {ours[0]:8.2f} {theirs[0]:8.2f} {itks[0]:8.2f}"
            f"   {theirs[0] / ours[0]:.1f}, {itks[0] / ours[0]:.1f}"
            f"   (differences {row['difference_mm'][0]:.1e}, {row['difference_mm'][1]:.1e} mm)"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "surface.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
