"""Images as files, and fields read back by SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk


def save_image(array: np.ndarray, path: Path, spacing: tuple[float, ...] = (2.0, 2.0, 2.5)) -> Path:
    """An image at a place of its own in the world."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-20.0, 10.0, 5.0))
    sitk.WriteImage(image, str(path))
    return path


def field_of(path: Path) -> sitk.Transform:
    """The transform in a displacement field file."""
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkVectorFloat64)
    return sitk.DisplacementFieldTransform(image)
