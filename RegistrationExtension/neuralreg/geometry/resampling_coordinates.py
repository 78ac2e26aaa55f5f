"""Coordinates at which an image is resampled, slab by slab."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.sampling import at_grid, between, index_to_unit, unit_edges


class SampleCoordinates:
    """Where the samples of one grid land in another through a displacement field, slab by slab.

    Everything linear is done where there is least data: the field is turned into unit coordinates
    of the target on its own, coarse samples, and the rest of the coordinate is one number per
    row, column and slice.
    """

    def __init__(self, field: DisplacementField, target: Grid, grid: Grid) -> None:
        self.field, self.target, self.grid = field, target, grid
        d = grid.dimension
        to_unit = index_to_unit(target.size)
        self.scale = torch.as_tensor(to_unit[:d, :d] @ target.world_to_index[:d, :d])
        self.affine = torch.as_tensor(to_unit @ between(grid, target))
        self.scaled = self._in_units(field.vectors) if field.grid.count < grid.count else None

    def _in_units(self, vectors: Tensor) -> Tensor:
        """Displacements in mm as differences of unit coordinates."""
        return (self.scale.to(vectors) @ vectors.flatten(1)).view(vectors.shape)

    def unit(self, rows: slice) -> Tensor:
        """Unit coordinates x y z of the landing points: (d, z, y, x), a new tensor."""
        grid, d = self.grid, self.grid.dimension
        if self.scaled is None:
            unit = self._in_units(self.field.at(grid, rows))
        else:
            unit = at_grid(self.scaled, self.field.grid, grid, rows)
        for axis, n in enumerate(grid.shape):
            index = torch.arange(n, dtype=torch.float64)[rows if axis == 0 else slice(None)]
            part = self.affine[:d, d - 1 - axis, None] * index
            if axis == 0:
                part = part + self.affine[:d, d, None]
            shape = [d, *[1] * d]
            shape[axis + 1] = -1
            unit += part.view(shape).to(unit)
        return unit

    def beyond(self, unit: Tensor) -> Tensor | None:
        """Which unit coordinates lie in no voxel of the target, (z, y, x); None when none does."""
        edges = torch.as_tensor(unit_edges(self.target.size)).to(unit)
        low, high = torch.aminmax(unit.flatten(1), dim=1)
        axes = [c for c in range(len(unit)) if max(-low[c], high[c]) > edges[c]]
        if not axes:
            return None
        outside = unit[axes[0]].abs() > edges[axes[0]]
        for c in axes[1:]:
            outside |= unit[c].abs() > edges[c]
        return outside
