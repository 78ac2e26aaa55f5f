"""Landmarks as a soft constraint of a velocity, and as a smooth deformation of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.geometry.smoothing import gaussian
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.guides.landmark_targets import LandmarkTargets

if TYPE_CHECKING:
    from neuralreg.registration.refine import Velocity

_COST = 0.05  # of all pairs one tolerance apart, beside costs of images of about 0.5
_NATS = 0.05  # that a pair one tolerance beyond its tolerance is worth to the judge
_MOST = 5.0  # tolerances: a pair farther away than this counts no more for the judge
_SPREAD = 3.0  # control points: standard deviation of what a pair pulls along
_LENGTHS = (0.05, 0.1, 0.2, 0.4)  # of the field of view, to choose the reach of a pair from
_USUAL_LENGTH = 0.15  # where no pair can be left out
_CENTRAL = 0.5  # of the tolerance: to where pairs are bent that are beyond it
_ROUNDS = 4  # of adding what is left to a velocity


def landmark_cost(
    guide: LandmarkGuide | None,
    initial: LinearTransform | DisplacementField,
    grid: Grid,
    step: Tensor,
) -> LandmarkCost | None:
    """The cost of a velocity on a grid, before an initial transform; None without a pull.

    Args:
        guide: the pairs.
        initial: what follows the deformation.
        grid: the work grid.
        step: voxels between control points, (d, 1, 1, 1).
    """
    if guide is None or not guide.weight > 0:
        return None
    return LandmarkCost(LandmarkTargets.of(guide, initial), grid, step)


class LandmarkCost:
    """How far a deformation on a work grid leaves landmarks from their targets."""

    def __init__(self, targets: LandmarkTargets, grid: Grid, step: Tensor) -> None:
        """step: voxels between control points, (d, 1, 1, 1)."""
        start, goal = (grid.indices_at(p) for p in (targets.points, targets.targets))
        self.tolerance = targets.tolerance_mm / min(grid.spacing)  # voxels are cubes
        self.weight, self.step = targets.weight, step
        self.start = torch.from_numpy(start).to(step)
        self.shift = torch.from_numpy(goal - start).to(step)
        self.extent = float(max(grid.size))

    def residual(self, displacement: Tensor) -> Tensor:
        """What is missing at each pair (n, d), voxels x y z.

        Args:
            displacement: at control points (d, z, y, x), voxels x y z.
        """
        at = (self.start / self.step.flatten()).view(
            *[1] * (self.start.shape[1] - 1), *self.start.shape
        )
        return self.shift - sample(displacement, at).flatten(1).T

    def __call__(self, displacement: Tensor) -> Tensor:
        """The cost; its gradient is spread over the neighborhood of each pair.

        Nothing up to the tolerance, then quadratic, and linear from twice the tolerance on (Huber
        1964, doi:10.1214/aoms/1177703732), so that one wrong pair does not outweigh all others. The
        gradient of single points would move single control points, which is no deformation of
        tissue.
        """
        wide = gaussian(displacement, [_SPREAD] * len(displacement))
        gap = self.residual(wide)
        exact = self.residual(displacement.detach())
        gap = gap + (exact - gap).detach()
        ratio = torch.linalg.vector_norm(gap + 1e-12, dim=1) / self.tolerance
        ratio = (ratio - 1).clamp(min=0)
        cost = torch.where(ratio < 1, 0.5 * ratio.square(), ratio - 0.5)
        return self.weight * _COST * cost.mean()

    @torch.no_grad()
    def nats(self, velocity: Velocity) -> float:
        """What the pairs cost a judge of results: the distance beyond the tolerance, bounded."""
        gap = self.residual(velocity.displacement())
        excess = (torch.linalg.vector_norm(gap, dim=1) / self.tolerance - 1).clamp(0, _MOST)
        return self.weight * _NATS * float(excess.mean())

    @torch.no_grad()
    def bend(self, velocity: Velocity) -> None:
        """Adds to a velocity what takes the pairs to their targets, smoothly; in place.

        Only as far as their tolerance asks for.
        """
        d = len(self.shift[0])
        index = index_grid(tuple(velocity.points.shape[1:]), like=self.start)
        control = (index * self.step.flatten()).reshape(-1, d).double().cpu().numpy()
        start = self.start.double().cpu().numpy()
        length = None
        for _ in range(_ROUNDS):
            gap = self.residual(velocity.displacement()).double().cpu().numpy()
            size = np.linalg.norm(gap, axis=1, keepdims=True)
            gap = gap * (1 - _CENTRAL * self.tolerance / size.clip(_CENTRAL * self.tolerance))
            if not gap.any():
                return
            length = length or self._best_length(start, gap)
            share = _solve(start, gap, length, self.tolerance)
            more = _correlation(control, start, length) @ share
            addition = torch.from_numpy(more.T.copy()).to(velocity.points)
            velocity.points = velocity.points + addition.view(velocity.points.shape)

    def _best_length(self, start: Matrix, gap: Matrix) -> float:
        """The reach in voxels that predicts each pair best from the others."""
        if len(start) < 3:
            return _USUAL_LENGTH * self.extent
        errors = []
        for share in _LENGTHS:
            inverse = np.linalg.inv(_covariance(start, gap, share * self.extent, self.tolerance))
            errors.append(float(np.square((inverse @ gap) / np.diag(inverse)[:, None]).sum()))
        return _LENGTHS[int(np.argmin(errors))] * self.extent


def _correlation(one: Matrix, two: Matrix, length: float) -> Matrix:
    """Matérn's correlation of order 3/2 between points (n, d) and (m, d): (n, m)."""
    scaled = np.sqrt(3) / length * np.linalg.norm(one[:, None] - two, axis=-1)
    correlation: Matrix = (1 + scaled) * np.exp(-scaled)
    return correlation


def _covariance(points: Matrix, gap: Matrix, length: float, tolerance: float) -> Matrix:
    """Correlation between pairs, with the error of their placing on the diagonal."""
    signal = max(float(np.square(gap).mean()), tolerance**2)
    noise = (tolerance**2 / 3) / signal
    return _correlation(points, points, length) + noise * np.eye(len(points))


def _solve(points: Matrix, gap: Matrix, length: float, tolerance: float) -> Matrix:
    """Weights (n, d) of the pairs in a Gaussian process that explains their gaps.

    Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, eq. 2.25; left-out
    errors by their eq. 5.12.
    """
    weights: Matrix = np.linalg.solve(_covariance(points, gap, length, tolerance), gap)
    return weights
