"""What the channels of a pair cost, and how much alike they look, through a displacement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.measures.correlation_cost import LocalCorrelation
from neuralreg.measures.mind import mind_ssc
from neuralreg.registration.linear_search import agreement
from neuralreg.registration.working_grid import WorkingPair, equalize, quantiles

Cost = Callable[[Tensor], Tensor]

_MIND_POINTS = 150_000  # descriptors are compared at about as many places
_LNCC_RADIUS = 3
_CONTRAST = 1e-3  # variance of 0..1 intensities in a window that shows something
_FEWEST_WINDOWS = 100
_ONE_MODALITY = 0.4  # scatter of the local gain: 0.04 to 0.3 valid within one, 0.47 for T2 and PD


def enlarge(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values (c, z, y, x) between the same ends in another number of samples."""
    mode = "trilinear" if len(shape) == 3 else "bilinear"
    between: Tensor = functional.interpolate(
        values[None], size=shape, mode=mode, align_corners=True
    )
    return between[0]


def _cell(shape: Sequence[int], factor: int) -> tuple[int, ...]:
    """Samples per axis that are looked at as one."""
    return tuple(factor if n >= 4 * factor else 1 for n in shape)


def _pool(values: Tensor, cell: tuple[int, ...]) -> Tensor:
    pool = functional.avg_pool3d if values.dim() == 4 else functional.avg_pool2d
    return pool(values[None], cell, stride=cell)[0]


class _Scale:
    """One resolution of the work grid: where its samples are, and their displacement."""

    def __init__(self, pooled: Tensor, cell: tuple[int, ...]) -> None:
        self.shape = tuple(pooled.shape[1:])
        self.cell = torch.tensor(cell[::-1]).to(pooled).view(-1, *[1] * len(cell))
        self.index = index_grid(self.shape, like=pooled)

    def coordinates(self, displacement: Tensor) -> Tensor:
        """Indices (z, y, x, d) where the samples go by a displacement at control points."""
        return self.index + (enlarge(displacement, self.shape) / self.cell).movedim(0, -1)


def mind_cost(pair: WorkingPair) -> Cost:
    """Mean squared difference of MIND-SSC, at a resolution that keeps it affordable."""
    factor = 1
    while pair.valid.numel() / factor ** pair.valid.dim() > _MIND_POINTS:
        factor += 1
    cell = _cell(pair.valid.shape, factor)
    fixed, moving = (_pool(mind_ssc(image[None])[0], cell) for image in (pair.fixed, pair.moving))
    valid = _pool(pair.valid[None], cell)[0]
    scale = _Scale(fixed, cell)

    def cost(displacement: Tensor) -> Tensor:
        warped = sample(moving, scale.coordinates(displacement))
        return 10 * ((warped - fixed).square().mean(0) * valid).sum() / valid.sum()

    return cost


def lncc_cost(part: ChannelPart, factor: int) -> Cost:
    """Negative mean of the signed squared local correlation, on voxels `factor` times larger."""
    cell = _cell(part.pair.valid.shape, factor)
    fixed, moving, valid = (
        _pool(v, cell) for v in (part.fixed, part.moving, part.pair.valid[None])
    )
    windows = LocalCorrelation(fixed[0], valid[0], _LNCC_RADIUS)
    scale = _Scale(fixed, cell)

    def cost(displacement: Tensor) -> Tensor:
        return windows(sample(moving, scale.coordinates(displacement))[0])

    return cost


def gain_scatter(fixed: Tensor, warped: Tensor, valid: Tensor) -> float:
    """How much the local slope between two images (z, y, x) varies: 0 is one and the same gain.

    The interquartile range of the logarithm of covariance over variance, in windows with contrast
    where both images go up and down together. Within one modality a brighter place is brighter by
    about the same factor everywhere; between modalities each pair of tissues has its own.
    Infinite when there are no such windows.
    """
    windows = LocalCorrelation(fixed, valid, _LNCC_RADIUS)
    common, warped_variance, _ = windows.correlation(warped)
    agreeing = common.square() > 0.5 * windows.variance * warped_variance
    chosen = agreeing & (common > 0) & (windows.variance > _CONTRAST) & (valid > 0.5)
    if int(chosen.sum()) < _FEWEST_WINDOWS:
        return float("inf")
    low, high = quantiles((common[chosen] / windows.variance[chosen]).log(), 0.25, 0.75)
    return high - low


class Channels:
    """The channels of a pair: how they look through a displacement, and what they cost.

    Each follows the similarity that suits it, as a single pair of images does.
    """

    def __init__(self, pair: WorkingPair) -> None:
        self.parts = [
            ChannelPart(share, one, *(equalize(v, one.body) for v in (one.fixed, one.moving)))
            for share, one in pair.shares()
        ]
        self.index = index_grid(tuple(pair.valid.shape), like=pair.fixed)

    @torch.no_grad()
    def agreement(self, voxels: Tensor) -> float:
        """Mutual information in nats after a displacement, voxels (d, z, y, x): weighted mean."""
        at = self.index + voxels.movedim(0, -1)
        return sum(
            part.share * agreement(part.fixed, sample(part.moving, at), part.pair.valid)
            for part in self.parts
        )

    def mind_cost(self) -> Cost:
        """MIND of all channels."""
        return _join_costs([(part.share, mind_cost(part.pair)) for part in self.parts])

    def lncc_cost(self, factor: int, similarities: Sequence[str], scale: float) -> Cost:
        """LNCC of the channels that follow it, beside MIND of the others.

        Args:
            factor: how many voxels are looked at as one along each axis.
            similarities: "lncc" or "mind" for each channel.
            scale: of MIND beside LNCC, so that it is as stiff as with a roughness of its own.
        """
        costs: list[tuple[float, Cost]] = []
        for part, name in zip(self.parts, similarities, strict=True):
            if name == "mind":
                costs.append((scale * part.share, mind_cost(part.pair)))
            else:
                costs.append((part.share, lncc_cost(part, factor)))
        return _join_costs(costs)

    @torch.no_grad()
    def are_alike(self, voxels: Tensor) -> list[bool]:
        """Whether the images of each channel look like one modality after a displacement."""
        at = self.index + voxels.movedim(0, -1)
        return [
            gain_scatter(part.fixed[0], sample(part.moving, at)[0], part.pair.valid) < _ONE_MODALITY
            for part in self.parts
        ]


class ChannelPart(NamedTuple):
    """One channel: its share of all weights, and its images, equalized."""

    share: float
    pair: WorkingPair
    fixed: Tensor
    moving: Tensor


def _join_costs(costs: list[tuple[float, Cost]]) -> Cost:
    """The weighted sum of costs."""
    if len(costs) == 1 and costs[0][0] == 1:
        return costs[0][1]
    return lambda displacement: torch.stack([w * cost(displacement) for w, cost in costs]).sum()
