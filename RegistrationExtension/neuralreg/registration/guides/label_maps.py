"""Labels of both images as channels that pull the same structures onto each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import sample
from neuralreg.geometry.smoothing import gaussian
from neuralreg.registration.guides.landmark_guide import LandmarkGuide, list_names
from neuralreg.registration.working_grid import InitialTransform, sample_coordinates

_CHANNELS = 12  # more labels than this share channels
_BLURS = (1.0, 4.0)  # voxels of the work grid: near borders decide, and pull from a distance
_MOST_POINTS = 20_000  # that a middle is computed of


@dataclass(frozen=True, eq=False)
class LabelPair:
    """The label maps of both images, and which labels are on both sides.

    Attributes:
        fixed, moving: label maps on any grids, (layers, z, y, x); those of several layers may
            overlap.
        labels: values on both sides, without 0.
        weight: of the labels beside the images.
    """

    fixed: Image
    moving: Image
    labels: tuple[int, ...]
    weight: float

    @classmethod
    def of(cls, fixed: Image, moving: Image, weight: float, notes: list[str]) -> LabelPair:
        """The labels of both sides; those on one side only are named in the notes.

        Raises:
            InvalidImage: no label is on both sides.
        """
        values = [_labels_in(image) for image in (fixed, moving)]
        both = sorted(values[0] & values[1])
        if not both:
            texts = [list_names(list(map(str, sorted(v)))) or "none" for v in values]
            raise InvalidImage(
                "no label is on both sides",
                got=f"labels {texts[0]} in the fixed and {texts[1]} in the moving label map",
                remedy="Give label maps with the same values for the same structures.",
            )
        for role, alone in (("fixed", values[0] - values[1]), ("moving", values[1] - values[0])):
            if alone:
                names = list_names(list(map(str, sorted(alone))))
                notes.append(f"labels on the {role} side only do nothing: {names}")
        return cls(fixed, moving, tuple(both), weight)

    def centers(self) -> LandmarkGuide:
        """The middles of the labels as pairs that a linear search can begin with."""
        sides = [
            [_middle(image, label).tolist() for label in self.labels]
            for image in (self.fixed, self.moving)
        ]
        names = tuple(f"label {label}" for label in self.labels)
        return LandmarkGuide(sides[0], sides[1], names)  # type: ignore[arg-type]

    def on_grid(self, grid: Grid, initial: InitialTransform, like: Tensor) -> LabelMaps:
        """Both sides on a work grid, the moving one after an initial transform."""
        identity = LinearTransform.identity(grid.dimension)
        classes = [
            self._classes(image, grid, transform, like)  # one for each layer
            for image, transform in ((self.fixed, identity), (self.moving, initial))
        ]
        count = len(self.labels) + 1
        volumes = sum(torch.bincount(c.flatten(), minlength=count)[1:] for c in classes)
        codes = _codes(torch.as_tensor(volumes).to(like))
        maps = [_blur(sum_of_codes(codes, layers)) for layers in classes]
        return LabelMaps(maps[0], maps[1], self.weight)

    def _classes(
        self, image: Image, grid: Grid, transform: InitialTransform, like: Tensor
    ) -> Tensor:
        """Which of the labels each sample of a grid shows, from 1 on; 0 for none, by layers."""
        at = sample_coordinates(image.grid, grid, transform, like)
        known = torch.tensor(self.labels, device=like.device)
        data = image.data.to(like.device).long()
        dense = torch.searchsorted(known, data).clamp(max=len(known) - 1)
        dense = torch.where(known[dense] == data, dense + 1, 0)
        return sample(dense.to(like), at, mode="nearest", outside="zeros").round().long()


@dataclass(frozen=True, eq=False)
class LabelMaps:
    """Labels as channels, so that squared differences are what Dice lacks to 1.

    Attributes:
        fixed, moving: (c, z, y, x).
        weight: of their cost.
    """

    fixed: Tensor
    moving: Tensor
    weight: float


def sum_of_codes(codes: Tensor, layers: Tensor) -> Tensor:
    """The codes (classes, c) of all layers (layers, z, y, x) of classes together, (c, z, y, x)."""
    total = codes[layers[0]]
    for layer in layers[1:]:
        total = total + codes[layer]
    return total.movedim(-1, 0)


def _blur(channels: Tensor) -> Tensor:
    axes = channels.dim() - 1
    total = sum(gaussian(channels, [sigma] * axes) for sigma in _BLURS)
    return torch.as_tensor(total) / len(_BLURS)


def _codes(volumes: Tensor) -> Tensor:
    """One row for the background, which is 0, and one per label: (labels + 1, channels).

    The sum of squared differences of a label is weighed by its volume on both sides, so that small
    structures count as much as large ones. More labels than channels get random directions, whose
    squared distances are those of single channels on average (Johnson & Lindenstrauss 1984).
    """
    count = len(volumes)
    channels = min(count, _CHANNELS)
    if count <= channels:
        directions = torch.eye(count)
    else:
        random = torch.randn(count, channels, generator=torch.Generator().manual_seed(0))
        directions = random / random.norm(dim=1, keepdim=True)
    scale = (volumes.clamp(min=1) * count).rsqrt()
    rows = directions.to(volumes) * scale[:, None]
    return torch.cat([rows.new_zeros(1, channels), rows])


def _labels_in(image: Image) -> set[int]:
    return set(np.unique(image.data.cpu().numpy()).astype(int).tolist()) - {0}


def _middle(image: Image, label: int) -> Matrix:
    index = torch.nonzero((image.data == label).any(0))
    step = max(1, len(index) // _MOST_POINTS)
    middle: Matrix = image.grid.points_at(index[::step].flip(1).double().numpy()).mean(0)
    return middle
