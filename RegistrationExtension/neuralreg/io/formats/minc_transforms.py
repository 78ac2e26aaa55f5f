"""The .xfm of MINC, which FreeSurfer writes as well: matrices, and grids of displacements.

An .xfm takes RAS mm of the source (moving) volume to RAS mm of the target (fixed), as one or more
transforms in a row; a grid adds the displacement that a .mnc file beside it holds for a point.
Source: gen_xf_io.c and grid_transforms.c of volume_io, in libminc.
"""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath
from typing import TypeAlias

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.io.exchange.integration import invert_displacements
from neuralreg.io.exchange.matrices import exchange_frames, format_matrix, from_affine, to_affine
from neuralreg.io.files import require_existing, write_whole
from neuralreg.io.formats.neuroimaging import read_minc_vectors
from neuralreg.io.tables import read_text
from neuralreg.io.volume import to_image

_Content: TypeAlias = "sitk.Transform | sitk.Image"
_TO_LPS = np.array([-1.0, -1.0, 1.0], np.float32)
_TOLERANCE_MM = 1e-3
_READ = ("Linear", "Grid_Transform")


def is_xfm(text: str) -> bool:
    """Whether a text is that of an .xfm file."""
    return text.startswith("MNI Transform File")


def read_xfm(path: Path, notes: list[str]) -> _Content:
    """The transforms of an .xfm, joined, fixed to moving in LPS mm.

    Args:
        path: of the file.
        notes: what a reader has to know of an inverted grid is appended in words.

    Returns:
        A matrix where all are linear, displacements where the only one is a grid, else a chain.

    Raises:
        InvalidTransform: one of them is of another kind, or its grid holds no vectors.
        UnreadableFile: it, or the file of a grid, is missing or incomplete.
        PackageMissing: a grid needs h5py (MINC 2), or PyTorch to be inverted.
    """
    text, _ = read_text(path)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("%")]
    parts = re.split(r"Transform_Type\s*=\s*(\w+)\s*;", " ".join(lines))[1:]
    if not is_xfm(text) or not parts:
        raise UnreadableFile(f"{path} is an incomplete file of MINC", wanted="Linear_Transform")
    backward = [
        _backward(path, kind, content, notes)
        for kind, content in zip(parts[::2], parts[1::2], strict=True)
    ]
    if len(backward) == 1:
        return backward[0]
    if not any(isinstance(content, sitk.Image) for content in backward):
        matrix = np.eye(4)
        for content in backward:
            matrix = matrix @ from_affine(content)
        return to_affine(matrix)
    return sitk.CompositeTransform([  # ITK applies the last first
        sitk.DisplacementFieldTransform(sitk.Cast(content, sitk.sitkVectorFloat64))
        if isinstance(content, sitk.Image) else content
        for content in backward
    ])  # fmt: skip


def write_xfm(matrix: Matrix, path: Path) -> None:
    """Write an .xfm between RAS mm.

    Args:
        matrix: fixed to moving, LPS mm.
        path: of the file.
    """
    rows = format_matrix(exchange_frames(np.linalg.inv(matrix)), rows=3).rstrip("\n")
    with write_whole(path) as draft:
        draft.write_text(
            f"MNI Transform File\n\nTransform_Type = Linear;\nLinear_Transform =\n{rows};\n"
        )


def _backward(path: Path, kind: str, content: str, notes: list[str]) -> _Content:
    """One transform of a file, from its target to its source, LPS mm."""
    if kind not in _READ:
        raise InvalidTransform(
            "of the transforms of MINC matrices and grids are read", where=str(path), got=kind,
            wanted=" or ".join(_READ),
            remedy="Resample it to a grid (minc_displacement), or register again.",
        )  # fmt: skip
    inverted = re.search(r"Invert_Flag\s*=\s*True", content) is not None
    if kind == "Linear":
        matrix = exchange_frames(_matrix(path, content))
        return to_affine(matrix if inverted else np.linalg.inv(matrix))
    field = _grid(path, content)
    if inverted:
        return field
    notes.append(
        f"{path} holds displacements from the moving image to the fixed one: their inverse was "
        "computed, which is what resampling needs"
    )
    return invert_displacements(field, None, notes, tolerance_mm=_TOLERANCE_MM)


def _matrix(path: Path, content: str) -> Matrix:
    numbers = re.search(r"Linear_Transform\s*=([^;]*);", content)
    values = numbers[1].split() if numbers else []
    try:
        return np.vstack([np.reshape(np.array(values, float), (3, 4)), [0, 0, 0, 1]])
    except ValueError as error:
        raise UnreadableFile(
            f"{path} is an incomplete file of MINC", got=f"{len(values)} numbers", wanted="12"
        ) from error


def _grid(path: Path, content: str) -> sitk.Image:
    """The displacements of a grid as the file has them, in LPS mm."""
    name = re.search(r"Displacement_Volume\s*=\s*([^;]+?)\s*;", content)
    if name is None:
        raise UnreadableFile(
            f"{path} is an incomplete file of MINC", wanted="Displacement_Volume = FILE.mnc;"
        )
    written, beside = path.parent / name[1], path.parent / PureWindowsPath(name[1]).name
    values, grid = read_minc_vectors(require_existing(written if written.is_file() else beside))
    return to_image(values * _TO_LPS, grid)
