"""AVSM: an affine network, then a network whose momenta become stationary velocities, in steps.

Source: Shen et al. 2019, "Networks for Joint Affine and Non-parametric Image Registration",
doi:10.1109/CVPR.2019.00435.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.geometry.normalized import compose, exponential, identity_map, warp
from neuralreg.geometry.smoothing import gaussian
from neuralreg.networks.blocks import CONVOLUTION, single
from neuralreg.networks.unet import UNet

_FEATURES = ((16, 32, 32), (32, 32, 16))


class AffineNetwork(nn.Module):
    """An affine correction for a pair, in normalized coordinates, components x y z.

    width: channels of the first layer. halvings: layers, each of half the resolution.
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
        found = pool(self.encoder(torch.cat((fixed, moved), 1)), 2).flatten(1)
        answer = single(self.answer(found))
        return answer.view(-1, self.dimension, self.dimension + 1)


class AVSM(nn.Module):
    """Affine steps, then velocity steps, each seeing what the ones before have made of the pair.

    dimension: of the images. affine_steps, velocity_steps: of the same two networks.
    sigmas, weights: of the Gaussians, in samples, whose sum makes a velocity out of a momentum.
    features: of the U-Net. Images are (n, 1, z, y, x), or (n, 1, y, x), in 0..1; sizes divide by 2
    to the number of its levels.
    """

    def __init__(
        self,
        dimension: int = 3,
        *,
        affine_steps: int = 2,
        velocity_steps: int = 2,
        sigmas: Sequence[float] = (2.0, 4.0, 8.0),
        weights: Sequence[float] = (0.2, 0.3, 0.5),
        features: Sequence[Sequence[int]] = _FEATURES,
    ) -> None:
        super().__init__()
        self.affine = AffineNetwork(dimension)
        self.unet = UNet(dimension, 2, features)
        self.momentum = CONVOLUTION[dimension](self.unet.outputs, dimension, 3, 1, 1)
        nn.init.normal_(self.momentum.weight, 0, 1e-4)
        nn.init.zeros_(self.momentum.bias)
        self.affine_steps, self.velocity_steps = affine_steps, velocity_steps
        self.smoothing = tuple(zip(sigmas, weights, strict=True))

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (n, d, z, y, x), fixed to moving, normalized, components x y z."""
        total = self.affine_displacement(fixed, moving)
        for _ in range(self.velocity_steps):
            step = exponential(self.velocity(fixed, warp(moving, total)))
            total = compose(step, total)
        return total

    def affine_displacement(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """The displacement of all affine steps."""
        places = identity_map(tuple(fixed.shape[2:]), fixed)
        total = torch.zeros_like(places).expand(len(fixed), *places.shape[1:])
        for _ in range(self.affine_steps):
            change = self.affine(fixed, warp(moving, total))
            at = (places + total).flatten(2)
            moved = change[:, :, :-1] @ at + change[:, :, -1:]
            total = total + moved.view(total.shape)
        return total

    def velocity(self, fixed: Tensor, moved: Tensor) -> Tensor:
        """The smoothed momentum of a pair, normalized, components x y z."""
        momentum = single(self.momentum(self.unet(torch.cat((fixed, moved), 1))))
        flat = momentum.flatten(0, 1)
        parts = [w * gaussian(flat, [s] * (flat.dim() - 1)) for s, w in self.smoothing]
        return torch.stack(parts).sum(0).view(momentum.shape)


def _pool_volume(values: Tensor, size: int) -> Tensor:
    return functional.adaptive_avg_pool3d(values, size)


build = AVSM
