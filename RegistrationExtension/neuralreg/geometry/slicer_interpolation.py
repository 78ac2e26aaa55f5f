"""A field that means the same to readers that are linear between samples and to cubic ones.

ITK and this core read a displacement field as linear between its samples, Slicer reads every file
as cubic. Results in a scene are Slicer's: a node keeps the samples of the registration, and what
lies beside it is made of the field that Slicer reads from them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.finer_grid import halve_steps, sample_cubic
from neuralreg.geometry.grid import Grid

TOLERANCE_MM = 0.1
_MOST_SAMPLES = 8_000_000
_MOST_SAMPLES_IN_MEMORY = 16_000_000  # of what is computed with, and not stored in a scene
_ON_A_SAMPLE = 1e-3  # of a step
_log = logging.getLogger(__name__)


def resample_for_cubic_readers(
    field: DisplacementField, covered: Grid | None = None, tolerance_mm: float = TOLERANCE_MM
) -> DisplacementField:
    """The same linear field on a grid on which cubic readers stay close to it.

    Args:
        field: linear between its samples.
        covered: the grid that counts, such as that of the fixed image; the field's own unless
            given.
        tolerance_mm: largest difference of both readings. What stays too rough is logged, see
            `halvings`.

    Raises:
        InvalidTransform: when the field is not finite.
    """
    times = halvings(field, covered, tolerance_mm)
    return field.resample(halve_steps(field.grid, times)) if any(times) else field


def resample_for_linear_readers(
    field: DisplacementField, covered: Grid | None = None, tolerance_mm: float = TOLERANCE_MM
) -> DisplacementField:
    """What a cubic reader makes of a field, on a grid on which linear readers stay close to it.

    Args:
        field: its samples.
        covered: the grid that counts, such as that of the fixed image; the field's own unless
            given.
        tolerance_mm: largest difference of both readings. A field that would need more than 16
            million samples keeps a larger one, and a warning is logged.

    Raises:
        InvalidTransform: when the field is not finite.
    """
    times, finer = np.zeros(field.grid.dimension, int), field
    while (gap := interpolation_difference(finer, covered)) > tolerance_mm:
        times = times + 1
        if halve_steps(field.grid, times.tolist()).count > _MOST_SAMPLES_IN_MEMORY:
            _log.warning("the field is rough: linear readers of it stay %.2g mm from Slicer", gap)
            break
        finer = _sample_cubic(field, times.tolist())
    return finer


def crop_for_cubic_readers(field: DisplacementField, covered: Grid) -> DisplacementField:
    """The samples of a field that a cubic reader needs between those of a grid: no more margin.

    Slicer writes 24 bytes for each, without compression.

    Args:
        field: its samples, on a grid that reaches beyond `covered`.
        covered: the grid between whose samples nothing changes; the border counts sooner beyond.
    """
    ends = product(*((0, n - 1) for n in covered.size))
    index = field.grid.indices_at(covered.points_at(np.array(list(ends), float)))
    low = np.floor(index.min(0) + _ON_A_SAMPLE).astype(int) - 1
    high = np.ceil(index.max(0) - _ON_A_SAMPLE).astype(int) + 2
    low, high = np.maximum(low, 0), np.minimum(high, field.grid.size)
    inside = tuple(
        slice(*ends) for ends in zip(low[::-1].tolist(), high[::-1].tolist(), strict=True)
    )
    origin = field.grid.points_at(low[None].astype(float))[0]
    size, spacing = tuple((high - low).tolist()), field.grid.spacing
    grid = Grid(size, spacing, tuple(origin.tolist()), field.grid.direction)
    return DisplacementField(field.vectors[(slice(None), *inside)].contiguous(), grid)


def _sample_cubic(field: DisplacementField, times: Sequence[int]) -> DisplacementField:
    grid = halve_steps(field.grid, times)
    vectors = field.vectors.detach().cpu().movedim(0, -1).numpy()
    finer = np.empty((*grid.shape, grid.dimension), vectors.dtype)
    deque(sample_cubic(vectors, times, finer), maxlen=0)
    return DisplacementField(torch.from_numpy(finer).movedim(-1, 0).contiguous(), grid)


def halvings(
    field: DisplacementField, covered: Grid | None = None, tolerance_mm: float = TOLERANCE_MM
) -> tuple[int, ...]:
    """How often the steps along x y z must be halved until cubic readers stay close to linear ones.

    Each halving halves the difference, along the axes that need it. A field too rough for 8 million
    samples is left with a larger difference, and a warning is logged: smoothing such a field until
    both agree moves single points by millimeters.

    Args:
        field: linear between its samples.
        covered: the grid that counts, such as that of the fixed image; beyond it is margin.
        tolerance_mm: largest difference of both readings.

    Raises:
        InvalidTransform: when the field is not finite.
    """
    _require_finite(field)
    gaps = _Gaps(field, covered or field.grid)
    times = np.zeros(field.grid.dimension, int)
    while (largest := gaps.largest(times)) > tolerance_mm:
        per_axis = gaps.per_axis(times)
        more = times + (per_axis > 0.25 * per_axis.max())
        if halve_steps(field.grid, more).count > _MOST_SAMPLES:
            _log.warning("cubic readers of the field, such as Slicer, differ by %.2g mm", largest)
            break
        times = more
    return tuple(times.tolist())


def interpolation_difference(field: DisplacementField, covered: Grid | None = None) -> float:
    """How far cubic and linear readers of a field differ at most, in mm.

    Args:
        field: the samples that both read.
        covered: the grid that counts; the field's own unless given.

    Raises:
        InvalidTransform: when the field is not finite.
    """
    _require_finite(field)
    return _Gaps(field, covered or field.grid).largest([0] * field.grid.dimension)


def _require_finite(field: DisplacementField) -> None:
    if not torch.isfinite(field.vectors).all():
        raise InvalidTransform("displacements are finite", got="NaN or infinite numbers")


class _Gaps:
    """The largest difference there can be in each cell of a grid, and in the parts of the cell.

    Half-way between b and c of neighbors a b c d the cubic kernel that VTK uses gives
    (9 (b + c) - (a + d)) / 16, the linear one (b + c) / 2: they are the sum of the kinks at b and
    at c, divided by 16, apart. With samples between, each kink is alone and half as large.
    """

    def __init__(self, field: DisplacementField, covered: Grid) -> None:
        inside = _cells_reaching(field.grid, covered)
        self.any = all(part.stop > part.start for part in inside)
        axes = range(field.grid.dimension, 0, -1) if self.any else ()
        self._of_axes = [tuple(g[inside] for g in _gaps(field.vectors, axis)) for axis in axes]

    def per_axis(self, times: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """The largest along each axis x y z, after its steps were halved so often."""
        return np.array([float(part.max()) for part in self._parts(times)])

    def largest(self, times: Sequence[int] | NDArray[np.int64]) -> float:
        """The largest in any cell."""
        return float(torch.stack(self._parts(times)).sum(0).max()) if self.any else 0.0

    def _parts(self, times: Sequence[int] | NDArray[np.int64]) -> list[Tensor]:
        pairs = zip(self._of_axes, times, strict=True)
        return [alone / 2.0 ** int(n) if n else both for (both, alone), n in pairs]


def _gaps(u: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Per cell (z, y, x), along one axis: of both kinks together, of the larger one alone."""
    kinks = torch.zeros_like(u)
    if (n := u.shape[axis] - 1) > 0:
        steps = u.diff(dim=axis)
        kinks.narrow(axis, 0, n).copy_(steps)  # there is no step beyond the ends
        kinks.narrow(axis, 1, n).sub_(steps)
        both = _square(kinks.narrow(axis, 0, n) + kinks.narrow(axis, 1, n))
    else:
        both = _square(kinks)
    alone = _at_ends(_square(kinks), range(u.dim() - 1))
    others = [other for other in range(u.dim() - 1) if other != axis - 1]
    return _at_ends(both, others).sqrt_() / 16, alone.sqrt_() / 16


def _square(vectors: Tensor) -> Tensor:
    """Squared lengths; several times faster than a norm over the first axis."""
    total = vectors[0].square()
    for part in vectors[1:]:
        total.addcmul_(part, part)
    return total


def _at_ends(sizes: Tensor, axes: Iterable[int]) -> Tensor:
    """The largest at the ends of each cell along some axes; in between it is less."""
    for axis in (axis for axis in axes if sizes.shape[axis] > 1):
        sizes = torch.maximum(*(sizes.narrow(axis, k, sizes.shape[axis] - 1) for k in (0, 1)))
    return sizes


def _cells_reaching(grid: Grid, covered: Grid) -> tuple[slice, ...]:
    """Which cells z y x between the samples of a grid reach into another one."""
    corners = grid.indices_at(covered.corners())
    last = np.maximum(np.array(grid.size) - 1, 1)
    low = np.clip(np.floor(corners.min(0)), 0, None).astype(int)
    high = np.minimum(np.ceil(corners.max(0)).astype(int), last)
    high = np.where(np.array(grid.size) == 1, 1, high)
    low = np.where(np.array(grid.size) == 1, 0, low)
    return tuple(slice(first, end) for first, end in zip(low[::-1], high[::-1], strict=True))
