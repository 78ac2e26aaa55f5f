"""Reading tensors between their samples: the one place that knows grid_sample's conventions.

All coordinates are continuous indices in x y z order, (z, y, x, d): index 0 is the center of the
first sample and n - 1 that of the last.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.grid import Grid, Matrix


def index_grid(shape: tuple[int, ...], *, rows: slice = slice(None), like: Tensor) -> Tensor:
    """Index x y z of each sample of an array of `shape` (z y x): (z, y, x, d).

    rows: which part of the first axis is wanted, for work in slabs.
    """
    axes = [torch.arange(n, dtype=like.dtype, device=like.device) for n in shape]
    axes[0] = axes[0][rows]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def change_index(coordinates: Tensor, matrix: Matrix) -> Tensor:
    """Coordinates (..., d) through a homogeneous matrix that was made in double precision."""
    m = torch.as_tensor(matrix, dtype=coordinates.dtype, device=coordinates.device)
    return torch.addmm(
        m[:-1, -1], coordinates.reshape(-1, coordinates.shape[-1]), m[:-1, :-1].T
    ).view(coordinates.shape)


def between(source: Grid, target: Grid) -> Matrix:
    """Homogeneous matrix from the indices of one grid to those of another."""
    return target.world_to_index @ source.index_to_world


def sample(
    values: Tensor, coordinates: Tensor, *, mode: str = "bilinear", outside: str = "border"
) -> Tensor:
    """Values (c, z, y, x) read at coordinates (z', y', x', d), giving (c, z', y', x').

    mode: "bilinear" (also in 3D, as torch calls it) or "nearest".
    outside: "border" repeats the nearest sample, "zeros" fades to zero over one voxel.
    """
    size = torch.tensor(values.shape[:0:-1], dtype=coordinates.dtype, device=coordinates.device)
    unit = coordinates * (2 / (size - 1).clamp(min=1)) - 1
    # One sample on an axis: every index on it means that sample, also for outside="zeros".
    unit = torch.where(size == 1, torch.zeros_like(unit), unit) if (size == 1).any() else unit
    return functional.grid_sample(
        values[None], unit[None], mode=mode, padding_mode=outside, align_corners=True
    )[0]


def slabs(shape: tuple[int, ...], samples: int) -> Iterator[slice]:
    """Slices of the first axis that hold at most about `samples` samples each."""
    row = max(1, int(torch.Size(shape[1:]).numel()))
    step = max(1, samples // row)
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
