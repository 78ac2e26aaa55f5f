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

SLOPE = 0.2
_RANGE = 0.4  # the most that one level may add, in normalized units
_BLOCKS = 5


class Widths(NamedTuple):
    """Channels of a level: at its own resolution, at half of it, after going up, of the answer."""

    encoder: int
    inner: int
    up: int
    output: int


class Answer(NamedTuple):
    """What a level says: displacement or velocity (1, d, z, y, x), and the features behind it."""

    field: Tensor
    features: Tensor


def rectified(values: Tensor) -> Tensor:
    """Leaky rectifier in place, for what nobody else reads."""
    return functional.leaky_relu(values, SLOPE, inplace=True)


def convolution(dimension: int, inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A kernel of three samples along each axis, without bias."""
    layer: nn.Module = CONVOLUTION[dimension](inputs, outputs, 3, stride, 1, bias=False)
    return layer


class PyramidLevel(nn.Module):
    """One level of the pyramid, with the coarser ones inside.

    dimension: of the images. block: makes a residual block for a number of channels; it is called
    with its input and with the `code` that `answer` got. coarser: None for the coarsest level.
    """

    def __init__(
        self,
        dimension: int,
        widths: Widths,
        block: Callable[[int], nn.Module],
        coarser: PyramidLevel | None = None,
    ) -> None:
        super().__init__()
        convolved = partial(convolution, dimension)
        self.level: int = coarser.level + 1 if coarser else 1
        inputs = 2 + dimension if coarser else 2
        w = widths
        rectifier = nn.LeakyReLU(SLOPE, inplace=True)
        last = convolved(w.output, dimension)
        self.input_encoder_lvl1 = nn.Sequential(
            convolved(inputs, w.encoder), rectifier, convolved(w.encoder, w.encoder)
        )
        self.down_conv = convolved(w.encoder, w.inner, stride=2)
        blocks = {str(2 * n): block(w.inner) for n in range(_BLOCKS)}
        self.resblock_group_lvl1 = nn.ModuleDict(blocks)
        self.up = TRANSPOSED[dimension](w.inner, w.up, 2, 2, bias=False)
        self.output_lvl1 = nn.Sequential(
            convolved(w.up + w.encoder, w.output),
            rectifier,
            last,
            nn.Softsign(),
        )
        self.skipped = False
        if coarser:
            self.add_module(f"model_lvl{coarser.level}", coarser)
            nn.init.zeros_(cast("Tensor", last.weight))  # it begins by adding nothing

    def use_levels(self, count: int | None) -> None:
        """Let the `count` coarsest levels answer, and the finer ones pass that on; None: all."""
        for part in self.modules():
            if isinstance(part, PyramidLevel):
                part.skipped = count is not None and part.level > max(count, 1)

    def answer(
        self, fixed: Tensor, moving: Tensor, *, code: Tensor | None = None, velocity: bool = False
    ) -> Answer:
        """What this level and the coarser ones say about two images (1, 1, z, y, x).

        velocity: whether the field is a velocity, to be integrated wherever it displaces.
        """
        if self.level == 1:
            return self._said(torch.cat((moving, fixed), 1), None, code)
        coarser: PyramidLevel = self.get_submodule(f"model_lvl{self.level - 1}")  # type: ignore[assignment]
        found = coarser.answer(_halved(fixed), _halved(moving), code=code, velocity=velocity)
        start = upsample(found.field)
        if self.skipped:
            return Answer(start, found.features)
        moved = upsample(exponential(found.field)) if velocity else start
        field, features = self._said(
            torch.cat((warp(moving, moved), fixed, start), 1), found.features, code
        )
        return Answer(field + start, features)

    def _said(self, seen: Tensor, coarser: Tensor | None, code: Tensor | None) -> Answer:
        skip = self.input_encoder_lvl1(channels_last(seen))
        inner = self.down_conv(skip)
        if coarser is not None:
            inner = inner + coarser
        for block in self.resblock_group_lvl1.values():
            inner = rectified(block(inner, code))
        features = self.up(inner)
        field = self.output_lvl1(torch.cat((features, skip), 1)) * _RANGE
        return Answer(single(field).contiguous(), features)


def _halved(image: Tensor) -> Tensor:
    halved: Tensor = MEAN[image.dim() - 2](image, 3, 2, 1, count_include_pad=False)
    return halved
