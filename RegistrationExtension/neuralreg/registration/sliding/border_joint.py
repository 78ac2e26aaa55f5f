"""Both sides of a border brought to the same surface: without gaps and without overlap."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.inverse import invert_points
from neuralreg.geometry.smoothing import gaussian_within
from neuralreg.geometry.typing import Array
from neuralreg.registration.sliding.sliding_border import Border

_ROUNDS = 3
_NEAR = 1.0  # samples: from which the gap is known
_SPREAD = 2.0  # samples, standard deviation of the mean over neighbors of the border
_FADED = 4.0  # samples from the border, and as many gaps: where nothing moves any more
_LEAST = 1e-3  # weight of a mean
_TOLERANCE = 0.02  # samples, of the inverse


def join_sides(
    inner: DisplacementField, outer: DisplacementField, border: Border
) -> tuple[DisplacementField, DisplacementField, Array]:
    """Both layers with the border on one surface, and the gap that is left at its samples in mm.

    What the layers do across the border is shared: each gives way by half of the gap, beside the
    border only. What they do along it stays as it is. A positive gap is an overlap.

    Args:
        inner, outer: deformations of the part and the rest, mm, on the grid of the border.
        border: between both.
    """
    near = border.distance.abs() < _NEAR * max(border.grid.spacing)
    points = border.grid.points_at(torch.nonzero(near).flip(1).double().cpu().numpy())
    for _ in range(_ROUNDS):
        gap, known = measure_gap(inner, outer, border, points)
        offset = _continue_gap(gap, known, near, border)
        inner = compose(DisplacementField(0.5 * offset, border.grid), inner)
        outer = compose(DisplacementField(-0.5 * offset, border.grid), outer)
    return inner, outer, points


def measure_gap(
    inner: DisplacementField, outer: DisplacementField, border: Border, points: Array
) -> tuple[Array, Array]:
    """How far the outer layer takes points beyond where the inner one does, mm, and where known.

    Args:
        inner, outer: of both sides.
        border: between them.
        points: beside it, LPS mm, (n, d).

    Returns:
        The overlap (positive) or gap (negative) (n,), and whether the images show it (n,), bool.
    """
    arrivals = outer(points)
    origins, _ = invert_points(inner, arrivals, tolerance_mm=_TOLERANCE * min(border.grid.spacing))
    known = _is_within(border.grid, origins)
    gap = np.where(known, border.level_at(origins) - border.level_at(points), 0.0)
    return gap, known


def _is_within(grid: Grid, points: Array) -> Array:
    index = grid.indices_at(points)
    return np.asarray(((index >= 0) & (index <= np.subtract(grid.size, 1))).all(1))


def _continue_gap(gap: Array, known: Array, near: Tensor, border: Border) -> Tensor:
    """The gap at samples beside the border as a smooth field across it, mm, (d, z, y, x)."""
    values = torch.zeros_like(border.distance)
    weights = torch.zeros_like(border.distance)
    values[near] = torch.from_numpy(gap).to(values)
    weights[near] = torch.from_numpy(known).to(weights)
    smooth = gaussian_within(values[None], weights, _SPREAD, _LEAST)
    samples = border.distance.abs() / min(border.grid.spacing)
    largest = float(np.abs(gap).max(initial=0.0)) / min(border.grid.spacing)
    fade = (1 - (samples - _NEAR) / max(_FADED, _FADED * largest)).clamp(0, 1)
    return border.normal * smooth * fade
