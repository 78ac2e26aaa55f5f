"""What networks emit, turned into displacement fields: the one border between both worlds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import index_grid


def from_network(output: Tensor, grid: Grid, *, kind: str, order: str = "xyz") -> DisplacementField:
    """The field in mm that a network's output means on the grid that the network saw.

    output: (d, z, y, x), or (d, d + 1) for "affine".
    kind: "voxel", displacement in samples; "normalized", displacement with 2 from the first to the
    last sample center (grid_sample with aligned corners); "unit_map", the coordinate itself, 0 at
    the first and 1 at the last center; "affine", a matrix on normalized coordinates.
    order: of the components (and of the matrix's axes): "xyz", or "zyx" as the axes of the array.
    Raises InvalidTransform when kind, order or shape make no sense.
    """
    d = grid.dimension
    wanted = (d, d + 1) if kind == "affine" else (d, *grid.shape)
    if tuple(output.shape) != wanted or order not in ("xyz", "zyx"):
        raise InvalidTransform(
            "a network's output does not fit its card",
            got=f"shape {tuple(output.shape)}, order '{order}'",
            wanted=f"shape {wanted}, order xyz or zyx",
        )
    if kind == "affine":
        return _from_affine(output, grid, order)
    voxels = output.flip(0) if order == "zyx" else output
    last = torch.tensor([n - 1 for n in grid.size]).to(output).view(-1, *[1] * d)
    if kind == "normalized":
        voxels = voxels * last / 2
    elif kind == "unit_map":
        voxels = voxels * last - index_grid(grid.shape, like=output).movedim(-1, 0)
    elif kind != "voxel":
        raise InvalidTransform("unknown kind of network output", got=f"'{kind}'")
    return DisplacementField.from_voxels(voxels, grid)


def _from_affine(output: Tensor, grid: Grid, order: str) -> DisplacementField:
    d = grid.dimension
    matrix = np.eye(d + 1)
    matrix[:d] = output.detach().double().cpu().numpy()
    if order == "zyx":
        turn = [*range(d - 1, -1, -1), d]
        matrix = matrix[np.ix_(turn, turn)]
    to_normalized = np.diag([*(2 / np.maximum(np.subtract(grid.size, 1), 1)), 1.0])
    to_normalized[:d, d] = -1
    in_index = np.linalg.inv(to_normalized) @ matrix @ to_normalized
    world = LinearTransform(grid.index_to_world @ in_index @ grid.world_to_index)
    return DisplacementField.from_linear(world, grid).to(output.device)
