"""VoxelMorph, neurite and Learn2Reg: displacements in voxels.

The moving image is sampled at index plus displacement: index of the fixed image, taken as an index
of the moving one, since both have one size there. In millimeters that is only known with both
images. Sources: voxelmorph's `SpatialTransformer` and `scripts/register.py`; the evaluation of
Learn2Reg, which enlarges fields of half the size by splines of second order.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.typing import Array
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.sides import Sides, VoxelSpace

_WHY = "displacements in voxels, of both images"
_KEYS = {"vol": "voxelmorph", "arr_0": "learn2reg"}  # as both programs name the array


def program_of(path: Path) -> str:
    """Which program wrote an .npz, by the name of its array: "" where that is not known."""
    with _open(path) as archive:
        return next((_KEYS[name] for name in archive.files if name in _KEYS), "")


def read_voxelmorph(path: Path, sides: Sides) -> sitk.Image:
    """The displacements of a warp of VoxelMorph, .npz or NIfTI.

    Raises:
        InvalidTransform: an image is missing, or sizes disagree.
        UnreadableFile: it is damaged.
    """
    if path.suffix.lower() == ".npz":
        values = _array(path)
        if values.ndim == 5 and values.shape[0] == 1:
            values = values[0]
        values = np.asarray(values, np.float32)
    else:
        values = vector_files.read_array(path).transpose(2, 1, 0, 3)
    return _to_field(values, path, sides)


def read_learn2reg(path: Path, sides: Sides) -> sitk.Image:
    """The displacements of a disp_*.npz or disp_*.nii.gz of Learn2Reg.

    Raises:
        InvalidTransform: an image is missing, or sizes disagree.
        UnreadableFile: it is damaged.
    """
    if path.suffix.lower() != ".npz":
        return _to_field(vector_files.read_array(path).transpose(2, 1, 0, 3), path, sides)
    values = np.asarray(_array(path), np.float32)
    if values.ndim != 4 or values.shape[0] != 3:
        raise _shape_error(path, values.shape, "3 x X x Y x Z")
    size = sides.space("fixed", path, _WHY).size
    if values.shape[1:] != size and 2 * np.array(values.shape[1:]) == np.array(size):
        from scipy import ndimage  # slow to import, and only these files need it

        values = np.stack([ndimage.zoom(part, 2, order=2) for part in values])
    return _to_field(np.moveaxis(values, 0, -1), path, sides)


def write_learn2reg(field: sitk.Image, path: Path, sides: Sides) -> None:
    """Write displacements (LPS mm, on the fixed image's voxels) as disp_*.nii.gz or .npz.

    Args:
        field: on the grid of the fixed image.
        path: .nii, .nii.gz or .npz, in full size and single precision.
        sides: both images, of one size.
    """
    fixed, moving = _spaces(path, sides)
    values, grid, affine = vector_files.array_of(field)
    points = values + vector_files.positions_of(grid).transpose(2, 1, 0, 3)
    voxels = vector_files.apply_matrix(np.linalg.inv(moving.index_to_world), points)
    voxels -= _indices(fixed)
    if path.suffix.lower() == ".npz":
        from neuralreg.io.files import write_whole

        with write_whole(path) as draft:
            np.savez_compressed(draft, np.moveaxis(voxels, -1, 0).astype(np.float32))
    else:
        vector_files.write_array(voxels, affine, path)


def _to_field(voxels: Array, path: Path, sides: Sides) -> sitk.Image:
    """Displacements in voxels (x, y, z, 3) as a field in LPS mm."""
    fixed, moving = _spaces(path, sides)
    if voxels.shape != (*fixed.size, 3):
        raise _shape_error(path, voxels.shape, f"{fixed.size} x 3, as the fixed image")
    to_moving, grid = moving.index_to_world, fixed.grid
    values = voxels.transpose(2, 1, 0, 3)
    return vector_files.affine_image(
        values, grid, to_moving[:3, :3], to_moving - grid.index_to_world
    )


def _spaces(path: Path, sides: Sides) -> tuple[VoxelSpace, VoxelSpace]:
    fixed, moving = (sides.space(side, path, _WHY) for side in ("fixed", "moving"))
    if fixed.size != moving.size:
        raise InvalidTransform(
            "displacements in voxels are between images of one size", where=str(path),
            got=f"{fixed.size} and {moving.size}",
            remedy="Give the images that the network read, resampled to its size.",
        )  # fmt: skip
    return fixed, moving


def _indices(space: VoxelSpace) -> Array:
    return np.moveaxis(np.indices(space.size, float), 0, -1)


def _array(path: Path) -> Array:
    with _open(path) as archive:
        names = [name for name in archive.files if name in _KEYS] or archive.files
        if len(names) != 1:
            raise InvalidTransform(
                "this file holds several arrays", where=str(path), got=", ".join(archive.files),
                wanted="one, named vol or arr_0",
            )  # fmt: skip
        try:
            return np.asarray(archive[names[0]])
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise UnreadableFile(f"{path} is damaged", got=str(error)) from error


def _open(path: Path) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableFile(f"{path} cannot be read as an .npz file", got=str(error)) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UnreadableFile(f"{path} is no .npz file")
    return archive


def _shape_error(path: Path, shape: tuple[int, ...], wanted: str) -> InvalidTransform:
    return InvalidTransform(
        "this array does not fit the images", where=str(path),
        got=" x ".join(map(str, shape)), wanted=wanted,
    )  # fmt: skip
