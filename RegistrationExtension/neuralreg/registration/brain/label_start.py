"""A linear start from the centers of the structures of both brains, without looking at intensities.

Source: least squares of corresponding points, Arun et al. 1987, doi:10.1109/TPAMI.1987.4767965.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage, OutOfMemory
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.measures.modality import looks_like_ct
from neuralreg.progress import Progress, stage
from neuralreg.registration.brain.conform import conformed_grid
from neuralreg.registration.brain.labeling import LabeledBox
from neuralreg.registration.brain.structures import (
    LABELS,
    divide,
    label_card,
    label_head,
    structures_by_value,
)
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.options import RegistrationOptions
from neuralreg.zoo.registry import model_card
from neuralreg.zoo.weights import is_available

_FEWEST_VOXELS = 50  # of a structure whose center counts
_FEWEST_POINTS = 8
_MOST_RESIDUAL_MM = 15.0  # two people differ by less, a wrong orientation by more
_HEAD_MM = (100.0, 350.0)  # field of view along each axis


@dataclass
class LabelStart:
    """Rigid transforms between two heads by their structures.

    The networks know heads in their anatomical orientation. Where the header of the moving image
    is wrong, that is an orientation relative to the fixed image that somebody else proposes.

    Attributes:
        fixed, moving: heads, prepared for a registration.
        device: as `register` takes it.
        progress: called after each layer of a network.
        cache: folder of the weights, if not the usual one. Nothing is downloaded.
    """

    fixed: Image
    moving: Image
    device: str
    progress: Progress
    cache: Path | None = None
    _centers: dict[int, Matrix] | None = field(default=None, init=False)

    @classmethod
    def suits(cls, fixed: Image, moving: Image) -> bool:
        """Whether weights are on this machine, and both images could be heads in MR."""
        low, high = _HEAD_MM
        return is_available(model_card(LABELS)) and all(
            image.grid.dimension == 3
            and bool(((image.grid.extent_mm >= low) & (image.grid.extent_mm <= high)).all())
            and not looks_like_ct(image.data)
            for image in (fixed, moving)
        )

    def propose(self, rotations: list[Matrix]) -> LinearTransform:
        """The rigid transform, fixed to moving, that brings the structures onto each other.

        Args:
            rotations: (3, 3), guesses of how the moving head is turned against the fixed one; the
                first of which the moving image is labeled well counts.

        Raises:
            InvalidImage: one of the images is not labeled well, in no orientation.
            WeightsUnavailable, OutOfMemory, ...: as `label_brain`.
        """
        if self._centers is None:
            box = self._label(self.fixed, "fixed image", None, stage(self.progress, 0.0, 0.5))
            self._centers = centers_of(box)
        for last, rotation in _with_last(rotations):
            try:
                part = stage(self.progress, 0.5, 1.0)
                box = self._label(self.moving, "moving image", self._oriented_grid(rotation), part)
                return rigid_transform(self._centers, centers_of(box))
            except InvalidImage:
                if last:
                    raise
        raise InvalidImage("a start from labels needs an orientation to begin with")

    def _label(self, image: Image, role: str, like: Grid | None, progress: Progress) -> LabeledBox:
        how: dict[str, Any] = {"cache": self.cache, "device": self.device, "progress": progress}
        box, _ = label_head(image, label_card(LABELS), role=role, like=like, **how)
        return box

    def _oriented_grid(self, rotation: Matrix) -> Grid:
        """The grid in which the moving head is oriented as the fixed one is in its own."""
        card = label_card(LABELS)
        grid = conformed_grid(self.fixed, card)
        axes = rotation @ np.reshape(grid.direction, (3, 3))
        return Grid(grid.size, grid.spacing, grid.origin, tuple(axes.ravel()))


def _with_last(items: list[Matrix]) -> Iterator[tuple[bool, Matrix]]:
    for n, item in enumerate(items):
        yield n == len(items) - 1, item


def centers_of(box: LabeledBox) -> dict[int, Matrix]:
    """LPS mm of the center of each structure, left and right apart, by label.

    Args:
        box: labels at 1 mm, the first axis leading to the left.
    """
    labels, structures = divide(box, structures_by_value(label_card(LABELS)))
    return {
        value: box.grid.points_at(_center(labels == value))
        for value in structures
        if np.count_nonzero(labels == value) >= _FEWEST_VOXELS
    }


def _center(inside: NDArray[np.bool_]) -> Matrix:
    """Mean index, x y z."""
    mean: Matrix = np.argwhere(inside).mean(0)[::-1]
    return mean


def rigid_transform(fixed: dict[int, Matrix], moving: dict[int, Matrix]) -> LinearTransform:
    """The rotation and shift, fixed to moving, with the least squared distance of common points.

    Args:
        fixed, moving: LPS mm by label.

    Raises:
        InvalidImage: too few points have a partner, or they lie differently.
    """
    common = sorted(fixed.keys() & moving.keys())
    if len(common) < _FEWEST_POINTS:
        raise InvalidImage(
            "the labels of both images have too little in common for a start",
            got=f"{len(common)} structures",
            wanted=f"at least {_FEWEST_POINTS}",
        )
    one, two = (np.array([points[key] for key in common]) for points in (fixed, moving))
    transform = LinearTransform.fit_rigid(one, two)
    residual = float(np.linalg.norm(transform(one) - two, axis=1).mean())
    if residual > _MOST_RESIDUAL_MM:
        raise InvalidImage(
            "the structures of both images lie differently",
            got=f"{residual:.0f} mm on average after a rigid alignment",
            wanted=f"at most {_MOST_RESIDUAL_MM:g} mm",
            remedy="Check that the orientations in both files are right, and neither is mirrored.",
        )
    return transform


def label_proposal(
    inputs: Inputs, options: RegistrationOptions, progress: Progress
) -> Callable[[list[Matrix]], LinearTransform | None] | None:
    """What gives a start from the structures of two heads; None where that does not suit.

    In "auto", images that turn out to be no T1-weighted heads, or for which the memory does not
    suffice, are left to the search, with a note.

    Args:
        inputs: both images; their notes get a sentence where there is no such start.
        options: of the registration.
        progress: called after each layer.
    """
    if options.start == "search":
        return None
    heads = LabelStart(inputs.fixed, inputs.moving, options.device, progress)
    if options.start == "labels":
        return heads.propose
    if not LabelStart.suits(inputs.fixed, inputs.moving):
        return None

    def propose(rotations: list[Matrix]) -> LinearTransform | None:
        try:
            return heads.propose(rotations)
        except (InvalidImage, OutOfMemory) as error:
            inputs.notes.append(f"no start from labels, the search decides: {error}")
            return None

    return propose
