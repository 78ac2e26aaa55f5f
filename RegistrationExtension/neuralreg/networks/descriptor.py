"""Features of any gray image, 2D or 3D, that do not depend on its contrast: small and quick.

A U-Net at half resolution: the search that compares the features averages them over cells of
several voxels anyway.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_MODES = {2: "bilinear", 3: "trilinear"}


class Descriptor(nn.Module):
    """dimension: of the images. widths: channels per level. outputs: numbers per voxel."""

    def __init__(
        self,
        *,
        dimension: int = 3,
        widths: tuple[int, ...] = (16, 32, 64),
        outputs: int = 16,
    ) -> None:
        super().__init__()
        self.dimension, self.levels = dimension, len(widths)
        convolution, norm = _CONVOLUTIONS[dimension], _NORMS[dimension]

        def block(inputs: int, outputs: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for n in (inputs, outputs):
                layers += [convolution(n, outputs, 3, padding=1), norm(outputs, affine=True)]
                layers += [nn.LeakyReLU(0.1, inplace=True)]
            return nn.Sequential(*layers)

        before = (2**dimension, *widths)
        self.down = nn.ModuleList(block(a, b) for a, b in zip(before, widths, strict=False))
        steps = list(pairwise(widths))[::-1]
        self.up = nn.ModuleList(block(fine + coarse, fine) for fine, coarse in steps)
        self.last = convolution(widths[0], outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(n, 1, z, y, x) in 0..1 to (n, outputs, z, y, x); any size."""
        shape = tuple(image.shape[2:])
        cell = 2**self.levels
        beyond = [side for n in shape[::-1] for side in (0, max(2, -(-n // cell)) * cell - n)]
        now = _halved(functional.pad(image, beyond, mode="replicate"))
        skips = []
        for n, block in enumerate(self.down):
            now = block(now if n == 0 else _pooled(now))
            skips.append(now)
        skips.pop()
        mode = _MODES[self.dimension]
        for block in self.up:
            fine = skips.pop()
            now = functional.interpolate(now, tuple(fine.shape[2:]), mode=mode)
            now = block(torch.cat((now, fine), 1))
        whole = functional.interpolate(self.last(now), scale_factor=2, mode=mode)
        return whole[(slice(None), slice(None), *(slice(n) for n in shape))]


def _halved(image: Tensor) -> Tensor:
    """Every second sample along each axis, the others as channels: (n, 2^d, z/2, y/2, x/2)."""
    n, _, *shape = image.shape
    d = len(shape)
    split = image.view(n, *(part for size in shape for part in (size // 2, 2)))
    order = [0, *range(2, 2 * d + 1, 2), *range(1, 2 * d + 1, 2)]
    return split.permute(order).reshape(n, 2**d, *(size // 2 for size in shape))


def _pooled(values: Tensor) -> Tensor:
    pool = functional.avg_pool3d if values.dim() == 5 else functional.avg_pool2d
    return pool(values, 2)


build = Descriptor
