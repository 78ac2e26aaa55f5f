"""Tensors between their samples, at continuous indices.

Coordinates are in x y z order, (z, y, x, d): index 0 is the center of the first sample and n - 1
that of the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.normalized import sample as normalized_sample

_ROWS = 64  # of a product; 32 and 128 were slower at 300 to 1500 samples
_ALIGNED_TOLERANCE = 1e-4  # samples; far below what single precision coordinates resolve


def index_grid(shape: tuple[int, ...], *, rows: slice = slice(None), like: Tensor) -> Tensor:
    """Index x y z of each sample of an array.

    Args:
        shape: of the array, z y x.
        rows: the part of the first axis to make, for work in slabs.
        like: a tensor that gives number type and device.

    Returns:
        Indices (z, y, x, d).
    """
    axes = [torch.arange(n, dtype=like.dtype, device=like.device) for n in shape]
    axes[0] = axes[0][rows]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def change_index(coordinates: Tensor, matrix: Matrix) -> Tensor:
    """Coordinates through a homogeneous matrix.

    Args:
        coordinates: (..., d), x y z.
        matrix: (d + 1, d + 1), in double precision.

    Returns:
        Coordinates (..., d), in the number type of `coordinates`.
    """
    m = torch.as_tensor(matrix, dtype=coordinates.dtype, device=coordinates.device)
    return torch.addmm(
        m[:-1, -1], coordinates.reshape(-1, coordinates.shape[-1]), m[:-1, :-1].T
    ).view(coordinates.shape)


def between(source: Grid, target: Grid) -> Matrix:
    """Homogeneous matrix from the indices of one grid to those of another."""
    return target.world_to_index @ source.index_to_world


def index_to_normalized(size: tuple[int, ...]) -> Matrix:
    """Homogeneous matrix from an index x y z to a normalized coordinate: -1 and 1 at the ends.

    Along an axis of one sample the edges of that sample become -1 and 1: grid_sample reads the
    sample wherever it is asked on such an axis, and `normalized_edges` still gives what is outside.
    """
    n = np.asarray(size, float)
    matrix = np.diag([*np.where(n > 1, 2 / np.maximum(n - 1, 1), 2), 1.0])
    matrix[:-1, -1] = np.where(n > 1, -1, 0)
    return matrix


def normalized_edges(size: tuple[int, ...]) -> Matrix:
    """Largest absolute normalized coordinate per axis x y z that is in a voxel of the image."""
    n = np.asarray(size, float)
    edges: Matrix = np.where(n > 1, n / np.maximum(n - 1, 1), 1.0)
    return edges


def sample(
    values: Tensor, coordinates: Tensor, *, mode: str = "bilinear", outside: str = "border"
) -> Tensor:
    """Values interpolated at continuous indices.

    Args:
        values: (c, z, y, x).
        coordinates: indices x y z, (z', y', x', d).
        mode: "bilinear" (also in 3D, as torch calls it) or "nearest".
        outside: "border" repeats the nearest sample, "zeros" fades to zero over one voxel.

    Returns:
        Values (c, z', y', x').
    """
    matrix = torch.as_tensor(index_to_normalized(tuple(values.shape[:0:-1]))).to(coordinates)
    normalized = torch.addcmul(matrix[:-1, -1], coordinates, matrix.diagonal()[:-1])
    return normalized_sample(
        values[None], normalized.movedim(-1, 0)[None], mode=mode, outside=outside
    )[0]


def sample_points(values: Tensor, index: Tensor) -> Tensor:
    """Values at a few indices, interpolated linearly; the outer samples are repeated.

    Reads only the corners that are needed, in double precision, without a copy of the array.

    Args:
        values: (c, z, y, x).
        index: x y z, (n, d).

    Returns:
        Values (c, n), float64.
    """
    index = index.to(values.device, torch.float64)
    last = torch.tensor(values.shape[:0:-1], device=index.device) - 1
    index = index.clamp(min=0).minimum(last.double())
    low = index.floor().long()
    share = index - low
    total = torch.zeros(len(values), len(index), dtype=torch.float64, device=index.device)
    for corner in product((0, 1), repeat=index.shape[1]):
        up = torch.tensor(corner, device=index.device)
        at = (low + up).minimum(last)
        weight = torch.where(up.bool(), share, 1 - share).prod(1)
        total += weight * values[(slice(None), *at.flip(1).T)]
    return total


def at_grid(values: Tensor, source: Grid, grid: Grid, rows: slice = slice(None)) -> Tensor:
    """Values of one grid at the samples of another: linear, the outer samples are repeated.

    Grids with parallel axes need one small matrix product per axis, several times faster than
    gathering.

    Args:
        values: (c, z, y, x), on `source`.
        source: the grid of the values.
        grid: where they are evaluated.
        rows: the part of the first array axis of `grid` to evaluate.

    Returns:
        Values (c, z', y', x').
    """
    if grid is source or grid == source:
        return values[:, rows]
    matrix = between(grid, source)
    d = grid.dimension
    slant = np.abs(matrix[:d, :d] - np.diag(matrix.diagonal()[:d])) @ np.asarray(grid.size, float)
    if slant.max() > _ALIGNED_TOLERANCE:
        index = index_grid(grid.shape, rows=rows, like=values)
        return sample(values, change_index(index, matrix))
    positions = [
        torch.from_numpy(matrix[d - 1 - a, d - 1 - a] * np.arange(n) + matrix[d - 1 - a, d])
        for a, n in enumerate(grid.shape)
    ]
    positions[0] = positions[0][rows]
    return _separable(values, positions)


def _separable(values: Tensor, positions: list[Tensor]) -> Tensor:
    """Linear interpolation at the positions (samples, float64) of each array axis."""
    ends = [p.clamp(0, n - 1) for p, n in zip(positions, values.shape[1:], strict=True)]
    low, high = int(ends[0].min()), int(ends[0].max().ceil()) + 1
    values = values[:, low:high]
    ends[0] = ends[0] - low
    for axis in range(len(ends), 0, -1):  # x first, while there are few planes
        values = _along(values, ends[axis - 1], axis)
    return values


def _along(values: Tensor, position: Tensor, axis: int) -> Tensor:
    """One axis of (c, z, y, x) interpolated linearly, as a product with a matrix of hats."""
    samples = torch.arange(values.shape[axis], dtype=position.dtype)
    hats = (1 - (position[:, None] - samples).abs()).clamp(min=0)
    return mix(values, Band.of(hats), axis)


class Band(NamedTuple):
    """A matrix as blocks of rows, each with the columns that it uses.

    Windows and hats are bands: most of a large matrix is zero.
    """

    starts: tuple[int, ...]  # first column of each block
    blocks: tuple[Tensor, ...]

    @classmethod
    def of(cls, matrix: Tensor) -> Band:
        """A matrix (m, n) on the CPU, cut where its rows are zero."""
        starts, blocks = [], []
        for start in range(0, len(matrix), _ROWS):
            rows = matrix[start : start + _ROWS]
            used = torch.nonzero(rows.any(0))
            low, high = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
            starts.append(low)
            blocks.append(rows[:, low:high].contiguous())
        return cls(tuple(starts), tuple(blocks))


def mix(values: Tensor, band: Band, axis: int) -> Tensor:
    """Values with one axis replaced by a matrix times that axis.

    Args:
        values: (c, z, y, x), of any number of axes.
        band: the matrix (m, n), for an axis of n samples.
        axis: number of the tensor axis.
    """
    rows = [block.to(values) for block in band.blocks]
    parts = [
        values.narrow(axis, low, block.shape[1])
        for low, block in zip(band.starts, rows, strict=True)
    ]
    if values.requires_grad or values.device.type != "cpu":
        products = [_product(part, block, axis) for part, block in zip(parts, rows, strict=True)]
        return torch.cat(products, axis)
    shape = list(values.shape)  # written at once: on a CPU new memory takes as long as the product
    shape[axis] = sum(map(len, rows))
    mixed = values.new_empty(shape)
    for n, (part, block) in enumerate(zip(parts, rows, strict=True)):
        _product(part, block, axis, mixed.narrow(axis, n * _ROWS, len(block)))
    return mixed


def _product(values: Tensor, matrix: Tensor, axis: int, out: Tensor | None = None) -> Tensor:
    if axis == values.dim() - 1:
        return torch.matmul(values, matrix.T, out=out)
    rows = None if out is None else out.flatten(axis + 1)
    mixed = torch.matmul(matrix, values.flatten(axis + 1), out=rows)
    return mixed.view(*mixed.shape[:-1], *values.shape[axis + 1 :])


def slopes(image: Tensor) -> Tensor:
    """The derivatives of an image (z, y, x) along x y z, per sample: (d, z, y, x).

    Central differences, one-sided at the ends; 0 along an axis of one sample.
    """
    flat = torch.zeros_like(image)
    return torch.stack(
        [
            torch.gradient(image, dim=axis)[0] if image.shape[axis] > 1 else flat
            for axis in range(image.dim() - 1, -1, -1)
        ]
    )


def magnitude(vectors: Tensor, dim: int = 0) -> Tensor:
    """Euclidean length of vectors along one axis of a tensor, which the result lacks.

    On a CPU, `torch.linalg.vector_norm` takes 40 times as long along any axis but the last.
    """
    first, *others = vectors.unbind(dim)
    squares = first * first
    for component in others:
        squares = torch.addcmul(squares, component, component)
    return squares.sqrt()


def bounding_box(marked: Tensor, margin: int = 0) -> tuple[slice, ...]:
    """The smallest part of an array that holds what is marked, and some samples around it.

    Args:
        marked: truth values (z, y, x); where none is true, the part is all of the array.
        margin: samples at each end, as far as the array reaches.
    """
    box = []
    for axis, n in enumerate(marked.shape):
        others = [a for a in range(marked.dim()) if a != axis]
        at = torch.nonzero(marked.any(others) if others else marked)
        first, last = (int(at[0]), int(at[-1])) if len(at) else (0, n - 1)
        box.append(slice(max(first - margin, 0), min(last + margin + 1, n)))
    return tuple(box)


def slabs(shape: tuple[int, ...], samples: int) -> Iterator[slice]:
    """Slices of the first axis that hold at most about `samples` samples each.

    Args:
        shape: of the array, z y x.
        samples: per slab; a slab has at least one row.
    """
    row = max(1, int(torch.Size(shape[1:]).numel()))
    step = max(1, samples // row)
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
