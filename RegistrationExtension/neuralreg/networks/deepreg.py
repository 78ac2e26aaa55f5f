"""LocalNet, GlobalNet and the U-Net of DeepReg, as MONAI has them.

Source: Fu et al. 2020, DeepReg, doi:10.21105/joss.02705; Hu et al. 2018,
doi:10.1016/j.media.2018.07.002 (LocalNet, GlobalNet).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from neuralreg.errors import IncompatibleModel, InvalidOption
from neuralreg.networks.blocks import single
from neuralreg.networks.network import Output, RegistrationModule

_NETWORKS = {"local": "LocalNet", "global": "GlobalNet", "unet": "RegUNet"}
Growth = Literal["linear", "nearest"]


class DeepReg(RegistrationModule):
    """One of the three networks, `net`, given both images.

    Images are (n, 1, z, y, x), or (n, 1, y, x).

    Args:
        kind: "local", "global" (affine) or "unet".
        dimension: of the images.
        inputs: channels that it sees in all.
        arguments: MONAI's own, such as `num_channel_initial`, `extract_levels`, `depth`, and
            `image_size` for the affine one.

    Raises:
        IncompatibleModel: MONAI is not installed.
        InvalidOption: an unknown kind.
    """

    output = Output("displacement", "voxel", "zyx")
    trainable: ClassVar[bool] = False  # its three kinds are, each by its own name

    def __init__(
        self, kind: str = "local", *, dimension: int = 3, inputs: int = 2, **arguments: Any
    ) -> None:
        super().__init__()
        if kind not in _NETWORKS:
            kinds = " or ".join(_NETWORKS)
            raise InvalidOption("DeepReg has no such network", got=f"'{kind}'", wanted=kinds)
        if kind != "global":
            arguments.setdefault("out_channels", dimension)
        network = getattr(_monai(), _NETWORKS[kind])
        self.net = network(spatial_dims=dimension, in_channels=inputs, **arguments)

    def forward(self, fixed: Tensor, moving: Tensor, *more: Tensor) -> Tensor:
        """Displacement (n, d, z, y, x), fixed to moving, in voxels, components z y x.

        Args:
            fixed: (n, 1, z, y, x).
            moving: (n, 1, z, y, x).
            more: what a network of more than two `inputs` sees besides, such as a label.
        """
        return single(self.net(torch.cat((moving, fixed, *more), 1)))


class DeepRegUNet(DeepReg):
    """DeepReg's U-Net on MONAI's RegUNet, which by itself outputs its deepest level only.

    Args:
        dimension: of the images.
        inputs: channels of both images in all.
        outputs: channels of the output.
        num_channel_initial: channels at full resolution.
        depth: halvings.
        pooling: whether resolutions are halved by pooling.
        concat_skip: whether skips are concatenated.
        extract_levels: levels whose outputs are averaged; 0 is full resolution.
        mode: how coarse outputs are enlarged.
    """

    trainable = True

    def __init__(
        self,
        dimension: int = 3,
        inputs: int = 2,
        outputs: int = 3,
        *,
        num_channel_initial: int = 16,
        depth: int = 3,
        pooling: bool = True,
        concat_skip: bool = False,
        extract_levels: Sequence[int] = (0,),
        mode: Growth = "linear",
    ) -> None:
        levels = _check_levels(extract_levels, depth)
        super().__init__(
            "unet",
            dimension=dimension,
            inputs=inputs,
            out_channels=outputs,
            num_channel_initial=num_channel_initial,
            depth=depth,
            pooling=pooling,
            concat_skip=concat_skip,
            extract_levels=_with_deepest(levels, depth),
            **_head(outputs, dimension),
        )
        _answer_from(self.net, levels, mode, dimension)
        self.divisor = 2**depth


class LocalNet(DeepReg):
    """LocalNet.

    Args:
        dimension: of the images.
        inputs: channels of both images in all.
        outputs: channels of the output.
        num_channel_initial: channels at full resolution.
        extract_levels: levels whose outputs are averaged; 0 is full resolution.
        depth: halvings; the largest of extract_levels unless given.
        pooling: whether resolutions are halved by pooling.
        concat_skip: whether skips are concatenated.
        mode: how resolutions are doubled; MONAI's own, nearest, makes blocky fields, in its output
            block even where LocalNet is asked for another.
    """

    trainable = True

    def __init__(
        self,
        dimension: int = 3,
        inputs: int = 2,
        outputs: int = 3,
        *,
        num_channel_initial: int = 16,
        extract_levels: Sequence[int] = (0, 1, 2, 3),
        depth: int | None = None,
        pooling: bool = True,
        concat_skip: bool = False,
        mode: Growth = "linear",
    ) -> None:
        deepest = max(extract_levels) if depth is None else depth
        levels = _check_levels(extract_levels, deepest)
        super().__init__(
            "local",
            dimension=dimension,
            inputs=inputs,
            out_channels=outputs,
            num_channel_initial=num_channel_initial,
            extract_levels=_with_deepest(levels, deepest),
            pooling=pooling,
            concat_skip=concat_skip,
            **_growth(mode, dimension),
            **_head(outputs, dimension),
        )
        _answer_from(self.net, levels, mode, dimension)
        self.divisor = 2**deepest


class GlobalNet(DeepReg):
    """GlobalNet: an affine motion, for images of one shape.

    Args:
        shape: samples z y x.
        inputs: channels of both images in all.
        num_channel_initial: channels at full resolution.
        depth: halvings.
        pooling: whether resolutions are halved by pooling.
        concat_skip: whether skips are concatenated.
    """

    trainable = True
    affine_motion = True

    def __init__(
        self,
        shape: Sequence[int],
        inputs: int = 2,
        *,
        num_channel_initial: int = 16,
        depth: int = 3,
        pooling: bool = True,
        concat_skip: bool = False,
    ) -> None:
        super().__init__(
            "global",
            dimension=len(shape),
            inputs=inputs,
            image_size=[-(-n // 2**depth) * 2**depth for n in shape],
            num_channel_initial=num_channel_initial,
            depth=depth,
            pooling=pooling,
            concat_skip=concat_skip,
        )
        self.divisor = 2**depth


def _monai() -> Any:
    try:
        return importlib.import_module("monai.networks.nets")
    except ModuleNotFoundError as error:
        raise IncompatibleModel(
            "DeepReg's networks are MONAI's, which is not installed",
            remedy='Install it with `pip install "neuralreg[training]"`.',
        ) from error


def _check_levels(levels: Sequence[int], depth: int) -> tuple[int, ...]:
    if not levels or not all(0 <= level <= depth for level in levels):
        raise InvalidOption(
            "levels count from 0, full resolution, to the depth",
            where="extract_levels",
            got=f"{list(levels)}",
            wanted=f"some of 0..{depth}",
        )
    return tuple(sorted(set(levels)))


def _with_deepest(levels: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """MONAI wants the deepest level among those that answer; it is taken out again."""
    return tuple(sorted({*levels, depth}))


def _growth(mode: str, dimension: int) -> dict[str, Any]:
    if mode == "nearest":
        return {"mode": "nearest", "align_corners": None}
    return {"mode": {2: "bilinear", 3: "trilinear"}[dimension], "align_corners": False}


def _answer_from(net: Any, levels: tuple[int, ...], mode: str, dimension: int) -> None:
    """Let MONAI's output block answer from some levels only, and enlarge the coarse ones."""
    block = net.output_block
    layers = zip(block.layers, block.extract_levels, strict=True)
    block.layers = nn.ModuleList(layer for layer, level in layers if level in levels)
    block.extract_levels = levels
    for name, value in _growth(mode, dimension).items():
        setattr(block, name, value)


def _head(outputs: int, dimension: int) -> dict[str, str]:
    """A displacement starts from the identity, a label from anywhere."""
    if outputs == dimension:
        return {"out_kernel_initializer": "zeros"}
    return {"out_kernel_initializer": "kaiming_uniform", "out_activation": "sigmoid"}


build = DeepReg
