"""Memory that registrations need, against what is forecast before they begin.

    python -m benchmarks.memory [--sides 48 96 144 192 256 320]

Each runs in a process of its own, whose largest memory the system tells; cubes of so many voxels a
side, of one modality, the default engine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks import RESULTS

_PROGRAM = """
import resource, sys
from neuralreg.cli.main import app
app(sys.argv[1:], standalone_mode=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_EXTENT_MM = 192.0


def write_cube(path: Path, side: int, shift_mm: float) -> None:
    """A body with texture, its values in 16 bits."""
    noise = np.random.default_rng(0).normal(0, 1, (40, 40, 40)).astype(np.float32)
    coarse = sitk.GetImageFromArray(noise)
    coarse.SetSpacing([_EXTENT_MM / 40] * 3)
    texture = sitk.SmoothingRecursiveGaussian(coarse, 6.0)
    spacing = _EXTENT_MM / side
    shift = sitk.TranslationTransform(3, [shift_mm, 0.5 * shift_mm, 0.0])
    fine = sitk.Resample(
        texture, [side] * 3, shift, sitk.sitkLinear, [0.0] * 3, [spacing] * 3,
        np.eye(3).ravel().tolist(), 0.0, sitk.sitkFloat32,
    )  # fmt: skip
    values = sitk.GetArrayFromImage(fine)
    z, y, x = np.ogrid[:side, :side, :side]
    far = sum(((axis + 0.5) / side - 0.5) ** 2 for axis in (x, y, z))
    values = np.where(far < 0.16, 300 + 2000 * values, 0).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([spacing] * 3)
    sitk.WriteImage(image, str(path))


def measure(fixed: Path, moving: Path, folder: Path, options: Sequence[str]) -> dict[str, float]:
    """The largest memory of a run and its forecast, in MB."""
    command = ["register", str(fixed), str(moving), "-o", str(folder), "-q", *options]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *command, "--model", "convex"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    record = json.loads((folder / "result.json").read_text())["provenance"]
    forecast = record["memory"]
    followed = (record["refined"] or {}).get("full_resolution") is not None
    return {
        "measured_mb": int(done.stdout.split()[-1]) / 1024,
        "least_mb": forecast["least_bytes"] / 2**20,
        "most_mb": forecast["most_bytes"] / 2**20,
        "followed": followed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[48, 96, 144, 192, 256, 320])
    sides = parser.parse_args().sides
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in sides:
            for role, shift in (("fixed", 0.0), ("moving", 3.0)):
                write_cube(folder / f"{role}{side}.nii.gz", side, shift)
        pairs = [(side, side, ()) for side in sides]
        pairs += [(sides[-1], sides[0], ()), (sides[0], sides[-1], ())]
        pairs += [(sides[-1], sides[-1], ("--most-samples", "1000000"))]
        pairs += [(sides[len(sides) // 2], sides[len(sides) // 2], ("--refine", "mind"))]
        for number, (a, b, options) in enumerate(pairs):
            images = folder / f"fixed{a}.nii.gz", folder / f"moving{b}.nii.gz"
            row = measure(*images, folder / f"result{number}", options)
            rows.append({"fixed": a, "moving": b, "options": " ".join(options), **row})
            error = row["most_mb"] / row["measured_mb"] - 1
            print(f"{a:4} {b:4} {' '.join(options):24} measured {row['measured_mb']:6.0f} MB, "
                  f"forecast {row['least_mb']:6.0f} to {row['most_mb']:6.0f} MB "
                  f"({100 * error:+.0f} %), "
                  f"{'followed' if row['followed'] else 'not followed'}", flush=True)  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "memory.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
