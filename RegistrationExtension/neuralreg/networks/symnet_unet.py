"""The encoder and decoder that SYMNet and LKU-Net share: four steps down, four up, with skips.

Source: Mok and Chung 2020, doi:10.48550/arXiv.2003.09514.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from neuralreg.networks.blocks import channels_last
from neuralreg.networks.network import RegistrationModule

# Layer: channels in and out, in units of the start channels, and stride.
_DOWN = {
    "ec1": (1, 1, 1),
    "ec2": (1, 2, 2),
    "ec3": (2, 2, 1),
    "ec4": (2, 4, 2),
    "ec5": (4, 4, 1),
    "ec6": (4, 8, 2),
    "ec7": (8, 8, 1),
}
_UP = {
    "dc1": (16, 8, 1),
    "dc2": (8, 4, 1),
    "dc3": (8, 4, 1),
    "dc4": (4, 2, 1),
    "dc5": (4, 4, 1),
    "dc6": (4, 2, 1),
    "dc7": (3, 2, 1),
    "dc8": (2, 2, 1),
}
_RISE = {"up1": 8, "up2": 4, "up3": 2, "up4": 2}


class SYMNetUNet(RegistrationModule):
    """Features of an image pair, at its own resolution.

    Args:
        start: channels at full resolution.
        bottom: channels at the lowest one, in units of `start`.
        layer: makes a convolution with its activation from name, channels in and out, and stride.
        rise: makes what doubles the size, from a number of channels.
    """

    divisor = 16

    def __init__(
        self,
        start: int,
        bottom: int,
        layer: Callable[[str, int, int, int], nn.Module],
        rise: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.eninput = layer("eninput", 2, start, 1)
        lowest = {"ec8": (8, bottom, 2), "ec9": (bottom, 8, 1)}
        for name, (inputs, outputs, stride) in {**_DOWN, **lowest, **_UP}.items():
            self.add_module(name, layer(name, inputs * start, outputs * start, stride))
        for name, width in _RISE.items():
            self.add_module(name, rise(width * start))

    def features(self, first: Tensor, second: Tensor) -> Tensor:
        """Two images (1, 1, z, y, x), whose sizes divide by 16, to features (1, c, z, y, x)."""
        now = self._run("eninput ec1", channels_last(torch.cat((first, second), 1)))
        skips = [now]
        for step in ("ec2 ec3", "ec4 ec5", "ec6 ec7"):
            now = self._run(step, now)
            skips.append(now)
        now = self._run("ec8 ec9", now)
        for step in ("dc1 dc2", "dc3 dc4", "dc5 dc6", "dc7 dc8"):
            # Small convolutions may answer in the other layout, which would last to the end.
            now = self._run(f"up{5 - len(skips)}", channels_last(now))
            now = self._run(step, torch.cat((now, skips.pop()), 1))
        return now

    def _run(self, names: str, values: Tensor) -> Tensor:
        for name in names.split():
            values = self.get_submodule(name)(values)
        return values
