"""Finding the linear transform that maximizes the mutual information of two images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.sampling import index_to_normalized, normalized_edges, sample_points
from neuralreg.geometry.smoothing import gaussian
from neuralreg.registration.adam import descend
from neuralreg.registration.guides.landmark_pull import LandmarkPull
from neuralreg.registration.working_grid import resample_to, work_grid

_BINS = 32
_STEPS = (0, 1, _BINS, _BINS + 1)  # to the four bins that a pair of values lies between
_BAND = 0.03  # share of the extent around the body from which points are drawn as well
_DRAWN_FROM = 48**3  # cells from which points are drawn
_OUTSIDE_CHANCE = 0.02  # of a background voxel against one of the body
_STRETCH_PRIOR = 0.1  # cost of stretching by e in one direction, in nats


@dataclass(frozen=True)
class Level:
    """One resolution of the search.

    Attributes:
        samples: of the work grid.
        points: drawn per image.
        steps: of gradient ascent.
        rate: of the first step, in radians, shares of the body's radius, or logarithms of scale:
            all move points at the body's edge alike.
    """

    samples: int
    points: int
    steps: int
    rate: float


@dataclass(frozen=True, eq=False)
class SampledImage:
    """One image at one resolution, with the points at which the other is compared to it.

    Attributes:
        values: (1, z, y, x) in 0..1.
        grid: of the values.
        points: (n, d) in LPS mm from `center`.
        at_points: the values there, (n,).
        center: LPS mm.
    """

    values: Tensor
    grid: Grid
    points: Tensor
    at_points: Tensor
    center: Matrix

    @classmethod
    def draw(
        cls, image: Image, weight: Image, level: Level, center: Matrix, seed: int
    ) -> SampledImage:
        """A side with points drawn in and around the body, the same for the same seed."""
        grid = work_grid(image.grid, level.samples)
        values = resample_to(image.data, image.grid, grid)
        coarse = work_grid(image.grid, _DRAWN_FROM)
        body = resample_to(weight.data, weight.grid, coarse)
        reach = [_BAND * e / s for e, s in zip(coarse.extent_mm, coarse.spacing, strict=True)]
        near = gaussian(body, reach[::-1])[0].cpu()
        chance = ((near > 0.05) + _OUTSIDE_CHANCE).float().flatten()
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.multinomial(chance, level.points, replacement=True, generator=generator)
        index = torch.stack(torch.unravel_index(drawn, near.shape)[::-1], -1).double()
        index += torch.rand(index.shape, generator=generator, dtype=torch.float64) - 0.5
        world = coarse.points_at(index.numpy())
        at_points = sample_points(values, torch.from_numpy(grid.indices_at(world)))[0].to(values)
        return cls(values, grid, torch.from_numpy(world - center).to(values), at_points, center)

    def read(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Values (b, n) at points (b, n, d) in mm from `center`, and 1 where they are inside."""
        d = self.grid.dimension
        scale = index_to_normalized(self.grid.size) @ self.grid.world_to_index
        matrix = torch.as_tensor(scale[:d, :d]).to(points)
        offset = torch.as_tensor(scale[:d, :d] @ self.center + scale[:d, d]).to(points)
        normalized = points @ matrix.T + offset
        edges = torch.as_tensor(normalized_edges(self.grid.size)).to(points)
        inside = (normalized.detach().abs() <= edges).all(-1).to(points)
        shape = (len(points), -1, *[1] * (d - 1), d)
        values = torch.nn.functional.grid_sample(
            self.values.expand(len(points), *self.values.shape),
            normalized.view(shape),
            padding_mode="border",
            align_corners=True,
        )
        return values.reshape(len(points), -1), inside


class _Information(torch.autograd.Function):
    """Mutual information of weighted samples, with linear windows, and its gradient.

    A joint histogram of linear windows needs four entries per sample; written out, forward and
    backward are one scatter and one gather, an order of magnitude faster than dense windows.
    """

    @staticmethod
    def forward(ctx: Any, one: Tensor, two: Tensor, weight: Tensor) -> Tensor:
        b = len(one)
        (low_1, share_1), (low_2, share_2) = _windows(one), _windows(two)
        first = (low_1 * _BINS + low_2).int()  # of the four bins, of a batch's own histogram
        first += _BINS**2 * torch.arange(b, dtype=torch.int32, device=one.device)[:, None]
        first = first.flatten()
        upper = weight * share_1
        lower = weight - upper
        upper_right, lower_right = upper * share_2, lower * share_2
        parts = (lower - lower_right, lower_right, upper - upper_right, upper_right)
        joint = torch.zeros(b * _BINS**2, device=one.device)
        for step, part in zip(_STEPS, parts, strict=True):
            joint[step:].index_add_(0, first, part.flatten())
        joint = joint.view(b, _BINS, _BINS) + 1e-6
        joint = joint / joint.sum((1, 2), keepdim=True)
        gain = (joint / (joint.sum(1, keepdim=True) * joint.sum(2, keepdim=True))).log()
        density = weight * (_BINS - 1) / weight.sum(1, keepdim=True).clamp(min=1e-9)
        ctx.save_for_backward(gain.flatten(), first, share_1, share_2, density)
        return (joint * gain).sum((1, 2))

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        gain, first, share_1, share_2, density = ctx.saved_tensors
        low, right, down, both = (
            gain[step:].index_select(0, first).view_as(share_1) for step in _STEPS
        )
        to_one = torch.lerp(down - low, both - right, share_2)
        to_two = torch.lerp(right - low, both - down, share_1)
        scale = density * outer[0][:, None]
        return to_one * scale, to_two * scale, None


def _windows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Lower of the two bins that values (b, n) fall between, and the upper one's share.

    Values are clamped to 0..1: interpolation rounds 1 up to 1.0000001, and a share beyond 1 makes
    a count negative and its logarithm NaN.
    """
    at = (values * (_BINS - 1)).clamp_(0, _BINS - 1)
    low = at.floor().clamp_(max=_BINS - 2)
    return low, at - low


def shared_information(one: Tensor, two: Tensor, inside: Tensor) -> Tensor:
    """Mutual information in nats (b,) of values (b, n) where they overlap, times the overlap.

    What does not overlap explains nothing, so losing overlap never pays. Source: Mattes et al.
    2003, doi:10.1109/TMI.2003.809072, with linear windows.
    """
    return inside.mean(1) * mutual_information(one, two, inside)


def mutual_information(one: Tensor, two: Tensor, weight: Tensor) -> Tensor:
    """Mutual information in nats (b,) of values (b, n) in 0..1, each with a weight."""
    information: Tensor = _Information.apply(one, two, weight)  # type: ignore[no-untyped-call]
    return information


def agreement(fixed: Tensor, moving: Tensor, valid: Tensor) -> float:
    """Mutual information in nats of two images (1, z, y, x) in 0..1, over where both are known."""
    chosen = valid.flatten() > 0.5
    if not bool(chosen.any()):
        return 0.0
    one, two = (v.flatten()[chosen][None] for v in (fixed, moving))
    return float(mutual_information(one, two, torch.ones_like(one)))


@dataclass(frozen=True, eq=False)
class LinearCandidates:
    """Linear transforms, one per row: first `base`, then `theta`. None is a reflection.

    Attributes:
        base: (b, d, d).
        theta: (b, k): rotation vector, symmetric logarithm of the stretch, and shift of the centers
            in units of `radius`.
        radius: mm.
    """

    base: Tensor
    theta: Tensor
    radius: float

    @staticmethod
    def turns(d: int) -> int:
        """How many parameters of theta are rotations."""
        return 1 if d == 2 else 3

    @staticmethod
    def size(d: int) -> int:
        """How many parameters there are."""
        return LinearCandidates.turns(d) + d * (d + 1) // 2 + d

    def matrices(self) -> Tensor:
        """Linear parts (b, d, d)."""
        d = self.base.shape[-1]
        turns = self.turns(d)
        upper = torch.triu_indices(d, d, offset=1)
        skew = self.theta.new_zeros(len(self.theta), d, d)
        skew[:, upper[0], upper[1]] = -self.theta[:, :turns]
        half = torch.triu_indices(d, d)
        stretch = self.theta.new_zeros(len(self.theta), d, d)
        stretch[:, half[0], half[1]] = self.theta[:, turns:-d]
        stretch = torch.triu(stretch) + torch.triu(stretch, 1).transpose(1, 2)
        rotation = torch.linalg.matrix_exp(skew - skew.transpose(1, 2))
        linear: Tensor = rotation @ torch.linalg.matrix_exp(stretch) @ self.base
        return linear

    def shifts(self) -> Tensor:
        """Where the fixed center goes, from the moving one: (b, d) in mm."""
        return self.theta[:, -self.base.shape[-1] :] * self.radius

    def stretching(self) -> Tensor:
        """Squared size of the stretch: (b,)."""
        d = self.base.shape[-1]
        return self.theta[:, self.turns(d) : -d].square().sum(1)

    def append(self, other: LinearCandidates) -> LinearCandidates:
        """These transforms and others, about the same centers."""
        base, theta = torch.cat([self.base, other.base]), torch.cat([self.theta, other.theta])
        return LinearCandidates(base, theta, self.radius)

    def select(self, rows: Tensor) -> LinearCandidates:
        """Some of the transforms."""
        return LinearCandidates(self.base[rows], self.theta[rows], self.radius)

    def join(self, more: LinearCandidates) -> LinearCandidates:
        """These transforms and more, of the same radius."""
        base, theta = (self.base, more.base), (self.theta, more.theta)
        return LinearCandidates(torch.cat(base), torch.cat(theta), self.radius)

    @classmethod
    def of(cls, linear: Matrix, shift: Matrix, radius: float, like: Tensor) -> LinearCandidates:
        """One transform: a linear part (d, d) without reflection, and its shift in mm (d,)."""
        d = len(linear)
        u, s, vt = np.linalg.svd(linear)
        half = np.triu_indices(d)
        stretch = (u * np.log(s)) @ u.T  # linear = exp(stretch) (u vt)
        theta = np.concatenate([np.zeros(cls.turns(d)), stretch[half], shift / radius])
        base, row = (torch.from_numpy(v[None].copy()).to(like) for v in (u @ vt, theta))
        return cls(base, row, radius)


def objective(
    fixed: SampledImage,
    moving: SampledImage,
    guess: LinearCandidates,
    landmarks: LandmarkPull | None = None,
) -> Tensor:
    """Mutual information (b,) at the points of both images, less a cost of stretching.

    Where there are landmarks, also less what their distances cost.

    Taking the points of both sides keeps the transform from shrinking one image into a corner of
    the other.
    """
    linear, shift = guess.matrices(), guess.shifts()[:, None]
    moving_values, in_moving = moving.read(fixed.points @ linear.transpose(1, 2) + shift)
    backwards = (moving.points - shift) @ torch.linalg.inv(linear).transpose(1, 2)
    fixed_values, in_fixed = fixed.read(backwards)
    b = len(linear)
    information = shared_information(
        torch.cat([fixed.at_points.expand(b, -1), fixed_values], 1),
        torch.cat([moving_values, moving.at_points.expand(b, -1)], 1),
        torch.cat([in_moving, in_fixed], 1),
    )
    value = information - _STRETCH_PRIOR * guess.stretching()
    return value if landmarks is None else value - landmarks.cost(linear, shift)


def maximize(
    fixed: SampledImage,
    moving: SampledImage,
    guess: LinearCandidates,
    level: Level,
    *,
    affine: bool,
    landmarks: LandmarkPull | None = None,
) -> tuple[LinearCandidates, Tensor]:
    """The best transforms on the way of gradient ascent, and their objectives (b,)."""
    d = fixed.grid.dimension
    changeable = torch.ones_like(guess.theta[0])
    if not affine:
        changeable[LinearCandidates.turns(d) : -d] = 0
    best = guess.theta.new_full((len(guess.theta),), -np.inf)
    best_theta = guess.theta.clone()

    def loss(change: Tensor) -> Tensor:
        theta = guess.theta + change * changeable
        candidates = LinearCandidates(guess.base, theta, guess.radius)
        return -objective(fixed, moving, candidates, landmarks)

    def keep(_: int, change: Tensor, losses: Tensor) -> None:
        better = -losses > best
        best[better] = -losses[better]
        best_theta[better] = (guess.theta + change * changeable)[better]

    start = torch.zeros_like(guess.theta)
    descend(start, loss, steps=level.steps, rate=level.rate, after=keep)
    return LinearCandidates(guess.base, best_theta, guess.radius), best
