"""The U-Net of GradICON: wide at the bottom, with residuals on the way down and up.

Source: Tian et al. 2023, doi:10.48550/arXiv.2206.05897; the wiring as in the key layout of the
published weights.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.networks.blocks import channels_last, single
from neuralreg.networks.flow import doubled

_DOWN = (2, 16, 32, 64, 256, 512)
_UP = (16, 32, 64, 128, 256)
_INTO_UP = (48, 96, 192, 512, 512)
_SCALE = 10  # the answer is divided by it
_EPSILON = 1e-5


class TallUNet(nn.Module):
    """Displacement between two images, in unit coordinates, components z y x."""

    def __init__(self) -> None:
        super().__init__()
        depths = range(len(_UP))
        self.downConvs = nn.ModuleList(nn.Conv3d(_DOWN[i], _DOWN[i + 1], 3, 2, 1) for i in depths)
        self.upConvs = nn.ModuleList(
            nn.ConvTranspose3d(_INTO_UP[i], _UP[i], 4, 2, 1) for i in depths
        )
        self.batchNorms = nn.ModuleList(nn.BatchNorm3d(n, eps=_EPSILON) for n in _UP)
        self.lastConv = nn.Conv3d(_DOWN[0] + _UP[0], 3, 3, 1, 1)
        nn.init.zeros_(self.lastConv.weight)
        nn.init.zeros_(self.lastConv.bias)  # type: ignore[arg-type]

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Two images (n, 1, z, y, x) to (n, 3, z, y, x)."""
        now = channels_last(torch.cat((moving, fixed), 1))
        skips = []
        for layer in self.downConvs:
            skips.append(now)
            now = _down(layer, now)
        for depth in reversed(range(len(_UP))):
            now = self._up(depth, now, skips.pop())
        return single(self.lastConv(now)).contiguous() / _SCALE

    def _up(self, depth: int, values: Tensor, skip: Tensor) -> Tensor:
        """One level up, normalized, cut to the skip and joined with it."""
        convolve = cast("nn.ConvTranspose3d", self.upConvs[depth])
        norm = cast("nn.BatchNorm3d", self.batchNorms[depth])
        # A copy, since `values` is overwritten next.
        residual = values[:, : _UP[depth]].clone(memory_format=torch.channels_last_3d)
        values = functional.leaky_relu(values, inplace=True)
        if norm.training:
            risen: Tensor = norm(convolve(values) + doubled(residual))
        else:
            risen = _risen(convolve, norm, values, residual)
        z, y, x = skip.shape[2:]
        return torch.cat((risen[:, :, :z, :y, :x], skip), 1)


def _risen(
    convolve: nn.ConvTranspose3d, norm: nn.BatchNorm3d, values: Tensor, residual: Tensor
) -> Tensor:
    """Convolution plus doubled residual, normalized by what was learned.

    That is a scale and a shift, taken into the kernels and the residual while it is small.
    """
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    bias = (cast("Tensor", convolve.bias) - mean) * scale + norm.bias
    risen = functional.conv_transpose3d(values, convolve.weight * _each(scale), bias, 2, 1)
    risen += doubled(residual * _each(scale))
    return risen


def _down(layer: nn.Module, values: Tensor) -> Tensor:
    """One level down, the pooled input added to the last of the new channels."""
    now: Tensor = layer(functional.leaky_relu(values))
    pooled = functional.avg_pool3d(values, 2, ceil_mode=True)
    now[:, -pooled.shape[1] :] += pooled
    return now


def _each(numbers: Tensor) -> Tensor:
    """One number per channel, for (n, c, z, y, x)."""
    return numbers.view(-1, 1, 1, 1)
