"""What `benchmarks.transforms` compares, and the rows of its table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from neuralreg.io.exchange.families import read_content
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.itk_transforms import as_transform

from Testing.support import foreign_transforms as foreign
from Testing.support.itk_points import transform_points


@dataclass(frozen=True)
class Row:
    """One kind of file: largest differences in mm over the voxels of the fixed image."""

    family: str
    kind: str
    read: float | None
    written: float | None
    oracle: str

    def __str__(self) -> str:
        cells = (self.family, self.kind, _mm(self.read), _mm(self.written), self.oracle)
        return f"| {' | '.join(cells)} |"


def _mm(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1g}" if value >= 1e-9 else "0"


@dataclass(frozen=True)
class Bench:
    """A pair of images, and a folder for files."""

    folder: Path
    fixed: foreign.Side
    moving: foreign.Side

    @property
    def sides(self) -> Sides:
        return Sides(self.fixed.path, self.moving.path)

    @property
    def points(self) -> np.ndarray:
        return self.fixed.points()[1:-1:2, 1:-1:2, 1:-1:2].reshape(-1, 3)

    def path(self, name: str) -> Path:
        path = self.folder / name
        path.unlink(missing_ok=True)
        return path

    def ours(self, path: Path, source: str | None = None) -> np.ndarray:
        """Where we take the points by a file."""
        return transform_points(
            as_transform(read_content(path, self.sides, source=source)[0]), self.points
        )

    def field(self, mapping: foreign.Map) -> sitk.Image:
        """A map as displacements on the voxels of the fixed image."""
        vectors = (mapping(self.fixed.points()) - self.fixed.points()).transpose(2, 1, 0, 3)
        field = sitk.GetImageFromArray(vectors.astype(np.float32), isVector=True)
        lps = foreign.FLIP @ self.fixed.affine
        field.SetSpacing(self.fixed.spacing.tolist())
        field.SetOrigin(lps[:3, 3].tolist())
        field.SetDirection((lps[:3, :3] / self.fixed.spacing).ravel().tolist())
        return field


def make_bench(folder: Path, fixed: str, moving: str) -> Bench:
    return Bench(
        folder,
        foreign.make_side(folder / "fixed.nii.gz", fixed),
        foreign.make_side(folder / "moving.nii.gz", moving, spacing=(2.2, 2.4, 3.1)),
    )


def gap(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second, axis=-1).max())
