"""A Swin transformer in three dimensions: attention within windows, shifted in every other block.

Source: Liu et al. 2021, doi:10.1109/ICCV48922.2021.00986; three-dimensional as in Chen et al. 2022,
doi:10.1016/j.media.2022.102615.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_APART = -100.0  # added to the attention between samples that a shift has made neighbors
# Which samples of each cell of eight follow each other, by array axis z y x.
_CELL = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1))

Triple = tuple[int, int, int]


class Stage(NamedTuple):
    """One stage of a transformer."""

    width: int
    blocks: int
    heads: int


class WindowAttention(nn.Module):
    """Attention among the samples of each window, with a bias for their relative position."""

    def __init__(self, width: int, window: Triple, heads: int) -> None:
        super().__init__()
        self.heads = heads
        span = [2 * n - 1 for n in window]
        self.relative_position_bias_table = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(span[0] * span[1] * span[2], heads), std=0.02)
        )
        self.register_buffer("relative_position_index", _relative_positions(window))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, windows: Tensor, apart: Tensor | None) -> Tensor:
        """Windows (w, samples, c) to the same; apart (w, samples, samples) is added if given."""
        count, samples, width = windows.shape
        split = self.qkv(windows).view(count, samples, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        index = cast("Tensor", self.relative_position_index)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)[None]
        if apart is not None:
            bias = bias + apart[:, None]
        query, key, value = split
        attention = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(attention.transpose(1, 2).reshape(count, samples, width))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and a perceptron, each added to what came in."""

    def __init__(self, width: int, window: Triple, heads: int, *, shifted: bool) -> None:
        super().__init__()
        self.window = window
        self.shift = [n // 2 * shifted for n in window]
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, window, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )

    def forward(self, values: Tensor) -> Tensor:
        """(n, z, y, x, c) to the same shape."""
        values = values + self._attend(self.norm1(values))
        inner = functional.gelu(self.mlp["fc1"](self.norm2(values)))
        return values + self.mlp["fc2"](inner)  # type: ignore[no-any-return]

    def _attend(self, values: Tensor) -> Tensor:
        z, y, x = values.shape[1:4]
        beyond = [-n % w for n, w in zip((z, y, x), self.window, strict=True)]
        padded = functional.pad(values, (0, 0, 0, beyond[2], 0, beyond[1], 0, beyond[0]))
        apart = None
        if any(self.shift):
            padded = padded.roll([-s for s in self.shift], (1, 2, 3))
            apart = _apart(tuple(padded.shape[1:4]), self.window, self.shift).to(padded)
            apart = apart.repeat(len(padded), 1, 1)
        attended = self.attn(_windows(padded, self.window), apart)
        joined = _join(attended, tuple(padded.shape), self.window)
        if any(self.shift):
            joined = joined.roll(self.shift, (1, 2, 3))
        return joined[:, :z, :y, :x]


class Merging(nn.Module):
    """Half the resolution: the eight samples of a cell become one, with twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(8 * width)

    def forward(self, values: Tensor) -> Tensor:
        """(n, z, y, x, c), even sizes, to (n, z / 2, y / 2, x / 2, 2 c)."""
        cells = torch.cat([values[:, z::2, y::2, x::2] for z, y, x in _CELL], -1)
        return self.reduction(self.norm(cells))  # type: ignore[no-any-return]


class Swin(nn.Module):
    """Features of an image at a fourth of its resolution, an eighth, and so on.

    Args:
        inputs: channels.
        window: samples z y x.
        stages: from fine to coarse.
    """

    def __init__(self, inputs: int, window: Triple, stages: Sequence[Stage]) -> None:
        super().__init__()
        first = stages[0].width
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv3d(inputs, first, 4, 4), "norm": nn.LayerNorm(first)}
        )
        self.layers = nn.ModuleList()
        for number, (width, blocks, heads) in enumerate(stages):
            row = [Block(width, window, heads, shifted=n % 2 == 1) for n in range(blocks)]
            layer = nn.ModuleDict({"blocks": nn.ModuleList(row)})
            if number < len(stages) - 1:
                layer["downsample"] = Merging(width)
            self.layers.append(layer)
            self.add_module(f"norm{number}", nn.LayerNorm(width))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(n, c, z, y, x), sizes divide by 32, to one (n, c, z, y, x) per stage, fine to coarse."""
        values = self.patch_embed["proj"](image).movedim(1, -1)
        values = self.patch_embed["norm"](values)
        features = []
        for number, layer in enumerate(self.layers):
            parts = cast("nn.ModuleDict", layer)
            for block in cast("nn.ModuleList", parts["blocks"]):
                values = block(values)
            features.append(self.get_submodule(f"norm{number}")(values).movedim(-1, 1))
            if "downsample" in parts:
                values = parts["downsample"](values)
        return features


def _relative_positions(window: Triple) -> Tensor:
    """For each two samples of a window, which of all possible offsets they have: (n, n)."""
    axes = [torch.arange(n) for n in window]
    at = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)
    offset = at[:, None] - at[None] + torch.tensor(window) - 1
    _, y, x = (2 * n - 1 for n in window)
    return (offset * torch.tensor([y * x, x, 1])).sum(-1)


def _windows(values: Tensor, window: Triple) -> Tensor:
    """(n, z, y, x, c) cut into windows: (n w, samples, c)."""
    (a, b, c), (n, z, y, x, channels) = window, values.shape
    cut = values.view(n, z // a, a, y // b, b, x // c, c, channels)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, a * b * c, channels)


def _join(windows: Tensor, shape: tuple[int, ...], window: Triple) -> Tensor:
    """What `_windows` has cut, whole again: (n, z, y, x, c)."""
    (a, b, c), (n, z, y, x, channels) = window, shape
    cut = windows.view(n, z // a, y // b, x // c, a, b, c, channels)
    return cut.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(shape)


def _apart(shape: tuple[int, ...], window: Triple, shift: Sequence[int]) -> Tensor:
    """What to add to the attention where a shifted window holds samples from opposite ends."""
    part = torch.zeros(1, 1, 1)
    for axis, (n, w, s) in enumerate(zip(shape, window, shift, strict=True)):
        along = torch.bucketize(torch.arange(n), torch.tensor([n - w, n - s]), right=True)
        part = 3 * part + along.view([-1 if a == axis else 1 for a in range(3)])
    parts = _windows(part[None, ..., None], window)[..., 0]
    return (parts[:, :, None] != parts[:, None]) * _APART
