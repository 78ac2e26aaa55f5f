"""Which parts of the fixed image are rigid, and how each moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.guides.landmark_fit import rigid_fit
from neuralreg.registration.guides.landmark_guide import list_names

_MOST_POINTS = 200_000  # voxels of a part that are looked at
_APART = 4  # samples between parts that leave room for a smooth change


@dataclass(frozen=True, eq=False)
class RigidParts:
    """The voxels of labels that are rigid.

    Attributes:
        labels: values of the parts.
        points: their voxels, LPS mm, (n, d) each.
    """

    labels: tuple[int, ...]
    points: tuple[Matrix, ...]

    @classmethod
    def of(cls, image: Image, chosen: Sequence[int] | None) -> RigidParts:
        """The parts of a label map.

        Args:
            image: label map on the fixed side, (1, z, y, x), on any grid.
            chosen: values of the rigid parts; all above 0 unless given.

        Raises:
            InvalidImage: a value is not in the map, or none is.
        """
        values = np.unique(image.data.cpu().numpy()).astype(int).tolist()
        known = [value for value in values if value > 0]
        labels = known if chosen is None else sorted(set(chosen))
        if not labels or (unknown := [str(v) for v in labels if v not in known]):
            raise InvalidImage(
                "the rigid parts are labels of the map of the fixed image",
                got="a map without labels" if not labels else f"no label {list_names(unknown)}",
                wanted="some of " + (list_names(list(map(str, known))) or "its labels"),
            )
        points = tuple(_points_of(image, label) for label in labels)
        return cls(tuple(labels), points)

    def fit(self, transform: Callable[[Matrix], Matrix]) -> list[LinearTransform]:
        """The rigid transforms that are nearest to what a transform does to each part."""
        return [rigid_fit(points, transform(points)) for points in self.points]

    def errors_mm(
        self, transform: Callable[[Matrix], Matrix], rigid: Sequence[LinearTransform]
    ) -> list[float]:
        """How far a transform takes points of each part from where they move rigidly, at most."""
        return [
            float(np.linalg.norm(transform(points) - moves(points), axis=1).max())
            for points, moves in zip(self.points, rigid, strict=True)
        ]

    def numbers_on(self, grid: Grid, like: Tensor) -> tuple[Tensor, Tensor]:
        """Which part, from 1 on, each sample of a grid moves with; 0 for none, (z, y, x).

        Returns:
            Of the samples between which a voxel of a part lies, so that what is linear between
            samples is exact in it. Where two parts meet, the one with fewer voxels gives way.
            The same with the samples around them, so that the inverse is exact, too; these only
            where no other part is near.
        """
        shape = torch.tensor(grid.shape)
        numbers = torch.zeros(grid.shape, dtype=torch.long)
        most = torch.zeros(grid.shape)
        for number, points in enumerate(self.points, start=1):
            index = torch.from_numpy(grid.indices_at(points)).flip(1)
            near = torch.zeros(grid.shape)
            low, high = (index + 1e-6).floor().long(), (index - 1e-6).ceil().long()
            for corner in range(2**grid.dimension):
                bits = torch.tensor([corner >> axis & 1 for axis in range(grid.dimension)])
                at = torch.where(bits.bool(), high, low).clamp(min=torch.zeros_like(shape))
                at = torch.minimum(at, shape - 1)
                near.index_put_(tuple(at.T), torch.ones(len(at)), accumulate=True)
            numbers[near > most] = number
            most = torch.maximum(most, near)
        wide = _with_rings(numbers, len(self.points))
        return numbers.to(like.device), wide.to(like.device)


def _with_rings(numbers: Tensor, count: int) -> Tensor:
    """The numbers, with those of the samples around each part that no other part is near to."""
    wide = numbers.clone()
    for number in range(1, count + 1):
        ring = _dilate(numbers == number, 1) & (numbers == 0)
        others = (numbers > 0) & (numbers != number)
        wide[ring & ~_dilate(others, _APART)] = number
    return wide


def _dilate(marked: Tensor, reach: int) -> Tensor:
    """All samples that are at most so many samples away along each axis, (z, y, x)."""
    for axis, n in enumerate(marked.shape):
        far = marked.clone()
        for step in range(1, min(reach, n - 1) + 1):
            far.narrow(axis, step, n - step).logical_or_(marked.narrow(axis, 0, n - step))
            far.narrow(axis, 0, n - step).logical_or_(marked.narrow(axis, step, n - step))
        marked = far
    return marked


def _points_of(image: Image, label: int) -> Matrix:
    index = torch.nonzero(image.data[0] == label)
    step = max(1, len(index) // _MOST_POINTS)
    points: Matrix = image.grid.points_at(index[::step].flip(1).double().cpu().numpy())
    return points
