"""A field that means the same to readers that are linear between samples and to cubic ones.

ITK reads a displacement field as linear between its samples, Slicer reads every file as cubic.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid

TOLERANCE_MM = 0.1
_MOST_SAMPLES = 8_000_000
_log = logging.getLogger(__name__)


def readable(
    field: DisplacementField, covered: Grid | None = None, tolerance_mm: float = TOLERANCE_MM
) -> DisplacementField:
    """The same linear field on a grid on which cubic readers stay this close to it.

    Samples are added half-way along the axes that need it; each time the difference is halved. A
    field too rough for 8 million samples is left with a larger difference, and a warning logged:
    smoothing such a field until both agree moves single points by millimeters.
    covered: what counts, such as the fixed image's grid; beyond it is margin.
    Raises InvalidTransform when the field is not finite.
    """
    if not torch.isfinite(field.vectors).all():
        raise InvalidTransform("displacements are finite", got="NaN or infinite numbers")
    while (gap := reading_gap(field, covered))[0] > tolerance_mm:
        finer = np.array(field.grid.size)
        refined = gap[1] > 0.25 * gap[1].max()
        finer[refined] = 2 * finer[refined] - 1
        if np.prod(finer) > _MOST_SAMPLES:
            _log.warning("cubic readers of the field, such as Slicer, differ by %.2g mm", gap[0])
            break
        field = field.resampled(_between_the_same_ends(field.grid, finer))
        if 2 * np.prod(finer) > _MOST_SAMPLES:  # to measure what cannot be mended takes seconds
            if (left := gap[0] / 2) > tolerance_mm:
                text = "cubic readers of the field, such as Slicer, differ by about %.2g mm"
                _log.warning(text, left)
            break
    return field


def reading_gap(
    field: DisplacementField, covered: Grid | None = None
) -> tuple[float, NDArray[np.float64]]:
    """How far cubic and linear readers differ, in mm: the most in any cell, and per axis x y z."""
    inside = _cells_reaching(field.grid, covered or field.grid)
    if not all(s.stop > s.start for s in inside):
        return 0.0, np.zeros(field.grid.dimension)
    cells, per_axis = _gaps(field.vectors)
    return float(cells[inside].max()), np.array([float(g[inside].max()) for g in per_axis])


def _between_the_same_ends(grid: Grid, size: NDArray[np.int64]) -> Grid:
    steps = np.maximum(np.array(grid.size) - 1, 1)
    spacing = np.array(grid.spacing) * steps / np.maximum(size - 1, 1)
    return Grid(tuple(size.tolist()), tuple(spacing.tolist()), grid.origin, grid.direction)


def _gaps(u: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Per cell (z, y, x) the largest difference there can be; the same along each axis x y z.

    Half-way between b and c of neighbors a b c d the cubic kernel that VTK uses gives
    (9 (b + c) - (a + d)) / 16, the linear one (b + c) / 2: they are (b + c - a - d) / 16 apart.
    """
    d = u.dim() - 1
    per_axis = []
    for axis in range(d, 0, -1):
        end = torch.zeros_like(u.narrow(axis, 0, 1))
        steps = torch.cat([end, u.diff(dim=axis), end], axis)  # none beyond the ends
        n = max(u.shape[axis] - 1, 1)
        last = steps.shape[axis] - n
        largest = (steps.narrow(axis, 0, n) - steps.narrow(axis, last, n)).norm(dim=0) / 16
        for other in (o for o in range(d) if o != axis - 1 and largest.shape[o] > 1):
            ends = (largest.narrow(other, k, largest.shape[other] - 1) for k in (0, 1))
            largest = torch.maximum(*ends)
        per_axis.append(largest)
    return torch.stack(per_axis).sum(0), per_axis


def _cells_reaching(grid: Grid, covered: Grid) -> tuple[slice, ...]:
    """Which cells z y x between the samples of a grid reach into another one."""
    corners = grid.indices_at(covered.corners())
    last = np.maximum(np.array(grid.size) - 1, 1)
    low = np.clip(np.floor(corners.min(0)), 0, None).astype(int)
    high = np.minimum(np.ceil(corners.max(0)).astype(int), last)
    high = np.where(np.array(grid.size) == 1, 1, high)
    low = np.where(np.array(grid.size) == 1, 0, low)
    return tuple(slice(first, end) for first, end in zip(low[::-1], high[::-1], strict=True))
