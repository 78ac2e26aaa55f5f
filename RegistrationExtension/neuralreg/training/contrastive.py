"""Training of a feature network on two views of the same shapes.

What it says about a voxel shall be the same in both views and differ from what it says about the
voxels around: that is what a search over displacements compares. Source of the loss: Oord et al.
2018, InfoNCE, doi:10.48550/arXiv.1807.03748; for voxels: Dey et al. 2024,
doi:10.48550/arXiv.2411.02372.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.training.synthesis import Synthesis

_BLOCKED = -1e9


class ContrastiveStep(nn.Module):
    """Losses of a batch for `loop.fit`.

    network: (n, 1, z, y, x) to features (n, f, z, y, x). voxels: how many are told apart in each of
    some neighborhoods. reach: half the size of a neighborhood; a little more than a search goes.
    alike: voxels this near to each other need not be told apart. temperature: of the softmax.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        voxels: int = 256,
        neighborhoods: int = 4,
        reach: int = 12,
        alike: int = 2,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.network = network
        self.voxels, self.neighborhoods, self.reach = voxels, neighborhoods, reach
        self.alike, self.temperature = alike, temperature

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """batch: "fixed" and "moving", two views (n, 1, z, y, x), and "seed" (n,)."""
        both = self.network(torch.cat((batch["fixed"], batch["moving"])))
        terms = [
            self._told_apart(one, other, int(seed))
            for one, other, seed in zip(*both.chunk(2), batch["seed"], strict=True)
        ]
        loss = torch.stack(terms).mean()
        return {"loss": loss, "contrastive": loss}

    def _told_apart(self, one: Tensor, other: Tensor, seed: int) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        total = one.new_zeros(())
        for _ in range(self.neighborhoods):
            at = self._places(tuple(one.shape[1:]), random).to(one.device)
            a, b = (
                functional.normalize(features[(slice(None), *at.T)].float(), dim=0)
                for features in (one, other)
            )
            logits = a.T @ b / self.temperature
            same = torch.eye(len(at), dtype=torch.bool, device=at.device)
            near = (at[:, None] - at[None]).abs().amax(-1) <= self.alike
            logits = logits.masked_fill(near & ~same, _BLOCKED)
            right = torch.arange(len(at), device=at.device)
            for there in (logits, logits.T):
                total = total + functional.cross_entropy(there, right)
        return total / (2 * self.neighborhoods)

    def _places(self, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
        """Indices (voxels, d) around a random one."""
        last = torch.tensor(shape) - 1
        center = (torch.rand(len(shape), generator=random) * (last + 1)).long()
        size = (self.voxels, len(shape))
        around = torch.randint(-self.reach, self.reach + 1, size, generator=random)
        return torch.minimum((center + around).clamp(min=0), last)


class SyntheticBatches:
    """Endless shapes as batches for `loop.fit`; batch n of epoch e is always the same.

    shape: samples z y x. pairs: batches in an epoch, of `size` pairs of views each.
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
            random = torch.Generator(self.device).manual_seed(seed)
            made = Synthesis(self.shape, random)
            views = [made.pair() for _ in range(self.size)]
            yield {
                "fixed": torch.stack([one for one, _, _ in views]),
                "moving": torch.stack([other for _, other, _ in views]),
                "seed": torch.arange(self.size) + seed % (1 << 31),
            }
