"""A network of fully connected layers, for small images of one size.

Source: the first example of ICON, Greer et al. 2021, doi:10.1109/ICCV48922.2021.00338.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from neuralreg.networks.blocks import single
from neuralreg.networks.network import Output, RegistrationModule


class MLP(RegistrationModule):
    """Displacement from all samples of both images at once.

    Starts from the identity.

    Args:
        shape: samples z y x, the same for all images.
        widths: of the hidden layers.
    """

    output = Output("displacement", "unit", "xyz")

    def __init__(self, shape: Sequence[int], *, widths: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.shape = tuple(shape)
        count = prod(self.shape)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((2 * count, *widths)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
        last = nn.Linear((2 * count, *widths)[-1], len(self.shape) * count)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (n, d, z, y, x), fixed to moving, in parts of the image, x y z."""
        pair = torch.cat((fixed, moving), 1).flatten(1)
        return single(self.layers(pair)).view(len(pair), len(self.shape), *self.shape)


build = MLP
