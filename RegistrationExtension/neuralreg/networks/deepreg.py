"""LocalNet, GlobalNet and the U-Net of DeepReg, as MONAI has them.

Source: Fu et al. 2020, DeepReg, doi:10.21105/joss.02705; Hu et al. 2018,
doi:10.1016/j.media.2018.07.002 (LocalNet, GlobalNet).
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from neuralreg.errors import IncompatibleModel, InvalidOption
from neuralreg.networks.blocks import single

_NETWORKS = {"local": "LocalNet", "global": "GlobalNet", "unet": "RegUNet"}


class DeepReg(nn.Module):
    """One of the three networks, `net`, given both images.

    kind: "local", "global" (affine) or "unet". arguments: MONAI's own, such as
    `num_channel_initial`, `extract_levels`, `depth`, and `image_size` for the affine one. inputs:
    channels that it sees in all.
    Images are (1, 1, z, y, x), or (1, 1, y, x).

    Raises IncompatibleModel without MONAI, and InvalidOption for an unknown kind.
    """

    def __init__(
        self, kind: str = "local", *, dimension: int = 3, inputs: int = 2, **arguments: Any
    ) -> None:
        super().__init__()
        if kind not in _NETWORKS:
            wanted = " or ".join(_NETWORKS)
            raise InvalidOption("DeepReg has no such network", got=f"'{kind}'", wanted=wanted)
        if kind != "global":
            arguments.setdefault("out_channels", dimension)
        network = getattr(_monai(), _NETWORKS[kind])
        self.net = network(spatial_dims=dimension, in_channels=inputs, **arguments)

    def forward(self, fixed: Tensor, moving: Tensor, *more: Tensor) -> Tensor:
        """Displacement (1, d, z, y, x), fixed to moving, in voxels, components z y x.

        more: what a network of more than two `inputs` sees besides, such as a label.
        """
        return single(self.net(torch.cat((moving, fixed, *more), 1)))


def _monai() -> Any:
    try:
        return importlib.import_module("monai.networks.nets")
    except ModuleNotFoundError as error:
        raise IncompatibleModel(
            "DeepReg's networks are MONAI's, which is not installed",
            remedy='Install it with `pip install "neuralreg[training]"`.',
        ) from error


build = DeepReg
