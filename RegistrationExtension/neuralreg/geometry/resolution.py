"""A field on fewer samples, with what that costs in mm."""

from __future__ import annotations

import numpy as np
import torch

from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.sampling import slabs

_SLAB = 1 << 20  # samples compared at once: about 40 bytes each


def coarsened(field: DisplacementField, factor: float) -> tuple[DisplacementField, float]:
    """The field with about 1/factor of the samples per axis, and its largest error in mm.

    The outer samples stay where they are, so nothing is lost at the border; in between the values
    are read, not averaged. The error is the one of `largest_difference_mm`. `field.resample`
    goes the other way, exactly where the coarse samples lie on the finer grid or between.

    Raises InvalidOption when factor is below 1.
    """
    if not factor >= 1:
        raise InvalidOption("a coarser field has fewer samples", got=f"{factor}", wanted=">= 1")
    size = [1 if n == 1 else max(2, 1 + round((n - 1) / factor)) for n in field.grid.size]
    coarse = field.resample(_same_ends(field.grid, size))
    return coarse, largest_difference_mm(field, coarse)


def _same_ends(grid: Grid, size: list[int]) -> Grid:
    """Another number of samples between the same outer sample centers."""
    steps = np.maximum(np.subtract(grid.size, 1), 1) / np.maximum(np.subtract(size, 1), 1)
    return Grid(tuple(size), tuple(steps * grid.spacing), grid.origin, grid.direction)


def coarsest_within(
    field: DisplacementField, tolerance_mm: float
) -> tuple[DisplacementField, float]:
    """The field on the fewest samples, halving, that stays within a tolerance, and its error in mm.

    Raises InvalidOption when the tolerance is not positive.
    """
    if not tolerance_mm > 0:
        raise InvalidOption("a tolerance is positive", got=f"{tolerance_mm}", wanted="> 0 mm")
    best, factor = (field, 0.0), 2
    while factor < max(field.grid.size):
        candidate = coarsened(field, factor)
        if candidate[1] > tolerance_mm:
            break
        best, factor = candidate, 2 * factor
    return best


def largest_difference_mm(field: DisplacementField, other: DisplacementField) -> float:
    """How far apart two fields send a point, at most, over the samples of the first one's grid.

    Both are linear between samples, so for a coarser `other` on nested samples this is the largest
    difference anywhere.
    """
    largest = 0.0
    for rows in slabs(field.grid.shape, _SLAB):
        gap = field.vectors[:, rows] - other.at(field.grid, rows).to(field.vectors)
        largest = max(largest, float(torch.linalg.vector_norm(gap, dim=0).max()))
    return largest
