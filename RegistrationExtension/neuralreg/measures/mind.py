"""MIND-SSC: what an image looks like around each voxel, whatever its modality."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from neuralreg.geometry.smoothing import box_mean

# Features (1, f, z, y, x) of an image (1, 1, z, y, x): as many samples, or one for each few voxels.
Describe = Callable[[Tensor], Tensor]

_PAIRS: dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {
    2: [((1, 0), (0, 1)), ((1, 0), (0, -1)), ((-1, 0), (0, 1)), ((-1, 0), (0, -1))],
    3: [
        (a, b)
        for a, b in combinations(
            [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], 2
        )
        if sum(x * y for x, y in zip(a, b, strict=True)) == 0
    ],
}


def mind_ssc(image: Tensor, *, radius: int = 1, dilation: int = 2) -> Tensor:
    """Self-similarity descriptor: one channel in 0..1 per pair of neighbors at a right angle.

    Each pair's squared patch difference is computed once for both of its two locations: patches at
    x + a and x + b differ as those at 0 and b - a do, read at x + a.

    Args:
        image: (b, 1, z, y, x) or (b, 1, y, x), any range. The border is repeated.
        radius: half width in voxels of the box in which patches are compared.
        dilation: distance in voxels of the neighbors from the center.

    Returns:
        (b, 12, z, y, x), or (b, 4, y, x).

    Source: Heinrich et al. 2013, doi:10.1007/978-3-642-40811-3_24, eq. 3 and 4, with the variance
    estimate clamped to 1e-3..1e3 of its mean.
    """
    spatial = image.shape[2:]
    d = len(spatial)
    pad = 2 * dilation
    wide = torch.nn.functional.pad(image, [pad] * (2 * d), mode="replicate")

    def shift(values: Tensor, offset: tuple[int, ...], margin: int) -> Tensor:
        inner = [slice(None), slice(None)]
        for o, n in zip(offset, values.shape[2:], strict=True):
            inner.append(slice(margin + o, n - margin + o))
        return values[tuple(inner)]

    differences: dict[tuple[int, ...], Tensor] = {}
    channels = []
    for a, b in _PAIRS[d]:
        step = tuple((y - x) * dilation for x, y in zip(a, b, strict=True))
        start = a
        if step < tuple(-s for s in step):  # one direction of each line is enough
            step, start = tuple(-s for s in step), b
        if step not in differences:
            center = shift(wide, (0,) * d, dilation)
            differences[step] = box_mean((center - shift(wide, step, dilation)) ** 2, radius)
        channels.append(shift(differences[step], tuple(dilation * s for s in start), dilation))
    ssd = torch.cat(channels, 1)
    ssd = ssd - ssd.amin(1, keepdim=True)
    variance = ssd.mean(1, keepdim=True)
    mean = variance.mean(tuple(range(1, d + 2)), keepdim=True)
    return torch.exp(
        -ssd / torch.maximum(torch.minimum(variance, 1e3 * mean), 1e-3 * mean).clamp(min=1e-12)
    )


def stride_of(features: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Voxels along each axis of an image of `shape` that one sample of its features stands for."""
    return tuple(-(-n // m) for n, m in zip(shape, features.shape[-len(shape) :], strict=True))
