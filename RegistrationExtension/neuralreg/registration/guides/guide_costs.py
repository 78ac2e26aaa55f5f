"""All that steers a velocity beside its images, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.sampling import index_grid, sample
from neuralreg.registration.guides.label_maps import LabelMaps, LabelPair
from neuralreg.registration.guides.landmark_cost import LandmarkCost, landmark_cost
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.surfaces.surface_cost import SurfaceCost
from neuralreg.registration.surfaces.surface_pair import SurfacePair
from neuralreg.registration.working_grid import InitialTransform

if TYPE_CHECKING:
    from neuralreg.registration.refine import Velocity

_COST = 4.0  # of labels that do not overlap at all, beside costs of images of about 0.5
_NATS = 1.0  # that they are worth to the judge


class LabelCost:
    """How little labels overlap, at the control points of a velocity: about 1 minus Dice."""

    def __init__(self, maps: LabelMaps, step: Tensor, shape: tuple[int, ...]) -> None:
        """step: voxels between control points, (d, 1, 1, 1). shape: of the control points."""
        self.maps, self.weight = maps, maps.weight
        self.index = index_grid(shape, like=maps.fixed) * step.flatten()
        self.fixed = sample(maps.fixed, self.index)
        self.volume = float(step.prod())

    def __call__(self, displacement: Tensor) -> Tensor:
        """The cost of a displacement at the control points (d, z, y, x), voxels x y z."""
        return self.weight * _COST * self._difference(displacement)

    @torch.no_grad()
    def nats(self, velocity: Velocity) -> float:
        """What the labels cost a judge of results."""
        return self.weight * _NATS * float(self._difference(velocity.displacement()))

    def _difference(self, displacement: Tensor) -> Tensor:
        warped = sample(self.maps.moving, self.index + displacement.movedim(0, -1))
        return (warped - self.fixed).square().sum() * self.volume


class GuideCosts(NamedTuple):
    """What landmarks, labels and surfaces cost; None for what does not steer.

    The middles of labels and closest points of surfaces cost nothing as pairs: they only bend what
    a refinement begins with.
    """

    landmarks: LandmarkCost | None = None
    labels: LabelCost | None = None
    surfaces: SurfaceCost | None = None
    middles: LandmarkCost | None = None

    @classmethod
    def of(
        cls,
        landmarks: LandmarkGuide | None,
        labels: LabelPair | None,
        surfaces: SurfacePair | None,
        initial: InitialTransform,
        grid: Grid,
        velocity: Velocity,
    ) -> GuideCosts:
        """The costs of a velocity on a work grid, before an initial transform."""
        step = velocity.step
        points = landmark_cost(landmarks, initial, grid, step)
        near = None if surfaces is None else SurfaceCost(surfaces, initial, grid, step)
        if labels is None:
            pairs = None if surfaces is None else surfaces.pairs()
            return cls(points, None, near, landmark_cost(pairs, initial, grid, step))
        maps = labels.on_grid(grid, initial, velocity.points)
        cost = LabelCost(maps, step, tuple(velocity.points.shape[1:]))
        return cls(points, cost, near, landmark_cost(labels.centers(), initial, grid, step))

    def costs(self) -> list[LandmarkCost | LabelCost | SurfaceCost]:
        """Those that are there."""
        every = (self.landmarks, self.labels, self.surfaces)
        return [cost for cost in every if cost is not None]

    def bend(self, velocity: Velocity) -> None:
        """Bends a velocity by the middles of labels or by surfaces, then by landmarks; in place."""
        for points in (self.middles, self.landmarks):
            if points is not None:
                points.bend(velocity)

    def nats(self, velocity: Velocity) -> float:
        """What all of them cost a judge of results."""
        return sum(cost.nats(velocity) for cost in self.costs())


NO_GUIDES = GuideCosts()
