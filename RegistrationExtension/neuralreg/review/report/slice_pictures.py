"""Pictures of a review, drawn from the images themselves where no viewer is at hand."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array
from neuralreg.review.case import Case, ImagePair
from neuralreg.review.geometry.volumes import limit_samples
from neuralreg.review.report_model import Location, QualityReport

Pictures = dict[str, bytes]

_PIXELS = 420  # of the longer side
_LOOK_MM, _LOOK_SHARE = 45.0, 0.25  # around a location, at most this share of the image
_SAMPLES = 1 << 24
_PLACES = 6
_GREEN, _MAGENTA = (0.0, 1.0, 0.0), (1.0, 0.0, 1.0)
_YELLOW = np.array([1.0, 0.8, 0.25])
_RANGE = 1.0  # of log2 of the Jacobian: half to twice the volume
_GRID_LINES = 20


@dataclass(frozen=True)
class _Plane:
    """A cut: the array axis that is held, and those that run across and down, with their signs."""

    name: str
    held: int
    across: tuple[int, int]
    down: tuple[int, int]


def pictures_of(case: Case, report: QualityReport) -> Pictures:
    """PNGs by name: "before/axial", "after/axial", "grid/axial", "jacobian/axial", "place/1", ...

    Before and after show the fixed image in green and the moving one in magenta, gray where they
    agree; the grid is straight where the transform does no more than turn, stretch and shear.
    Empty without both images.
    """
    if case.pair is None:
        return {}
    views = _Views(case, case.pair, limit_samples(case.fixed_grid, _SAMPLES))
    center = views.middle()
    pictures: Pictures = {}
    for plane in views.planes:
        pictures[f"before/{plane.name}"] = views.overlay(plane, center, views.moving)
    for plane in views.planes:
        pictures[f"after/{plane.name}"] = views.overlay(plane, center, views.warped)
    for plane in views.planes:
        pictures[f"grid/{plane.name}"] = views.deformed_grid(plane, center)
    for plane in views.planes:
        pictures[f"jacobian/{plane.name}"] = views.volume_change(plane, center)
    for number, location in enumerate(report.worst[:_PLACES], start=1):
        pictures[f"place/{number}"] = views.around(location)
    return pictures


class _Views:
    """The images of a case, ready to be cut."""

    def __init__(self, case: Case, pair: ImagePair, grid: Grid) -> None:
        u = case.u if case.grid == grid else case.deformation.on(grid)
        images = pair.on_grid(grid, u)
        self.grid, self._case = grid, case
        self.fixed, self.moving = _unit(images.fixed), _unit(images.moving)
        self.warped = _unit(images.warped, images.moving)
        self._u, self._linear = u, _linear_part(u, grid)
        self._determinant = case.determinant
        self.planes = _planes(grid)

    def middle(self) -> Array:
        """The index, in array order, of the middle of the body."""
        inside = self._case.within(self.grid)
        ends = [
            np.flatnonzero(inside.any(axis=_others(a, inside.ndim))) for a in range(inside.ndim)
        ]
        return np.array([(int(e[0]) + int(e[-1])) // 2 for e in ends])

    def overlay(self, plane: _Plane, at: Array, other: Array) -> bytes:
        """Fixed in green, the other in magenta."""
        color = _blend(self._slice(self.fixed, plane, at), self._slice(other, plane, at))
        return _png(self._scale(color, plane))

    def deformed_grid(self, plane: _Plane, at: Array) -> bytes:
        """The fixed image, dim, with a grid that the transform deforms."""
        gray = 0.75 * self._scale(self._slice(self.fixed, plane, at), plane)
        lines = np.zeros(gray.shape)
        for axis in (plane.across[0], plane.down[0]):
            position = self._scale(self._nonlinear_position(plane, at, axis), plane)
            lines = np.maximum(lines, _lines(position, max(self.grid.extent_mm) / _GRID_LINES))
        color = gray[..., None] * (1 - lines[..., None]) + lines[..., None] * _YELLOW
        return _png(color)

    def volume_change(self, plane: _Plane, at: Array) -> bytes:
        """The fixed image, blue where volume shrinks, red where it grows, yellow where it folds."""
        gray = self._slice(self.fixed, plane, at)
        share = (at + 0.5) / self.grid.shape * self._determinant.shape
        cut = self._slice(self._determinant, plane, share.astype(int))
        determinant = _resize(cut, gray.shape)
        change = np.log2(np.clip(determinant, 1e-3, 1e3)) / _RANGE
        strength = np.clip(np.abs(change), 0, 1)[..., None] * 0.85
        tint = np.where(change[..., None] > 0, [0.9, 0.15, 0.1], [0.1, 0.35, 0.95])
        color = gray[..., None] * (1 - strength) + tint * strength
        color = np.where(determinant[..., None] <= 0, [1.0, 0.95, 0.0], color)
        return _png(self._scale(color, plane))

    def around(self, location: Location) -> bytes:
        """A location to look at: before and after beside each other, with a ring around it."""
        at = self.grid.indices_at(np.array(location.point_lps))[::-1]
        at = np.clip(np.rint(at), 0, np.subtract(self.grid.shape, 1)).astype(int)
        plane = self.planes[0]
        parts = []
        for other in (self.moving, self.warped):
            color = _blend(self._slice(self.fixed, plane, at), self._slice(other, plane, at))
            parts.append(self._draw_ring(color, plane, at))
        gap = np.ones((parts[0].shape[0], 6, 3))
        return _png(np.concatenate([parts[0], gap, parts[1]], 1))

    def _nonlinear_position(self, plane: _Plane, at: Array, axis: int) -> Array:
        """Where the pixels of a cut are mapped along an array axis, in mm, less the linear part."""
        d = self.grid.dimension
        turn = np.reshape(self.grid.direction, (d, d))[:, d - 1 - axis]
        parts = [self._slice(self._u[..., c], plane, at) * turn[c] for c in range(d)]
        where = np.sum(parts, axis=0) - self._linear[d, axis]
        for other in range(d):
            shape = [1] * d
            shape[other] = -1
            index = np.arange(self.grid.shape[other], dtype=float).reshape(shape)
            pixels = self._slice(np.broadcast_to(index, self.grid.shape), plane, at)
            own = self.grid.spacing[d - 1 - axis] if other == axis else 0.0
            where = where + pixels * (own - self._linear[other, axis])
        return np.asarray(where)

    def _slice(self, values: Array, plane: _Plane, at: Array) -> Array:
        """The pixels (down, across) of a cut."""
        if values.ndim == 3:
            values = values.take(int(at[plane.held]), axis=plane.held)
        pixels = values if plane.down[0] < plane.across[0] else values.T
        return pixels[:: plane.down[1], :: plane.across[1]]

    def _scale(self, color: Array, plane: _Plane) -> Array:
        spacing = self.grid.spacing[::-1]
        height = color.shape[0] * spacing[plane.down[0]]
        width = color.shape[1] * spacing[plane.across[0]]
        scale = _PIXELS / max(height, width)
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        return _resize(color, size)

    def _draw_ring(self, color: Array, plane: _Plane, at: Array) -> Array:
        spacing = np.array(self.grid.spacing[::-1])
        rows, columns = plane.down, plane.across
        middle = [
            at[axis] if sign > 0 else self.grid.shape[axis] - 1 - at[axis]
            for axis, sign in (rows, columns)
        ]
        look_mm = min(_LOOK_MM, _LOOK_SHARE * max(self.grid.extent_mm))
        reach = [max(3, round(look_mm / spacing[axis])) for axis, _ in (rows, columns)]
        padded = np.pad(color, [(reach[0], reach[0]), (reach[1], reach[1]), (0, 0)])
        box = padded[
            middle[0] : middle[0] + 2 * reach[0] + 1, middle[1] : middle[1] + 2 * reach[1] + 1
        ]
        side = _PIXELS // 2
        picture = _as_picture(_resize(box, (side, side)))
        drawing = ImageDraw.Draw(picture)
        c, r = side / 2, side / 9
        drawing.ellipse((c - r, c - r, c + r, c + r), outline=(255, 220, 60), width=2)
        return np.asarray(picture, float) / 255


def _planes(grid: Grid) -> list[_Plane]:
    """The cuts along the image's own axes, shown the way radiologists do."""
    d = grid.dimension
    if d == 2:
        return [_Plane("plane", -1, (1, 1), (0, 1))]
    cosines = np.reshape(grid.direction, (d, d))
    nearest = [int(np.abs(cosines[:, c]).argmax()) for c in range(d)]
    if sorted(nearest) != [0, 1, 2]:
        nearest = [0, 1, 2]
    axis = {
        world: (d - 1 - c, 1 if cosines[world, c] > 0 else -1) for c, world in enumerate(nearest)
    }
    left, back, up = axis[0], axis[1], (axis[2][0], -axis[2][1])
    return [
        _Plane("axial", axis[2][0], left, back),
        _Plane("coronal", axis[1][0], left, up),
        _Plane("sagittal", axis[0][0], back, up),
    ]


def _others(axis: int, ndim: int) -> tuple[int, ...]:
    return tuple(a for a in range(ndim) if a != axis)


def _unit(values: Array, like: Array | None = None) -> Array:
    """Values as 0 to 1, dark to bright, without the extremes."""
    low, high = np.percentile(values if like is None else like, (0.5, 99.5))
    unit = np.clip((values - low) / max(float(high - low), 1e-9), 0, 1)
    return np.asarray(unit, np.float32)


def _blend(fixed: Array, moving: Array) -> Array:
    color = fixed[..., None] * np.array(_GREEN) + moving[..., None] * np.array(_MAGENTA)
    return np.asarray(np.clip(color * 0.95, 0, 1))


def _lines(where: Array, step_mm: float) -> Array:
    """How strongly a line of a grid of this step runs through each pixel, 0 to 1."""
    off = np.abs((where / step_mm + 0.5) % 1 - 0.5) * step_mm
    slopes = [np.gradient(where, axis=a) if where.shape[a] > 1 else 0 * where for a in (0, 1)]
    width = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2) + 1e-6
    return np.asarray(np.clip(1.3 - off / width, 0, 1))


def _linear_part(u: Array, grid: Grid) -> Array:
    """The affine function of the index nearest to u along the array axes, in mm: (d + 1, d)."""
    d = grid.dimension
    turn = np.reshape(grid.direction, (d, d))[:, ::-1]
    samples = [np.arange(0, n, max(1, n // 12)) for n in grid.shape]
    index = np.stack(np.meshgrid(*samples, indexing="ij"), -1).reshape(-1, d)
    along_axes = u[tuple(index.T)] @ turn
    design = np.hstack([index, np.ones((len(index), 1))])
    solution, *_ = np.linalg.lstsq(design, along_axes, rcond=None)
    return np.asarray(solution)


def _resize(values: Array, size: Sequence[int]) -> Array:
    """An image (rows, columns[, 3]) at another size."""
    if values.ndim == 2:
        picture = Picture.fromarray(values.astype(np.float32), mode="F")
        return np.asarray(picture.resize((size[1], size[0]), Picture.Resampling.BILINEAR))
    kind = Picture.Resampling.BICUBIC
    return np.asarray(_as_picture(values).resize((size[1], size[0]), kind), float) / 255


def _as_picture(color: Array) -> Picture.Image:
    return Picture.fromarray(np.rint(np.clip(color, 0, 1) * 255).astype(np.uint8))


def _png(color: Array) -> bytes:
    file = io.BytesIO()
    _as_picture(color).save(file, "PNG", optimize=True)
    return file.getvalue()
