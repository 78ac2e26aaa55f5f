"""A group of bodies that are one body, bent: their mean shape is that body."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

EXTENT_MM = 80.0


def bent_body(bend, size: int, *, seed: int = 0, labels: bool = False, mirror: bool = False):
    """A body with two cavities whose points moved by `bend` mm times cosines of a position.

    Args:
        bend: mm along x y z.
        size: voxels along each axis of a cube of 80 mm.
        seed: of a little noise.
        labels: the label map (1 body, 2 first cavity, 3 second) in place of the image.
        mirror: the same on the other side of the plane x = 0.
    """
    spacing = EXTENT_MM / size
    z, y, x = (np.indices((size,) * 3) - (size - 1) / 2) * spacing
    x = -x if mirror else x
    x, y, z = (
        x - bend[0] * np.cos(y / 16),
        y - bend[1] * np.sin(z / 15),
        z - bend[2] * np.cos(x / 17),
    )
    body = (x / 26) ** 2 + (y / 30) ** 2 + (z / 24) ** 2
    first = ((x - 9) / 8) ** 2 + ((y + 8) / 9) ** 2 + (z / 7) ** 2
    second = ((x + 10) / 6) ** 2 + ((y - 10) / 7) ** 2 + ((z - 4) / 6) ** 2
    if labels:
        values = (body < 1) * 1 + (first < 1) * 1 + (second < 1) * 2
        image = sitk.GetImageFromArray(values.astype(np.uint8))
    else:
        inside = [1 / (1 + np.exp(np.minimum(8 * (r - 1), 50))) for r in (body, first, second)]
        texture = 0.6 + 0.12 * np.sin(x / 5) * np.cos(y / 6) + 0.08 * np.sin((y + z) / 6)
        values = 100 * inside[0] * (texture - 0.4 * inside[1] + 0.3 * inside[2])
        values += np.random.default_rng(seed).normal(0, 0.5, values.shape)
        image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing((spacing,) * 3)
    image.SetOrigin((-(size - 1) / 2 * spacing,) * 3)
    return image


def write_group(folder: Path, bends, size: int, **options) -> list[Path]:
    """The images of a group as files s0.nii.gz, s1.nii.gz, ..., each with other noise."""
    paths = [folder / f"s{n}.nii.gz" for n in range(len(bends))]
    for n, (bend, path) in enumerate(zip(bends, paths, strict=True)):
        sitk.WriteImage(bent_body(bend, size, seed=n, **options), str(path))
    return paths
