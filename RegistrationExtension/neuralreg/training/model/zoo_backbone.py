"""Networks as the zoo's cards describe them, as backbones that can be trained further."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from neuralreg.geometry.normalized import identity_map
from neuralreg.training.config.part_registry import register_backbone
from neuralreg.training.model.pad_to_size import Shape, with_convention
from neuralreg.zoo.registry import built

# By what the sizes that an architecture takes can be divided; others take any size.
_DIVISORS = {
    "conditional_lapirn": 8, "dirac": 8, "lapirn": 8, "lku_net": 16, "symnet": 16,
    "transmorph": 32, "voxelmorph": 32,
}  # fmt: skip


class Published(nn.Module):
    """A network of a card, whose answer is a displacement.

    kind: of its numbers, as the card's `Output` has it. run: the options of each call.
    """

    def __init__(self, network: nn.Module, kind: str, order: str, run: dict[str, float]) -> None:
        super().__init__()
        self.network, self.kind, self.order, self.run = network, kind, order, run

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Images (n, 1, z, y, x) to (n, d, z, y, x), in the order of the card."""
        answer: Tensor = self.network(fixed, moving, **self.run)
        if self.kind != "unit_map":
            return answer
        here = (identity_map(tuple(fixed.shape[2:]), answer) + 1) / 2
        return answer - (here.flip(1) if self.order == "zyx" else here)


@register_backbone("published")
def published(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    architecture: str,
    arguments: dict[str, Any] = {},  # noqa: B006 - never changed
    kind: Literal["voxel", "normalized", "unit_map"] = "voxel",
    order: Literal["xyz", "zyx"] = "xyz",
    run: dict[str, float] = {},  # noqa: B006 - never changed
) -> nn.Module:
    """The network of a card, without its weights; `model.start_from` writes this."""
    network = Published(built(architecture, arguments), kind, order, run)
    unit = "unit" if kind == "unit_map" else kind
    return with_convention(network, kind=unit, order=order, divisor=_DIVISORS.get(architecture, 1))
