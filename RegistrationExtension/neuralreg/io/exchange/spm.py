"""SPM: deformations y_*.nii, and the matrices that its coregistration keeps beside images.

A deformation holds, for each voxel of the fixed (template) image, where it comes from in the moving
one, in RAS mm. A .mat beside an image holds the image's new matrix `M` from voxels, counted from
1, to RAS mm: the moving image was moved by it. Sources: spm_deformations.m, spm_coreg.m and
spm_get_space.m of SPM12.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.matrices import FLIP, to_affine
from neuralreg.io.exchange.sides import Sides

INTENT = "Mapping"
_FROM_ONE = np.array([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]])


def read_deformation(path: Path) -> sitk.Image:
    """The displacements of a y_*.nii.

    Raises:
        InvalidTransform: it does not hold three numbers per voxel.
        UnreadableFile: it is damaged.
    """
    values, grid = vector_files.read_array(path), vector_files.read_grid_of(path)
    return vector_files.ras_image(values, grid, positions=True)


def write_deformation(field: sitk.Image, path: Path) -> None:
    """Write displacements (LPS mm) as a deformation of SPM.

    Args:
        field: on the grid that SPM shall resample to, usually that of the fixed image.
        path: .nii; SPM reads no packed files.
    """
    values, grid, affine = vector_files.array_of(field)
    points = values + vector_files.positions_of(grid).transpose(2, 1, 0, 3)
    points[..., :2] *= -1
    intent = {"intent_code": 1007, "intent_name": INTENT.encode(), "descrip": b"Deformation"}
    vector_files.write_array(points[:, :, :, None], affine, path, intent)


def read_mat(path: Path, sides: Sides) -> sitk.Transform:
    """The transform that a coregistration of SPM left in the .mat of the moving image.

    Args:
        path: of the file.
        sides: the moving image, with the header that it had before.

    Raises:
        InvalidTransform: it holds something else, or the moving image is missing.
        UnreadableFile: it is damaged.
    """
    values = _load(path)
    if "M" not in values or np.shape(values["M"]) != (4, 4):
        names = ", ".join(name for name in values if not name.startswith("__"))
        raise InvalidTransform(
            "of SPM's .mat files those with one matrix M are read", where=str(path), got=names,
            remedy="A *_sn.mat becomes a y_*.nii with SPM's Deformations tool.",
        )  # fmt: skip
    moving = sides.space("moving", path, "the new matrix of the moving image, for its voxels")
    to_fixed = FLIP @ values["M"] @ _FROM_ONE @ np.linalg.inv(moving.index_to_world)
    return to_affine(np.linalg.inv(to_fixed))


def _load(path: Path) -> dict[str, Any]:
    from scipy import io as matlab  # slow to import, and only these files need it

    try:
        content: dict[str, Any] = matlab.loadmat(path)
    except Exception as error:
        raise UnreadableFile(
            f"{path} cannot be read as a file of MATLAB", got=str(error)
        ) from error
    return content
