"""Channels: further images of both sides, each pair with a weight of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.linear_search import agreement
from neuralreg.registration.working_grid import (
    InitialTransform,
    WorkingPair,
    overlap_mask,
    resample_through,
)


@dataclass(frozen=True, eq=False)
class Channel:
    """One image of each side, on grids of their own in the world of their side.

    Attributes:
        fixed, moving: of unit intensities.
        weight: beside the other channels.
        name: in messages.
    """

    fixed: Image
    moving: Image
    weight: float = 1.0
    name: str = "the first channel"

    @property
    def sides(self) -> tuple[Image, Image]:
        """Both images."""
        return self.fixed, self.moving

    def coverage(self, grid: Grid, transform: InitialTransform) -> Tensor:
        """1 where a sample of a grid has data on both sides, else 0, (z, y, x)."""
        identity = LinearTransform.identity(grid.dimension)
        sides = zip(self.sides, (identity, transform), strict=True)
        fixed, moving = (overlap_mask(i.grid, grid, through, i.data) for i, through in sides)
        return fixed * moving

    def working_pair(
        self, grid: Grid, initial: InitialTransform, counted: Tensor
    ) -> WorkingPair | None:
        """The channel on a work grid; None where no sample counts on both sides.

        Args:
            grid: the work grid.
            initial: comes before the moving image.
            counted: how much each sample counts, (z, y, x).
        """
        valid = self.coverage(grid, initial) * counted
        if not bool(valid.any()):
            return None
        return replace(WorkingPair.of(self.sides, valid, grid, initial), weight=self.weight)


def mean_agreement(
    channels: Sequence[Channel], grid: Grid, transforms: Sequence[InitialTransform]
) -> tuple[float, float, float]:
    """Mutual information in nats after each of three transforms: the weighted mean of channels.

    Args:
        channels: at least one.
        grid: of the samples.
        transforms: fixed to moving; the last two are compared at the same samples.
    """
    total = sum(channel.weight for channel in channels)
    sums = [0.0, 0.0, 0.0]
    for channel in channels:
        identity = LinearTransform.identity(grid.dimension)
        fixed = resample_through(channel.fixed.data, channel.fixed.grid, grid, identity)
        known = [channel.coverage(grid, transform) for transform in transforms]
        known[1:] = [known[1] * known[2]] * 2
        for n, transform in enumerate(transforms):
            moving = resample_through(channel.moving.data, channel.moving.grid, grid, transform)
            sums[n] += channel.weight / total * agreement(fixed, moving, known[n])
    return sums[0], sums[1], sums[2]
