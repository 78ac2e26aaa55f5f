"""Points through ITK's own transforms, which judge ours."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def transform_points(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    """Points (n, d) in LPS mm through a transform, one by one."""
    return np.array([transform.TransformPoint(point) for point in points.tolist()])
