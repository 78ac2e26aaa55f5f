"""Between the world and what a network sees: images to its grid, its answer to millimeters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import at_grid, change_index, index_grid
from neuralreg.registration.preprocess import network_grid, scale_intensities
from neuralreg.training.config import schema

Space = Literal["own", "world"]

_EDGE = 1e-6  # voxels; rounding must not cut the rim


@dataclass(frozen=True)
class Placement:
    """Where the samples of a network's arrays lie: grids of one size, of fixed and moving."""

    fixed: Grid
    moving: Grid

    @classmethod
    def of(cls, fixed: Grid, moving: Grid, size: tuple[int, ...], space: Space) -> Placement:
        """The fields of view of both images in `size` samples x y z; "world": the fixed one's."""
        grid = fixed.resize(size)
        return cls(grid, grid if space == "world" else moving.resize(size))

    @classmethod
    def of_images(cls, fixed: Image, moving: Image, dataset: schema.Dataset) -> Placement:
        """Where a network sees two images, as they are in their files."""
        if dataset.space == "world":
            return cls.of(fixed.grid, moving.grid, dataset.size, "world")
        own = (
            network_grid_of(i, scale_intensities(i, dataset.intensity), dataset)
            for i in (fixed, moving)
        )
        return cls(*own)

    def field(self, voxels: Tensor) -> DisplacementField:
        """The field in LPS mm, on the fixed grid, of a displacement in samples x y z (d, z, y, x).

        p_moving is the position of index + displacement on the moving grid.
        """
        index = index_grid(self.fixed.shape, like=voxels.double())
        landed = index + voxels.double().movedim(0, -1)
        fixed_grid = change_index(index, self.fixed.index_to_world)
        moving_grid = change_index(landed, self.moving.index_to_world)
        return DisplacementField(
            (moving_grid - fixed_grid).movedim(-1, 0).float().contiguous(), self.fixed
        )


def network_grid_of(image: Image, values: Tensor, dataset: schema.Dataset) -> Grid:
    """The grid on which a network sees an image by itself. values: the image, scaled.

    The field of view in `size` samples, unless a published network wants images placed.
    """
    if dataset.input is not None and dataset.input.space == "placed":
        return network_grid(dataset.input, Image(values, image.grid))
    return image.grid.resize(dataset.size)


def resample_to_network(image: Image, grid: Grid) -> Tensor:
    """An image at the samples of a network's grid, linearly: (c, z, y, x); 0 beyond the image."""
    values = at_grid(image.data.float(), image.grid, grid)
    if grid == image.grid:
        return values
    return values * _inside_mask(image.grid, grid)


def _inside_mask(image: Grid, grid: Grid) -> Tensor:
    """Which samples of a grid lie in a voxel of an image, (z, y, x)."""
    matrix = image.world_to_index @ grid.index_to_world
    index = change_index(index_grid(grid.shape, like=torch.zeros((), dtype=torch.float64)), matrix)
    size = torch.tensor(image.size, dtype=torch.float64)
    return ((index > -0.5 - _EDGE) & (index < size - 0.5 + _EDGE)).all(-1)


def linear_part(field: DisplacementField) -> tuple[LinearTransform, float]:
    """The linear transform, LPS mm, that fits a field best, and how far it is off at most, mm."""
    points = field.grid.points_at(_some_indices(field.grid))
    landed = field(points)
    ones = np.ones((len(points), 1))
    solved, *_ = np.linalg.lstsq(np.hstack([points, ones]), landed, rcond=None)
    linear = LinearTransform.from_parts(solved[:-1].T, solved[-1])
    return linear, float(np.abs(linear(points) - landed).max())


def _some_indices(grid: Grid) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    axes = [np.linspace(0, n - 1, min(n, 5)) for n in grid.size]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dimension)
