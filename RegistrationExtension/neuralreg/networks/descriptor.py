"""Descriptions of any gray image, 2D or 3D: MIND-SSC, corrected and extended by a small U-Net.

MIND does not depend on contrast, so the network need not learn that; it sees two scales of it and
learns which differences tell locations apart and which are noise. Without training it gives
MIND-SSC itself. Layers see their surroundings only, so the rest of an image changes
nothing.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.measures.mind import mind_ssc

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_MODES = {2: "bilinear", 3: "trilinear"}
_MIND_CHANNELS = {2: 4, 3: 12}
_MIDDLE = 0.4  # about the mean of MIND-SSC


class Descriptor(nn.Module):
    """MIND-SSC of an image, corrected and extended.

    Args:
        dimension: of the images.
        widths: channels per level.
        extra: numbers per sample in addition to those of MIND.
    """

    def __init__(
        self, *, dimension: int = 3, widths: tuple[int, ...] = (32, 48, 64), extra: int = 12
    ) -> None:
        super().__init__()
        self.dimension, self.levels = dimension, len(widths)
        self.mind_channels = _MIND_CHANNELS[dimension]
        before = (2 * self.mind_channels, *widths)
        self.down = nn.ModuleList(
            _block(dimension, a, b) for a, b in zip(before, widths, strict=False)
        )
        steps = list(pairwise(widths))[::-1]
        self.up = nn.ModuleList(_block(dimension, fine + coarse, fine) for fine, coarse in steps)
        self.last = _CONVOLUTIONS[dimension](widths[0], self.mind_channels + extra, 1)
        for values in self.last.parameters():
            nn.init.zeros_(values)

    def forward(self, image: Tensor) -> Tensor:
        """(n, 1, z, y, x) in 0..1 to (n, f, z/2, y/2, x/2), halves rounded up; any size.

        The mean squared difference of two descriptions is in the scale of that of MIND-SSC: with no
        extra numbers and no training it is the same.
        """
        odd = [side for n in image.shape[:1:-1] for side in (0, n % 2)]
        image = functional.pad(image, odd, mode="replicate")
        fine, coarse = _pool(mind_ssc(image)), mind_ssc(_pool(image))
        now = torch.cat((fine, coarse), 1) - _MIDDLE
        skips = []
        for n, block in enumerate(self.down):
            now = block(now if n == 0 else _pool(now))
            skips.append(now)
        skips.pop()
        for block in self.up:
            skip = skips.pop()
            wide = functional.interpolate(now, tuple(skip.shape[2:]), mode=_MODES[self.dimension])
            now = block(torch.cat((wide, skip), 1))
        learned = self.last(now)
        count = self.mind_channels
        described = torch.cat((fine + learned[:, :count], learned[:, count:]), 1)
        scaled: Tensor = described * (learned.shape[1] / count) ** 0.5
        return scaled


class _Length(nn.Module):
    """Scales the description of each location to one length: no statistics of the whole image."""

    def __init__(self, dimension: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, *[1] * dimension))

    def forward(self, values: Tensor) -> Tensor:
        return values * torch.rsqrt(values.square().mean(1, keepdim=True) + 1e-6) * self.weight


def _block(dimension: int, inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (inputs, outputs):
        layers += [_CONVOLUTIONS[dimension](n, outputs, 3, padding=1)]
        layers += [_Length(dimension, outputs), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)


def _pool(values: Tensor) -> Tensor:
    """Means of pairs along each axis; the last one of an odd axis stays alone."""
    pool = functional.avg_pool3d if values.dim() == 5 else functional.avg_pool2d
    sides = tuple(min(n, 2) for n in values.shape[2:])
    return pool(values, sides, ceil_mode=True, count_include_pad=False)


build = Descriptor
