"""Matrices between coordinates of images and the world, and as ITK's transforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.tables import read_text

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # between LPS and RAS


def to_affine(matrix: Matrix) -> sitk.AffineTransform:
    """The ITK transform of a homogeneous matrix in LPS mm.

    Raises:
        InvalidTransform: it is not finite, or squeezes space flat.
    """
    linear = LinearTransform(matrix)
    affine = sitk.AffineTransform(linear.dimension)
    affine.SetMatrix(linear.matrix[:-1, :-1].ravel().tolist())
    affine.SetTranslation(linear.matrix[:-1, -1].tolist())
    return affine


def from_affine(transform: sitk.Transform) -> Matrix:
    """The homogeneous matrix in LPS mm of a transform that is linear."""
    d = transform.GetDimension()
    matrix = np.eye(d + 1)
    matrix[:d, d] = transform.TransformPoint([0.0] * d)
    for column, axis in enumerate(np.eye(d).tolist()):
        matrix[:d, column] = np.array(transform.TransformPoint(axis)) - matrix[:d, d]
    return matrix


def exchange_frames(matrix: Matrix) -> Matrix:
    """A matrix (4, 4) between points in RAS as one between points in LPS, or the other way."""
    return np.asarray(FLIP @ matrix @ FLIP)


def read_matrix(path: Path, rows: int = 4) -> Matrix:
    """The only matrix (4, 4) in a text; lines that begin with # are left out.

    Args:
        path: of the text.
        rows: 3 where the last row may be missing.

    Raises:
        UnreadableFile: there are other numbers, or words.
    """
    text, _ = read_text(path)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    try:
        numbers = np.array([float(word) for line in lines for word in line.split()])
    except ValueError as error:
        raise UnreadableFile(f"{path} is no matrix", got=str(error)) from error
    if len(numbers) not in (4 * rows, 16):
        raise UnreadableFile(
            f"{path} is no matrix", got=f"{len(numbers)} numbers", wanted="4 rows of 4 numbers"
        )
    return complete(numbers.reshape(-1, 4), path)


def complete(matrix: Matrix, path: Path) -> Matrix:
    """A matrix (3, 4) or (4, 4) with the last row that makes it homogeneous.

    Raises:
        InvalidTransform: it has another last row.
    """
    if len(matrix) == 3:
        matrix = np.vstack([matrix, [0, 0, 0, 1]])
    if not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        raise InvalidTransform(
            "the last row of a matrix of points is 0 0 0 1", where=str(path),
            got=f"{matrix[3].tolist()}",
            remedy="Check whether it was written by columns.",
        )  # fmt: skip
    return matrix


def format_matrix(matrix: Matrix, rows: int = 4) -> str:
    """The rows of a matrix as text."""
    return "".join(" ".join(f"{v:.12g}" for v in row) + "\n" for row in matrix[:rows])
