"""The images that a transform is between: many formats only make sense with them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np

from neuralreg.errors import InvalidImage, InvalidTransform, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.io.exchange.matrices import FLIP
from neuralreg.io.files import require_existing
from neuralreg.io.formats import nifti_header
from neuralreg.io.itk_images import open_grid
from neuralreg.io.volume import grid_of_affine

Side = Literal["fixed", "moving"]
_MGH = (".mgz", ".mgh")


@dataclass(frozen=True)
class VoxelSpace:
    """Where the voxels of an image file lie, in the order in which the file holds them.

    Attributes:
        path: of the image.
        size: voxels x y z.
        index_to_world: homogeneous, from index x y z to LPS mm.
        spacing: mm, as the header gives it.
        flips: whether FSL counts x from the last voxel, since the order is neurological.
    """

    path: Path
    size: tuple[int, ...]
    index_to_world: Matrix
    spacing: Matrix
    flips: bool

    @classmethod
    def read(cls, path: Path) -> VoxelSpace:
        """The space of a NIfTI or MGH file: only these keep the order that the programs saw.

        Raises:
            InvalidImage: it is of another format, or not 3D.
            UnreadableFile: it is missing or damaged.
        """
        name = require_existing(path).name.lower()
        if name.endswith(_MGH):
            return cls._of_mgh(path)
        if not name.endswith((*nifti_header.SUFFIXES, *nifti_header.PAIR_SUFFIXES)):
            raise InvalidImage(
                "voxel coordinates of other programs depend on the order of voxels in their file",
                where=str(path), got=path.suffix or "no ending", wanted="the NIfTI or MGH file",
                remedy="Give the file that the other program read.",
            )  # fmt: skip
        header = nifti_header.read_header(path)
        grid, _ = open_grid(path)
        if grid.dimension != 3:
            raise InvalidImage("an image in 3D was asked for", where=str(path), got="2D")
        ras = header.sform if header.sform is not None else header.qform
        flips = ras is not None and bool(np.linalg.det(ras[:3, :3]) > 0)
        spacing = np.abs(header.pixdim[:3])
        return cls(path, grid.size, grid.index_to_world, spacing, flips)

    @classmethod
    def _of_mgh(cls, path: Path) -> VoxelSpace:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of nibabel, about headers that it completes
                image = nibabel.load(path)
        except Exception as error:
            raise UnreadableFile(f"{path} cannot be read as an image", got=str(error)) from error
        affine = np.asarray(image.affine, float)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        flips = bool(np.linalg.det(affine[:3, :3]) > 0)
        return cls(path, tuple(map(int, image.shape[:3])), FLIP @ affine, spacing, flips)

    @property
    def grid(self) -> Grid:
        """The same as a grid.

        Raises:
            InvalidImage: its axes are not at right angles.
        """
        return grid_of_affine(self.size, FLIP @ self.index_to_world)

    @property
    def fsl(self) -> Matrix:
        """From index to FSL's coordinates: mm, x counted from the right side of the patient."""
        matrix = np.diag([*self.spacing, 1.0])
        if self.flips:
            matrix[0] = [-self.spacing[0], 0, 0, (self.size[0] - 1) * self.spacing[0]]
        return matrix

    @property
    def surface_ras(self) -> Matrix:
        """From index to FreeSurfer's surface (tkregister) coordinates, mm about the middle."""
        (nx, ny, nz), (dx, dy, dz) = self.size, self.spacing
        return np.array(
            [[-dx, 0, 0, dx * nx / 2], [0, 0, dz, -dz * nz / 2],
             [0, -dy, 0, dy * ny / 2], [0, 0, 0, 1]]
        )  # fmt: skip


@dataclass(frozen=True)
class Sides:
    """The files of the images that a transform is between, as far as they are known."""

    fixed: Path | None = None
    moving: Path | None = None

    def space(self, side: Side, where: Path, why: str) -> VoxelSpace:
        """The voxel space of one image.

        Args:
            side: which one.
            where: the file of the transform, for messages.
            why: what the format needs it for.

        Raises:
            InvalidTransform: the image was not given.
            InvalidImage, UnreadableFile: as `VoxelSpace.read`.
        """
        return VoxelSpace.read(self.require(side, where, why))

    def require(self, side: Side, where: Path, why: str) -> Path:
        """The file of one image.

        Raises:
            InvalidTransform: it was not given.
        """
        path = self.fixed if side == "fixed" else self.moving
        if path is None:
            raise InvalidTransform(
                f"this file cannot be understood without the {side} image", where=str(where),
                got=why, wanted=f"the {side} image",
                remedy=f"Name it (--{side}), or convert the file with `neuralreg convert --fixed "
                "FIXED --moving MOVING`.",
            )  # fmt: skip
        return path

    def grid(self, side: Side, where: Path, why: str) -> Grid:
        """The grid of one image, of any format.

        Raises:
            InvalidTransform: the image was not given.
            InvalidImage, UnreadableFile: as `open_grid`.
        """
        return open_grid(self.require(side, where, why))[0]

    def exchange(self) -> Sides:
        """The same images with their roles exchanged."""
        return Sides(self.moving, self.fixed)
