"""TransMorph: a Swin transformer encoder with a convolutional decoder.

Source: Chen et al. 2022, "TransMorph: Transformer for unsupervised medical image registration",
doi:10.1016/j.media.2022.102615.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.geometry.normalized import upsample
from neuralreg.networks.blocks import channels_last, single, unwrap
from neuralreg.networks.network import Output, RegistrationModule
from neuralreg.networks.swin import Stage, Swin

_GRID = "spatial_trans.grid"  # of one image size, in the authors' files


class NormalizedConvolution(nn.Sequential):
    """Convolution without bias, each channel normalized, leaky rectifier."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv3d(inputs, outputs, 3, 1, 1, bias=False),
            nn.InstanceNorm3d(outputs),
            nn.LeakyReLU(inplace=True),
        )


class Rise(nn.Module):
    """Twice the resolution, joined with a skip, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = NormalizedConvolution(inputs + skip, outputs)
        self.conv2 = NormalizedConvolution(outputs, outputs)

    def forward(self, values: Tensor, skip: Tensor) -> Tensor:
        """(1, c, z, y, x) and a skip of twice the size."""
        risen = channels_last(torch.cat((upsample(channels_last(values)), skip), 1))
        return self.conv2(self.conv1(risen))  # type: ignore[no-any-return]


class TransMorph(RegistrationModule):
    """Displacement from a transformer that sees both images.

    Stochastic depth, which the authors use in training, is left out. Images are (1, 1, z, y, x) in
    0..1; sizes divide by 32.

    Args:
        width: channels of the first stage; 96 is the authors' base model, 48 their small one.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: samples z y x at a fourth of the resolution.
        head: channels before the output.
    """

    output = Output("displacement", "voxel", "zyx")
    divisor = 32
    dimensions = (3,)

    def __init__(
        self,
        width: int = 96,
        *,
        depths: Sequence[int] = (2, 2, 4, 2),
        heads: Sequence[int] = (4, 4, 8, 8),
        window: Sequence[int] = (5, 6, 7),
        head: int = 16,
    ) -> None:
        super().__init__()
        a, b, c = window
        stages = [
            Stage(width * 2**n, *pair) for n, pair in enumerate(zip(depths, heads, strict=True))
        ]
        self.transformer = Swin(2, (a, b, c), stages)
        half = width // 2
        self.up0 = Rise(8 * width, 4 * width, 4 * width)
        self.up1 = Rise(4 * width, 2 * width, 2 * width)
        self.up2 = Rise(2 * width, width, width)
        self.up3 = Rise(width, half, half)
        self.up4 = Rise(half, head, head)
        self.c1 = NormalizedConvolution(2, half)
        self.c2 = NormalizedConvolution(2, head)
        last = nn.Conv3d(head, 3, 3, 1, 1)
        nn.init.normal_(last.weight, 0, 1e-5)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.reg_head = nn.Sequential(last)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Displacement (1, 3, z, y, x), fixed to moving, in voxels, components z y x."""
        pair = channels_last(torch.cat((moving, fixed), 1))
        fine, middle, coarse, values = self.transformer(pair)
        values = self.up2(self.up1(self.up0(values, coarse), middle), fine)
        values = self.up3(values, self.c1(functional.avg_pool3d(pair, 3, 2, 1)))
        values = self.up4(values, self.c2(pair))
        return single(self.reg_head(values)).contiguous()

    def adapt_weights(self, weights: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors out of a checkpoint file, without the sampling grid."""
        return {k: v for k, v in unwrap(weights, "state_dict").items() if k != _GRID}


build = TransMorph
