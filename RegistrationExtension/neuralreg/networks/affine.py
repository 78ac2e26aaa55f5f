"""The affine network of AVSM: a few convolutions and one matrix, for images of any size.

Source: Shen et al. 2019, "Networks for Joint Affine and Non-parametric Image Registration",
doi:10.1109/CVPR.2019.00435.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.geometry.normalized import identity_map
from neuralreg.networks.blocks import CONVOLUTION, single
from neuralreg.networks.network import Output, RegistrationModule


class AffineNetwork(nn.Module):
    """An affine correction for a pair, in normalized coordinates, components x y z.

    Args:
        dimension: of the images.
        width: channels of the first layer.
        halvings: layers, each of half the resolution.
    """

    def __init__(self, dimension: int, *, width: int = 8, halvings: int = 4) -> None:
        super().__init__()
        make = CONVOLUTION[dimension]
        widths = [2, *(width * 2**n for n in range(halvings))]
        layers = [
            step
            for inputs, outputs in pairwise(widths)
            for step in (make(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True))
        ]
        self.encoder = nn.Sequential(*layers)
        self.answer = nn.Linear(widths[-1] * 2**dimension, dimension * (dimension + 1))
        nn.init.zeros_(self.answer.weight)  # starts from the identity
        nn.init.zeros_(self.answer.bias)
        self.dimension = dimension

    def forward(self, fixed: Tensor, moved: Tensor) -> Tensor:
        """Two images (n, 1, z, y, x) to the change of the matrix, (n, d, d + 1)."""
        pool = functional.adaptive_avg_pool2d if self.dimension == 2 else _pool_volume
        pooled = pool(self.encoder(torch.cat((fixed, moved), 1)), 2).flatten(1)
        return single(self.answer(pooled)).view(-1, self.dimension, self.dimension + 1)


def _pool_volume(values: Tensor, size: int) -> Tensor:
    return functional.adaptive_avg_pool3d(values, size)


class Affine(RegistrationModule):
    """The motion of `AffineNetwork` as a displacement.

    Args:
        dimension: of the images.
        width: channels of the first layer.
        halvings: layers, each of half the resolution.
    """

    output = Output("displacement", "normalized", "xyz")
    affine_motion = True

    def __init__(self, dimension: int = 3, *, width: int = 8, halvings: int = 4) -> None:
        super().__init__()
        self.network = AffineNetwork(dimension, width=width, halvings=halvings)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (n, d, z, y, x), fixed to moving, normalized, components x y z."""
        change: Tensor = self.network(fixed, moving)
        points = identity_map(tuple(fixed.shape[2:]), fixed)
        moved = change[:, :, :-1] @ points.flatten(2) + change[:, :, -1:]
        return moved.view(len(fixed), *points.shape[1:])


build = Affine
