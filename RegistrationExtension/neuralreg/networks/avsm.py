"""AVSM: an affine network, then a network whose momenta become stationary velocities, in steps.

Source: Shen et al. 2019, "Networks for Joint Affine and Non-parametric Image Registration",
doi:10.1109/CVPR.2019.00435.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neuralreg.geometry.normalized import compose, exponential, identity_map, warp
from neuralreg.geometry.smoothing import gaussian
from neuralreg.networks.affine import AffineNetwork
from neuralreg.networks.blocks import CONVOLUTION, single
from neuralreg.networks.network import Output, RegistrationModule
from neuralreg.networks.unet import UNet

_FEATURES = ((16, 32, 32), (32, 32, 16))


class AVSM(RegistrationModule):
    """Affine steps, then velocity steps, each given the pair as the ones before have warped it.

    Images are (n, 1, z, y, x), or (n, 1, y, x), in 0..1; sizes divide by 2 to the number of its
    levels.

    Args:
        dimension: of the images.
        affine_steps: how often the affine network is applied.
        velocity_steps: how often the velocity network is applied.
        sigmas: standard deviations, in samples, of the Gaussians whose sum smooths a momentum into
            a velocity.
        weights: of these Gaussians.
        features: of the U-Net, see `UNet`.
    """

    output = Output("displacement", "normalized", "xyz")

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
        self.divisor = 2 ** len(features[0])
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
        points = identity_map(tuple(fixed.shape[2:]), fixed)
        total = torch.zeros_like(points).expand(len(fixed), *points.shape[1:])
        for _ in range(self.affine_steps):
            change = self.affine(fixed, warp(moving, total))
            at = (points + total).flatten(2)
            moved = change[:, :, :-1] @ at + change[:, :, -1:]
            total = total + moved.view(total.shape)
        return total

    def velocity(self, fixed: Tensor, moved: Tensor) -> Tensor:
        """The smoothed momentum of a pair, normalized, components x y z."""
        momentum = single(self.momentum(self.unet(torch.cat((fixed, moved), 1))))
        flat = momentum.flatten(0, 1)
        parts = [w * gaussian(flat, [s] * (flat.dim() - 1)) for s, w in self.smoothing]
        return torch.stack(parts).sum(0).view(momentum.shape)


build = AVSM
