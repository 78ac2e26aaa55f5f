"""The U-Net of VoxelMorph, in 2D and 3D.

Source: Balakrishnan et al. 2019, doi:10.1109/TMI.2019.2897538.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.networks.blocks import CONVOLUTION, channels_last

FEATURES = ((16, 32, 32, 32), (32, 32, 32, 32, 32, 16, 16))
_POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}


class ConvolutionBlock(nn.Module):
    """A kernel of three samples along each axis, and a leaky rectifier."""

    def __init__(self, dimension: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = CONVOLUTION[dimension](inputs, outputs, 3, 1, 1)

    def forward(self, values: Tensor) -> Tensor:
        """(n, c, z, y, x) to the same shape with other channels."""
        return functional.leaky_relu(self.main(values), 0.2, inplace=True)


class UNet(nn.Module):
    """Features at the resolution of the input, or at half of it.

    `outputs` is the number of channels that come out.

    Args:
        dimension: of the images.
        inputs: channels.
        features: of the encoder and of the decoder, one number per convolution; what the decoder
            has more than the encoder follows at the highest resolution.
        per_level: convolutions between two changes of resolution.
        half_resolution: leaves out the last step up.
    """

    def __init__(
        self,
        dimension: int,
        inputs: int,
        features: Sequence[Sequence[int]] = FEATURES,
        *,
        per_level: int = 1,
        half_resolution: bool = False,
    ) -> None:
        super().__init__()
        down, up = (list(part) for part in features)
        up, surplus = up[: len(down)], up[len(down) :]
        self.dimension, self.half_resolution = dimension, half_resolution
        self.levels = len(down) // per_level
        skips, width = [inputs], inputs
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level in range(self.levels):
            row = down[level * per_level : (level + 1) * per_level]
            self.encoder.append(self._row(width, row))
            width = row[-1]
            skips.append(width)
        for level in range(self.levels):
            row = up[level * per_level : (level + 1) * per_level]
            self.decoder.append(self._row(width, row))
            width = row[-1] + (skips[-1 - level] if self._rises(level) else 0)
        self.remaining = self._row(width, surplus)
        self.outputs = surplus[-1] if surplus else width

    def _row(self, inputs: int, widths: Sequence[int]) -> nn.ModuleList:
        pairs = zip([inputs, *widths], widths, strict=False)
        return nn.ModuleList(ConvolutionBlock(self.dimension, a, b) for a, b in pairs)

    def _rises(self, level: int) -> bool:
        return not self.half_resolution or level < self.levels - 1

    def forward(self, values: Tensor) -> Tensor:
        """(n, inputs, z, y, x), sizes divide by 2 to the number of levels, to (n, outputs, …)."""
        values = channels_last(values)
        skips = [values]
        for row in self.encoder:
            values = _through(row, values)
            skips.append(values)
            values = _POOL[self.dimension](values, 2)
        for level, row in enumerate(self.decoder):
            values = _through(row, channels_last(values))
            if self._rises(level):
                values = functional.interpolate(values, scale_factor=2.0, mode="nearest")
                values = torch.cat((values, skips.pop()), 1)
        return _through(self.remaining, values)


def _through(row: nn.Module, values: Tensor) -> Tensor:
    for layer in row.children():
        values = layer(values)
    return values
