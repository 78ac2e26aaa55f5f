"""A velocity that moves the neighborhoods of some points and is zero elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.sampling import change_index, index_grid, sample_points

_PLATEAU = 0.5  # of the radius: up to here the neighborhood moves as its point does
REACH = 2.0  # radii, where the change ends
_NOISE = 1e-3  # on the diagonal: points that lie together are averaged
_STEPS = 4  # of the flow, of fourth order
_ROUNDS = 60
_MET_MM = 0.01
_CHUNK = 1 << 17  # points at once
_SAMPLES_PER_RADIUS = 10  # of a flow: linear between them, it is a few micrometers off


@dataclass(frozen=True, eq=False)
class Lock:
    """Where nothing may move: 0 there, rising to 1 around it, on a grid.

    Attributes:
        freedom: (1, z, y, x), 0..1.
        grid: of it.
    """

    freedom: Tensor
    grid: Grid

    def at(self, points: Tensor) -> Tensor:
        """The freedom at points (n, d), LPS mm: (n,)."""
        index = torch.from_numpy(self.grid.indices_at(points.double().numpy()))
        return sample_points(self.freedom, index)[0]


@dataclass(frozen=True, eq=False)
class LocalVelocity:
    """A stationary velocity around centers.

    Pairs whose neighborhoods meet move as one group: a common shift, and what their own shifts add
    to it by a Gaussian process, times an envelope that is 1 around each center, 0 at two radii.

    Attributes:
        centers: (n, d), LPS mm.
        radii: (n,), mm.
        shifts: (n, d), the velocity at the centers.
        lock: what stays as it is.
    """

    centers: Tensor
    radii: Tensor
    shifts: Tensor
    lock: Lock | None = None

    def __call__(self, points: Tensor) -> Tensor:
        """The velocity (m, d) at points (m, d)."""
        parts = [self._velocity(part) for part in torch.split(points, _CHUNK)]
        return torch.cat(parts) if parts else torch.zeros_like(points)

    def _velocity(self, points: Tensor) -> Tensor:
        distance = torch.cdist(points, self.centers)
        total = torch.zeros_like(points)
        for group in self.groups():
            radii = self.radii[group]
            envelope = 1 - (1 - _envelope(distance[:, group] / radii)).prod(1)
            mean, weights = self._process(group)
            length = radii.mean()
            total += envelope[:, None] * (
                mean + _correlation(distance[:, group] / length) @ weights
            )
        return total if self.lock is None else total * self.lock.at(points).to(total)[:, None]

    def _process(self, group: list[int]) -> tuple[Tensor, Tensor]:
        """Common shift (d,) and weights (k, d) of the centers of a group."""
        centers, shifts = self.centers[group], self.shifts[group]
        covariance = _correlation(torch.cdist(centers, centers) / self.radii[group].mean())
        covariance = covariance + _NOISE * torch.eye(len(group), dtype=centers.dtype)
        inverse = torch.linalg.inv(covariance)
        mean = (inverse @ shifts).sum(0) / inverse.sum()
        return mean, inverse @ (shifts - mean)

    def groups(self) -> list[list[int]]:
        """Indices of the centers whose neighborhoods meet, directly or by others."""
        distance = torch.cdist(self.centers, self.centers)
        near = distance < REACH * torch.maximum(self.radii[:, None], self.radii)
        left, groups = set(range(len(near))), []
        while left:
            group, new = set(), {min(left)}
            while new:
                group |= new
                new = {j for i in new for j in near[i].nonzero()[:, 0].tolist()} - group
            groups.append(sorted(group))
            left -= group
        return groups

    def flow_field(self, *, backwards: bool = False) -> DisplacementField:
        """The flow on a grid of its own that holds all that moves; its border does not move."""
        step = float(self.radii.min()) / _SAMPLES_PER_RADIUS
        reach = (REACH * self.radii[:, None]).numpy()
        low = (self.centers.numpy() - reach).min(0) - step
        high = (self.centers.numpy() + reach).max(0) + step
        d = len(low)
        size = tuple((np.ceil((high - low) / step).astype(int) + 1).tolist())
        grid = Grid(size, (step,) * d, tuple(low.tolist()), tuple(np.eye(d).ravel().tolist()))
        index = index_grid(grid.shape, like=self.centers.float())
        points = change_index(index, grid.index_to_world).view(-1, d)
        single = LocalVelocity(
            self.centers.float(), self.radii.float(), self.shifts.float(), self.lock
        )
        moving = single._reaches(points)
        vectors = torch.zeros_like(points)
        vectors[moving] = single.flow(points[moving], backwards=backwards) - points[moving]
        return DisplacementField(vectors.T.reshape(d, *grid.shape).contiguous(), grid)

    def _reaches(self, points: Tensor) -> Tensor:
        parts = [
            (torch.cdist(part, self.centers) < REACH * self.radii).any(1)
            for part in torch.split(points, _CHUNK)
        ]
        return torch.cat(parts)

    def flow(self, points: Tensor, *, backwards: bool = False) -> Tensor:
        """Where points (m, d) are after one unit of time, by Runge and Kutta's method."""
        step = (-1.0 if backwards else 1.0) / _STEPS
        for _ in range(_STEPS):
            a = self(points)
            b = self(points + 0.5 * step * a)
            c = self(points + 0.5 * step * b)
            d = self(points + step * c)
            points = points + step / 6 * (a + 2 * b + 2 * c + d)
        return points


def velocity_through(
    points: Matrix, targets: Matrix, radii: Matrix, names: tuple[str, ...], lock: Lock | None
) -> LocalVelocity:
    """The velocity whose flow takes points to their targets.

    Args:
        points, targets: (n, d), LPS mm.
        radii: (n,), mm.
        names: of the points, for messages.
        lock: what stays as it is.

    Raises:
        InvalidOption: a point is in the lock, or points contradict each other.
    """
    start, goal = torch.from_numpy(points), torch.from_numpy(targets)
    velocity = LocalVelocity(start, torch.from_numpy(radii), goal - start, lock)
    if lock is not None and len(inside := (lock.at(start) < 0.5).nonzero()[:, 0].tolist()):
        raise InvalidOption(
            "a correction begins where the image is locked, or too close to it",
            got=", ".join(names[n] for n in inside),
            remedy="Make the lock smaller, or the radius.",
        )
    for _ in range(_ROUNDS):
        gap = goal - velocity.flow(start)
        length = torch.linalg.vector_norm(gap, dim=1)
        if float(length.max()) < _MET_MM:
            break
        velocity = replace(velocity, shifts=velocity.shifts + gap)
    _require_met(length.numpy(), np.linalg.norm(targets - points, axis=1), names)
    return velocity


def _require_met(missing: Matrix, shifts: Matrix, names: tuple[str, ...]) -> None:
    late = np.flatnonzero(~(missing < np.maximum(0.05 * shifts, 10 * _MET_MM)))
    if len(late):
        raise InvalidOption(
            "corrections contradict each other, or their radius is too small for them",
            got=", ".join(f"{names[n]} misses its partner by {missing[n]:.3g} mm" for n in late),
            remedy="Correct or remove one of them, or give a larger radius.",
        )


def _envelope(ratio: Tensor) -> Tensor:
    """1 near a center, 0 from two radii on, with a continuous slope."""
    t = ((ratio - _PLATEAU) / (REACH - _PLATEAU)).clamp(0, 1)
    return 1 - t * t * (3 - 2 * t)


def _correlation(ratio: Tensor) -> Tensor:
    """Matérn's correlation of order 3/2 at distances in lengths."""
    scaled = 3**0.5 * ratio
    return (1 + scaled) * torch.exp(-scaled)
