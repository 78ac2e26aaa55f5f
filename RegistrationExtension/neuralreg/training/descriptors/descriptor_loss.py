"""Training of a network whose descriptions the default engine compares.

The loss is the search itself: the costs of all displacements of a cell, as `networks.convex`
computes them, should point at the true one; and so should the costs of small displacements around
the right location, of which the second search takes one. Source of the loss: Oord et al. 2018,
InfoNCE, doi:10.48550/arXiv.1807.03748; of describing voxels so: Dey et al. 2024,
doi:10.48550/arXiv.2411.02372.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.measures.mind import stride_of
from neuralreg.networks.convex import cells, cost_volume, displacements
from neuralreg.training.descriptors.synthesis import Synthesis, SyntheticPair

_SPREAD = 0.5  # standard deviation of what counts as right, in cells and in samples
_NEAR = 2  # samples to each side that the second search looks at
_VISIBLE_OF_CELL = 0.6
_VISIBLE_OF_SAMPLE = 0.9


class MatchingStep(nn.Module):
    """Losses of a batch for `TrainingLoop`.

    Args:
        network: (n, 1, z, y, x) to descriptions (n, f, z', y', x'), see `convex.ConvexSearch`.
        cell: of the search, in voxels.
        reach: of the search, in cells.
        sharpness: by how much one unit of cost makes a displacement less likely in the search, in
            nats; the default is where MIND-SSC is the most likely.
        near_sharpness: the same near the right location.
        places: number of locations whose surroundings are used.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        cell: int = 4,
        reach: int = 3,
        sharpness: float = 10.0,
        near_sharpness: float = 7.2,
        places: int = 1500,
    ) -> None:
        super().__init__()
        self.network = network
        self.cell, self.reach, self.places = cell, reach, places
        self.sharpness, self.near_sharpness = sharpness, near_sharpness

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses of a batch: "loss", the sum of "search" and "near".

        Args:
            batch: "fixed" and "moving" (n, 1, z, y, x), "displacement" (n, d, z, y, x) in voxels x
                y z from fixed to moving, "visible" (n, z, y, x), where it is known, and "seed"
                (n,).
        """
        searches, nears = [], []
        both = self.network(torch.cat((batch["fixed"], batch["moving"])))
        described = zip(*both.chunk(2), strict=True)
        truths = zip(batch["displacement"], batch["visible"], batch["seed"], strict=True)
        for (one, other), (displacement, visible, seed) in zip(described, truths, strict=True):
            valid = visible[None].to(one)
            searches.append(self._search(one, other, displacement, valid))
            nears.append(self._near(one, other, displacement, valid, int(seed)))
        search, near = torch.stack(searches).mean(), torch.stack(nears).mean()
        return {"loss": search + near, "search": search, "near": near}

    def _search(self, one: Tensor, other: Tensor, displacement: Tensor, valid: Tensor) -> Tensor:
        """How unlikely the search finds the true displacement of a cell."""
        d = len(displacement)
        stride = stride_of(one, tuple(valid.shape[1:]))
        cell, reach = tuple(self.cell // s for s in stride), (self.reach,) * d
        costs = cost_volume(cells(one, cell), cells(other, cell), reach)
        full_cell = (self.cell,) * d
        true = cells(displacement, full_cell).flip(0) / self.cell  # array order, in cells
        inside = (cells(valid, full_cell)[0] > _VISIBLE_OF_CELL) & (true.abs().amax(0) < self.reach)
        if not bool(inside.any()):
            return 0 * costs.sum()
        costs = self.sharpness * costs[:, inside]
        return _surprise(costs, displacements(reach), true[:, inside])

    def _near(
        self, one: Tensor, other: Tensor, displacement: Tensor, valid: Tensor, seed: int
    ) -> Tensor:
        """How unlikely the right place is the best one among those around it."""
        d, shape = len(displacement), tuple(one.shape[1:])
        stride = stride_of(one, tuple(valid.shape[1:]))
        size = torch.tensor(stride[::-1]).to(displacement)
        destination = cells(displacement, stride).movedim(0, -1) / size + index_grid(
            shape, like=one
        )
        at = (cells(valid, stride)[0] > _VISIBLE_OF_SAMPLE).nonzero()
        at = at[((at >= _NEAR) & (at < torch.tensor(shape).to(at) - _NEAR)).all(1)]
        random = torch.Generator().manual_seed(seed)
        at = at[torch.randperm(len(at), generator=random)[: self.places].to(at.device)]
        if not len(at):
            return 0 * one.sum()
        offsets = displacements((_NEAR,) * d).to(one)
        around = destination[tuple(at.T)] + offsets.flip(1)[:, None]  # offsets, places, d
        read = sample(other, around.view(*[1] * (d - 2), *around.shape))
        read = read.view(len(other), len(offsets), len(at))
        costs = (read - one[(slice(None), *at.T)][:, None]).square().mean(0)
        right = torch.zeros(d, len(at)).to(one)
        return _surprise(self.near_sharpness * costs, offsets, right)


def _surprise(costs: Tensor, offsets: Tensor, true: Tensor) -> Tensor:
    """Mean cross-entropy between where costs (labels, n) are low and what is true (d, n)."""
    away = (offsets.to(true).T[:, :, None] - true[:, None]).square().sum(0)
    target = (-away / (2 * _SPREAD**2)).softmax(0)
    return -(target * (-costs).log_softmax(0)).sum(0).mean()


class SyntheticBatches:
    """Endless shapes as batches for `TrainingLoop`; batch n of epoch e is always the same.

    Args:
        shape: samples z y x.
        pairs: batches in an epoch.
        size: pairs of views in a batch.
        seed: of all views.
        device: where they are made.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        pairs: int = 200,
        size: int = 1,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.pairs, self.size, self.seed = shape, pairs, size, seed
        self.device = torch.device(device)

    def count(self, epoch: int = 0) -> int:
        """Batches in an epoch."""
        return self.pairs

    def __call__(self, epoch: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """The batches of an epoch after `start` of them."""
        for number in range(start, self.pairs):
            seed = ((self.seed * 1_000_003 + epoch) * 1_000_003 + number) % (1 << 62)
            synthesis = Synthesis(self.shape, torch.Generator(self.device).manual_seed(seed))
            pairs = [synthesis.pair() for _ in range(self.size)]
            batch = SyntheticPair(*(torch.stack(parts) for parts in zip(*pairs, strict=True)))
            yield {**batch._asdict(), "seed": torch.arange(self.size) + seed % (1 << 31)}
