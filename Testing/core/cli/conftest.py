"""A pair of images as files, for all commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from Testing.support.image_files import save_image


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """A blob of four parts, once as it is and once two voxels along x; with label maps."""
    folder = tmp_path_factory.mktemp("pair")
    z, y, x = np.mgrid[:24, :28, :32]
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=x.shape), 2) * 400
    inside = ((z - 12) / 8) ** 2 + ((y - 14) / 10) ** 2 + ((x - 15) / 11) ** 2 < 1
    labels = (inside * (1 + (y > 14) + 2 * (z > 12))).astype(np.uint8)
    image = (inside * (200 + 60 * labels + texture)).astype(np.int16)
    save_image(image, folder / "fixed.nii.gz")
    save_image(labels, folder / "fixed_seg.nii.gz")
    save_image(np.roll(image, 2, 2), folder / "moving.nii.gz")
    save_image(np.roll(labels, 2, 2), folder / "moving_seg.nii.gz")
    return folder
