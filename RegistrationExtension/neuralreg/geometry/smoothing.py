"""Gaussian smoothing of arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor

_TRUNCATE = 3.0  # standard deviations
_NEGLIGIBLE = 0.15  # samples: a narrower Gaussian weighs the neighbors with less than 1e-9


def gaussian(values: Tensor, sigma: Sequence[float]) -> Tensor:
    """Values smoothed by a Gaussian; beyond the array the outer samples are repeated.

    Args:
        values: (c, z, y, x).
        sigma: standard deviation per array axis z y x, in samples; at most 0.15 does nothing.
    """
    for axis, width in enumerate(sigma, start=1):
        if width > _NEGLIGIBLE and values.shape[axis] > 1:
            values = _smooth_along(values, width, axis)
    return values


def _smooth_along(values: Tensor, sigma: float, axis: int) -> Tensor:
    """One axis, as a sum of shifted views: faster than conv3d on a CPU, same on a GPU."""
    radius, n = max(1, ceil(_TRUNCATE * sigma)), values.shape[axis]
    at = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    weights: list[float] = (kernel / kernel.sum()).tolist()
    ends = [values.narrow(axis, 0, 1), values.narrow(axis, n - 1, 1)]
    before, after = (torch.cat([end] * radius, axis) for end in ends)
    padded = torch.cat([before, values, after], axis)
    total = padded.narrow(axis, 0, n) * weights[0]
    for shift, weight in enumerate(weights[1:], start=1):
        total.add_(padded.narrow(axis, shift, n), alpha=weight)
    return total
