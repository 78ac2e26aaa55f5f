"""Rigid and affine alignment before the deformation: many starts, one metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import permutations, product

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform, nearest_rotation
from neuralreg.progress import Progress, silent
from neuralreg.registration.guides.landmark_fit import LandmarkFit
from neuralreg.registration.guides.landmark_pull import LandmarkPull
from neuralreg.registration.guides.landmark_start import LandmarkStart
from neuralreg.registration.linear_search import (
    Level,
    LinearCandidates,
    SampledImage,
    maximize,
    objective,
)
from neuralreg.registration.options import LinearAlignment
from neuralreg.registration.working_grid import equalize, foreground, unit_intensities

Propose = Callable[[list[Matrix]], LinearTransform | None]

_SCREEN = Level(24**3, 1500, 12, 0.06)
_FINE = Level(128**3, 30000, 30, 0.004)
_MIDDLE = 64**3  # samples of a level between
_POINTS = 1 / 4  # of an image's voxels at most: more of them say what their neighbors say
_RIGID = (Level(32**3, 3000, 40, 0.04), Level(_MIDDLE, 12000, 30, 0.015))
_AFFINE = (Level(32**3, 3000, 40, 0.02), Level(_MIDDLE, 12000, 40, 0.01), _FINE)
_KEPT = 4  # starts that are followed beyond the screening
_TURNED_MARGIN = 2.0  # patients lie as their header says, unless the images say so this clearly
_LANDMARK_MARGIN = 1.1  # where images find the way as well, they find it as without landmarks
_LANDMARK_BONUS = 0.05  # nats, that noise at a few thousand points reaches: there landmarks decide
_SAME_TRACE = 1 + 2 * np.cos(np.radians(30))  # of rotations by less than that apart
_AFFINE_GAIN = 1.002  # an affine that explains no more than this is noise


class StartKind(StrEnum):
    """Where the search for a linear transform can begin."""

    HEADER = "header"
    FIELD_OF_VIEW = "field of view"
    BODY = "body"
    TURNED_BODY = "turned body"
    LANDMARKS = "landmarks"
    LABELS = "labels"

    @property
    def is_turned(self) -> bool:
        """Whether the moving image is turned by 90 degrees or more there."""
        return self is StartKind.TURNED_BODY

    @property
    def margin(self) -> float:
        """How many times as much a search from there must explain as one from elsewhere."""
        if self is StartKind.LANDMARKS:
            return _LANDMARK_MARGIN
        return _TURNED_MARGIN if self.is_turned else 1.0


@dataclass(frozen=True)
class Alignment:
    """A linear transform, fixed to moving, and how it was found.

    Attributes:
        start: where the best search began.
        kind: what is left of what was asked for.
        information: mutual information in nats times overlap, before and after, less what
            landmarks cost that are apart.
    """

    linear: LinearTransform
    start: StartKind
    kind: LinearAlignment
    information: tuple[float, float]


def prealign(
    fixed: Image,
    moving: Image,
    how: LinearAlignment = LinearAlignment.AUTO,
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    landmarks: LandmarkStart | None = None,
    nearby: bool = False,
    propose: Propose | None = None,
    only_proposed: bool = False,
    progress: Progress = silent,
) -> Alignment:
    """The linear transform, fixed to moving, that maximizes their mutual information.

    Starts: the headers as they are, the centers of the fields of view, the centers of the bodies,
    and the latter turned by every multiple of 90 degrees. All are followed a few steps at a low
    resolution, the best four further, the best one to the end: rigid, then affine. The metric is
    mutual information times overlap, over the points of both images, which works across
    modalities and does not reward lost overlap. A turned start must explain twice as much as any
    other. The affine is a rotation times a positive stretch, so it cannot become a reflection.

    Args:
        fixed, moving: prepared images.
        how: how far to go.
        fixed_mask, moving_mask: 0 and 1 on the grids of their images; points are drawn inside.
        landmarks: one more start, and a part of the metric of all.
        nearby: whether the images lie as the frames of a series do: only the headers are a start.
        propose: gives one more start for guesses of how the moving image is turned, or None; it is
            asked only where the images contradict the headers, and judged as the others are.
        only_proposed: begins with that start alone.
        progress: gets a fraction and a message.
    """
    search = _Search.of(fixed, moving, fixed_mask, moving_mask, landmarks)
    header = search.start([StartKind.HEADER])
    before = float(search.objective(header))
    if how is LinearAlignment.NONE:
        return Alignment(search.transform(header), StartKind.HEADER, how, (before, before))
    if nearby:
        starts, kinds = header, [StartKind.HEADER]
    else:
        starts, kinds = search.screen(search.all_starts())
    progress(0.2, "looking for the best start")
    if how is LinearAlignment.CENTER:
        return search.center(before)
    guess, reached = search.maximize(starts, _RIGID[0])
    win = _winner(reached, kinds)
    if propose is not None and (only_proposed or kinds[win] is not StartKind.HEADER):
        proposal = propose(_rotations(guess, win))
        if proposal is not None:
            more, value = search.maximize(search.start_at(proposal), _RIGID[0])
            guess, kinds = guess.append(more), [*kinds, StartKind.LABELS]
            reached = torch.cat([reached, value])
            win = len(kinds) - 1 if only_proposed else _winner(reached, kinds)
    guess = guess.select(torch.tensor([win]))
    for level in search.select_levels(_RIGID[1:]):
        guess, _ = search.maximize(guess, level)
    progress(0.4, "rigid alignment")
    kind = LinearAlignment.RIGID
    guess, rigid = search.maximize(guess, _FINE)
    if how is not LinearAlignment.RIGID:
        affine_guess = guess
        for level in search.select_levels(_AFFINE):
            affine_guess, affine = search.maximize(affine_guess, level, affine=True)
            progress(0.6, "affine alignment")
        if how is LinearAlignment.AFFINE or float(affine) > _AFFINE_GAIN * float(rigid):
            guess, kind = affine_guess, LinearAlignment.AFFINE
    after = float(search.objective(guess))
    progress(1.0, "aligned")
    return Alignment(search.transform(guess), kinds[win], kind, (before, after))


def _rotations(guess: LinearCandidates, win: int) -> list[Matrix]:
    """How the moving image may be turned: as the best start says, not at all, as others say.

    Starts of landmarks may stretch as well; only their rotation counts.
    """
    turns = [nearest_rotation(matrix.double().cpu().numpy()) for matrix in guess.matrices()]
    ordered = [turns[win], np.eye(len(turns[win])), *turns]
    different: list[Matrix] = []
    for turn in ordered:
        if all(np.trace(turn.T @ other) < _SAME_TRACE for other in different):
            different.append(turn)
    return different


def _winner(values: Tensor, kinds: list[StartKind]) -> int:
    """The best start; a turned one, or that of landmarks, only when it is clearly better."""
    return int(_discount(values, kinds).argmax())


def _discount(values: Tensor, kinds: list[StartKind]) -> Tensor:
    """The values of starts, less what they must be better by."""
    values = values.cpu()  # a few numbers, compared on the host
    margins = torch.tensor([kind.margin for kind in kinds])
    bonus = [_LANDMARK_BONUS if kind is StartKind.LANDMARKS else 0.0 for kind in kinds]
    return torch.where(values > 0, values / margins, values * margins) + torch.tensor(bonus)


def right_turns(d: int) -> list[Matrix]:
    """Rotations by multiples of 90 degrees about the axes, without the identity."""
    rotations: list[Matrix] = []
    for order, signs in product(permutations(range(d)), product((1.0, -1.0), repeat=d)):
        matrix = np.zeros((d, d))
        matrix[range(d), order] = signs
        if np.linalg.det(matrix) > 0 and np.trace(matrix) < d:
            rotations.append(matrix)
    return rotations


@dataclass(frozen=True, eq=False)
class _Search:
    images: tuple[Image, Image]  # equalize intensities
    weights: tuple[Image, Image]  # the bodies
    centers: tuple[Matrix, Matrix]  # of the bodies, LPS mm
    radius: float  # of the fixed body, mm
    landmarks: LandmarkStart | None = None
    drawn: dict[tuple[int, int], tuple[SampledImage, SampledImage]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        fixed: Image,
        moving: Image,
        fixed_mask: Image | None,
        moving_mask: Image | None,
        landmarks: LandmarkStart | None,
    ) -> _Search:
        images, weights, centers, clouds = [], [], [], []
        for image, mask in ((fixed, fixed_mask), (moving, moving_mask)):
            body = foreground(image)
            chosen = body if mask is None else mask.data[0] > 0
            images.append(Image(equalize(unit_intensities(image), body), image.grid))
            weights.append(Image(chosen[None].float(), image.grid))
            cloud = _cloud(chosen, image.grid)
            centers.append(cloud.mean(0))
            clouds.append(cloud)
        radius = float(np.sqrt(((clouds[0] - centers[0]) ** 2).sum(1).mean()))
        pairs = (images[0], images[1]), (weights[0], weights[1]), (centers[0], centers[1])
        return cls(*pairs, radius, landmarks)

    @cached_property
    def pull(self) -> LandmarkPull | None:
        """What the landmarks add to the objective."""
        if self.landmarks is None:
            return None
        return self.landmarks.pull(self.centers, self.radius, self.images[0].data)

    def objective(self, guess: LinearCandidates) -> Tensor:
        """The objectives (b,) at the resolution that starts are compared at."""
        return objective(*self.sides(_RIGID[0]), guess, self.pull)

    def maximize(
        self, guess: LinearCandidates, level: Level, *, affine: bool = False
    ) -> tuple[LinearCandidates, Tensor]:
        """The best transforms on the way of gradient ascent, and their objectives (b,)."""
        pull = self.pull
        if pull is not None and level is _FINE:
            pull = pull.for_last_steps()
        return maximize(*self.sides(level), guess, level, affine=affine, landmarks=pull)

    def select_levels(self, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        """The levels without those between, where small images are there as at the finest.

        Landmarks pull less at the finest, and need them.
        """
        if self.landmarks is not None:
            return levels
        largest = max(image.grid.count for image in self.images)
        return tuple(each for each in levels if each.samples != _MIDDLE or largest > _MIDDLE)

    def sides(self, level: Level) -> tuple[SampledImage, SampledImage]:
        """Both images at one resolution."""
        key = (level.samples, level.points)
        if key not in self.drawn:
            self.drawn[key] = self._draw(level)
        return self.drawn[key]

    def _draw(self, level: Level) -> tuple[SampledImage, SampledImage]:
        voxels = min(image.grid.count for image in self.images)
        most = max(round(_POINTS * voxels), _SCREEN.points)
        level = replace(level, points=min(level.points, most))
        drawn = [
            SampledImage.draw(image, weight, level, center, seed)
            for seed, (image, weight, center) in enumerate(
                zip(self.images, self.weights, self.centers, strict=True)
            )
        ]
        return drawn[0], drawn[1]

    def _shift(self, kind: StartKind) -> Matrix:
        fixed, moving = (image.grid for image in self.images)
        if kind is StartKind.HEADER:
            return self.centers[0] - self.centers[1]
        if kind is StartKind.FIELD_OF_VIEW:
            return (moving.center - self.centers[1]) - (fixed.center - self.centers[0])
        return np.zeros(fixed.dimension)

    def start(self, kinds: list[StartKind], turns: list[Matrix] | None = None) -> LinearCandidates:
        """Starts by kind, each with its turn."""
        d = self.images[0].grid.dimension
        base = np.stack(turns or [np.eye(d)] * len(kinds))
        like = self.images[0].data
        theta = torch.zeros(len(kinds), LinearCandidates.size(d))
        shifts = np.stack([self._shift(name) for name in kinds]) / self.radius
        theta[:, -d:] = torch.from_numpy(shifts)
        return LinearCandidates(torch.from_numpy(base).to(like), theta.to(like), self.radius)

    def start_at(self, transform: LinearTransform) -> LinearCandidates:
        """One start at a rigid transform, fixed to moving."""
        d = transform.dimension
        like = self.images[0].data
        theta = torch.zeros(1, LinearCandidates.size(d))
        shift = (transform(self.centers[0]) - self.centers[1]) / self.radius
        theta[:, -d:] = torch.from_numpy(shift)
        base = torch.from_numpy(transform.matrix[None, :d, :d]).to(like)
        return LinearCandidates(base, theta.to(like), self.radius)

    def all_starts(self) -> tuple[LinearCandidates, list[StartKind]]:
        """Every start, and its kind."""
        d = self.images[0].grid.dimension
        turned = right_turns(d)
        kinds = [
            StartKind.HEADER,
            StartKind.FIELD_OF_VIEW,
            StartKind.BODY,
            *[StartKind.TURNED_BODY] * len(turned),
        ]
        starts = self.start(kinds, [np.eye(d)] * 3 + turned)
        if self.landmarks is None:
            return starts, kinds
        return starts.join(self._landmark_start(self.landmarks.fit)), [*kinds, StartKind.LANDMARKS]

    def _landmark_start(self, fit: LandmarkFit) -> LinearCandidates:
        shift = fit.linear(self.centers[0]) - self.centers[1]
        return LinearCandidates.of(
            fit.linear.matrix[:-1, :-1], shift, self.radius, self.images[0].data
        )

    def screen(
        self, candidates: tuple[LinearCandidates, list[StartKind]]
    ) -> tuple[LinearCandidates, list[StartKind]]:
        """The few best starts after some steps at a low resolution, the header always with them."""
        guess, kinds = candidates
        guess, reached = self.maximize(guess, _SCREEN)
        order = _discount(reached, kinds).argsort(descending=True).tolist()
        rows = [0, *[i for i in order if i != 0][: _KEPT - 1]]
        return guess.select(torch.tensor(rows)), [kinds[i] for i in rows]

    def center(self, before: float) -> Alignment:
        """The better of laying the fields of view or the bodies over each other."""
        kinds = [StartKind.FIELD_OF_VIEW, StartKind.BODY]
        guess = self.start(kinds)
        if self.landmarks is not None:
            kinds.append(StartKind.LANDMARKS)
            guess = guess.join(self._landmark_start(self.landmarks.translation()))
        reached = self.objective(guess)
        win = int(reached.argmax())
        linear = self.transform(guess.select(torch.tensor([win])))
        return Alignment(linear, kinds[win], LinearAlignment.CENTER, (before, float(reached[win])))

    def transform(self, guess: LinearCandidates) -> LinearTransform:
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
