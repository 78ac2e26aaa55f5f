"""Coordinates at which an image is resampled, slab by slab."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.sampling import at_grid, between, index_to_normalized, normalized_edges


class SampleCoordinates:
    """Where the samples of one grid land in another through a displacement field, slab by slab.

    Everything linear is done where there is least data: the field is turned into normalized
    coordinates of the target on its own, coarse samples, and the rest of the coordinate is one
    number per row, column and slice.

    Args:
        field: fixed to moving.
        target: the grid in which the samples land, that of the moving image.
        grid: of the samples, that of the output.
    """

    def __init__(self, field: DisplacementField, target: Grid, grid: Grid) -> None:
        self.field, self.target, self.grid = field, target, grid
        d = grid.dimension
        to_normalized = index_to_normalized(target.size)
        self.scale = torch.as_tensor(to_normalized[:d, :d] @ target.world_to_index[:d, :d])
        self.affine = torch.as_tensor(to_normalized @ between(grid, target))
        self.scaled = self._normalize(field.vectors) if field.grid.count < grid.count else None

    def _normalize(self, vectors: Tensor) -> Tensor:
        """Displacements in mm as differences of normalized coordinates."""
        return (self.scale.to(vectors) @ vectors.flatten(1)).view(vectors.shape)

    def normalized_rows(self, rows: slice) -> Tensor:
        """Normalized coordinates x y z of the landing points: (d, z, y, x), a new tensor."""
        grid, d = self.grid, self.grid.dimension
        if self.scaled is None:
            coordinates = self._normalize(self.field.at(grid, rows))
        else:
            coordinates = at_grid(self.scaled, self.field.grid, grid, rows)
        for axis, n in enumerate(grid.shape):
            index = torch.arange(n, dtype=torch.float64)[rows if axis == 0 else slice(None)]
            part = self.affine[:d, d - 1 - axis, None] * index
            if axis == 0:
                part = part + self.affine[:d, d, None]
            shape = [d, *[1] * d]
            shape[axis + 1] = -1
            coordinates += part.view(shape).to(coordinates)
        return coordinates

    def beyond(self, coordinates: Tensor) -> Tensor | None:
        """Which coordinates are in no voxel of the target, (z, y, x); None where all are in one."""
        edges = torch.as_tensor(normalized_edges(self.target.size)).to(coordinates)
        low, high = torch.aminmax(coordinates.flatten(1), dim=1)
        axes = [c for c in range(len(coordinates)) if max(-low[c], high[c]) > edges[c]]
        if not axes:
            return None
        outside = coordinates[axes[0]].abs() > edges[axes[0]]
        for c in axes[1:]:
            outside |= coordinates[c].abs() > edges[c]
        return outside
