"""Cubic B-spline interpolation: smooth between the samples and exact at them."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from neuralreg.geometry.sampling import index_to_unit, mix, sample_unit

_MIRRORED = 2  # samples that the four taps need beyond each end


def bspline_coefficients(values: Tensor) -> Tensor:
    """Coefficients of the cubic spline through values (c, z, y, x), with mirrored ends added.

    Two more samples at both ends of each axis. The spline continues mirrored about its outer
    samples, as ITK's does. The filter is applied as a small dense matrix per axis, which is the
    exact inverse of the spline's own and a single matrix product on any device.
    Source: Unser, Aldroubi, Eden 1993, doi:10.1109/78.193221.
    """
    for axis in range(1, values.dim()):
        values = mix(values, _filter(values.shape[axis]), axis)
    return values


def _filter(n: int) -> Tensor:
    """From n values to n + 4 coefficients, the last ones mirrored: (n + 4, n), float64."""
    if n == 1:
        return torch.ones(1 + 2 * _MIRRORED, 1, dtype=torch.float64)
    spline = torch.eye(n, dtype=torch.float64) * (4 / 6)
    inner = torch.full((n - 1,), 1 / 6, dtype=torch.float64)
    spline += torch.diag(inner, 1) + torch.diag(inner, -1)
    spline[0, 1] = spline[-1, -2] = 2 / 6
    period = 2 * (n - 1)
    at = torch.arange(-_MIRRORED, n + _MIRRORED) % period
    inverse: Tensor = torch.linalg.inv(spline)
    return inverse[torch.minimum(at, period - at)]


def sample_bspline(coefficients: Tensor, unit: Tensor) -> Tensor:
    """The spline (c, z, y, x) at unit coordinates (d, z', y', x') of its image: (c, z', y', x').

    coefficients: from `bspline_coefficients`. Beyond half a voxel outside of the image the value
    at that edge is repeated. The 4^d taps are read as 2^d linear interpolations at shifted places.
    Source: Sigg, Hadwiger 2005, GPU Gems 2, chapter 20.
    """
    size = [n - 2 * _MIRRORED for n in coefficients.shape[:0:-1]]
    to_index = torch.linalg.inv(torch.as_tensor(index_to_unit(tuple(size)))).to(unit)
    to_unit = torch.as_tensor(index_to_unit(tuple(coefficients.shape[:0:-1]))).to(unit)
    places, weights = [], []
    for c, n in enumerate(size):
        index = (unit[c] * to_index[c, c] + to_index[c, -1]).clamp(-0.5, n - 0.5)
        low = index.floor()
        left, right, first, second = _pair(index - low)
        weights.append((left, right))
        padded = low + _MIRRORED
        places.append(
            tuple((padded + at) * to_unit[c, c] + to_unit[c, -1] for at in (first, second))
        )
    total = unit.new_zeros(len(coefficients), *unit.shape[1:])
    for corner in product((0, 1), repeat=len(size)):
        at = torch.stack([places[c][side] for c, side in enumerate(corner)], -1)
        weight = weights[0][corner[0]]
        for c, side in enumerate(corner[1:], start=1):
            weight = weight * weights[c][side]
        total += weight * sample_unit(coefficients, at)
    return total


def _pair(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of the two linear reads at fraction t, and where they lie relative to the floor."""
    w0, w3 = (1 - t) ** 3 / 6, t**3 / 6
    w1 = (4 - 6 * t**2 + 3 * t**3) / 6
    left = w0 + w1
    right = 1 - left
    return left, right, w1 / left - 1, w3 / right + 1
