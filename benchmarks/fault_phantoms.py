"""Made bodies with organs, pairs of them with a known deformation, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk
from neuralreg.geometry.grid import Grid
from neuralreg.review.geometry.consistency import invert
from neuralreg.review.geometry.deformation import Deformation, place_on_grid
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.floating]
Points = Callable[[Array], Array]

GRID = Grid((88, 72, 64), (2.5, 2.5, 3.0), (-108.75, -88.75, -94.5), tuple(np.eye(3).ravel()))
NEAR_MM = 15.0  # of a fault's edge: a finding there is at the right place
WRONG_MM = 2.0  # true error from which a place is really wrong


@dataclass(frozen=True, eq=False)
class Body:
    """A textured body with organs: where they are, how large and how bright."""

    radii: Array
    centers: Array
    sizes: Array
    levels: Array
    waves: Array

    @classmethod
    def of(cls, seed: int) -> Body:
        random = np.random.default_rng(seed)
        radii = np.array([90.0, 68.0, 80.0]) * random.uniform(0.92, 1.05, 3)
        centers = random.uniform(-0.62, 0.62, (14, 3)) * radii
        sizes = random.uniform(9, 26, (14, 3))
        levels = random.choice([-1, 1], 14) * random.uniform(0.15, 0.45, 14)
        return cls(radii, centers, sizes, levels, random.normal(0, 1, (24, 4)))

    def __call__(self, points: Array, *, inverted: bool = False) -> Array:
        """Brightness 0 to about 1.2 at LPS mm points (..., 3); dark organs bright if inverted."""
        inside = _edge(np.sqrt((points / self.radii) ** 2 @ np.ones(3)), 0.03)
        value = np.full(points.shape[:-1], 0.5)
        for center, size, level in zip(self.centers, self.sizes, self.levels, strict=True):
            near = (np.abs(points - center) < 1.6 * size).all(-1)
            if near.any():
                reach = np.sqrt((((points[near] - center) / size) ** 2).sum(-1))
                value[near] += level * _edge(reach, 0.08)
        for x, y, z, phase in self.waves:
            value += 0.018 * np.sin(points @ (np.array([x, y, z]) * 0.16) + 6 * phase)
        value = np.clip(value, 0.05, 1.2)
        return inside * (0.2 + 0.9 * (1.2 - value) ** 1.4 if inverted else value)


def _edge(radius: Array, width: float) -> Array:
    return 1 / (1 + np.exp(np.clip((radius - 1) / width, -40, 40)))


@dataclass(frozen=True, eq=False)
class Pair:
    """A fixed image that is the moving one through `truth`, (z, y, x, 3) mm on the grid."""

    name: str
    fixed: sitk.Image
    moving: sitk.Image
    truth: Array
    grid: Grid
    centers: Array  # of organs on the fixed side
    sizes: Array


@dataclass(frozen=True, eq=False)
class Candidate:
    """A transform to be reviewed. fault: what is wrong with it, None if nothing.

    where: distance in mm of points from the spoiled part; None where all of it is spoiled.
    """

    pair: Pair
    transform: Deformation
    fault: str | None
    kind: str
    where: Callable[[Array], Array] | None = field(default=None)

    def is_right_place(self, point: Array) -> bool:
        """Whether a finding there speaks of the fault."""
        if self.where is not None:
            return bool(self.where(point[None])[0] <= NEAR_MM)
        truth = Deformation(len(point), vectors=self.pair.truth, grid=self.pair.grid)
        error = np.linalg.norm(self.transform(point[None]) - truth(point[None]))
        return bool(error > WRONG_MM)


def pair(seed: int, *, contrast: bool, grid: Grid = GRID) -> Pair:
    """A made pair. contrast: whether the moving image has another one, as of another modality."""
    random = np.random.default_rng(1000 + seed)
    body = Body.of(seed)
    truth = smooth_field(random, grid, 9.0)
    here = world(grid)
    shading = 1 + 0.12 * np.sin(here @ random.normal(0, 0.012, 3))
    fixed = body(here + truth) * shading + random.normal(0, 0.012, grid.shape)
    moving = body(here, inverted=contrast)
    moving = moving + random.normal(0, 0.012, grid.shape)
    centers = body.centers - _at(truth, grid, body.centers)
    return Pair(
        f"made {seed}", _image(fixed, grid), _image(moving, grid), truth, grid, centers, body.sizes
    )


def world(grid: Grid) -> Array:
    """LPS mm of all samples, (z, y, x, d)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    return grid.points_at(index[..., ::-1].astype(float))


def smooth_field(random: np.random.Generator, grid: Grid, largest_mm: float) -> Array:
    """A smooth random deformation with a small turn and shift, (z, y, x, d), without folds."""
    d = grid.dimension
    knots = random.normal(0, 1, (d, *[5] * d))
    zoom = [n / 5 for n in grid.shape]
    u = np.stack([ndimage.zoom(part, zoom, order=3, mode="nearest") for part in knots], -1)
    u *= largest_mm / np.linalg.norm(u, axis=-1).max()
    here = world(grid)
    turn = random.normal(0, 0.05, (d, d))
    return (u + here @ (turn - turn.T) * 0.7 + random.uniform(-5, 5, d)).astype(np.float32)


def transform(u: Array, grid: Grid) -> Deformation:
    return Deformation(grid.dimension, vectors=np.ascontiguousarray(u, np.float32), grid=grid)


def good(pair: Pair, random: np.random.Generator, error_mm: float) -> Candidate:
    """The truth, off by no more than this, smoothly."""
    error = smooth_field(random, pair.grid, 1.0)
    error *= error_mm / np.linalg.norm(error, axis=-1).max()
    kind = "truth" if error_mm == 0 else f"truth within {error_mm:g} mm"
    return Candidate(pair, transform(pair.truth + error, pair.grid), None, kind)


def shifted_organ(base: Candidate, random: np.random.Generator, _: Candidate) -> Candidate:
    """One organ is brought 9 to 15 mm away, smoothly."""
    pair = base.pair
    n = int(np.argmax(np.linalg.norm(pair.sizes, axis=1) * random.uniform(0.7, 1, len(pair.sizes))))
    center, reach = pair.centers[n], float(pair.sizes[n].mean()) * 1.5
    push = _direction(random, 3) * random.uniform(9, 15)
    gap = np.linalg.norm(world(pair.grid) - center, axis=-1)
    bump = np.exp(-0.5 * (gap / reach) ** 4)[..., None] * push
    return _spoiled(base, "shifted organ", bump, _ball(center, reach * 1.3))


def folding(base: Candidate, random: np.random.Generator, _: Candidate) -> Candidate:
    """Points within 10 mm of a place change sides."""
    center = _inner_place(base.pair, random)
    offset = world(base.pair.grid) - center
    near = np.exp(-0.5 * (np.linalg.norm(offset, axis=-1) / 8.0) ** 2)[..., None]
    return _spoiled(base, "folding", -1.8 * near * offset, _ball(center, 16.0))


def seam(base: Candidate, random: np.random.Generator, _: Candidate) -> Candidate:
    """Everything beyond a plane slides 8 to 12 mm along it."""
    normal = _direction(random, 3)
    along = np.cross(normal, _direction(random, 3))
    along /= np.linalg.norm(along)
    middle = _inner_place(base.pair, random) * 0.5
    side = (world(base.pair.grid) - middle) @ normal > 0
    slide = side[..., None] * along * random.uniform(8, 12)

    def distance(points: Array) -> Array:  # what slid is wrong as well
        return np.maximum(-((points - middle) @ normal), 0)

    return _spoiled(base, "sliding seam", slide, distance)


def swapped(base: Candidate, _: np.random.Generator, __: Candidate) -> Candidate:
    """The transform of the other direction."""
    back, _left = invert(base.transform, base.pair.grid)
    return replace(base, transform=back, fault="swapped direction")


def half_resolution(base: Candidate, random: np.random.Generator, _: Candidate) -> Candidate:
    """Made at half the resolution, and stored with the wrong spacing, or with the wrong unit."""
    grid = base.pair.grid
    u = base.transform.on(grid)
    if random.random() < 0.5:
        small = Grid(grid.size, tuple(s / 2 for s in grid.spacing), grid.origin, grid.direction)
        return replace(base, transform=transform(u, small), fault="half resolution")
    return replace(base, transform=transform(u / 2, grid), fault="half resolution")


def wrong_patient(base: Candidate, _: np.random.Generator, other: Candidate) -> Candidate:
    """The transform of another pair."""
    moved = transform(other.transform.on(other.pair.grid), other.pair.grid)
    return replace(base, transform=moved, fault="wrong patient")


def identity(base: Candidate, _: np.random.Generator, __: Candidate) -> Candidate:
    """Nothing is moved."""
    zero = np.zeros((*base.pair.grid.shape, base.pair.grid.dimension))
    return replace(base, transform=transform(zero, base.pair.grid), fault="identity")


def local_noise(base: Candidate, random: np.random.Generator, _: Candidate) -> Candidate:
    """Every vector within 25 mm of a place is off by about 3 mm, each its own way."""
    center = _inner_place(base.pair, random)
    inside = np.linalg.norm(world(base.pair.grid) - center, axis=-1) < 25.0
    noise = random.normal(0, 3.0 / np.sqrt(3), base.transform.on(base.pair.grid).shape)
    return _spoiled(base, "local noise", inside[..., None] * noise, _ball(center, 25.0))


FAULTS = (
    shifted_organ,
    folding,
    seam,
    swapped,
    half_resolution,
    wrong_patient,
    identity,
    local_noise,
)


def _spoiled(
    base: Candidate, fault: str, added: Array, where: Callable[[Array], Array]
) -> Candidate:
    u = base.transform.on(base.pair.grid) + added
    return replace(base, transform=transform(u, base.pair.grid), fault=fault, where=where)


def _inner_place(pair: Pair, random: np.random.Generator) -> Array:
    """Somewhere well inside of the body, at an organ's edge."""
    order = np.argsort(np.linalg.norm(pair.centers - pair.grid.center, axis=1))
    n = int(random.choice(order[: max(len(order) // 2, 1)]))
    return pair.centers[n] + 0.5 * pair.sizes[n] * _direction(random, pair.grid.dimension)


def _ball(center: Array, radius: float) -> Callable[[Array], Array]:
    return lambda points: np.maximum(np.linalg.norm(points - center, axis=-1) - radius, 0)


def _direction(random: np.random.Generator, d: int) -> Array:
    vector = random.normal(0, 1, d)
    return vector / np.linalg.norm(vector)


def _at(u: Array, grid: Grid, points: Array) -> Array:
    return Deformation(3, vectors=u, grid=grid)(points) - points


def _image(values: Array, grid: Grid) -> sitk.Image:
    return place_on_grid(sitk.GetImageFromArray(values.astype(np.float32)), grid)
