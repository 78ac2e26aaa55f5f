"""SYMNet: two velocities from one pass, and both directions out of them.

Source: Mok and Chung 2020, "Fast Symmetric Diffeomorphic Image Registration with Convolutional
Neural Networks", doi:10.48550/arXiv.2003.09514.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.geometry.normalized import compose, exponential, from_voxels, to_voxels
from neuralreg.networks.blocks import CONVOLUTION, TRANSPOSED, single
from neuralreg.networks.network import Output
from neuralreg.networks.symnet_unet import SYMNetUNet

_CONVOLVED: dict[int, Any] = {4: functional.conv2d, 5: functional.conv3d}
_VOXELS = 100.0  # the longest velocity along an axis


def _layer(dimension: int, _name: str, inputs: int, outputs: int, stride: int) -> nn.Module:
    wide = CONVOLUTION[dimension](inputs, outputs, 3, stride, 1)
    return nn.Sequential(wide, nn.ReLU(inplace=True))


def _rise(dimension: int, channels: int) -> nn.Module:
    return nn.Sequential(TRANSPOSED[dimension](channels, channels, 2, 2), nn.ReLU(inplace=True))


def _head(dimension: int, channels: int) -> nn.Sequential:
    kernels = CONVOLUTION[dimension](channels, dimension, 5, 1, 2, bias=False)
    return nn.Sequential(kernels, nn.Softsign())


class SYMNet(SYMNetUNet):
    """Symmetric diffeomorphic registration.

    Images are (1, 1, z, y, x), or (1, 1, y, x), in 0..1; sizes divide by 16.

    Args:
        start_channel: channels at full resolution.
        dimension: of the images.
    """

    output = Output("displacement", "voxel", "xyz")

    def __init__(self, start_channel: int = 7, *, dimension: int = 3) -> None:
        super().__init__(start_channel, 16, partial(_layer, dimension), partial(_rise, dimension))
        self.dc9 = _head(dimension, 2 * start_channel)
        self.dc10 = _head(dimension, 2 * start_channel)

    def velocities(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        """Velocities of fixed and of moving, each (1, d, z, y, x) in voxels x y z."""
        heads = cast("list[Tensor]", [self.dc9[0].weight, self.dc10[0].weight])
        kernels = torch.cat(heads)  # one run takes half the time of two
        features = self.features(fixed, moving)
        convolved = _CONVOLVED[features.dim()](features, kernels, padding=2)
        velocities = functional.softsign(single(convolved)) * _VOXELS
        first, second = velocities.contiguous().chunk(2, 1)
        return first, second

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (1, d, z, y, x), fixed to moving, in voxels, components x y z."""
        first, second = self.velocities(fixed, moving)
        return _meet(second, first)

    def both(self, fixed: Tensor, moving: Tensor, **options: float) -> tuple[Tensor, Tensor]:
        """Fixed to moving, and moving to fixed, from one pass of the network."""
        first, second = self.velocities(fixed, moving)
        return _meet(second, first), _meet(first, second)


def _meet(first: Tensor, second: Tensor) -> Tensor:
    """Against the velocity `second`, then along `first`: displacement in voxels."""
    backward = exponential(from_voxels(-second), outside="zeros")
    forward = exponential(from_voxels(first), outside="zeros")
    return to_voxels(compose(backward, forward, outside="zeros"))


build = SYMNet
