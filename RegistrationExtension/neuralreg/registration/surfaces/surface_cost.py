"""Surfaces as a soft constraint of a velocity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import sample
from neuralreg.geometry.smoothing import gaussian
from neuralreg.registration.guides.landmark_targets import invert_at
from neuralreg.registration.surfaces.surface_pair import SurfacePair
from neuralreg.registration.surfaces.surface_points import SurfacePoints, closest, gaps
from neuralreg.registration.working_grid import InitialTransform

if TYPE_CHECKING:
    from neuralreg.registration.refine import Velocity

TOLERANCE_MM = 1.0  # that surfaces are outlined to
_COST = 1.0  # of all points one tolerance apart, beside costs of images of about 0.5
_NATS = 0.1  # that they are worth to the judge
_MOST = 5.0  # tolerances: a point farther away counts no more for the judge
_NEAR = 4.0  # tolerances, within which only the way across the surface counts
_SPREAD = 1.5  # control points: standard deviation of what a point pulls along


class SurfaceCost:
    """How far a deformation on a work grid leaves surfaces from each other."""

    def __init__(
        self, pair: SurfacePair, initial: InitialTransform, grid: Grid, step: Tensor
    ) -> None:
        """step: voxels between control points, (d, 1, 1, 1)."""
        fixed, moving = pair.thin()
        back = initial.inverse() if isinstance(initial, LinearTransform) else None
        before = [invert_at(initial, m) if back is None else back(m) for m in moving]  # type: ignore[arg-type]
        self.start, self.goals = (
            SurfacePoints.of([torch.from_numpy(grid.indices_at(one)).to(step) for one in side])
            for side in (fixed, before)
        )
        self.step, self.weight = step, pair.weight
        self.tolerance = TOLERANCE_MM / min(grid.spacing)  # voxels are cubes

    def __call__(self, displacement: Tensor) -> Tensor:
        """The cost of a displacement at the control points (d, z, y, x), voxels x y z.

        Nothing up to the tolerance, then quadratic, and linear from twice the tolerance on, for
        points of both surfaces; the gradient is spread as that of landmarks is.
        """
        exact = self._points_after(displacement.detach())
        moved = self._points_after(gaussian(displacement, [_SPREAD] * len(displacement)))
        ratio = self._ratios(moved + (exact - moved).detach())
        cost = torch.where(ratio < 1, 0.5 * ratio.square(), ratio - 0.5)
        return self.weight * _COST * cost.mean()

    @torch.no_grad()
    def nats(self, velocity: Velocity) -> float:
        """What the surfaces cost a judge of results: the distance beyond the tolerance, bounded."""
        ratio = self._ratios(self._points_after(velocity.displacement())).clamp(max=_MOST)
        return self.weight * _NATS * float(ratio.mean())

    def _points_after(self, displacement: Tensor) -> Tensor:
        start = self.start.points
        at = (start / self.step.flatten()).view(*[1] * (start.shape[1] - 1), *start.shape)
        return start + sample(displacement, at).flatten(1).T

    def _ratios(self, moved: Tensor) -> Tensor:
        """Tolerances by which points of both sides are beyond it."""
        points = self.start.at(moved)
        matches = closest(self.start.at(moved.detach()), self.goals)
        gap = torch.cat(gaps(points, self.goals, matches, _NEAR * self.tolerance))
        length = torch.linalg.vector_norm(gap + 1e-12, dim=1)
        ratios: Tensor = (length / self.tolerance - 1).clamp(min=0)
        return ratios


@dataclass(frozen=True)
class SurfaceDistances:
    """Mean distance of surfaces in mm, from each side to the other.

    Attributes:
        linear_mm: after what came before the deformation.
        final_mm: after the whole chain.
    """

    linear_mm: float
    final_mm: float

    @classmethod
    def of(
        cls, pair: SurfacePair | None, initial: InitialTransform, field: DisplacementField
    ) -> SurfaceDistances | None:
        """The distances after a chain and after its initial transform; None without surfaces."""
        if pair is None:
            return None
        fixed, moving = ([torch.from_numpy(one) for one in side] for side in pair.thin())
        goals, lengths = SurfacePoints.of(moving), []
        start = SurfacePoints.of(fixed)
        for transform in (initial, field):
            moved = start.at(torch.from_numpy(np.asarray(transform(start.points.numpy()))))
            gap = torch.cat(gaps(moved, goals, closest(moved, goals), _NEAR * TOLERANCE_MM))
            lengths.append(float(torch.linalg.vector_norm(gap, dim=1).mean()))
        return cls(lengths[0], lengths[1])

    @property
    def is_gain(self) -> bool:
        """Whether the deformation brings surfaces together that were beyond their tolerance."""
        return self.linear_mm > TOLERANCE_MM and self.final_mm < self.linear_mm

    def failure(self) -> str | None:
        """What the surfaces have against the deformation, in words; None for nothing."""
        if self.final_mm <= max(self.linear_mm, TOLERANCE_MM):
            return None
        return (
            f"the surfaces are farther apart than after the linear alignment: "
            f"{self.linear_mm:.3g} mm before, {self.final_mm:.3g} mm after"
        )

    def notes(self) -> list[str]:
        """What the surfaces say about the result, in words."""
        return [
            "surfaces drove the result, and are no proof of it: "
            f"{self.linear_mm:.3g} mm apart on average after the linear alignment, "
            f"{self.final_mm:.3g} mm in the end"
        ]

    def as_record(self) -> dict[str, object]:
        """Plain values by name, ready for JSON."""
        return asdict(self)
