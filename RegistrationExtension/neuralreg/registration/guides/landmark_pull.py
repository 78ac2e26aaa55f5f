"""What landmarks add to the objective of the linear search."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neuralreg.geometry.grid import Matrix

_NATS = 1.0  # that pairs lose which are one radius of the body apart, beside about 0.5 of images
_FREE = 0.1  # of the radius: how far from a linear transform anatomy lies that only bends
_LAST_FREE = 0.2  # the same for the last steps, which are to end where images alone end


@dataclass(frozen=True, eq=False)
class LandmarkPull:
    """Pairs of points, from the centers of their images.

    Attributes:
        fixed, moving: (n, d) in mm from the centers of the bodies.
        radius: of the body, mm.
        tolerance: how exactly they are placed, mm.
        weight: of all pairs together.
        is_last: whether the search is at its finest resolution.
    """

    fixed: Tensor
    moving: Tensor
    radius: float
    tolerance: float
    weight: float
    is_last: bool = False

    def for_last_steps(self) -> LandmarkPull:
        """The pull at the finest resolution."""
        return replace(self, is_last=True)

    @classmethod
    def of(
        cls,
        points: tuple[Matrix, Matrix],
        centers: tuple[Matrix, Matrix],
        radius: float,
        tolerance: float,
        weight: float,
        like: Tensor,
    ) -> LandmarkPull:
        """The pull of points (n, d) in LPS mm, on the device of `like`."""
        sides = [torch.from_numpy(p - c).to(like) for p, c in zip(points, centers, strict=True)]
        return cls(sides[0], sides[1], radius, tolerance, weight)

    def cost(self, linear: Tensor, shift: Tensor) -> Tensor:
        """Nats (b,) for linear parts (b, d, d) and shifts (b, 1, d).

        Quadratic in the distance beyond the tolerance, or beyond what is left to the deformation:
        pairs lead from afar, and where the images lead to the same place they decide alone.
        """
        share = _LAST_FREE if self.is_last else _FREE
        free = max(self.tolerance, share * self.radius)
        gap = self.fixed @ linear.transpose(1, 2) + shift - self.moving
        beyond = (torch.linalg.vector_norm(gap, dim=-1) - free).clamp(min=0)
        squares: Tensor = (beyond / self.radius).square().mean(-1)
        return self.weight * _NATS * squares
