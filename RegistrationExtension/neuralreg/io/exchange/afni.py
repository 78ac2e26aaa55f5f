"""AFNI: .1D matrices and warps of 3dQwarp, base (fixed) to source (moving) in DICOM's LPS mm.

For an oblique image AFNI means "cardinal" coordinates: those that the voxels would have if the
axes were turned to the nearest ones of the patient, with the first voxel where it was. Sources:
3dAllineate and 3dNwarpApply of AFNI, `README.attributes`.
"""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.matrices import complete, to_affine
from neuralreg.io.exchange.sides import Side, Sides
from neuralreg.io.files import write_whole
from neuralreg.io.tables import read_text

_COMMENT = re.compile(r"3d(volreg|Allineate|WarpDrive|Unifize|Qwarp)?\s*matri|DICOM-to-DICOM", re.I)
_HEADER = "# 3dvolreg matrices (DICOM-to-DICOM, row-by-row):\n"
_OBLIQUE = 1e-4  # of a cosine: AFNI takes 0.01 degrees
_XML = b"""<?xml version='1.0' ?>
<AFNI_attributes self_idcode="XYZ_neuralreg" NIfTI_nums="{},{},{},1,3,16" ni_form="ni_group">
<AFNI_atr ni_type="String" ni_dimen="1" atr_name="BRICK_LABS">
 "x_delta~y_delta~z_delta"</AFNI_atr>
</AFNI_attributes>"""


def is_afni(text: str, path: Path) -> bool:
    """Whether a text is a matrix of AFNI: by its comment, or 12 numbers in a .1D file."""
    if _COMMENT.search(text):
        return True
    return path.suffix.lower() == ".1d"


def read_1d(path: Path, sides: Sides, notes: list[str]) -> sitk.Transform:
    """The transform in a .1D file, fixed to moving.

    Args:
        path: of the file.
        sides: the images, where they are known; oblique ones have coordinates of their own.
        notes: a sentence is appended for each that is not known.

    Raises:
        InvalidTransform: it holds one matrix per volume of a series.
        UnreadableFile: it holds no matrix.
    """
    text, _ = read_text(path)
    rows = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    rows = [row for row in rows if row]
    try:
        numbers = [[float(word) for word in row] for row in rows]
    except ValueError as error:
        raise UnreadableFile(f"{path} is no matrix of AFNI", got=str(error)) from error
    lengths = {len(row) for row in numbers}
    if lengths == {12} and len(numbers) > 1:
        raise InvalidTransform(
            "this file holds a matrix for each volume of a series", where=str(path),
            got=f"{len(numbers)} matrices", remedy="Cut out the line of the volume that you want.",
        )  # fmt: skip
    if sum(map(len, numbers)) != 12 or lengths not in ({12}, {4}):
        raise UnreadableFile(
            f"{path} is no matrix of AFNI", got=f"{sum(map(len, numbers))} numbers",
            wanted="12 in one row, or 3 rows of 4",
        )  # fmt: skip
    matrix = complete(np.array(numbers).reshape(3, 4), path)
    return to_affine(
        np.linalg.inv(_to_cardinal(sides, "moving", path, notes))
        @ matrix
        @ _to_cardinal(sides, "fixed", path, notes)
    )


def write_1d(matrix: Matrix, path: Path, sides: Sides, notes: list[str]) -> None:
    """Write a matrix (fixed to moving, LPS mm) for 3dAllineate -1Dmatrix_apply.

    Args:
        matrix: fixed to moving, LPS mm.
        path: of the file.
        sides: the images, where they are known.
        notes: a sentence is appended for each that is not known.
    """
    cardinal = (
        _to_cardinal(sides, "moving", path, notes)
        @ matrix
        @ np.linalg.inv(_to_cardinal(sides, "fixed", path, notes))
    )
    with write_whole(path) as draft:
        draft.write_text(_HEADER + " ".join(f"{v:.12g}" for v in cardinal[:3].ravel()) + "\n")


def read_warp(path: Path, sides: Sides, notes: list[str]) -> sitk.Image:
    """The displacements of a warp of 3dQwarp in a NIfTI file.

    Args:
        path: of the warp.
        sides: the moving image, where it is known.
        notes: a sentence is appended where it is not.

    Raises:
        InvalidTransform: it does not hold three numbers per voxel.
        UnreadableFile: it is damaged.
    """
    values, grid = vector_files.read_array(path), vector_files.read_grid_of(path)
    back = np.linalg.inv(_to_cardinal(sides, "moving", path, notes))
    turn = cardinal_of(grid)
    offset = back @ turn @ grid.index_to_world - grid.index_to_world
    return vector_files.affine_image(values, grid, back[:3, :3], offset if offset.any() else None)


def write_warp(field: sitk.Image, path: Path, sides: Sides, notes: list[str]) -> None:
    """Write displacements (LPS mm) for 3dNwarpApply, as NIfTI with AFNI's extension.

    Args:
        field: on the grid of the base (fixed image).
        path: .nii or .nii.gz.
        sides: the moving image, where it is known.
        notes: a sentence is appended where it is not.
    """
    values, grid, affine = vector_files.array_of(field)
    turn, to_moving = cardinal_of(grid), _to_cardinal(sides, "moving", path, notes)
    points = values + vector_files.positions_of(grid).transpose(2, 1, 0, 3)
    moved = vector_files.apply_matrix(to_moving, points)
    cardinal = vector_files.positions_of(grid, turn @ grid.index_to_world)
    moved -= cardinal.transpose(2, 1, 0, 3)
    image = nibabel.Nifti1Image(moved[:, :, :, None].astype(np.float32), affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header["intent_code"] = 1006
    content = _XML.replace(b"{},{},{}", ",".join(map(str, grid.size)).encode())
    extension = nibabel.nifti1.Nifti1Extension(vector_files.AFNI_EXTENSION, content)
    image.header.extensions.append(extension)
    with write_whole(path) as draft:
        nibabel.save(image, draft)


def cardinal_of(grid: Grid) -> Matrix:
    """From LPS mm to AFNI's cardinal coordinates of an image, (4, 4); identity if not oblique."""
    cosines = np.reshape(grid.direction, (3, 3))
    nearest = np.zeros((3, 3))
    for column in range(3):
        row = int(np.abs(cosines[:, column]).argmax())
        nearest[row, column] = np.sign(cosines[row, column])
    if np.abs(cosines - nearest).max() < _OBLIQUE:
        return np.eye(4)
    card = grid.index_to_world.copy()
    card[:3, :3] = nearest * grid.spacing
    return np.asarray(card @ grid.world_to_index)


def _to_cardinal(sides: Sides, side: Side, path: Path, notes: list[str]) -> Matrix:
    known = sides.fixed if side == "fixed" else sides.moving
    if known is None:
        notes.append(
            f"{path}: AFNI turns the axes of oblique images, and the {side} image was not given; "
            "it was taken as not oblique"
        )
        return np.eye(4)
    return cardinal_of(sides.grid(side, path, "a transform of AFNI"))
