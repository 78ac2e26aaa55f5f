"""The U-Net of GradICON: wide at the bottom, with residuals on the way down and up.

Source: Tian et al. 2023, doi:10.48550/arXiv.2206.05897; the wiring as in the key layout of the
published weights.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.geometry.normalized import upsample
from neuralreg.networks.blocks import (
    CHANNELS_LAST,
    CONVOLUTION,
    MEAN,
    NORM,
    TRANSPOSED,
    channels_last,
    single,
)
from neuralreg.networks.network import Output, RegistrationModule

_DOWN = (2, 16, 32, 64, 256, 512)
_UP = (16, 32, 64, 128, 256)
_INTO_UP = (48, 96, 192, 512, 512)
_SCALE = 10  # the answer is divided by it
_EPSILON = 1e-5


class TallUNet(nn.Module):
    """Displacement between two images, in unit coordinates, components z y x."""

    def __init__(self, dimension: int = 3) -> None:
        super().__init__()
        depths = range(len(_UP))
        make, rise = CONVOLUTION[dimension], TRANSPOSED[dimension]
        self.downConvs = nn.ModuleList(make(_DOWN[i], _DOWN[i + 1], 3, 2, 1) for i in depths)
        self.upConvs = nn.ModuleList(rise(_INTO_UP[i], _UP[i], 4, 2, 1) for i in depths)
        self.batchNorms = nn.ModuleList(NORM[dimension](n, eps=_EPSILON) for n in _UP)
        self.lastConv = make(_DOWN[0] + _UP[0], dimension, 3, 1, 1)
        nn.init.zeros_(self.lastConv.weight)
        nn.init.zeros_(self.lastConv.bias)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Two images (n, 1, z, y, x) to (n, d, z, y, x)."""
        now = channels_last(torch.cat((moving, fixed), 1))
        skips = []
        for layer in self.downConvs:
            skips.append(now)
            now = _step_down(layer, now)
        for depth in reversed(range(len(_UP))):
            now = self._up(depth, now, skips.pop())
        return single(self.lastConv(now)).contiguous() / _SCALE

    def _up(self, depth: int, values: Tensor, skip: Tensor) -> Tensor:
        """One level up, normalized, cut to the skip and joined with it."""
        convolve = cast("nn.ConvTranspose3d", self.upConvs[depth])
        norm = cast("nn.BatchNorm3d", self.batchNorms[depth])
        # A copy, since `values` is overwritten next.
        residual = values[:, : _UP[depth]].clone(memory_format=CHANNELS_LAST[values.dim()])
        values = functional.leaky_relu(values, inplace=True)
        if norm.training:
            risen: Tensor = norm(convolve(values) + upsample(residual))
        else:
            risen = _risen(convolve, norm, values, residual)
        for axis in range(2, skip.dim()):
            if risen.shape[axis] > skip.shape[axis]:  # backwards, cutting nothing would cost, too
                risen = risen.narrow(axis, 0, skip.shape[axis])
        return torch.cat((risen, skip), 1)


def _risen(
    convolve: nn.ConvTranspose3d, norm: nn.BatchNorm3d, values: Tensor, residual: Tensor
) -> Tensor:
    """Convolution plus doubled residual, normalized by what was learned.

    That is a scale and a shift, taken into the kernels and the residual where these are fewer
    numbers than come out: at the top.
    """
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    axes = values.dim() - 2
    scale = norm.weight * (variance + norm.eps).rsqrt()
    bias = (cast("Tensor", convolve.bias) - mean) * scale + norm.bias
    transposed = functional.conv_transpose3d if axes == 3 else functional.conv_transpose2d
    if convolve.weight.numel() > len(scale) * 2**axes * values[0, 0].numel():
        risen: Tensor = transposed(values, convolve.weight, None, 2, 1) + upsample(residual)
        return torch.addcmul(_each(bias, axes), risen, _each(scale, axes))
    risen = transposed(values, convolve.weight * _each(scale, axes), bias, 2, 1)
    risen += upsample(residual * _each(scale, axes))
    return risen


def _step_down(layer: nn.Module, values: Tensor) -> Tensor:
    """One level down, the pooled input added to the last of the new channels."""
    now: Tensor = layer(functional.leaky_relu(values))
    pooled = MEAN[values.dim() - 2](values, 2, ceil_mode=True)
    now[:, -pooled.shape[1] :] += pooled
    return now


def _each(numbers: Tensor, axes: int) -> Tensor:
    """One number per channel, for (n, c, z, y, x)."""
    return numbers.view(-1, *[1] * axes)


class IconUNet(RegistrationModule):
    """`TallUNet` as a network of its own; several of them make those of ICON and GradICON."""

    output = Output("displacement", "unit", "zyx")

    def __init__(self, dimension: int = 3) -> None:
        super().__init__()
        self.network = TallUNet(dimension)
        self.smallest = 17 if dimension == 3 else 1  # pooling in 3D refuses a single sample

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (n, d, z, y, x), fixed to moving, in parts of the image, z y x."""
        displacement: Tensor = self.network(moving, fixed)
        return displacement


build = IconUNet
