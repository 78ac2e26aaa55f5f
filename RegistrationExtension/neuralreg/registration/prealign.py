"""Rigid and affine alignment before anything bends: many starts, one judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import permutations, product

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.progress import Progress, silent
from neuralreg.registration.linear_search import Guess, Level, Side, climb, value
from neuralreg.registration.working_grid import foreground, spread, unit_intensities

_SCREEN = Level(24**3, 1500, 12, 0.06)
_RIGID = (Level(32**3, 3000, 40, 0.04), Level(64**3, 12000, 30, 0.015))
_FINE = Level(128**3, 30000, 30, 0.004)
_AFFINE = (Level(32**3, 3000, 40, 0.02), Level(64**3, 12000, 40, 0.01), _FINE)
_KEPT = 4  # starts that are followed beyond the screening
_TURNED_MARGIN = 2.0  # patients lie as their header says, unless the images say so this clearly
_AFFINE_GAIN = 1.002  # an affine that explains no more than this is noise


class Prealign(Enum):
    """How far the linear stage may go; AUTO is AFFINE with the simplest explanation preferred."""

    NONE = "none"
    CENTER = "center"
    RIGID = "rigid"
    AFFINE = "affine"
    AUTO = "auto"


@dataclass(frozen=True)
class Alignment:
    """The linear transform that was found, and how.

    start: where the search began that won. kind: what is left of it.
    information: nats that both images tell about each other before and after.
    """

    linear: LinearTransform
    start: str
    kind: Prealign
    information: tuple[float, float]


def prealign(
    fixed: Image,
    moving: Image,
    how: Prealign = Prealign.AUTO,
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    progress: Progress = silent,
) -> Alignment:
    """The linear transform, fixed to moving, under which both images tell most about each other.

    Starts: the headers as they are, the centers of the fields of view, the centers of the bodies,
    and the latter turned by every multiple of 90 degrees. All are followed a few steps at a low
    resolution, the best four further, the best one to the end: rigid, then affine. The judge is
    mutual information times overlap, over the points of both images, which works across
    modalities and does not reward lost overlap. A turned start must explain twice as much as any
    other. The affine is a rotation times a positive stretch, so it cannot become a reflection.

    Masks (1 inside) say where points are drawn; they lie on the grids of their images.
    """
    search = _Search.of(fixed, moving, fixed_mask, moving_mask)
    header = search.start(["header"])
    before = float(value(*search.sides(_RIGID[0]), header))
    if how is Prealign.NONE:
        return Alignment(search.transform(header), "header", how, (before, before))
    starts, names = search.screened(search.all_starts())
    progress(0.2, "looking for the best start")
    sides = search.sides(_RIGID[0])
    if how is Prealign.CENTER:
        return search.centered(before)
    guess, reached = climb(*sides, starts, _RIGID[0], affine=False)
    win = _winner(reached, names)
    guess = guess.select(torch.tensor([win]))
    for level in _RIGID[1:]:
        guess, _ = climb(*search.sides(level), guess, level, affine=False)
    progress(0.4, "rigid alignment")
    kind = Prealign.RIGID
    fine = search.sides(_FINE)
    guess, rigid = climb(*fine, guess, _FINE, affine=False)
    if how is not Prealign.RIGID:
        bent = guess
        for level in _AFFINE:
            at = fine if level is _FINE else search.sides(level)
            bent, affine = climb(*at, bent, level, affine=True)
            progress(0.6, "affine alignment")
        if how is Prealign.AFFINE or float(affine) > _AFFINE_GAIN * float(rigid):
            guess, kind = bent, Prealign.AFFINE
    after = float(value(*sides, guess))
    progress(1.0, "aligned")
    return Alignment(search.transform(guess), names[win], kind, (before, after))


def _winner(values: Tensor, names: list[str]) -> int:
    """The best start; a turned one only when it is better by a clear margin."""
    margin = [_TURNED_MARGIN if name.startswith("turned") else 1.0 for name in names]
    return int((values / torch.tensor(margin)).argmax())


def right_turns(d: int) -> list[Matrix]:
    """Rotations by multiples of 90 degrees about the axes, without the identity."""
    found: list[Matrix] = []
    for order, signs in product(permutations(range(d)), product((1.0, -1.0), repeat=d)):
        matrix = np.zeros((d, d))
        matrix[range(d), order] = signs
        if np.linalg.det(matrix) > 0 and np.trace(matrix) < d:
            found.append(matrix)
    return found


@dataclass(frozen=True, eq=False)
class _Search:
    images: tuple[Image, Image]  # spread intensities
    weights: tuple[Image, Image]  # the bodies
    centers: tuple[Matrix, Matrix]  # of the bodies, LPS mm
    radius: float  # of the fixed body, mm
    drawn: dict[tuple[int, int], tuple[Side, Side]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, fixed: Image, moving: Image, fixed_mask: Image | None, moving_mask: Image | None
    ) -> _Search:
        images, weights, centers, clouds = [], [], [], []
        for image, mask in ((fixed, fixed_mask), (moving, moving_mask)):
            body = foreground(image)
            chosen = body if mask is None else mask.data[0] > 0
            images.append(Image(spread(unit_intensities(image), body), image.grid))
            weights.append(Image(chosen[None].float(), image.grid))
            cloud = _cloud(chosen, image.grid)
            centers.append(cloud.mean(0))
            clouds.append(cloud)
        radius = float(np.sqrt(((clouds[0] - centers[0]) ** 2).sum(1).mean()))
        return cls(
            (images[0], images[1]), (weights[0], weights[1]), (centers[0], centers[1]), radius
        )

    def sides(self, level: Level) -> tuple[Side, Side]:
        """Both images at one resolution."""
        key = (level.samples, level.points)
        if key not in self.drawn:
            self.drawn[key] = self._draw(level)
        return self.drawn[key]

    def _draw(self, level: Level) -> tuple[Side, Side]:
        drawn = [
            Side.drawn(image, weight, level, center, seed)
            for seed, (image, weight, center) in enumerate(
                zip(self.images, self.weights, self.centers, strict=True)
            )
        ]
        return drawn[0], drawn[1]

    def _shift(self, name: str) -> Matrix:
        fixed, moving = (image.grid for image in self.images)
        if name == "header":
            return self.centers[0] - self.centers[1]
        if name == "field of view":
            return (moving.center - self.centers[1]) - (fixed.center - self.centers[0])
        return np.zeros(fixed.dimension)

    def start(self, names: list[str], turns: list[Matrix] | None = None) -> Guess:
        """Starts by name, each with its turn."""
        d = self.images[0].grid.dimension
        base = np.stack(turns or [np.eye(d)] * len(names))
        like = self.images[0].data
        theta = torch.zeros(len(names), Guess.size(d))
        shifts = np.stack([self._shift(name) for name in names]) / self.radius
        theta[:, -d:] = torch.from_numpy(shifts)
        return Guess(torch.from_numpy(base).to(like), theta.to(like), self.radius)

    def all_starts(self) -> tuple[Guess, list[str]]:
        """Every start, and its name."""
        d = self.images[0].grid.dimension
        turned = right_turns(d)
        names = ["header", "field of view", "body", *["turned body"] * len(turned)]
        return self.start(names, [np.eye(d)] * 3 + turned), names

    def screened(self, starts: tuple[Guess, list[str]]) -> tuple[Guess, list[str]]:
        """The few best starts after some steps at a low resolution, the header always with them."""
        guess, names = starts
        guess, reached = climb(*self.sides(_SCREEN), guess, _SCREEN, affine=False)
        margin = torch.tensor([_TURNED_MARGIN if n.startswith("turned") else 1.0 for n in names])
        order = (reached / margin).argsort(descending=True).tolist()
        kept = [0, *[i for i in order if i != 0][: _KEPT - 1]]
        return guess.select(torch.tensor(kept)), [names[i] for i in kept]

    def centered(self, before: float) -> Alignment:
        """The better of laying the fields of view or the bodies over each other."""
        names = ["field of view", "body"]
        guess = self.start(names)
        reached = value(*self.sides(_RIGID[0]), guess)
        win = int(reached.argmax())
        linear = self.transform(guess.select(torch.tensor([win])))
        return Alignment(linear, names[win], Prealign.CENTER, (before, float(reached[win])))

    def transform(self, guess: Guess) -> LinearTransform:
        """The first of the transforms, in the world."""
        matrix = guess.matrices()[0].double().cpu().numpy()
        shift = guess.shifts()[0].double().cpu().numpy()
        fixed, moving = self.centers
        return LinearTransform.from_parts(matrix, moving - fixed + shift, center=fixed)


def _cloud(inside: Tensor, grid: Grid) -> Matrix:
    """LPS mm of (about 20,000 of) the voxels inside: (n, d)."""
    index = torch.nonzero(inside)
    if not len(index):
        index = torch.nonzero(torch.ones_like(inside))
    step = max(1, len(index) // 20000)
    return grid.points_at(index[::step].flip(1).cpu().double().numpy())
