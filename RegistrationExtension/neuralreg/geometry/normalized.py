"""Normalized coordinates: sampling, displacements and their algebra on an array of its own.

Along each axis -1 is the center of the first sample and 1 that of the last, as `grid_sample` has it
with aligned corners. Tensors are (n, d, z, y, x), components x y z (last array axis first). The
other two coordinate systems are the continuous index (`geometry.sampling`) and the world
(`geometry.grid`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import gcd

import torch
from torch import Tensor
from torch.nn import functional

_LINEAR = {2: "bilinear", 3: "trilinear"}


def identity_map(shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
    """The coordinates of all samples of an array: (1, d, z, y, x).

    Args:
        shape: samples z y x.
        like: gives type and device; float32 on the CPU without.
    """
    like = torch.zeros(()) if like is None else like
    axes = [torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


def sample(
    values: Tensor, coordinates: Tensor, *, mode: str = "bilinear", outside: str = "border"
) -> Tensor:
    """Values interpolated at coordinates: (n, c, z, y, x).

    Args:
        values: (n, c, z', y', x'); one entry serves all coordinates, and the other way round.
        coordinates: (n, d, z, y, x).
        mode: "bilinear" (also in 3D, as torch calls it) or "nearest".
        outside: "border" repeats the nearest sample, "zeros" fades to zero over one sample.
    """
    count = max(len(values), len(coordinates))
    points = coordinates.movedim(1, -1)
    if count == 1 and points.device.type == "cpu" and not values.requires_grad:
        return _sample_by_threads(values, points[0], mode, outside)
    return functional.grid_sample(
        values.expand(count, *values.shape[1:]),
        points.expand(count, *points.shape[1:]),
        mode=mode,
        padding_mode=outside,
        align_corners=True,
    )


def _sample_by_threads(values: Tensor, points: Tensor, mode: str, outside: str) -> Tensor:
    """Values (1, c, z', y', x') at points (z, y, x, d): (1, c, z, y, x).

    On a CPU grid_sample gives each thread whole batch entries, so the points are dealt out as a
    batch over one and the same image, which is expanded without a copy.
    """
    rows = points.flatten(0, -3)
    parts = gcd(len(rows), torch.get_num_threads())
    values = values.expand(parts, *values.shape[1:])
    points_of_parts = rows.reshape(parts, -1, *[1] * (points.dim() - 3), *rows.shape[1:])
    sampled = functional.grid_sample(
        values, points_of_parts, mode=mode, padding_mode=outside, align_corners=True
    )
    return sampled.transpose(0, 1).reshape(1, values.shape[1], *points.shape[:-1])


def inside(coordinates: Tensor) -> Tensor:
    """Which coordinates lie between the outer sample centers.

    Args:
        coordinates: (n, d, z, y, x).

    Returns:
        Truth values (n, 1, z, y, x).
    """
    return (coordinates.abs() <= 1).all(1, keepdim=True)


def warp(values: Tensor, displacement: Tensor, *, outside: str = "border") -> Tensor:
    """Values sampled where a displacement leads.

    Args:
        values: (n, c, z, y, x).
        displacement: (n, d, z, y, x), normalized, components x y z.
        outside: "border" repeats the nearest sample, "zeros" fades to zero over one sample.

    Returns:
        Values (n, c, z, y, x).
    """
    start = identity_map(tuple(displacement.shape[2:]), displacement)
    return sample(values, start + displacement, outside=outside)


def compose(first: Tensor, then: Tensor, *, outside: str = "border") -> Tensor:
    """The displacement along `first`, then along `then`.

    Args:
        first: (n, d, z, y, x), normalized.
        then: on the same array; sampled where `first` leads.
        outside: how `then` continues beyond the array, see `sample`.
    """
    return first + warp(then, first, outside=outside)


def displace(coordinates: Tensor, fields: Iterable[Tensor]) -> Tensor:
    """Coordinates after several displacements.

    Args:
        coordinates: (n, d, z, y, x).
        fields: displacements (n, d, z', y', x') of any resolution, in the order in which points
            pass.

    Returns:
        Coordinates (n, d, z, y, x).
    """
    for field in fields:
        coordinates = coordinates + sample(field, coordinates)
    return coordinates


def exponential(velocity: Tensor, squarings: int = 7, *, outside: str = "border") -> Tensor:
    """The displacement after one unit of time in a stationary velocity field.

    The negated velocity gives the inverse. Differentiable.

    Args:
        velocity: (n, d, z, y, x), normalized, components x y z.
        squarings: the first step is 2^-squarings of the velocity.
        outside: how the displacement continues beyond the array, see `sample`.

    Returns:
        The displacement (n, d, z, y, x), normalized.

    Source: Arsigny et al. 2006, doi:10.1007/11866565_113, scaling and squaring.
    """
    start = identity_map(tuple(velocity.shape[2:]), velocity)
    return scale_and_square(
        velocity, squarings, lambda field: sample(field, start + field, outside=outside)
    )


def scale_and_square(
    velocity: Tensor, squarings: int, sample_ahead: Callable[[Tensor], Tensor]
) -> Tensor:
    """A velocity divided by 2^squarings and composed with itself as often, in any unit.

    Args:
        velocity: any shape; the displacement has the same shape and unit.
        squarings: the smallest step should stay well below a voxel.
        sample_ahead: samples a displacement where it leads itself.
    """
    field: Tensor = velocity / 2**squarings
    for _ in range(squarings):
        field = field + sample_ahead(field)
    return field


def resize(values: Tensor, shape: tuple[int, ...], *, aligned: bool) -> Tensor:
    """Values (n, c, z, y, x) interpolated linearly to another shape.

    Args:
        values: any channels.
        shape: z y x of the result.
        aligned: whether the centers of the outer samples, not their outer edges, stay in place.
    """
    mode = _LINEAR[len(shape)]
    resized: Tensor = functional.interpolate(values, shape, mode=mode, align_corners=aligned)
    return resized


def upsample(values: Tensor) -> Tensor:
    """Values (n, c, z, y, x) interpolated linearly to twice the size; the outer edges stay."""
    return resize(values, tuple(2 * n for n in values.shape[2:]), aligned=False)


def to_voxels(displacement: Tensor) -> Tensor:
    """A normalized displacement (n, d, z, y, x) in voxels of its own array."""
    return displacement * (_last_index(displacement) / 2)


def from_voxels(displacement: Tensor) -> Tensor:
    """The normalized displacement of one in voxels of its own array, (n, d, z, y, x).

    Along an axis of one sample the numbers are only doubled: they lead nowhere there.
    """
    return displacement * (2 / _last_index(displacement).clamp(min=1))


def _last_index(field: Tensor) -> Tensor:
    """Index x y z of the last sample, to be multiplied with a field's components."""
    last = torch.tensor(field.shape[:1:-1], dtype=field.dtype, device=field.device) - 1
    return last.view(-1, *[1] * len(last))
