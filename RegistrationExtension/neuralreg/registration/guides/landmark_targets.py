"""Where landmarks have to go before an initial transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Matrix
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.guides.landmark_checks import sides
from neuralreg.registration.guides.landmark_guide import LandmarkGuide

_STARTS = 4096  # samples of a field that a search for a point begins at
_NEWTON_STEPS = 30
_STEP_SHARE = 0.25  # of a sample, for differences
_SOLVED_MM = 1e-3


@dataclass(frozen=True, eq=False)
class LandmarkTargets:
    """Points of the fixed image, and the points that an initial transform takes to their partners.

    Attributes:
        points, targets: (n, d), LPS mm.
        tolerance_mm, weight: of the guide.
    """

    points: Matrix
    targets: Matrix
    tolerance_mm: float
    weight: float

    @classmethod
    def of(
        cls, guide: LandmarkGuide, initial: LinearTransform | DisplacementField
    ) -> LandmarkTargets:
        """The targets of a deformation that comes before an initial transform."""
        if isinstance(initial, LinearTransform):
            points, partners = sides(guide, initial.dimension)
            targets = initial.inverse()(partners)
        else:
            points, partners = sides(guide, initial.grid.dimension)
            targets = invert_at(initial, partners)
        return cls(points, targets, guide.tolerance_mm, guide.weight)


def invert_at(field: DisplacementField, points: Matrix) -> Matrix:
    """The points (n, d) that a field takes to the given ones, LPS mm, by Newton's method.

    Where the field takes nothing there, the nearest that was reached.
    """
    x = _nearest_samples(field, points)
    lengths = np.asarray(field.grid.spacing) * _STEP_SHARE
    best, least = x, np.linalg.norm(field(x) - points, axis=1)
    for _ in range(_NEWTON_STEPS):
        if least.max() < _SOLVED_MM:
            break
        steps = [np.eye(len(lengths))[a] * length for a, length in enumerate(lengths)]
        slope = np.stack(
            [(field(x + s) - field(x - s)) / (2 * np.linalg.norm(s)) for s in steps], -1
        )
        x = x + np.einsum("nij,nj->ni", np.linalg.pinv(slope), points - field(x))
        error = np.linalg.norm(field(x) - points, axis=1)
        better = error < least
        best, least = np.where(better[:, None], x, best), np.where(better, error, least)
        x = np.where((error < 2 * least)[:, None], x, 0.5 * (x + best))
    return best


def _nearest_samples(field: DisplacementField, points: Matrix) -> Matrix:
    """Of some samples of the field those that it takes nearest to each point."""
    d = field.grid.dimension
    coarse = field.grid.resize([min(n, round(_STARTS ** (1 / d))) for n in field.grid.size])
    axes = [np.arange(float(n)) for n in coarse.size]
    samples = coarse.points_at(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, d))
    moved = field(samples)
    nearest = [int(((moved - point) ** 2).sum(1).argmin()) for point in points]
    start: Matrix = samples[nearest]
    return start
