"""Displacement fields in the world, and their algebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import (
    at_grid,
    between,
    change_index,
    index_grid,
    sample,
    sample_points,
)


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """`p_moving = p_fixed + u(p_fixed)`.

    Attributes:
        vectors: u in mm, LPS components x y z, (d, z, y, x), floating point, linear between
            samples.
        grid: where u is known. Outside of it u keeps the value of the nearest border sample, as in
            VTK (ITK takes zero there): let the grid cover what is warped.

    Raises:
        InvalidTransform: when shapes disagree.
    """

    vectors: Tensor
    grid: Grid

    def __post_init__(self) -> None:
        expected = (self.grid.dimension, *self.grid.shape)
        if tuple(self.vectors.shape) != expected or not self.vectors.is_floating_point():
            raise InvalidTransform(
                "a displacement field has one floating-point vector per sample",
                got=f"array {tuple(self.vectors.shape)} of {self.vectors.dtype}",
                wanted=f"{expected}",
            )

    @classmethod
    def identity(cls, grid: Grid, like: Tensor | None = None) -> DisplacementField:
        """No displacement anywhere.

        Args:
            grid: of the field.
            like: a tensor whose device the field takes; the CPU unless given.
        """
        device = None if like is None else like.device
        return cls(torch.zeros(grid.dimension, *grid.shape, device=device), grid)

    @classmethod
    def from_linear(cls, linear: LinearTransform, grid: Grid) -> DisplacementField:
        """A linear transform, sampled; exact between the samples too.

        Args:
            linear: the transform, fixed to moving.
            grid: of the field.

        Returns:
            The field in single precision, on the CPU.
        """
        d = grid.dimension
        in_index = (linear.matrix - np.eye(d + 1)) @ grid.index_to_world
        index = index_grid(grid.shape, like=torch.zeros((), dtype=torch.float64))
        moved = index @ torch.from_numpy(in_index[:d, :d].T.copy()) + torch.from_numpy(
            in_index[:d, d].copy()
        )
        return cls(moved.movedim(-1, 0).float().contiguous(), grid)

    @classmethod
    def from_voxels(cls, voxels: Tensor, grid: Grid) -> DisplacementField:
        """The field of displacements in voxels.

        Args:
            voxels: (d, z, y, x), components x y z, in voxels of `grid`.
            grid: of the field.
        """
        d = grid.dimension
        matrix = torch.as_tensor(grid.index_to_world[:d, :d]).to(voxels)
        return cls((matrix @ voxels.flatten(1)).view(voxels.shape), grid)

    def to_voxels(self) -> Tensor:
        """Displacements in voxels x y z of the field's own grid, (d, z, y, x)."""
        d = self.grid.dimension
        matrix = torch.as_tensor(self.grid.world_to_index[:d, :d]).to(self.vectors)
        return (matrix @ self.vectors.flatten(1)).view(self.vectors.shape)

    def to(self, device: torch.device | str) -> DisplacementField:
        """The same field on another device."""
        return DisplacementField(self.vectors.to(device), self.grid)

    def __call__(self, points: Matrix) -> Matrix:
        """Points after the displacement, in double precision between the samples as well.

        Args:
            points: LPS mm, (n, d). Outside of the grid the value of the border holds.

        Returns:
            Points (n, d), LPS mm.
        """
        index = torch.from_numpy(self.grid.indices_at(points)).to(self.vectors.device)
        moved = sample_points(self.vectors, index).T.cpu().numpy()
        moved_points: Matrix = np.asarray(points, float) + moved
        return moved_points

    def at(self, grid: Grid, rows: slice = slice(None)) -> Tensor:
        """The displacement at the samples of another grid.

        Args:
            grid: where it is evaluated; outside of the field's own grid the border value holds.
            rows: the part of the first array axis of `grid` to evaluate.

        Returns:
            LPS mm, (d, z, y, x).
        """
        return at_grid(self.vectors, self.grid, grid, rows)

    def resample(self, grid: Grid) -> DisplacementField:
        """The field on another grid."""
        return DisplacementField(self.at(grid).contiguous(), grid)

    def coordinates_in(self, target: Grid, grid: Grid, rows: slice = slice(None)) -> Tensor:
        """Where the samples of a grid land in another one.

        Args:
            target: the grid whose indices are given, such as that of the moving image.
            grid: the samples, such as those of the fixed image.
            rows: the part of the first array axis of `grid` to evaluate.

        Returns:
            Continuous indices x y z of `target`, (z, y, x, d).
        """
        index = index_grid(grid.shape, rows=rows, like=self.vectors)
        to_index = torch.as_tensor(target.world_to_index[:-1, :-1]).to(self.vectors)
        displacement = self.at(grid, rows).movedim(0, -1) @ to_index.T
        return change_index(index, between(grid, target)) + displacement


def compose(
    first: DisplacementField, then: DisplacementField | LinearTransform
) -> DisplacementField:
    """The field that moves a point by `first`, then by `then`.

    Args:
        first: the field that points pass first.
        then: what they pass next. Outside of its grid a field keeps its border value.

    Returns:
        A field on the grid of `first`.
    """
    if isinstance(then, LinearTransform):
        d = first.grid.dimension
        linear = torch.as_tensor(then.matrix[:d, :d]).to(first.vectors)
        moved = torch.einsum("ij,j...->i...", linear, first.vectors)
        shift = DisplacementField.from_linear(then, first.grid).vectors.to(first.vectors)
        return DisplacementField(moved + shift, first.grid)
    moved_points = first.coordinates_in(then.grid, first.grid)
    return DisplacementField(
        first.vectors + sample(then.vectors.to(first.vectors), moved_points), first.grid
    )


def precede(linear: LinearTransform, then: DisplacementField, grid: Grid) -> DisplacementField:
    """The field that moves a point by a linear transform first and by a field second.

    Args:
        linear: what points pass first.
        then: what they pass next.
        grid: of the result.
    """
    return compose(DisplacementField.from_linear(linear, grid).to(then.vectors.device), then)
