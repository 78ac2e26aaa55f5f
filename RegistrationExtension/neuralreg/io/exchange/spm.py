"""SPM: deformations y_*.nii, normalizations *_sn.mat, and matrices beside images.

A deformation holds, for each voxel of the fixed (template) image, where it comes from in the moving
one, in RAS mm. A .mat beside an image holds the image's new matrix `M` from voxels, counted from
1, to RAS mm: the moving image was moved by it. A *_sn.mat holds a matrix `Affine` between voxels of
the template VG and of the image VF, and coefficients `Tr` of discrete cosines on the template's
voxels, whose sum is added before it: `y = VF.mat Affine (x + sum)`. Sources: spm_deformations.m,
spm_coreg.m, spm_get_space.m, spm_write_sn.m and spm_dctmtx.m of SPM12.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.matrices import FLIP, exchange_frames, to_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.volume import grid_of_affine

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


def read_mat(path: Path, sides: Sides) -> sitk.Transform | sitk.Image:
    """The transform of a *_sn.mat, or that a coregistration left in the .mat of the moving image.

    Args:
        path: of the file.
        sides: the moving image, with the header that it had before.

    Raises:
        InvalidTransform: it holds something else, or the moving image is missing.
        UnreadableFile: it is damaged.
    """
    values = _load(path)
    if {"Affine", "VG", "VF", "Tr"} <= set(values):
        return _read_normalization(path, values)
    if "M" not in values or np.shape(values["M"]) != (4, 4):
        names = ", ".join(name for name in values if not name.startswith("__"))
        raise InvalidTransform(
            "of SPM's .mat files those with one matrix M and *_sn.mat are read", where=str(path),
            got=names,
        )  # fmt: skip
    moving = sides.space("moving", path, "the new matrix of the moving image, for its voxels")
    to_fixed = FLIP @ values["M"] @ _FROM_ONE @ np.linalg.inv(moving.index_to_world)
    return to_affine(np.linalg.inv(to_fixed))


def _read_normalization(path: Path, values: dict[str, Any]) -> sitk.Transform | sitk.Image:
    """What a *_sn.mat does to points of its template (fixed), on the template's voxels."""
    try:
        template, image = values["VG"].flat[0], values["VF"].flat[0]
        size = tuple(int(n) for n in np.ravel(template["dim"])[:3])
        to_template, to_image = (np.asarray(side["mat"], float) for side in (template, image))
        to_moving = to_image @ np.asarray(values["Affine"], float)
        coefficients = np.asarray(values["Tr"], float)
        if to_template.shape != (4, 4) or to_moving.shape != (4, 4):
            raise ValueError("matrices of 4 by 4 numbers were expected")
        if coefficients.size and (coefficients.ndim != 4 or coefficients.shape[3] != 3):
            raise ValueError(f"coefficients of the shape {coefficients.shape}")
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UnreadableFile(f"{path} is a damaged *_sn.mat", got=str(error)) from error
    if not coefficients.size:
        return to_affine(exchange_frames(to_moving @ np.linalg.inv(to_template)))
    voxels = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1) + 1.0
    bases = [_cosines(n, k) for n, k in zip(size, coefficients.shape, strict=False)]
    voxels += np.einsum("xi,yj,zk,ijkc->xyzc", *bases, coefficients, optimize=True)
    points = vector_files.apply_matrix(to_moving, voxels)
    grid = grid_of_affine(size, to_template @ _FROM_ONE)
    points = np.ascontiguousarray(points.transpose(2, 1, 0, 3), np.float32)  # to z y x
    return vector_files.ras_image(points, grid, positions=True)


def _cosines(count: int, functions: int) -> Matrix:
    """The first discrete cosines at each sample, orthonormal: (count, functions)."""
    order = np.arange(functions)
    basis = np.cos(np.pi * (2 * np.arange(count)[:, None] + 1) * order / (2 * count))
    return basis * np.where(order == 0, np.sqrt(1 / count), np.sqrt(2 / count))


def _load(path: Path) -> dict[str, Any]:
    from scipy import io as matlab  # slow to import, and only these files need it

    try:
        content: dict[str, Any] = matlab.loadmat(path)
    except Exception as error:
        raise UnreadableFile(
            f"{path} cannot be read as a file of MATLAB", got=str(error)
        ) from error
    return content
