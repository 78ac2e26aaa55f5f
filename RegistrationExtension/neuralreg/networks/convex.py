"""Coupled convex optimization over a discrete displacement space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.errors import IncompatibleModel
from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.geometry.smoothing import box_mean
from neuralreg.measures.mind import Describe, mind_ssc, stride_of
from neuralreg.networks.network import Output, RegistrationModule

_COUPLINGS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_COST_SCALE = 12.0  # squared feature differences against squared cells
_FEWEST = 4  # cells along an axis
_REACH_AGAIN = 2  # halves of cells that the second search goes to each side


def cells(features: Tensor, cell: tuple[int, ...]) -> Tensor:
    """Mean feature per cell; the last cell of an axis may be smaller.

    Args:
        features: (c, z, y, x).
        cell: samples of a cell, z y x.

    Returns:
        (c, z', y', x').
    """
    pool = functional.avg_pool3d if features.dim() == 4 else functional.avg_pool2d
    return pool(features[None], cell, stride=cell, ceil_mode=True, count_include_pad=False)[0]


def displacements(reach: tuple[int, ...]) -> Tensor:
    """All displacements that are searched.

    Args:
        reach: cells to each side, z y x.

    Returns:
        (labels, d) in cells, array order z y x, in the order of the labels of a cost volume.
    """
    return torch.tensor(list(product(*(range(-r, r + 1) for r in reach)))).float()


def cost_volume(fixed: Tensor, moving: Tensor, reach: tuple[int, ...]) -> Tensor:
    """Smoothed squared feature difference of each cell for each displacement.

    Args:
        fixed: features per cell, (c, z, y, x).
        moving: like `fixed`; its border is repeated.
        reach: cells to each side, z y x.

    Returns:
        Costs (labels, z, y, x).
    """
    spatial = fixed.shape[1:]
    pad = [r for r in reach[::-1] for _ in range(2)]
    wide = functional.pad(moving[None], pad, mode="replicate")[0]
    costs = []
    for offset in product(*(range(2 * r + 1) for r in reach)):
        window = tuple(slice(o, o + n) for o, n in zip(offset, spatial, strict=True))
        costs.append((fixed - wide[(slice(None), *window)]).square().mean(0))
    return _COST_SCALE * box_mean(torch.stack(costs)[None], 1, times=2)[0]


def couple(costs: Tensor, reach: tuple[int, ...]) -> Tensor:
    """A smooth displacement per cell that costs little.

    Alternates between the best label under a quadratic pull to the smooth field, and smoothing.

    Args:
        costs: see `cost_volume`.
        reach: cells to each side, z y x.

    Returns:
        In cells, (d, z, y, x), components in array order z y x.
    """
    d, spatial = len(reach), costs.shape[1:]
    labels = displacements(reach).to(costs).T  # d, L
    flat = costs.flatten(1)

    def smooth(best: Tensor) -> Tensor:
        field = labels[:, best].view(1, d, *spatial)
        return box_mean(field, 1)[0]

    field = smooth(flat.min(0).indices)  # argmin takes twice as long on a CPU
    square = labels.square().sum(0)[:, None]
    for weight in _COUPLINGS:
        pull = square - 2 * labels.T @ field.flatten(1)
        field = smooth((flat + weight * pull).min(0).indices)
    return field


def make_consistent(
    forward: Tensor, backward: Tensor, iterations: int = 15
) -> tuple[Tensor, Tensor]:
    """Both fields, made inverse to each other.

    Args:
        forward: (d, z, y, x), components z y x, in samples.
        backward: of the other direction.
        iterations: how often each is averaged with the inverse of the other.
    """
    for _ in range(iterations):
        new = tuple(
            0.5 * (a - _sample_ahead(b, a)) for a, b in ((forward, backward), (backward, forward))
        )
        forward, backward = new
    return forward, backward


def _sample_ahead(then: Tensor, first: Tensor) -> Tensor:
    """`then` sampled where `first` leads."""
    at = index_grid(tuple(first.shape[1:]), like=first) + first.flip(0).movedim(0, -1)
    return sample(then, at)


def enlarge(field: Tensor, shape: tuple[int, ...], cell: tuple[int, ...]) -> Tensor:
    """A field in cells as a field in voxels.

    Args:
        field: (d, z', y', x'), components z y x, in cells.
        shape: of the grid of the result, z y x.
        cell: voxels of a cell, z y x.

    Returns:
        In voxels, (d, z, y, x), components z y x.
    """
    index = index_grid(shape, like=field)
    size = torch.tensor(cell[::-1]).to(field)
    at = (index + 0.5) / size - 0.5
    factor = torch.tensor(cell).to(field).view(-1, *[1] * len(shape))
    return sample(field, at) * factor


def search(fixed: Tensor, moving: Tensor, reach: int) -> Tensor:
    """The displacement of each cell, by costs, coupling and consistency of both directions.

    Args:
        fixed: features per cell, (c, z, y, x).
        moving: like `fixed`.
        reach: cells to each side of an axis with more than one cell.

    Returns:
        In cells, (d, z, y, x), components in array order z y x.
    """
    sides = tuple(reach if n > 1 else 0 for n in fixed.shape[1:])
    forward = couple(cost_volume(fixed, moving, sides), sides)
    backward = couple(cost_volume(moving, fixed, sides), sides)
    return make_consistent(forward, backward)[0]


class ConvexSearch(RegistrationModule):
    """Descriptions compared over a discrete displacement space, in two searches.

    The first finds the displacement of each cell; the second what remains, for halves of cells
    that were displaced so.

    Args:
        describe: makes descriptions whose differences are in the scale of those of MIND-SSC, which
            it is unless given.
        cell: voxels of the grid per cell.
        reach: cells searched to each side.
    """

    output = Output("displacement", "voxel", "xyz")
    trainable: ClassVar[bool] = False

    def __init__(self, describe: Describe = mind_ssc, *, cell: int = 4, reach: int = 3) -> None:
        super().__init__()
        self.describe, self.cell, self.reach = describe, cell, reach

    def forward(self, fixed: Tensor, moving: Tensor, shares: Sequence[float] = (1.0,)) -> Tensor:
        """Displacement (1, d, z, y, x), fixed to moving, in voxels, components x y z.

        In the precision of the images, also under autocast.

        Args:
            fixed: (1, c, z, y, x).
            moving: (1, c, z, y, x).
            shares: of the channels in the costs; their sum is 1.

        Raises:
            IncompatibleModel: half a cell is not a whole number of descriptions.
        """
        with torch.autocast(fixed.device.type, enabled=False):
            return self._search(fixed, moving, shares)[None]

    def _describe(self, image: Tensor, shares: Sequence[float]) -> Tensor:
        """Descriptions (f, z', y', x') whose mean squared difference is the weighted one."""
        if len(shares) == 1:
            return self.describe(image)[0]
        scales = [(len(shares) * share) ** 0.5 for share in shares]
        return torch.cat(
            [scale * self.describe(image[:, n : n + 1])[0] for n, scale in enumerate(scales)]
        )

    def _search(self, fixed: Tensor, moving: Tensor, shares: Sequence[float]) -> Tensor:
        shape = tuple(fixed.shape[2:])
        one, two = (self._describe(image, shares) for image in (fixed, moving))
        stride = stride_of(one, shape)
        self._require_halves(max(stride))
        large = tuple(n >= 2 * _FEWEST for n in shape)
        half = tuple(self.cell // (2 * s) if n else 1 for s, n in zip(stride, large, strict=True))
        pair = tuple(2 if n else 1 for n in large)
        one, two = cells(one, half), cells(two, half)
        coarse = search(cells(one, pair), cells(two, pair), self.reach)
        coarse = enlarge(coarse, tuple(one.shape[1:]), pair)
        fine = search(one, _sample_ahead(two, coarse), _REACH_AGAIN)
        field = fine + _sample_ahead(coarse, fine)
        voxels = tuple(h * s for h, s in zip(half, stride, strict=True))
        return enlarge(field, shape, voxels).flip(0)

    def _require_halves(self, stride: int) -> None:
        if self.cell % (2 * stride):
            raise IncompatibleModel(
                "half a cell of the search is not a whole number of descriptions",
                where="convex search",
                got=f"cell {self.cell}",
                wanted=f"a multiple of {2 * stride} voxels",
            )


build = ConvexSearch
