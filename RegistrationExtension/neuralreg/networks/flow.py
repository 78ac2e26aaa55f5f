"""Displacements on the samples of their own array, as networks compute with them.

Everything is in units of `grid_sample` with aligned corners: -1 is the center of the first sample
and 1 that of the last, components x y z (last array axis first), tensors (n, d, z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor
from torch.nn import functional

_LINEAR = {2: "bilinear", 3: "trilinear"}


def identity(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Where each sample of an array of `shape` (z y x) lies: (1, d, z, y, x)."""
    axes = [torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


def read(values: Tensor, places: Tensor, *, outside: str = "border") -> Tensor:
    """Values (n, c, z', y', x') at places (n, d, z, y, x), linear: (n, c, z, y, x).

    outside: "border" repeats the nearest sample, "zeros" fades to zero over one sample.
    On a CPU grid_sample gives each thread whole batch entries, so the points of a single image are
    dealt out as a batch over that image, which is expanded without a copy.
    """
    points = places.movedim(1, -1)
    single = points.device.type == "cpu" and len(points) == 1 and not values.requires_grad
    parts = gcd(points.shape[1], torch.get_num_threads()) if single else len(points)
    found = functional.grid_sample(
        values.expand(parts, *values.shape[1:]),
        points.reshape(parts, -1, *points.shape[2:]),
        padding_mode=outside,
        align_corners=True,
    )
    if parts == len(places):
        return found
    return found.transpose(0, 1).reshape(1, values.shape[1], *places.shape[2:])


def warp(values: Tensor, displacement: Tensor, *, outside: str = "border") -> Tensor:
    """Values (n, c, z, y, x) read where a displacement (n, d, z, y, x) points to."""
    return read(
        values, identity(displacement.shape[2:], displacement) + displacement, outside=outside
    )


def follow(fields: Sequence[Tensor], places: Tensor) -> Tensor:
    """Where places (n, d, z, y, x) are after displacements of any sizes, the last of them first."""
    for field in reversed(fields):
        places = places + read(field, places)
    return places


def compose(first: Tensor, then: Tensor, *, outside: str = "border") -> Tensor:
    """The displacement of going along `first`, then along `then`."""
    return first + warp(then, first, outside=outside)


def exponential(velocity: Tensor, squarings: int = 7, *, outside: str = "border") -> Tensor:
    """The displacement after one unit of time in a stationary velocity field.

    Source: Arsigny et al. 2006, doi:10.1007/11866565_113, scaling and squaring.
    """
    start = identity(velocity.shape[2:], velocity)
    field: Tensor = velocity / 2**squarings
    for _ in range(squarings):
        field = field + read(field, start + field, outside=outside)
    return field


def resized(values: Tensor, shape: tuple[int, ...], *, aligned: bool) -> Tensor:
    """Values (n, c, z, y, x) interpolated linearly to another `shape`.

    aligned: whether the centers of the outer samples, not their outer edges, stay in place.
    """
    mode = _LINEAR[len(shape)]
    found: Tensor = functional.interpolate(values, shape, mode=mode, align_corners=aligned)
    return found


def doubled(values: Tensor) -> Tensor:
    """Values (n, c, z, y, x) interpolated linearly to twice the size; the outer edges stay."""
    return resized(values, tuple(2 * n for n in values.shape[2:]), aligned=False)


def _last(field: Tensor) -> Tensor:
    """Index x y z of the last sample, to be multiplied with a field's components."""
    last = torch.tensor(field.shape[:1:-1], dtype=field.dtype, device=field.device) - 1
    return last.view(-1, *[1] * len(last))


def to_voxels(field: Tensor) -> Tensor:
    """A displacement in samples, components x y z."""
    return field * (_last(field) / 2)


def from_voxels(field: Tensor) -> Tensor:
    """From a displacement in samples, components x y z."""
    return field * (2 / _last(field))
