"""Local correlation of two images as a cost, with its gradient written out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuralreg.geometry.smoothing import box_sum

_FLOOR = 1e-4  # variance of noise in 0..1 intensities: flatter windows count less


class LocalCorrelation:
    """Negative mean over windows of the signed squared correlation of two images of one modality.

    fixed: (z, y, x) in 0..1. valid: (z, y, x) in 0..1, weight of each voxel in its windows and of
    each window. radius: half width of the windows in voxels.

    Source: Avants et al. 2008, doi:10.1016/j.media.2007.06.004, eq. 5, with the sign of the
    correlation kept, so that inverted contrast does not count as agreement, and a floor under the
    variances. The gradient with respect to the warped image is three box sums of per-window
    derivatives; automatic differentiation through the windows is several times slower.
    """

    def __init__(self, fixed: Tensor, valid: Tensor, radius: int) -> None:
        self.fixed, self.valid, self.radius = fixed, valid, radius
        self.weight = 1 / box_sum(valid, radius).clamp(min=1e-6)
        self.share = valid / valid.sum().clamp(min=1e-6)
        self.mean = self.local(fixed)
        self.variance = (self.local(fixed * fixed) - self.mean**2).clamp(min=0) + _FLOOR

    def local(self, values: Tensor) -> Tensor:
        """Weighted mean in each window."""
        return box_sum(values * self.valid, self.radius) * self.weight

    def correlation(self, warped: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Per window: covariance, variance of the warped image with the floor, and its mean."""
        mean = self.local(warped)
        variance = (self.local(warped * warped) - mean * mean).clamp_(min=0) + _FLOOR
        return self.local(self.fixed * warped) - self.mean * mean, variance, mean

    def __call__(self, warped: Tensor) -> Tensor:
        """The cost of a warped image (z, y, x), between -1 and 1; differentiable."""
        cost: Tensor = _Cost.apply(warped, self)  # type: ignore[no-untyped-call]
        return cost

    def parts(self, warped: Tensor) -> _Parts:
        """What the cost and its gradient are made of, per window."""
        common, variance, mean = self.correlation(warped)
        scale = self.share / (self.variance * variance)
        return _Parts(common, variance, mean, common.abs() * scale)

    def gradient(self, warped: Tensor, parts: _Parts) -> Tensor:
        """The derivative of the cost with respect to each voxel of the warped image."""
        common, variance, mean, ratio = parts
        to_common = 2 * ratio * self.weight
        to_variance = -(common * ratio / variance) * self.weight
        to_mean = -to_common * self.mean - 2 * to_variance * mean
        gradient = box_sum(to_common, self.radius) * self.fixed
        gradient += 2 * box_sum(to_variance, self.radius) * warped
        gradient += box_sum(to_mean, self.radius)
        return -gradient * self.valid


class _Parts(NamedTuple):
    """Per window: covariance, variance and mean of the warped image, covariance by variances."""

    common: Tensor
    variance: Tensor
    mean: Tensor
    ratio: Tensor

    def cost(self) -> Tensor:
        """Of the whole image, between -1 and 1."""
        return -(self.common * self.ratio).sum()


class _Cost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, warped: Tensor, windows: LocalCorrelation) -> Tensor:
        parts = windows.parts(warped)
        ctx.windows = windows
        ctx.save_for_backward(warped, *parts)
        return parts.cost()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        warped, *parts = ctx.saved_tensors
        return outer[0] * ctx.windows.gradient(warped, _Parts(*parts)), None
