"""What is known in some samples, continued smoothly around them until it fades out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SWEEPS = 8  # at each resolution
_COARSEST = 8  # samples along an axis


def extend_smoothly(values: Tensor, inside: Tensor, reach: float) -> Tensor:
    """The solution of `lap(v) = v / reach^2` around samples with known values.

    From coarse to fine: at each resolution a few sweeps of Jacobi's method from what the coarser
    one gave. Largest and smallest values are those of the known samples or 0, as of the exact
    solution.

    Args:
        values: (c, z, y, x).
        inside: (z, y, x), bool, where they are known.
        reach: in samples, over which they fall to 1/e in front of a plane.
    """
    if min(n for n in inside.shape if n > 1) >= 2 * _COARSEST:
        known = inside[None].to(values)
        halves = tuple(2 if n > 1 else 1 for n in inside.shape)
        share = _pool(known, halves)
        coarse = _pool(values * known, halves) / share.clamp(min=1e-6)
        guess = extend_smoothly(coarse, share[0] > 0, reach / 2)
        start = functional.interpolate(guess[None], tuple(inside.shape), mode="nearest")[0]
    else:
        start = torch.zeros_like(values)
    axes = [a for a in range(1, values.dim()) if values.shape[a] > 1]
    damping = 1 / (1 + 1 / (2 * len(axes) * reach**2))
    now = torch.where(inside, values, start)
    for _ in range(_SWEEPS):
        total = torch.zeros_like(now)
        for axis in axes:
            count = now.shape[axis] - 1
            total.narrow(axis, 0, count).add_(now.narrow(axis, 1, count))
            total.narrow(axis, 1, count).add_(now.narrow(axis, 0, count))
        now = torch.where(inside, values, total.mul_(damping / (2 * len(axes))))
    return now


def _pool(values: Tensor, halves: tuple[int, ...]) -> Tensor:
    pool = functional.avg_pool3d if values.dim() == 4 else functional.avg_pool2d
    return pool(values[None], halves, ceil_mode=True, count_include_pad=False)[0]
