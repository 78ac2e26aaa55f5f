"""The three-level Laplacian pyramid of LapIRN and its descendants, in 2D and 3D.

Each level sees both images at its own resolution, the moving one warped by what the coarser level
found, and adds what is missing. Key layout of the state dict: the finest level is the root, and
owns the next coarser one as `model_lvl2`, which owns `model_lvl2.model_lvl1`.

Source: Mok and Chung 2020, doi:10.48550/arXiv.2006.16148.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralreg.geometry.normalized import exponential, upsample, warp
from neuralreg.networks.blocks import CONVOLUTION, MEAN, TRANSPOSED, channels_last, single
from neuralreg.networks.network import Output, RegistrationModule

SLOPE = 0.2
_RANGE = 0.4  # the most that one level may add, in normalized units
_BLOCKS = 5


class Widths(NamedTuple):
    """Channels of a level: at its own resolution, at half of it, after upsampling, of the
    output."""

    encoder: int
    inner: int
    up: int
    output: int


class LevelOutput(NamedTuple):
    """Displacement or velocity (n, d, z, y, x) of a level, and the features behind it."""

    field: Tensor
    features: Tensor


def rectify(values: Tensor) -> Tensor:
    """Leaky rectifier in place, for values that nothing else reads."""
    return functional.leaky_relu(values, SLOPE, inplace=True)


def convolution(dimension: int, inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A kernel of three samples along each axis, without bias."""
    layer: nn.Module = CONVOLUTION[dimension](inputs, outputs, 3, stride, 1, bias=False)
    return layer


class PyramidLevel(RegistrationModule):
    """One level of the pyramid, with the coarser ones inside.

    Args:
        dimension: of the images.
        widths: channels of the level.
        block: makes a residual block for a number of channels; it is called with its input and with
            the `code` that `predict` got.
        coarser: the next coarser level; None for the coarsest one.
    """

    output = Output("displacement", "normalized", "xyz")
    divisor = 8

    def __init__(
        self,
        dimension: int,
        widths: Widths,
        block: Callable[[int], nn.Module],
        coarser: PyramidLevel | None = None,
    ) -> None:
        super().__init__()
        make = partial(convolution, dimension)
        self.levels = coarser.levels + 1 if coarser else 1
        inputs = 2 + dimension if coarser else 2
        w = widths
        rectifier = nn.LeakyReLU(SLOPE, inplace=True)
        last = make(w.output, dimension)
        self.input_encoder_lvl1 = nn.Sequential(
            make(inputs, w.encoder), rectifier, make(w.encoder, w.encoder)
        )
        self.down_conv = make(w.encoder, w.inner, stride=2)
        blocks = {str(2 * n): block(w.inner) for n in range(_BLOCKS)}
        self.resblock_group_lvl1 = nn.ModuleDict(blocks)
        self.up = TRANSPOSED[dimension](w.inner, w.up, 2, 2, bias=False)
        self.output_lvl1 = nn.Sequential(
            make(w.up + w.encoder, w.output),
            rectifier,
            last,
            nn.Softsign(),
        )
        self.skipped = False
        if coarser:
            self.add_module(f"model_lvl{coarser.levels}", coarser)
            nn.init.zeros_(cast("Tensor", last.weight))  # it begins by adding nothing

    def use_levels(self, count: int | None) -> None:
        """Let the coarsest levels make the output, and the finer ones pass it on.

        Args:
            count: number of levels; None for all.
        """
        for part in self.modules():
            if isinstance(part, PyramidLevel):
                part.skipped = count is not None and part.levels > max(count, 1)

    def predict(
        self, fixed: Tensor, moving: Tensor, *, code: Tensor | None = None, velocity: bool = False
    ) -> LevelOutput:
        """What this level and the coarser ones predict for a pair.

        Args:
            fixed: (n, 1, z, y, x).
            moving: like `fixed`.
            code: passed to the residual blocks.
            velocity: whether the field is a velocity, to be integrated wherever it displaces.
        """
        if self.levels == 1:
            return self._run(torch.cat((moving, fixed), 1), None, code)
        coarser: PyramidLevel = self.get_submodule(f"model_lvl{self.levels - 1}")  # type: ignore[assignment]
        below = coarser.predict(_halve(fixed), _halve(moving), code=code, velocity=velocity)
        start = upsample(below.field)
        if self.skipped:
            return LevelOutput(start, below.features)
        moved = upsample(exponential(below.field)) if velocity else start
        field, features = self._run(
            torch.cat((warp(moving, moved), fixed, start), 1), below.features, code
        )
        return LevelOutput(field + start, features)

    def _run(self, images: Tensor, coarser: Tensor | None, code: Tensor | None) -> LevelOutput:
        skip = self.input_encoder_lvl1(channels_last(images))
        inner = self.down_conv(skip)
        if coarser is not None:
            inner = inner + coarser
        for block in self.resblock_group_lvl1.values():
            inner = rectify(block(inner, code))
        features = self.up(inner)
        field = self.output_lvl1(torch.cat((features, skip), 1)) * _RANGE
        return LevelOutput(single(field).contiguous(), features)


def _halve(image: Tensor) -> Tensor:
    halved: Tensor = MEAN[image.dim() - 2](image, 3, 2, 1, count_include_pad=False)
    return halved
