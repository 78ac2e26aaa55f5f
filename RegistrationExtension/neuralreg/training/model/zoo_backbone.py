"""Networks as the zoo's cards describe them, as backbones that can be trained further."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from neuralreg.networks.network import RegistrationModule
from neuralreg.zoo.card import Output
from neuralreg.zoo.loaded_network import meaning_of
from neuralreg.zoo.registry import build_network


class ZooBackbone(RegistrationModule):
    """The network of a card, without its weights; `model.start_from` writes this.

    Args:
        architecture: of the card.
        arguments: of the card.
        kind: of its numbers, as on the card.
        order: of their components, as on the card.
        run: the options of each call.
    """

    def __init__(
        self,
        *,
        architecture: str,
        arguments: dict[str, Any] = {},  # noqa: B006 - never changed
        kind: Literal["voxel", "normalized", "unit_map"] = "voxel",
        order: Literal["xyz", "zyx"] = "xyz",
        run: dict[str, float] = {},  # noqa: B006 - never changed
    ) -> None:
        super().__init__()
        self.network: nn.Module = build_network(architecture, arguments)
        self.run = run
        self.output = meaning_of(Output(kind=kind, order=order))
        if isinstance(self.network, RegistrationModule):
            self.divisor, self.smallest = self.network.divisor, self.network.smallest

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Images (n, 1, z, y, x) to (n, d, z, y, x), as the card says."""
        output: Tensor = self.network(fixed, moving, **self.run)
        return output
