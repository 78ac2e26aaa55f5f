"""Weights and images from seeds: any two programs can make the same ones, without files."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    """Normal random numbers that belong to a name, from numpy's generator that never changes."""
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32))


def seeded_weights(state: Mapping[str, Tensor], gentle: Mapping[str, float]) -> dict[str, Tensor]:
    """Tensors of the names and shapes of a state dict, with random numbers w.

    w / sqrt(product of shape[1:]) for kernels and matrices, 1 + 0.2 |w| for one-dimensional
    "weight" and "running_var", 0.1 w for everything else. Whole numbers and sampling grids stay as
    they are. gentle: a factor for all tensors whose names hold a text, so that the answer is a few
    voxels long.
    """
    made = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or name.endswith(".grid"):
            made[name] = tensor.clone()
            continue
        random = numbers(name, tuple(tensor.shape))
        if tensor.dim() > 1:
            random = random / math.sqrt(math.prod(tensor.shape[1:]))
        elif name.endswith(("weight", "running_var")):
            random = 1 + 0.2 * random.abs()
        else:
            random = 0.1 * random
        for text, factor in gentle.items():
            random = random * factor if text in name else random
        made[name] = random
    return made


def seeded_pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Fixed and moving image, (1, 1, z, y, x) or (1, 1, y, x), in about 0..1."""
    places = [torch.arange(n, dtype=torch.float32) for n in shape]
    wave = sum(torch.sin(p / 5) for p in torch.meshgrid(*places, indexing="ij")) / len(shape)
    return tuple(0.5 + 0.3 * wave + 0.1 * numbers(n, (1, 1, *shape)) for n in ("fixed", "moving"))


def some_places(shape: tuple[int, ...], count: int = 300) -> Tensor:
    """Some samples of an array, (count, d), spread over all of it."""
    flat = (torch.arange(count, dtype=torch.float64) * 0.6180339887 % 1 * math.prod(shape)).long()
    return torch.stack(torch.unravel_index(flat, shape), 1)
