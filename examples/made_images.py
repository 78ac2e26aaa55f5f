"""Two images of one made body, the second one deformed, for the examples that follow."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def make_pair(size: int = 40, spacing_mm: float = 2.0) -> tuple[sitk.Image, sitk.Image]:
    """A textured ellipsoid with two holes, and the same one shifted and bent by up to 6 mm."""
    z, y, x = (np.indices((size,) * 3) - (size - 1) / 2) * spacing_mm
    bent = x + 4 + 2 * np.sin(y / 15), y - 3, z + 2 * np.cos(x / 18)
    return _to_image(_body(x, y, z), spacing_mm), _to_image(_body(*bent), spacing_mm)


def _body(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    inside = 1 / (1 + np.exp(8 * ((x / 32) ** 2 + (y / 38) ** 2 + (z / 30) ** 2 - 1)))
    holes = sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 60)
        for a, b, c in ((10, -12, 5), (-12, 9, -6))
    )
    texture = np.sin(x / 4) * np.cos(y / 5) + np.sin((y + z) / 6)
    return 100 * inside * (0.6 + 0.12 * texture - 0.4 * holes)


def _to_image(values: np.ndarray, spacing_mm: float) -> sitk.Image:
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing([spacing_mm] * 3)
    image.SetOrigin([-spacing_mm * (n - 1) / 2 for n in image.GetSize()])
    return image
