"""Surfaces as points with normals, and what is closest to what on the other side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

_NEIGHBORS = 8  # that a normal is computed of


class Matches(NamedTuple):
    """The row of the goal closest to each point, and of the point closest to each goal."""

    goals: Tensor
    points: Tensor


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points of all surfaces of one side, (n, d).

    Attributes:
        points: coordinates.
        normals: of unit length, of either sign, (n, d).
        numbers: which surface each point is of, (n,).
    """

    points: Tensor
    normals: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, surfaces: list[Tensor]) -> SurfacePoints:
        """The points of surfaces, with normals of planes through the nearest ones."""
        numbers = [torch.full((len(one),), n, device=one.device) for n, one in enumerate(surfaces)]
        normals = torch.cat([_normals(one) for one in surfaces])
        return cls(torch.cat(surfaces), normals, torch.cat(numbers))

    def at(self, points: Tensor) -> SurfacePoints:
        """The same surfaces with their points elsewhere."""
        return replace(self, points=points)


@torch.no_grad()
def closest(moved: SurfacePoints, goals: SurfacePoints) -> Matches:
    """The closest points of the same surface, in both directions."""
    distance = torch.cdist(moved.points, goals.points)
    distance = distance.masked_fill(moved.numbers[:, None] != goals.numbers, torch.inf)
    return Matches(distance.argmin(1), distance.argmin(0))


def gaps(
    moved: SurfacePoints, goals: SurfacePoints, matches: Matches, near: float
) -> tuple[Tensor, Tensor]:
    """What is missing from points to the other surface, and from that surface to points.

    Close to a surface only the way along its normal counts: where on it a point lies is not
    known (Chen & Medioni 1992, doi:10.1016/0262-8856(92)90066-C). Farther away the whole way does.

    Args:
        moved, goals: of both sides.
        matches: closest points of theirs.
        near: distance from which on the whole way counts.

    Returns:
        (n, d) and (m, d).
    """
    forth = _along_normals(
        goals.points[matches.goals] - moved.points, goals.normals[matches.goals], near
    )
    back = _along_normals(goals.points - moved.points[matches.points], goals.normals, near)
    return forth, back


def _along_normals(gap: Tensor, normals: Tensor, near: float) -> Tensor:
    across: Tensor = (gap * normals).sum(1, keepdim=True) * normals
    share = (torch.linalg.vector_norm(gap.detach(), dim=1, keepdim=True) / near).clamp(max=1)
    whole: Tensor = across + share.square() * (gap - across)
    return whole


@torch.no_grad()
def _normals(points: Tensor) -> Tensor:
    """The direction across the nearest points of each, (n, d)."""
    count = min(_NEIGHBORS + 1, len(points))
    near = torch.cdist(points, points).topk(count, largest=False).indices
    cloud = points[near] - points[near].mean(1, keepdim=True)
    normals: Tensor = torch.linalg.eigh(cloud.mT @ cloud).eigenvectors[:, :, 0]
    return normals
