"""FSL: matrices of flirt, warps and spline coefficients of fnirt.

Points are in "FSL coordinates": index times voxel size, x counted from the last voxel where the
voxel order is neurological (a positive determinant). A matrix takes points of the moving image to
the fixed one, a warp takes points of the fixed image to the moving one. Sources: flirt and fnirt
of FSL; Andersson et al. 2007, FMRIB technical report TR07JA2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.typing import Array
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.matrices import format_matrix, read_matrix, to_affine
from neuralreg.io.exchange.sides import Sides, VoxelSpace
from neuralreg.io.exchange.splines import cubic_weights
from neuralreg.io.files import write_whole

FIELD, CUBIC = 2006, 2007  # intent codes
INTENTS = range(2006, 2020)  # of all fields and coefficients of FSL
_MODERATE = 1.0  # of a matrix against the identity: a turn by 41 degrees
_WHY = "a transform in FSL's coordinates, which depend on both images"


def read_flirt(path: Path, sides: Sides) -> sitk.Transform:
    """The transform of a matrix that flirt wrote.

    Raises:
        InvalidTransform: an image is missing, or the matrix is none of points.
        UnreadableFile: it is no matrix.
    """
    matrix = read_matrix(path)
    fixed, moving = (sides.space(side, path, _WHY) for side in ("fixed", "moving"))
    return to_affine(_to_moving(moving) @ np.linalg.inv(matrix) @ _from_fixed(fixed))


def write_flirt(matrix: Matrix, path: Path, sides: Sides) -> None:
    """Write a matrix as flirt does: moving to fixed, in FSL's coordinates.

    Args:
        matrix: fixed to moving, LPS mm.
        path: of the file.
        sides: both images.
    """
    fixed, moving = (sides.space(side, path, _WHY) for side in ("fixed", "moving"))
    forward = np.linalg.inv(_to_moving(moving)) @ matrix @ np.linalg.inv(_from_fixed(fixed))
    with write_whole(path) as draft:
        draft.write_text(format_matrix(np.linalg.inv(forward)))


def read_fnirt(path: Path, sides: Sides, *, absolute: bool | None = None) -> sitk.Image:
    """The displacements of a warp of fnirt or convertwarp, or of fnirt's coefficients.

    Args:
        path: of the warp.
        sides: the moving image, and for coefficients the fixed one.
        absolute: whether it holds coordinates instead of displacements; by content unless given.

    Raises:
        InvalidTransform: an image is missing, the kind is not known, or content does not decide.
    """
    header = vector_files.read_vector_header(path)
    if header.code in INTENTS and header.code != FIELD:
        return _read_coefficients(path, header, sides)
    moving = sides.space("moving", path, _WHY)
    values, space = vector_files.read_array(path), VoxelSpace.read(path)
    if absolute is None:
        absolute = _are_coordinates(values, space, moving)
    if absolute is None:
        raise InvalidTransform(
            "the file does not say whether it holds coordinates or displacements, and its numbers "
            "may be either", where=str(path),
            remedy="Say --from fsl-absolute or --from fsl-relative.",
        )  # fmt: skip
    to_moving, grid = _to_moving(moving), space.grid
    offset = to_moving @ space.fsl if not absolute else _constant(to_moving)
    return vector_files.affine_image(values, grid, to_moving[:3, :3], offset - grid.index_to_world)


def write_fnirt(field: sitk.Image, path: Path, sides: Sides, *, absolute: bool) -> None:
    """Write displacements (LPS mm, on the fixed image's voxels) as a warp for applywarp.

    Args:
        field: on the grid of the fixed image.
        path: .nii or .nii.gz.
        sides: both images.
        absolute: whether to write coordinates instead of displacements.
    """
    fixed, moving = (sides.space(side, path, _WHY) for side in ("fixed", "moving"))
    values, grid, affine = vector_files.array_of(field)
    _require_same(grid, fixed)
    points = values + vector_files.positions_of(grid).transpose(2, 1, 0, 3)
    warp = vector_files.apply_matrix(np.linalg.inv(_to_moving(moving)), points)
    if not absolute:
        warp -= vector_files.positions_of(grid, fixed.fsl).transpose(2, 1, 0, 3)
    vector_files.write_array(warp, affine, path, {"intent_code": FIELD})


def _are_coordinates(values: Array, fixed: VoxelSpace, moving: VoxelSpace) -> bool | None:
    """Whether a warp holds coordinates; None where the content does not decide.

    Read the right way, the world is turned and stretched moderately; read the other way, an
    identity is added or lost.
    """
    slope = vector_files.slopes(values, fixed.fsl)
    if slope is None:
        return None
    to_world, from_world = _to_moving(moving)[:3, :3], _from_fixed(fixed)[:3, :3]
    changes = [
        float(np.linalg.norm(to_world @ one @ from_world - np.eye(3)))
        for one in (slope, slope + np.eye(3))
    ]
    if min(changes) > _MODERATE or max(changes) < 1.5 * min(changes):
        return None
    return changes[0] < changes[1]


def _read_coefficients(path: Path, header: vector_files.VectorHeader, sides: Sides) -> sitk.Image:
    """The displacements that cubic coefficients and the affine in the header cause."""
    if header.code != CUBIC:
        raise InvalidTransform(
            "of fnirt's coefficients only those of cubic splines are read", where=str(path),
            got=f"intent code {header.code}", remedy="Let fnirtfileutils write a warp (--fout).",
        )  # fmt: skip
    fixed, moving = (sides.space(side, path, _WHY) for side in ("fixed", "moving"))
    if not np.allclose(header.parameters, fixed.spacing, rtol=1e-3):
        raise InvalidTransform(
            "these coefficients were made for another fixed image", where=str(path),
            got=f"voxels of {fixed.spacing.tolist()} mm", wanted=f"{list(header.parameters)} mm",
        )  # fmt: skip
    dense: Array = vector_files.read_array(path).astype(float)
    for axis, (size, knots) in enumerate(zip(fixed.size, header.pixdim, strict=True)):
        # Coefficient 0 lies one knot before the first voxel.
        weights = cubic_weights(np.arange(size) / knots + 1, dense.shape[2 - axis])
        dense = np.moveaxis(np.tensordot(weights, dense, (1, 2 - axis)), 0, 2 - axis)
    # The affine (moving to fixed) is added as applywarp and fnirtfileutils add it: it does not
    # turn the displacements.
    points = vector_files.positions_of(fixed.grid, np.linalg.inv(header.sform) @ fixed.fsl)
    moved = vector_files.apply_matrix(_to_moving(moving), points + dense)
    return vector_files.displacement_image(moved, fixed.grid, positions=True)


def _from_fixed(space: VoxelSpace) -> Matrix:
    return np.asarray(space.fsl @ np.linalg.inv(space.index_to_world))


def _to_moving(space: VoxelSpace) -> Matrix:
    return np.asarray(space.index_to_world @ np.linalg.inv(space.fsl))


def _constant(matrix: Matrix) -> Matrix:
    """The translation of a matrix alone."""
    translation = np.zeros((4, 4))
    translation[:3, 3] = matrix[:3, 3]
    return translation


def _require_same(grid: Grid, fixed: VoxelSpace) -> None:
    if not grid.is_close(fixed.grid, 1e-2):
        raise InvalidTransform(
            "a warp of FSL lies on the voxels of the fixed image",
            got=f"size {grid.size}", wanted=f"size {fixed.size}, as {fixed.path}",
        )  # fmt: skip
