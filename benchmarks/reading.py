"""Reading packed images against SimpleITK's own reader, which compares no checksum.

    OMP_NUM_THREADS=1 python -m benchmarks.reading [--size 256] [--repeats 10]

Both read in turns, so that the ratio survives a busy machine; the fastest processor time counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from neuralreg.io.encodings.packed_files import UNPACKS_FAST
from neuralreg.io.itk_images import open_volume

from benchmarks import RESULTS

NOISE = 5.0


def body(size: int) -> np.ndarray:
    """A textured, noisy ball in an empty background, about 0 to 700, (z, y, x)."""
    z, y, x = np.indices((size,) * 3) - size / 2
    inside = x**2 + y**2 + z**2 < (0.35 * size) ** 2
    noise = np.random.default_rng(0).normal(0, NOISE, inside.shape)
    return np.where(inside, 500 + 200 * np.sin(x / 9) * np.cos(y / 11) + noise, 0)


def save_scaled(values: np.ndarray, path: Path) -> None:
    """16 bits with a slope and an intercept in the header."""
    image = nibabel.Nifti1Image(values.T.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -7.0)
    nibabel.save(image, path)


def save_plain(number: type) -> Callable[[np.ndarray, Path], None]:
    """What SimpleITK writes of a number type."""
    return lambda values, path: sitk.WriteImage(
        sitk.GetImageFromArray(values.astype(number)), str(path), useCompression=True
    )


CASES = (
    ("NIfTI, 16 bits", ".nii.gz", save_plain(np.int16)),
    ("NIfTI, single precision", ".nii.gz", save_plain(np.float32)),
    ("NIfTI, 16 bits, scaled", ".nii.gz", save_scaled),
    ("NRRD, 16 bits", ".nrrd", save_plain(np.int16)),
)


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=10)
    asked = parser.parse_args()
    values, rows = body(asked.size), []
    print(f"unpacked by {'isal' if UNPACKS_FAST else 'ITK and zlib'}")
    for name, suffix, save in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"image{suffix}")
            save(values, path)
            pairs = [
                (seconds(partial(sitk.ReadImage, str(path))), seconds(partial(open_volume, path)))
                for _ in range(asked.repeats)
            ]
        theirs, ours = (min(times) for times in zip(*pairs, strict=True))
        rows.append({"case": name, "simpleitk_s": theirs, "ours_s": ours, "ratio": ours / theirs})
        print(f"{name:26} {theirs:.3f} s  {ours:.3f} s  {ours / theirs:.2f}")
    RESULTS.mkdir(exist_ok=True)
    record = {"isal": UNPACKS_FAST, "rows": rows}
    (RESULTS / "reading.json").write_text(json.dumps(record, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
