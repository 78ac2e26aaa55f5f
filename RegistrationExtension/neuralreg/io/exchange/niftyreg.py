"""NiftyReg: matrices, deformations, displacements, velocities and grids of control points.

All are reference (fixed) to floating (moving) in RAS mm; what a NIfTI file holds is said by its
intent "NREG_TRANS" and that intent's first parameter. Sources: `_reg_maths.h`, `_reg_globalTrans`
and `_reg_localTrans.cpp` of NiftyReg.
"""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.grid import Matrix
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.integration import integrate
from neuralreg.io.exchange.matrices import exchange_frames, format_matrix, read_matrix, to_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.exchange.splines import bspline_of
from neuralreg.io.files import write_whole

INTENT = "NREG_TRANS"
_POSITIONS, _DISPLACEMENTS, _CUBIC = 0, 1, 2
_VELOCITY_POSITIONS, _VELOCITY, _VELOCITY_CUBIC, _LINEAR = 3, 4, 5, 6
_VELOCITIES = (_VELOCITY_POSITIONS, _VELOCITY, _VELOCITY_CUBIC)
_ABSOLUTE = (_POSITIONS, _VELOCITY_POSITIONS, _CUBIC, _VELOCITY_CUBIC, _LINEAR)
_SQUARINGS = 6


def read_affine(path: Path) -> sitk.Transform:
    """The transform of reg_aladin's matrix.

    Raises:
        InvalidTransform, UnreadableFile: it is no matrix of points.
    """
    return to_affine(exchange_frames(read_matrix(path)))


def write_affine(matrix: Matrix, path: Path) -> None:
    """Write a matrix (fixed to moving, LPS mm) as reg_aladin does."""
    with write_whole(path) as draft:
        draft.write_text(format_matrix(exchange_frames(matrix)))


def read_nifti(path: Path, sides: Sides) -> sitk.Transform | sitk.Image:
    """What a NIfTI file of NiftyReg holds: a field, or the spline of its control points.

    Args:
        path: of the file.
        sides: the fixed image, for velocities on a grid of control points.

    Raises:
        InvalidTransform: the kind is not known, or stored with more than the vectors.
        UnreadableFile: it is damaged.
    """
    header = vector_files.read_vector_header(path)
    kind = round(header.parameters[0])
    if kind not in (*_ABSOLUTE, _DISPLACEMENTS, _VELOCITY):
        raise InvalidTransform(
            "this kind of transform of NiftyReg is not known", where=str(path), got=f"kind {kind}",
            remedy="Let `reg_transform -def` write a deformation.",
        )  # fmt: skip
    if kind in _VELOCITIES and any(code == 0 for code in header.extensions):
        raise InvalidTransform(
            "this velocity of NiftyReg comes with an affine transform of its own",
            where=str(path), remedy="Let `reg_transform -def` write a deformation.",
        )  # fmt: skip
    values, grid = vector_files.read_array(path), vector_files.read_grid_of(path)
    field = vector_files.ras_image(values, grid, positions=kind in _ABSOLUTE)
    if kind in (_CUBIC, _LINEAR):
        return bspline_of(field, 3 if kind == _CUBIC else 1)
    if kind in _VELOCITIES:
        return _integrate(field, kind, round(header.parameters[1]), path, sides)
    return field


def write_deformation(field: sitk.Image, path: Path) -> None:
    """Write displacements (LPS mm, on the fixed image's voxels) as a deformation for reg_resample.

    Args:
        field: on the grid of the fixed image.
        path: .nii or .nii.gz.
    """
    values, grid, affine = vector_files.array_of(field)
    points = values + vector_files.positions_of(grid).transpose(2, 1, 0, 3)
    points[..., :2] *= -1
    intent = {"intent_code": 1007, "intent_name": INTENT.encode(), "intent_p1": _POSITIONS}
    vector_files.write_array(points[:, :, :, None], affine, path, intent)


def _integrate(
    velocity: sitk.Image, kind: int, squarings: int, path: Path, sides: Sides
) -> sitk.Image:
    if kind == _VELOCITY_CUBIC:
        fixed = sides.grid("fixed", path, "a velocity on a grid of control points")
        velocity = sitk.TransformToDisplacementField(
            bspline_of(velocity), sitk.sitkVectorFloat32, fixed.size, fixed.origin,
            fixed.spacing, fixed.direction,
        )  # fmt: skip
    return integrate(velocity, path, squarings=abs(squarings) or _SQUARINGS)
