"""The networks that a configuration can name, and one meaning for what they say.

Each builder gets the number of axes, the shape (z y x) of what the network will see, and how many
channels go in and out; what it makes carries a `convention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from neuralreg.errors import InvalidOption
from neuralreg.geometry.normalized import identity_map
from neuralreg.networks import avsm as avsm_file
from neuralreg.networks import deepreg, dirnet, lapirn, lku_net, transmorph, voxelmorph
from neuralreg.networks.icon_unet import TallUNet
from neuralreg.networks.mlp import MLP
from neuralreg.networks.unet import FEATURES
from neuralreg.training.config.part_registry import register_backbone
from neuralreg.training.model.pad_to_size import Shape, padded, with_convention


@register_backbone("unet")
def unet(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    num_channel_initial: int = 16,
    depth: int = 3,
    pooling: bool = True,
    concat_skip: bool = False,
    extract_levels: Sequence[int] = (0,),
    mode: Literal["linear", "nearest"] = "linear",
) -> nn.Module:
    """DeepReg's U-Net on MONAI's RegUNet, which by itself answers from its deepest level only.

    extract_levels: whose answers are averaged, 0 is full resolution. mode: how coarse ones grow.
    """
    levels = _levels(extract_levels, depth)
    network = deepreg.DeepReg(
        "unet",
        dimension=dimension,
        inputs=inputs,
        out_channels=outputs,
        num_channel_initial=num_channel_initial,
        depth=depth,
        pooling=pooling,
        concat_skip=concat_skip,
        extract_levels=_all_levels(levels, depth),
        **_head(outputs, dimension),
    )
    _answer_from(network, levels, mode, dimension)
    return with_convention(network, order="zyx", divisor=2**depth)


@register_backbone("local")
def local(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    num_channel_initial: int = 16,
    extract_levels: Sequence[int] = (0, 1, 2, 3),
    depth: int | None = None,
    pooling: bool = True,
    concat_skip: bool = False,
    mode: Literal["linear", "nearest"] = "linear",
) -> nn.Module:
    """LocalNet. depth: the largest of extract_levels unless given.

    mode: how resolutions are doubled; MONAI's own, nearest, makes blocky fields, in its output
    block even where LocalNet is asked for another.
    """
    deepest = max(extract_levels) if depth is None else depth
    levels = _levels(extract_levels, deepest)
    network = deepreg.DeepReg(
        "local",
        dimension=dimension,
        inputs=inputs,
        out_channels=outputs,
        num_channel_initial=num_channel_initial,
        extract_levels=_all_levels(levels, deepest),
        pooling=pooling,
        concat_skip=concat_skip,
        **_growing(mode, dimension),
        **_head(outputs, dimension),
    )
    _answer_from(network, levels, mode, dimension)
    return with_convention(network, order="zyx", divisor=2**deepest)


def _levels(wanted: Sequence[int], depth: int) -> tuple[int, ...]:
    if not wanted or not all(0 <= level <= depth for level in wanted):
        raise InvalidOption(
            "levels count from 0, full resolution, to the depth",
            where="extract_levels",
            got=f"{list(wanted)}",
            wanted=f"some of 0..{depth}",
        )
    return tuple(sorted(set(wanted)))


def _all_levels(levels: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """MONAI wants the deepest level among those that answer; it is taken out again."""
    return tuple(sorted({*levels, depth}))


def _growing(mode: str, dimension: int) -> dict[str, Any]:
    linear = {2: "bilinear", 3: "trilinear"}[dimension]
    return {"mode": "nearest", "align_corners": None} if mode == "nearest" else {
        "mode": linear, "align_corners": False,
    }  # fmt: skip


def _answer_from(network: Any, levels: tuple[int, ...], mode: str, dimension: int) -> None:
    """Let MONAI's output block answer from some levels only, and grow coarse answers linearly."""
    block = network.net.output_block
    kept = [
        layer
        for layer, level in zip(block.layers, block.extract_levels, strict=True)
        if level in levels
    ]
    block.layers, block.extract_levels = nn.ModuleList(kept), levels
    for name, value in _growing(mode, dimension).items():
        setattr(block, name, value)


@register_backbone("global")
def global_(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    num_channel_initial: int = 16,
    depth: int = 3,
    pooling: bool = True,
    concat_skip: bool = False,
) -> nn.Module:
    """GlobalNet: an affine motion."""
    network = deepreg.DeepReg(
        "global",
        dimension=dimension,
        inputs=inputs,
        image_size=list(padded(shape, 2**depth)),
        num_channel_initial=num_channel_initial,
        depth=depth,
        pooling=pooling,
        concat_skip=concat_skip,
    )
    return with_convention(network, order="zyx", divisor=2**depth, affine=True)


def _head(outputs: int, dimension: int) -> dict[str, str]:
    """A displacement starts from the identity, a label from anywhere."""
    if outputs == dimension:
        return {"out_kernel_initializer": "zeros"}
    return {"out_kernel_initializer": "kaiming_uniform", "out_activation": "sigmoid"}


@register_backbone("voxelmorph")
def voxelmorph_(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    features: Sequence[Sequence[int]] = FEATURES,
    per_level: int = 1,
    int_steps: int = 0,
    int_downsize: int = 2,
    half_res: bool = False,
) -> nn.Module:
    """VoxelMorph's U-Net. int_steps: 7 for its own integration of a velocity at half resolution.

    With method "velocity" leave int_steps at 0.
    """
    network = voxelmorph.VoxelMorph(
        dimension,
        features=features,
        per_level=per_level,
        int_steps=int_steps,
        int_downsize=int_downsize,
        half_res=half_res,
    )
    halvings = len(features[0]) // per_level
    return with_convention(network, order="zyx", divisor=2**halvings)


@register_backbone("lapirn")
def lapirn_(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    start_channel: int = 7,
    diffeomorphic: bool = False,
) -> nn.Module:
    """LapIRN, three levels trained together. diffeomorphic: its levels integrate velocities."""
    network = lapirn.LapIRN(start_channel, diffeomorphic=diffeomorphic, dimension=dimension)
    return with_convention(network, kind="normalized", divisor=8)


@register_backbone("lku_net")
def lku_net_(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    start_channel: int = 8,
    kernel: int = 5,
    diffeomorphic: bool = False,
    parallel: bool = True,
) -> nn.Module:
    """LKU-Net. parallel: its kernels of three sizes are trained side by side, not as their sum."""
    network = lku_net.LKUNet(
        start_channel,
        kernel=kernel,
        dimension=dimension,
        diffeomorphic=diffeomorphic,
        parallel=parallel,
    )
    return with_convention(network, kind="normalized", order="zyx", divisor=16)


@register_backbone("transmorph")
def transmorph_(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    width: int = 96,
    depths: Sequence[int] = (2, 2, 4, 2),
    heads: Sequence[int] = (4, 4, 8, 8),
    window: Sequence[int] = (5, 6, 7),
    head: int = 16,
) -> nn.Module:
    """TransMorph, in 3D."""
    if dimension != 3:
        raise InvalidOption("TransMorph is a network for volumes", got=f"{dimension} axes")
    network = transmorph.TransMorph(width, depths=depths, heads=heads, window=window, head=head)
    return with_convention(network, order="zyx", divisor=32)


@register_backbone("dirnet")
def dirnet_(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    width: int = 16,
    halvings: int = 3,
) -> nn.Module:
    """DIRNet: control points of a B-spline."""
    return with_convention(dirnet.DIRNet(dimension, width=width, halvings=halvings))


@register_backbone("avsm")
def avsm_(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    affine_steps: int = 2,
    velocity_steps: int = 2,
    features: Sequence[Sequence[int]] = ((16, 32, 32), (32, 32, 16)),
) -> nn.Module:
    """AVSM: affine steps, then velocity steps."""
    network = avsm_file.AVSM(
        dimension, affine_steps=affine_steps, velocity_steps=velocity_steps, features=features
    )
    return with_convention(network, kind="normalized", divisor=2 ** len(features[0]))


@register_backbone("affine")
def affine(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    width: int = 8,
    halvings: int = 4,
) -> nn.Module:
    """The affine network of AVSM, a few convolutions and one matrix, for images of any size."""
    network = _Affine(avsm_file.AffineNetwork(dimension, width=width, halvings=halvings))
    return with_convention(network, kind="normalized", affine=True)


class _Affine(nn.Module):
    """An affine network's change of the matrix as a displacement."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        change: Tensor = self.network(fixed, moving)
        places = identity_map(tuple(fixed.shape[2:]), fixed)
        moved = change[:, :, :-1] @ places.flatten(2) + change[:, :, -1:]
        return moved.view(len(fixed), *places.shape[1:])


@register_backbone("icon_unet")
def icon_unet(dimension: int, shape: Shape, inputs: int, outputs: int) -> nn.Module:
    """The U-Net of ICON and GradICON; several of them make their networks, see `Model`."""
    network = _MovingFirst(TallUNet(dimension))
    least = 17 if dimension == 3 else 1  # pooling in 3D refuses a single sample
    return with_convention(network, kind="unit", order="zyx", least=least)


class _MovingFirst(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        found: Tensor = self.network(moving, fixed)
        return found


@register_backbone("mlp")
def mlp(
    dimension: int,
    shape: Shape,
    inputs: int,
    outputs: int,
    *,
    widths: Sequence[int] = (256, 256),
) -> nn.Module:
    """Fully connected layers, for small images."""
    return with_convention(MLP(shape, widths=widths), kind="unit")
