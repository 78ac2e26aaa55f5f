"""Separable windows over arrays in memory: Gaussians, means and sums over boxes.

Each axis is one product with a matrix that has the window in every row: on a CPU 2 to 7 times
faster than sums of shifted views, which pass over memory once for each of their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil

import torch
from torch import Tensor

from neuralreg.geometry.sampling import Band, mix

_TRUNCATE = 3.0  # standard deviations
# Matrices of each kind, a few hundred kilobytes each at most. They are made outside of inference
# mode: whoever comes later may take gradients through them.
_KEPT = 32
_NEGLIGIBLE = 0.15  # samples: a narrower Gaussian weighs the neighbors with less than 1e-9


def gaussian(values: Tensor, sigma: Sequence[float]) -> Tensor:
    """Values smoothed by a Gaussian; beyond the array the outer samples are repeated.

    Args:
        values: (c, z, y, x).
        sigma: standard deviation per array axis z y x, in samples; at most 0.15 does nothing.
    """
    for axis, width in enumerate(sigma, start=1):
        if width > _NEGLIGIBLE and values.shape[axis] > 1:
            values = mix(values, _gaussian(values.shape[axis], width), axis)
    return values


def gaussian_at(values: Tensor, sigma: Sequence[float], shape: Sequence[int]) -> Tensor:
    """Values smoothed by a Gaussian, at fewer samples between the same ends.

    Args:
        values: (c, z, y, x).
        sigma: standard deviation per array axis z y x, in samples of `values`.
        shape: samples of the result, z y x.

    Returns:
        Values (c, z', y', x').
    """
    for axis, (width, count) in enumerate(zip(sigma, shape, strict=True), start=1):
        if values.shape[axis] > 1:
            values = mix(values, _gaussian_at(values.shape[axis], width, count), axis)
    return values


def gaussian_within(values: Tensor, weights: Tensor, sigma: float, least: float = 1e-6) -> Tensor:
    """Gaussian means of values (c, z, y, x) over samples with weights (z, y, x) only.

    Args:
        values: (c, z, y, x).
        weights: (z, y, x), 0 where a value does not count.
        sigma: standard deviation along each axis, in samples.
        least: weight of a mean; where all are smaller it fades to 0.

    Source: normalized convolution, Knutsson & Westin 1993, doi:10.1109/CVPR.1993.341081.
    """
    widths = [sigma] * weights.dim()
    return gaussian(values * weights, widths) / gaussian(weights[None], widths).clamp(min=least)


def box_mean(values: Tensor, radius: int, times: int = 1) -> Tensor:
    """Mean over a cube around each voxel; the border is repeated.

    Args:
        values: (b, c, z, y, x).
        radius: the cube has 2 radius + 1 voxels along each axis.
        times: how often the mean is taken.
    """
    for axis in range(2, values.dim()):
        values = mix(values, _mean(values.shape[axis], radius, times), axis)
    return values


def box_sum(values: Tensor, radius: int) -> Tensor:
    """Sum over a cube of side 2 radius + 1 of (z, y, x), zero outside; its own transpose."""
    for axis, n in enumerate(values.shape):
        values = mix(values, _sum(n, radius), axis)
    return values


@lru_cache(_KEPT)
@torch.inference_mode(False)
def _gaussian(n: int, sigma: float) -> Band:
    return Band.of(_gaussian_matrix(n, sigma))


@lru_cache(_KEPT)
@torch.inference_mode(False)
def _gaussian_at(n: int, sigma: float, count: int) -> Band:
    positions = torch.linspace(0, n - 1, count, dtype=torch.float64)
    samples = torch.arange(n, dtype=torch.float64)
    hats = (1 - (positions[:, None] - samples).abs()).clamp(min=0)
    return Band.of(hats @ _gaussian_matrix(n, sigma))


def _gaussian_matrix(n: int, sigma: float) -> Tensor:
    radius = max(1, ceil(_TRUNCATE * sigma))
    at = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    return _repeating(kernel / kernel.sum(), n)


@lru_cache(_KEPT)
@torch.inference_mode(False)
def _mean(n: int, radius: int, times: int) -> Band:
    kernel = torch.full((2 * radius + 1,), 1 / (2 * radius + 1), dtype=torch.float64)
    return Band.of(torch.linalg.matrix_power(_repeating(kernel, n), times))


@lru_cache(_KEPT)
@torch.inference_mode(False)
def _sum(n: int, radius: int) -> Band:
    return Band.of(torch.ones(n, n).tril(radius).triu(-radius))


def _repeating(kernel: Tensor, n: int) -> Tensor:
    """The matrix (n, n) of a window whose outer samples have the weights of what is beyond."""
    radius = len(kernel) // 2
    columns = (torch.arange(n)[:, None] + torch.arange(-radius, radius + 1)).clamp(0, n - 1)
    return kernel.new_zeros(n, n).scatter_add_(1, columns, kernel.expand(n, -1))
