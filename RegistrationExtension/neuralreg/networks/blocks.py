"""Layers that several architectures share, for two and three dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MEAN: dict[int, Any] = {2: functional.avg_pool2d, 3: functional.avg_pool3d}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(values: Tensor) -> Tensor:
    """The same tensor with its channels side by side in memory.

    Convolutions then take half the time on a CPU, and all that follows keeps the layout.
    """
    return values.contiguous(memory_format=CHANNELS_LAST[values.dim()])


def single(values: Tensor) -> Tensor:
    """Float32 for values that autocast has shortened: positions need more digits than features."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def unwrap(weights: Mapping[str, Any], key: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint that holds them under a key, beside other things, or directly."""
    return dict(weights.get(key, weights))
