"""Transforms as functions of coordinates, for people who write their own registration models.

A transform takes coordinates and gives coordinates: tensors (n, d, ...) with components x y z, in
the unit cube, where 0 is the center of the first sample of an axis and 1 that of the last. Being
functions, transforms compose without resampling, and an image is read once, at the end.

    there = compose(from_displacement(fine), from_matrix(rough))   # rough first
    warped = warp(moving, there, shape)

Source of the idea: Greer et al. 2021, ICON, doi:10.1109/ICCV48922.2021.00338.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.network_output import from_network, to_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

Transform = Callable[[Tensor], Tensor]


def identity_map(shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
    """The coordinates of all samples of an array of `shape` (z y x): (1, d, z, y, x)."""
    device = None if like is None else like.device
    axes = [torch.linspace(0, 1, n, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


def read(values: Tensor, coordinates: Tensor, *, outside: str = "border") -> Tensor:
    """Values (n, c, z', y', x') at coordinates (n, d, z, y, x), linear: (n, c, z, y, x).

    outside: "border" repeats the nearest sample, "zeros" fades to zero over one sample.
    """
    n = max(len(values), len(coordinates))
    points = to_grid_sample(coordinates)
    found: Tensor = functional.grid_sample(
        values.expand(n, *values.shape[1:]),
        points.expand(n, *points.shape[1:]),
        padding_mode=outside,
        align_corners=True,
    )
    return found


def warp(image: Tensor, transform: Transform, shape: tuple[int, ...] | None = None) -> Tensor:
    """An image (n, c, z, y, x) read where a transform leads to, with one more channel.

    The last channel says which samples were interpolated: 1 inside of the image, 0 where it was
    continued by its border, so that similarities can leave out what nobody measured.
    shape: of the array to fill; the image's own unless given.
    """
    places = transform(identity_map(shape or tuple(image.shape[2:]), image))
    inside = ((places >= 0) & (places <= 1)).all(1, keepdim=True).to(image.dtype)
    read_there = read(image, places)
    return torch.cat((read_there, inside.expand(len(read_there), *inside.shape[1:])), 1)


def from_matrix(matrix: Tensor) -> Transform:
    """The linear transform of a matrix (n, d, d + 1) on unit coordinates x y z."""
    d = matrix.shape[1]

    def transform(coordinates: Tensor) -> Tensor:
        moved = torch.einsum("nij,nj...->ni...", matrix[:, :, :d], _as_many(coordinates, matrix))
        return moved + matrix[:, :, d].view(*matrix.shape[:2], *[1] * (coordinates.dim() - 2))

    return transform


def from_displacement(displacement: Tensor) -> Transform:
    """The transform that adds a displacement (n, d, z, y, x), in units of the cube, read linearly.

    Beyond the cube the border's displacement holds.
    """

    def transform(coordinates: Tensor) -> Tensor:
        if coordinates.shape[2:] == displacement.shape[2:] and torch.equal(
            coordinates[:1], identity_map(tuple(displacement.shape[2:]), displacement)
        ):
            return coordinates + displacement  # the samples themselves need no reading
        return coordinates + read(displacement, coordinates)

    return transform


def from_velocity(velocity: Tensor, *, steps: int = 7, method: str = "squaring") -> Transform:
    """The flow of a stationary velocity (n, d, z, y, x), in cubes per unit time, for that time.

    method: "squaring", a displacement from `steps` squarings (Arsigny et al. 2006,
    doi:10.1007/11866565_113); or "euler", each coordinate carried along in `steps` small steps.
    The negated velocity gives the inverse; `velocity_of` gives a squared one back.
    Raises InvalidOption for another method.
    """
    if method == "euler":

        def transform(coordinates: Tensor) -> Tensor:
            for _ in range(steps):
                coordinates = coordinates + read(velocity, coordinates) / steps
            return coordinates

        return transform
    if method != "squaring":
        raise InvalidOption("unknown method", got=f"'{method}'", wanted="squaring or euler")
    here = identity_map(tuple(velocity.shape[2:]), velocity)
    displacement = velocity / 2**steps
    for _ in range(steps):
        displacement = displacement + read(displacement, here + displacement)
    flow = from_displacement(displacement)
    flow.velocity = velocity  # type: ignore[attr-defined]  # for who wants to keep it
    return flow


def velocity_of(transform: Transform) -> Tensor | None:
    """The stationary velocity that `from_velocity` made a transform of; None for any other."""
    return getattr(transform, "velocity", None)


def compose(*transforms: Transform) -> Transform:
    """The transform that applies the last of these first: compose(f, g)(x) = f(g(x))."""

    def transform(coordinates: Tensor) -> Tensor:
        for one in reversed(transforms):
            coordinates = one(coordinates)
        return coordinates

    return transform


def identity(coordinates: Tensor) -> Tensor:
    """The transform that moves nothing."""
    return coordinates


def to_unit_displacement(transform: Transform, shape: tuple[int, ...]) -> Tensor:
    """How far a transform moves the samples of an array: (n, d, z, y, x) in units of the cube."""
    here = identity_map(shape)
    return transform(here) - here


def to_grid_sample(coordinates: Tensor) -> Tensor:
    """Unit coordinates (n, d, z, y, x) as `grid_sample` wants them, (n, z, y, x, d) in -1..1."""
    return (2 * coordinates - 1).movedim(1, -1)


def from_grid_sample(grid: Tensor) -> Tensor:
    """The other way: (n, z, y, x, d) in -1..1 as unit coordinates (n, d, z, y, x)."""
    return (grid.movedim(-1, 1) + 1) / 2


def to_field(transform: Transform, grid: Grid) -> DisplacementField:
    """The displacement field in LPS mm of a transform between two images on one grid.

    grid: whose first and last sample centers are the corners of the cube.
    """
    with torch.no_grad():
        output = transform(identity_map(grid.shape))[0]
    return from_network(output, grid, kind="unit_map", order="xyz")


def from_field(field: DisplacementField) -> Transform:
    """The transform, on the cube that the field's grid spans, of a displacement field in mm."""
    last = torch.tensor([max(n - 1, 1) for n in field.grid.size]).to(field.vectors)
    return from_displacement((to_voxels(field) / last.view(-1, *[1] * field.grid.dimension))[None])


def to_itk(transform: Transform, grid: Grid) -> sitk.DisplacementFieldTransform:
    """The ITK transform, in LPS mm, of a transform between two images on one grid."""
    from neuralreg.io.itk import to_itk as field_to_itk

    return field_to_itk(to_field(transform, grid))


def plot_deformed_grid(transform: Transform, axes: Any, *, lines: int = 24) -> None:
    """Draw where a 2D transform takes a grid of lines.

    axes: of matplotlib. Raises InvalidTransform when the transform is not of the plane.
    """
    places = transform(identity_map((8 * lines + 1, 8 * lines + 1))).detach()[0]
    if len(places) != 2:
        raise InvalidTransform("a grid is drawn in the plane", got=f"{len(places)} coordinates")
    x, y = places.cpu().numpy()
    for at in range(0, 8 * lines + 1, 8):
        for line in ((x[at], y[at]), (x[:, at], y[:, at])):
            axes.plot(*line, color="0.3", linewidth=0.6)
    axes.set_aspect("equal")
    axes.invert_yaxis()  # as images are shown


def _as_many(coordinates: Tensor, like: Tensor) -> Tensor:
    n = max(len(coordinates), len(like))
    return coordinates.expand(n, *coordinates.shape[1:])
