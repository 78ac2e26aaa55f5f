"""Label maps read between their samples: each label votes, the winner takes the sample."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.resampling_coordinates import Landing
from neuralreg.geometry.sampling import index_to_unit, sample, slabs
from neuralreg.geometry.smoothing import gaussian

_SLAB = 1 << 21  # large, because neighboring slabs smooth the same indicators again
_SIGMA = 0.4  # voxels of the coarser grid; up to 0.5 a lone voxel survives the identity in 3D
_REACH = 3.0  # standard deviations after which an indicator has no vote


def vote(labels: Image, landing: Landing, outside: int) -> Image:
    """The label map where the samples land: see `warp_labels`, method "smooth"."""
    grid = landing.grid
    sigma = _sigma(labels.grid, grid)
    output = labels.data.new_empty(1, *grid.shape)
    for rows in slabs(grid.shape, _SLAB):
        unit = landing.unit(rows)
        winner = _winners(labels.data[0], unit, sigma)
        lost = landing.lost(unit)
        if lost is not None:
            winner.masked_fill_(lost, outside)
        output[0, rows] = winner
    return Image(output, grid)


def _sigma(source: Grid, target: Grid) -> tuple[float, ...]:
    """Width of the smoothing per array axis z y x, in voxels of the label map."""
    d = source.dimension
    axes = np.reshape(source.direction, (d, d)).T @ np.reshape(target.direction, (d, d))
    footprint = np.abs(axes) @ target.spacing / source.spacing
    return tuple(float(_SIGMA * max(1.0, f)) for f in footprint[::-1])


def _winners(data: Tensor, unit: Tensor, sigma: tuple[float, ...]) -> Tensor:
    """The label with most votes at unit coordinates (d, z, y, x): (z, y, x)."""
    index = _inside_index(unit, data)
    margin = [ceil(_REACH * s) + 2 for s in sigma]
    low, high = torch.aminmax(index.flip(1), dim=0)
    corner, crop = _cropped(data, low.tolist(), high.tolist(), margin)
    index = index - corner
    votes = index.new_zeros(len(index))
    winner = data.new_zeros(len(index))
    for label in torch.unique(crop).tolist():
        chosen, share = _votes(crop == label, index, sigma, margin)
        better = share > votes[chosen]
        chosen, share = chosen[better], share[better]
        votes[chosen] = share
        winner[chosen] = label
    return winner.view(unit.shape[1:])


def _inside_index(unit: Tensor, data: Tensor) -> Tensor:
    """Indices x y z (n, d), moved to the nearest sample where they lie outside of the array."""
    size = tuple(data.shape[::-1])
    to_index = torch.as_tensor(np.linalg.inv(index_to_unit(size))).to(unit)
    index = unit.flatten(1).T * to_index.diagonal()[:-1] + to_index[:-1, -1]
    return index.clamp(min=0).minimum(torch.tensor(size).to(unit) - 1)


def _cropped(
    array: Tensor, low: list[float], high: list[float], margin: list[int]
) -> tuple[Tensor, Tensor]:
    """The box of an array from low to high (z y x) with a margin: its corner x y z, its values."""
    start = [max(0, int(a) - m) for a, m in zip(low, margin, strict=True)]
    stop = [int(b) + m + 1 for b, m in zip(high, margin, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return torch.tensor(start[::-1], device=array.device), array[box]


def _votes(
    indicator: Tensor, index: Tensor, sigma: tuple[float, ...], margin: list[int]
) -> tuple[Tensor, Tensor]:
    """Which points (n, d) a label reaches, and its smoothed indicator there."""
    where = torch.nonzero(indicator)
    low, high = where.amin(0), where.amax(0)
    corner, part = _cropped(indicator.float(), low.tolist(), high.tolist(), margin)
    smoothed = gaussian(part[None], sigma)
    reach = torch.tensor(margin[::-1]).to(index)
    near = ((index > low.flip(0) - reach) & (index < high.flip(0) + reach)).all(1)
    chosen = torch.nonzero(near)[:, 0]
    points = index[chosen] - corner
    share = sample(smoothed, points.view(-1, *[1] * (points.shape[1] - 1), points.shape[1]))
    return chosen, share.flatten()
