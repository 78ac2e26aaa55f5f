"""Transforms as functions of coordinates, for people who write their own registration models.

A transform takes coordinates and gives coordinates: tensors (n, d, ...) with components x y z,
normalized, so that -1 is the center of the first sample of an axis and 1 that of the last. Being
functions, transforms compose without resampling, and an image is sampled once, at the end.

    transform = compose(from_matrix(rough), from_displacement(fine))   # points pass `rough` first
    warped = warp(moving, transform, shape)

Source of the idea: Greer et al. 2021, ICON, doi:10.1109/ICCV48922.2021.00338.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.normalized import (
    exponential,
    from_voxels,
    identity_map,
    inside,
    sample,
    to_voxels,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = [
    "Transform",
    "compose",
    "from_displacement",
    "from_field",
    "from_grid_sample",
    "from_matrix",
    "from_velocity",
    "identity",
    "identity_map",
    "plot_deformed_grid",
    "sample",
    "to_displacement",
    "to_field",
    "to_grid_sample",
    "to_itk",
    "velocity_of",
    "warp",
    "warp_to",
]

Transform = Callable[[Tensor], Tensor]


def warp(image: Tensor, transform: Transform, shape: tuple[int, ...] | None = None) -> Tensor:
    """An image sampled where a transform leads, with one more channel.

    The last channel is 1 where the value was interpolated between samples of the image, and 0 where
    its border was repeated beyond them, so that similarities can leave out extrapolated values.

    Args:
        image: the moving image, (n, c, z, y, x).
        transform: from fixed to moving.
        shape: z y x of the result; the image's own unless given.

    Returns:
        (n, c + 1, z, y, x).
    """
    coordinates = transform(identity_map(shape or tuple(image.shape[2:]), image))
    return torch.cat(warp_to(coordinates, image), 1)


def warp_to(coordinates: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """An image sampled at coordinates.

    Args:
        coordinates: normalized, (n, d, z, y, x).
        image: (n, c, z', y', x'); beyond its outer samples these are repeated.

    Returns:
        The values (n, c, z, y, x), and (n, 1, z, y, x): 1 where the coordinates are inside of the
        image, else 0.
    """
    warped = sample(image, coordinates)
    interpolated = inside(coordinates).to(image.dtype)
    return warped, interpolated.expand(len(warped), *interpolated.shape[1:])


def from_matrix(matrix: Tensor) -> Transform:
    """The linear transform of a matrix.

    Args:
        matrix: (n, d, d + 1), on normalized coordinates x y z.
    """
    d = matrix.shape[1]

    def transform(coordinates: Tensor) -> Tensor:
        n = max(len(coordinates), len(matrix))
        points = coordinates.expand(n, *coordinates.shape[1:])
        moved = torch.einsum("nij,nj...->ni...", matrix[:, :, :d], points)
        return moved + matrix[:, :, d].view(*matrix.shape[:2], *[1] * (coordinates.dim() - 2))

    return transform


def from_displacement(displacement: Tensor) -> Transform:
    """The transform that adds a displacement, interpolated linearly.

    Args:
        displacement: (n, d, z, y, x), normalized, components x y z; beyond the outer samples the
            border's displacement holds.
    """

    def transform(coordinates: Tensor) -> Tensor:
        if coordinates.shape[2:] == displacement.shape[2:] and torch.equal(
            coordinates[:1], identity_map(tuple(displacement.shape[2:]), coordinates)
        ):
            return coordinates + displacement  # the samples themselves need no interpolation
        return coordinates + sample(displacement, coordinates)

    return transform


def from_velocity(velocity: Tensor, *, steps: int = 7, method: str = "squaring") -> Transform:
    """The transform of points after one unit of time in a stationary velocity field.

    The negated velocity gives the inverse; `velocity_of` returns the velocity of "squaring".

    Args:
        velocity: (n, d, z, y, x), normalized coordinates per unit of time, components x y z.
        steps: squarings, or Euler steps.
        method: "squaring", a displacement by scaling and squaring (Arsigny et al. 2006,
            doi:10.1007/11866565_113); or "euler", each coordinate moved in small steps.

    Raises:
        InvalidOption: another method.
    """
    if method == "euler":

        def transform(coordinates: Tensor) -> Tensor:
            for _ in range(steps):
                coordinates = coordinates + sample(velocity, coordinates) / steps
            return coordinates

        return transform
    if method != "squaring":
        raise InvalidOption("unknown method", got=f"'{method}'", wanted="squaring or euler")
    return _Exponential(velocity, steps)


class _Exponential:
    """The transform of a stationary velocity, which it keeps."""

    def __init__(self, velocity: Tensor, steps: int) -> None:
        self.velocity = velocity
        self._transform = from_displacement(exponential(velocity, steps))

    def __call__(self, coordinates: Tensor) -> Tensor:
        return self._transform(coordinates)


def velocity_of(transform: Transform) -> Tensor | None:
    """The stationary velocity that `from_velocity` made a transform of; None for any other."""
    return transform.velocity if isinstance(transform, _Exponential) else None


def compose(first: Transform, *then: Transform) -> Transform:
    """The transform of several, in the order in which points pass: compose(f, g)(x) = g(f(x)).

    Args:
        first: the transform that points pass first.
        then: what they pass next, in this order.
    """

    def transform(coordinates: Tensor) -> Tensor:
        for part in (first, *then):
            coordinates = part(coordinates)
        return coordinates

    return transform


def identity(coordinates: Tensor) -> Tensor:
    """The transform that moves nothing."""
    return coordinates


def to_displacement(transform: Transform, shape: tuple[int, ...]) -> Tensor:
    """The displacement of a transform at the samples of an array.

    Args:
        transform: of normalized coordinates.
        shape: of the array, z y x.

    Returns:
        (n, d, z, y, x), normalized, components x y z.
    """
    points = identity_map(shape)
    return transform(points) - points


def to_grid_sample(coordinates: Tensor) -> Tensor:
    """Coordinates (n, d, z, y, x) as `grid_sample` takes them: (n, z, y, x, d)."""
    return coordinates.movedim(1, -1)


def from_grid_sample(grid: Tensor) -> Tensor:
    """What `grid_sample` takes, (n, z, y, x, d), as coordinates (n, d, z, y, x)."""
    return grid.movedim(-1, 1)


def to_field(transform: Transform, grid: Grid) -> DisplacementField:
    """The displacement field in LPS mm of a transform between two images on one grid.

    Args:
        transform: from fixed to moving.
        grid: of both images; the centers of its first and last samples are -1 and 1.
    """
    with torch.no_grad():
        voxels = to_voxels(to_displacement(transform, grid.shape))[0]
    return DisplacementField.from_voxels(voxels, grid)


def from_field(field: DisplacementField) -> Transform:
    """The transform of a displacement field.

    Args:
        field: in mm.

    Returns:
        The transform of coordinates that are normalized to the grid of the field.
    """
    return from_displacement(from_voxels(field.to_voxels()[None]))


def to_itk(transform: Transform, grid: Grid) -> sitk.DisplacementFieldTransform:
    """The ITK transform, in LPS mm, of a transform between two images on one grid.

    Args:
        transform: as for `to_field`.
        grid: as for `to_field`.
    """
    from neuralreg.io.itk import to_itk as field_to_itk

    return field_to_itk(to_field(transform, grid))


def plot_deformed_grid(transform: Transform, axes: Any, *, lines: int = 24) -> None:
    """Draw a regular grid of lines after a 2D transform.

    Args:
        transform: in the plane.
        axes: of matplotlib.
        lines: along each axis.

    Raises:
        InvalidTransform: the transform is not of the plane.
    """
    coordinates = transform(identity_map((8 * lines + 1, 8 * lines + 1))).detach()[0]
    if len(coordinates) != 2:
        raise InvalidTransform("a grid is drawn in the plane", got=f"{len(coordinates)} axes")
    x, y = coordinates.cpu().numpy()
    for at in range(0, 8 * lines + 1, 8):
        for line in ((x[at], y[at]), (x[:, at], y[:, at])):
            axes.plot(*line, color="0.3", linewidth=0.6)
    axes.set_aspect("equal")
    axes.invert_yaxis()  # as images are shown
