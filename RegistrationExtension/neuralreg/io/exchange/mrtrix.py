"""MRtrix3: matrices of mrregister, and warps in .mif or NIfTI, fixed to moving in RAS mm.

A warp is a "deformation" (positions, which mrtransform -warp takes) or a "displacement"; the file
does not say which. NaN means outside. Sources: documentation of MRtrix3 ("image transforms",
"The MRtrix image formats").
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.typing import Array
from neuralreg.io.exchange import vector_files
from neuralreg.io.exchange.matrices import (
    FLIP,
    exchange_frames,
    format_matrix,
    read_matrix,
    to_affine,
)
from neuralreg.io.files import write_whole
from neuralreg.io.volume import grid_of_affine

SUFFIXES = (".mif", ".mif.gz")
_MAGIC = b"mrtrix image\n"
_NUMBERS = {"Float32": "f4", "Float64": "f8"}


def is_mrtrix(text: str) -> bool:
    """Whether a matrix comes from MRtrix, by its comments."""
    return bool(re.search(r"^\s*#.*(mrtrix|command_history|mrregister|transformc)", text, re.M))


def read_affine(path: Path) -> sitk.Transform:
    """The transform of mrregister's matrix.

    Raises:
        InvalidTransform, UnreadableFile: it is no matrix of points.
    """
    return to_affine(exchange_frames(read_matrix(path, rows=3)))


def write_affine(matrix: Matrix, path: Path) -> None:
    """Write a matrix (fixed to moving, LPS mm) for mrtransform -linear."""
    with write_whole(path) as draft:
        draft.write_text("# mrtrix transform\n" + format_matrix(exchange_frames(matrix)))


def read_warp(path: Path, notes: list[str], *, positions: bool | None = None) -> sitk.Image:
    """The displacements of a warp.

    Args:
        path: of a .mif or NIfTI file.
        notes: a sentence is appended where samples lead outside.
        positions: whether it is a deformation; by content unless given.

    Raises:
        InvalidTransform: content does not decide, or it is no warp.
        UnreadableFile: it is damaged.
    """
    if path.name.lower().endswith(SUFFIXES):
        values, grid = _read_mif(path)
    else:
        values, grid = vector_files.read_array(path), vector_files.read_grid_of(path)
    to_ras = FLIP @ grid.index_to_world
    if positions is None:
        positions = vector_files.are_positions(values, to_ras)
    if positions is None:
        raise InvalidTransform(
            "the file does not say whether it holds positions or displacements, and its numbers "
            "may be either", where=str(path),
            remedy="Say --from mrtrix-deformation or --from mrtrix-displacement.",
        )  # fmt: skip
    field = vector_files.ras_image(values, grid, positions=positions)
    return vector_files.fill_outside(field, path, notes)


def write_warp(field: sitk.Image, path: Path, *, positions: bool) -> None:
    """Write displacements (LPS mm) as a warp.

    Args:
        field: on any grid that covers the fixed image.
        path: .nii, .nii.gz or .mif.
        positions: whether to write a deformation, as mrtransform -warp takes it.
    """
    values, grid, affine = vector_files.array_of(field)
    if positions:
        values += vector_files.positions_of(grid).transpose(2, 1, 0, 3)
    values[..., :2] *= -1
    if path.suffix.lower() == ".mif":
        _write_mif(values, grid, affine, path)
    else:
        vector_files.write_array(values, affine, path)


def _read_mif(path: Path) -> tuple[Array, Grid]:
    """Vectors (z, y, x, 3) as they are stored, and their grid."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{path} is truncated or damaged", got=str(error)) from error
    head, end, _ = content.partition(b"\nEND\n")
    if not content.startswith(_MAGIC) or not end:
        raise UnreadableFile(f"{path} is no image of MRtrix", got=repr(content[:12]))
    fields = re.findall(r"^(\w+):[ \t]*(.*)$", head.decode("utf-8", "replace"), re.M)
    keys = dict(fields)
    try:
        size = [int(n) for n in keys["dim"].split(",")]
        spacing = [float(v) for v in keys["vox"].split(",")]
        layout = re.findall(r"([+-])(\d+)", keys["layout"])
        name, start = keys["file"].split()
        rows = [[float(v) for v in row.split(",")] for key, row in fields if key == "transform"]
        number = np.dtype(_byte_order(keys["datatype"]))
    except (LookupError, ValueError) as error:
        raise UnreadableFile(f"{path} has an incomplete header", got=str(error)) from error
    if name != "." or len(size) != 4 or size[3] != 3 or len(rows) != 3:
        raise InvalidTransform(
            "a warp of MRtrix has three real numbers per voxel", where=str(path),
            got=f"dim {keys['dim']}, file {keys['file']}",
        )  # fmt: skip
    count = int(np.prod(size))
    if len(content) < int(start) + count * number.itemsize:
        raise UnreadableFile(f"{path} is truncated", got=f"{len(content)} bytes")
    values = np.frombuffer(content, number, count, int(start))
    order = np.argsort([int(axis) for _, axis in layout])  # the fastest axis first
    array = values.reshape([size[k] for k in order][::-1]).transpose(range(3, -1, -1))
    array = array.transpose(np.argsort(order))
    array = array[tuple(slice(None, None, -1 if sign == "-" else 1) for sign, _ in layout)]
    affine = np.eye(4)
    affine[:3] = rows
    affine[:3, :3] = affine[:3, :3] * spacing[:3]
    grid = grid_of_affine(tuple(size[:3]), affine)
    return np.ascontiguousarray(array.transpose(2, 1, 0, 3), np.float32), grid


def _byte_order(name: str) -> str:
    kind = name.strip().removesuffix("LE").removesuffix("BE")
    return (">" if name.strip().endswith("BE") else "<") + _NUMBERS[kind]


def _write_mif(values: Array, grid: Grid, affine: Matrix, path: Path) -> None:
    cosines = affine[:3, :3] / grid.spacing
    lines = [
        "mrtrix image",
        f"dim: {','.join(map(str, (*grid.size, 3)))}",
        f"vox: {','.join(f'{v:.9g}' for v in (*grid.spacing, 1))}",
        "layout: +0,+1,+2,+3",
        "datatype: Float32LE",
        *(
            f"transform: {','.join(f'{v:.12g}' for v in (*cosines[row], affine[row, 3]))}"
            for row in range(3)
        ),
    ]
    start = len("\n".join(lines)) + 64
    lines += [f"file: . {start}", "END"]
    head = ("\n".join(lines) + "\n").encode()
    with write_whole(path) as draft:
        draft.write_bytes(head.ljust(start, b"\0") + values.astype("<f4").tobytes(order="F"))
