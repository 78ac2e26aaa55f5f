"""anatomix: features of any gray volume that do not depend on its contrast.

Source: Dey et al. 2024, "Learning General-Purpose Biomedical Volume Representations using
Randomized Synthesis", doi:10.48550/arXiv.2411.02372.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.networks.blocks import channels_last, single
from neuralreg.networks.network import Network

_COMPILED = "_orig_mod."  # put before all names by torch.compile
_POOLS = {"max": nn.MaxPool3d, "average": nn.AvgPool3d}


class Anatomix(Network):
    """A U-Net that describes each voxel by some numbers.

    Args:
        levels: halvings.
        start: channels at full resolution.
        outputs: numbers per voxel.
        norm: "batch" or "instance".
        epsilon: of the instance normalization.
        pooling: "max" or "average".
        rise: "nearest" or "trilinear".
    """

    def __init__(
        self,
        *,
        levels: int = 4,
        start: int = 16,
        outputs: int = 16,
        norm: str = "batch",
        epsilon: float = 1e-5,
        pooling: str = "max",
        rise: str = "nearest",
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        kind = nn.InstanceNorm3d if bias else nn.BatchNorm3d

        def convolution(inputs: int, outputs: int) -> nn.Conv3d:
            return nn.Conv3d(inputs, outputs, 3, padding=1, bias=bias, padding_mode="reflect")

        def layer(inputs: int, outputs: int) -> list[nn.Module]:
            one = convolution(inputs, outputs)
            return [one, kind(outputs, eps=epsilon), nn.ReLU(inplace=True)]

        widths = [start * 2**n for n in range(levels + 1)]
        layers, now = layer(1, start), start
        for width in widths[:-1]:
            layers += [*layer(now, width), *layer(width, width), _POOLS[pooling](2)]
            now = width
        layers += [*layer(now, widths[-1]), *layer(widths[-1], widths[-1])]
        for width in reversed(widths[:-1]):
            layers += [nn.Upsample(scale_factor=2, mode=rise)]
            layers += [*layer(3 * width, width), *layer(width, width)]
        self.model = nn.Sequential(*layers, convolution(start, outputs))
        self.levels = levels

    def forward(self, image: Tensor) -> Tensor:
        """One volume (1, 1, z, y, x) in 0..1 to (1, outputs, z, y, x).

        Sizes that do not divide by 2 to the number of levels are continued by the border value, up
        to at least two samples at the lowest level, which its mirrored borders need.
        """
        z, y, x = image.shape[2:]
        cell = 2**self.levels
        beyond = [side for n in (x, y, z) for side in (0, max(2, -(-n // cell)) * cell - n)]
        now = channels_last(functional.pad(image, beyond, mode="replicate"))
        skips = []
        for step in self.model:
            if isinstance(step, tuple(_POOLS.values())):
                skips.append(now)
            now = step(now)
            if isinstance(step, nn.Upsample):
                now = torch.cat((skips.pop(), now), 1)
        return single(now[:, :, :z, :y, :x])

    features = forward

    def adapt_weights(self, weights: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors, also of a network that was compiled when it was saved."""
        return {name.removeprefix(_COMPILED): tensor for name, tensor in weights.items()}


build = Anatomix
