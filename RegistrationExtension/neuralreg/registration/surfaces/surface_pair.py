"""The surfaces of both sides, and the rigid motion by which closest points agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from neuralreg.geometry.grid import Matrix
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.guides.landmark_fit import rigid_fit
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.surfaces.surface_points import SurfacePoints, closest

_MOST = (1200, 3000)  # points of the fixed and of the moving side
_FEW = 200  # that a start is looked for with
_ROUNDS = 30
_TRIMMED = 0.9  # of the pairs that agree best, in each round
_PAIRS = 60  # that lead the search for a linear transform
_TOLERANCE_MM = 3.0  # of these pairs: the closest point is seldom the same one


@dataclass(frozen=True, eq=False)
class SurfacePair:
    """Points of the surfaces of both sides.

    Attributes:
        fixed, moving: LPS mm, one array (n, d) for each surface, in the same order.
        weight: beside the images.
    """

    fixed: tuple[Matrix, ...]
    moving: tuple[Matrix, ...]
    weight: float

    def thin(self) -> tuple[list[Matrix], list[Matrix]]:
        """Evenly chosen points of both sides, few enough to compare each with each."""
        return _thin(self.fixed, _MOST[0]), _thin(self.moving, _MOST[1])

    def pairs(self) -> LandmarkGuide:
        """Closest points after the rigid motion that brings the surfaces together.

        Iterative closest points (Besl & McKay 1992, doi:10.1109/34.121791) in both directions, from
        where the surfaces lie and from where their middles agree; the better end counts.
        """
        fixed, moving = _points(self.fixed, _FEW), _points(self.moving, 4 * _FEW)
        one, two = (side.points.numpy() for side in (fixed, moving))
        shift = two.mean(0) - one.mean(0)
        starts = [np.zeros(len(shift)), shift]
        ends = [
            _follow_closest(fixed, moving, LinearTransform.from_parts(np.eye(len(s)), s))
            for s in starts
        ]
        linear, _ = min(ends, key=lambda end: end[1])
        matches = closest(fixed.at(torch.from_numpy(linear(one))), moving)
        # A point may be the closest of several: the nearest of these is its pair.
        goals = matches.goals.numpy()
        order = np.argsort(np.linalg.norm(linear(one) - two[goals], axis=1), kind="stable")
        _, first = np.unique(goals[order], return_index=True)
        rows = np.sort(order[first])
        rows = rows[np.linspace(0, len(rows) - 1, min(_PAIRS, len(rows))).astype(int)]
        return LandmarkGuide(
            one[rows].tolist(), two[goals[rows]].tolist(), tolerance_mm=_TOLERANCE_MM
        )


def _follow_closest(
    fixed: SurfacePoints, moving: SurfacePoints, start: LinearTransform
) -> tuple[LinearTransform, float]:
    """Where closest points lead from a start, and how far they are apart there on average, mm."""
    linear, error = start, np.inf
    one, two = fixed.points.numpy(), moving.points.numpy()
    for _ in range(_ROUNDS):
        matches = closest(fixed.at(torch.from_numpy(linear(one))), moving)
        points = np.concatenate([one, one[matches.points.numpy()]])
        partners = np.concatenate([two[matches.goals.numpy()], two])
        distance = np.linalg.norm(linear(points) - partners, axis=1)
        kept = distance <= np.quantile(distance, _TRIMMED)
        mean = float(distance[kept].mean())
        if mean > 0.999 * error:
            break
        error = mean
        linear = rigid_fit(points[kept], partners[kept])
    return linear, error


def _points(surfaces: tuple[Matrix, ...], most: int) -> SurfacePoints:
    return SurfacePoints.of([torch.from_numpy(one) for one in _thin(surfaces, most)])


def _thin(surfaces: tuple[Matrix, ...], most: int) -> list[Matrix]:
    share = max(1, most // len(surfaces))
    random = np.random.default_rng(0)
    return [one[random.permutation(len(one))[:share]] for one in surfaces]
