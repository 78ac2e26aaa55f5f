"""Normalizations of SPM (*_sn.mat), written and applied by its definition, with SciPy's cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.fft import idctn
from scipy.io import savemat

SIZE = (20, 24, 18)
FLIP = np.array([-1.0, -1.0, 1.0])
AFFINE = np.array([[1.1, 0.05, 0, 2], [-0.04, 0.9, 0.1, -3], [0, 0.02, 1.0, 4], [0, 0, 0, 1]])


def space(steps: tuple[float, float, float], angles: tuple[float, float, float]) -> np.ndarray:
    """From voxels counted from 1 to RAS mm; anisotropic, oblique where there are angles."""
    turn = np.reshape(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix(), (3, 3))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * steps
    matrix[:3, 3] = (30.0, -50.0, -20.0)
    return matrix


STRAIGHT = space((-2.0, 2.0, 3.0), (0, 0, 0))  # left-handed, as SPM's templates
OBLIQUE = space((2.0, 1.5, 3.5), (0.3, -0.2, 0.5))
OBJECT = space((-1.2, 1.0, 1.4), (-0.1, 0.15, 0.2))


def write(path: Path, template: np.ndarray, coefficients: np.ndarray) -> Path:
    side = {"fname": "template.nii", "dim": np.array([[*SIZE]], float), "mat": template}
    other = {"fname": "t1.nii", "dim": np.array([[40.0, 40, 40]]), "mat": OBJECT}
    values = {
        "Affine": AFFINE,
        "Tr": coefficients,
        "VF": other,
        "VG": side,
        "flags": {"cutoff": 25},
    }
    savemat(path, values)
    return path


def normalize_by_definition(
    template: np.ndarray, coefficients: np.ndarray, index: np.ndarray
) -> tuple:
    """LPS mm of voxels of the template (from 0), and where these go in the image."""
    padded = np.zeros((*SIZE, 3))
    padded[tuple(slice(n) for n in coefficients.shape[:3])] = coefficients
    sums = np.stack([idctn(padded[..., c], norm="ortho") for c in range(3)], -1)
    ones = np.ones((len(index), 1))
    voxels = np.hstack([index + 1.0, ones])
    bent = np.hstack([index + 1.0 + sums[tuple(index.T)], ones])
    start, end = (voxels @ template.T)[:, :3], (bent @ (OBJECT @ AFFINE).T)[:, :3]
    return start * FLIP, end * FLIP
