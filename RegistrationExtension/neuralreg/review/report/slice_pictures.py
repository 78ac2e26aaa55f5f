"""Pictures of a review, drawn from the images themselves where no viewer is at hand."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from neuralreg.geometry.grid import Grid
from neuralreg.review.case import Case
from neuralreg.review.geometry.volumes import limited
from neuralreg.review.report_model import Place, QualityReport

Array = NDArray[Any]
Pictures = dict[str, bytes]

_PIXELS = 420  # of the longer side
_LOOK_MM, _LOOK_SHARE = 45.0, 0.25  # around a worst place, at most this share of the image
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
    if case.fixed is None or case.moving is None:
        return {}
    grid = limited(case.fixed_grid, _SAMPLES)
    views = _Views(case, grid)
    center = views.middle()
    made: Pictures = {}
    for plane in views.planes:
        made[f"before/{plane.name}"] = views.overlay(plane, center, views.moving)
    for plane in views.planes:
        made[f"after/{plane.name}"] = views.overlay(plane, center, views.warped)
    for plane in views.planes:
        made[f"grid/{plane.name}"] = views.bent_grid(plane, center)
    for plane in views.planes:
        made[f"jacobian/{plane.name}"] = views.volume_change(plane, center)
    for number, place in enumerate(report.worst[:_PLACES], start=1):
        made[f"place/{number}"] = views.around(place)
    return made


class _Views:
    """The images of a case, ready to be cut."""

    def __init__(self, case: Case, grid: Grid) -> None:
        u = case.u if case.grid == grid else case.deformation.on(grid)
        fixed, moving, warped, _ = case.images_on(grid, u)
        self.grid, self._case = grid, case
        self.fixed, self.moving, self.warped = _unit(fixed), _unit(moving), _unit(warped, moving)
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
        color = _mixed(self._cut(self.fixed, plane, at), self._cut(other, plane, at))
        return _png(self._scaled(color, plane))

    def bent_grid(self, plane: _Plane, at: Array) -> bytes:
        """The fixed image, dim, with a grid that the transform bends."""
        gray = 0.75 * self._scaled(self._cut(self.fixed, plane, at), plane)
        lines = np.zeros(gray.shape)
        for axis in (plane.across[0], plane.down[0]):
            where = self._scaled(self._straightened(plane, at, axis), plane)
            lines = np.maximum(lines, _lines(where, max(self.grid.extent_mm) / _GRID_LINES))
        color = gray[..., None] * (1 - lines[..., None]) + lines[..., None] * _YELLOW
        return _png(color)

    def volume_change(self, plane: _Plane, at: Array) -> bytes:
        """The fixed image, blue where volume shrinks, red where it grows, yellow where it folds."""
        gray = self._cut(self.fixed, plane, at)
        share = (at + 0.5) / self.grid.shape * self._determinant.shape
        cut = self._cut(self._determinant, plane, share.astype(int))
        determinant = _resized(cut, gray.shape)
        change = np.log2(np.clip(determinant, 1e-3, 1e3)) / _RANGE
        strength = np.clip(np.abs(change), 0, 1)[..., None] * 0.85
        tint = np.where(change[..., None] > 0, [0.9, 0.15, 0.1], [0.1, 0.35, 0.95])
        color = gray[..., None] * (1 - strength) + tint * strength
        color = np.where(determinant[..., None] <= 0, [1.0, 0.95, 0.0], color)
        return _png(self._scaled(color, plane))

    def around(self, place: Place) -> bytes:
        """A worst place: before and after beside each other, with a ring around it."""
        at = self.grid.indices_at(np.array(place.point_lps))[::-1]
        at = np.clip(np.rint(at), 0, np.subtract(self.grid.shape, 1)).astype(int)
        plane = self.planes[0]
        parts = []
        for other in (self.moving, self.warped):
            color = _mixed(self._cut(self.fixed, plane, at), self._cut(other, plane, at))
            parts.append(self._ringed(color, plane, at))
        gap = np.ones((parts[0].shape[0], 6, 3))
        return _png(np.concatenate([parts[0], gap, parts[1]], 1))

    def _straightened(self, plane: _Plane, at: Array, axis: int) -> Array:
        """Where the pixels of a cut go along an array axis, in mm, less the linear part."""
        d = self.grid.dimension
        turn = np.reshape(self.grid.direction, (d, d))[:, d - 1 - axis]
        parts = [self._cut(self._u[..., c], plane, at) * turn[c] for c in range(d)]
        where = np.sum(parts, axis=0) - self._linear[d, axis]
        for other in range(d):
            shape = [1] * d
            shape[other] = -1
            index = np.arange(self.grid.shape[other], dtype=float).reshape(shape)
            pixels = self._cut(np.broadcast_to(index, self.grid.shape), plane, at)
            own = self.grid.spacing[d - 1 - axis] if other == axis else 0.0
            where = where + pixels * (own - self._linear[other, axis])
        return np.asarray(where)

    def _cut(self, values: Array, plane: _Plane, at: Array) -> Array:
        """The pixels (down, across) of a cut."""
        if values.ndim == 3:
            values = values.take(int(at[plane.held]), axis=plane.held)
        pixels = values if plane.down[0] < plane.across[0] else values.T
        return pixels[:: plane.down[1], :: plane.across[1]]

    def _scaled(self, color: Array, plane: _Plane) -> Array:
        spacing = self.grid.spacing[::-1]
        height = color.shape[0] * spacing[plane.down[0]]
        width = color.shape[1] * spacing[plane.across[0]]
        scale = _PIXELS / max(height, width)
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        return _resized(color, size)

    def _ringed(self, color: Array, plane: _Plane, at: Array) -> Array:
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
        picture = _as_picture(_resized(box, (side, side)))
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


def _mixed(fixed: Array, moving: Array) -> Array:
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
    places = [np.arange(0, n, max(1, n // 12)) for n in grid.shape]
    index = np.stack(np.meshgrid(*places, indexing="ij"), -1).reshape(-1, d)
    own = u[tuple(index.T)] @ turn
    known = np.hstack([index, np.ones((len(index), 1))])
    fitted, *_ = np.linalg.lstsq(known, own, rcond=None)
    return np.asarray(fitted)


def _resized(values: Array, size: Sequence[int]) -> Array:
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
