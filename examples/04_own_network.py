"""An architecture of one's own that registers by name: 04_own_network.py

Here card and network are known for as long as the program runs. To keep them, the class goes into a
file beside its card and weights, and `neuralreg models import CARD` takes all three in.
"""

from __future__ import annotations

import neuralreg
import torch
from made_images import make_pair
from neuralreg import models
from neuralreg.networks.network import Output, RegistrationModule
from neuralreg.zoo import card as card_module
from neuralreg.zoo.loaded_network import LoadedNetwork
from torch import Tensor, nn


class CenterShift(RegistrationModule):
    """Moves each image's center of mass onto the other's, plus what a few layers learned."""

    output = Output("displacement", "voxel", "xyz")

    def __init__(self, dimension: int = 3, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(2, width, 3, padding=1),
            nn.LeakyReLU(),
            nn.Conv3d(width, dimension, 3, padding=1),
        )
        nn.init.zeros_(self.layers[-1].weight)  # begins with the shift alone
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (n, 3, z, y, x) in voxels, components x y z."""
        shift = _center(moving) - _center(fixed)
        return self.layers(torch.cat((fixed, moving), 1)) + shift.view(*shift.shape, 1, 1, 1)


def _center(image: Tensor) -> Tensor:
    """Center of mass in voxels x y z: (n, 3)."""
    weight = image[:, 0] / image[:, 0].sum((1, 2, 3), keepdim=True)
    axes = [torch.arange(n, dtype=image.dtype) for n in image.shape[2:]]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([(weight * at).sum((1, 2, 3)) for at in (x, y, z)], -1)


card = models.card_of("center_shift.demo", (48, 48, 48)).model_copy(
    update={"architecture": "center_shift", "output": card_module.Output(kind="voxel")}
)
network = LoadedNetwork(card, CenterShift().eval(), torch.device("cpu"))
neuralreg.register_model(network)

fixed, moving = make_pair()
result = neuralreg.register(fixed, moving, model="center_shift.demo", linear="none")
outcome = result.outcome
print(f"{result.model}: {outcome.similarity_initial:.3f} -> {outcome.similarity_final:.3f}")
assert outcome.similarity_final > outcome.similarity_initial
