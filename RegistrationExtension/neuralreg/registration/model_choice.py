"""What speaks against a pair of images or a model for it, and which model suits best.

Needs no torch: a panel asks the same before a registration as the engine does in it. Reasons are
typed; their English is made at the border, by `in_words`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuralreg.measures.modality import looks_like_ct

if TYPE_CHECKING:
    from neuralreg.geometry.grid import Grid
    from neuralreg.geometry.image import Image
    from neuralreg.zoo.card import ModelCard

SEARCH = "convex"  # the training-free engine
Role = Literal["fixed", "moving"]

# A human brain without skull: most of its image is one background value, the rest is as large as
# brains with their fluid are, and neither flat nor long.
_BACKGROUND_SHARE = 0.25
_BRAIN_LITERS = (0.6, 2.3)
_BRAIN_EXTENT_MM = (95.0, 215.0)
_MM3_PER_LITER = 1e6
_COARSE = 2.0  # times the spacing that a network was trained with
_CUT_SHARE = 0.02  # of the object that may lie in the outermost slices

_HEAD_EXTENT_MM = (100.0, 350.0)  # of what an image of a head shows, along each axis
_LITTLE_OVERLAP = 0.4  # of the smaller image that the other one covers
_TURNED_DEGREES = 20
_THICK = 4  # times the distance of voxels within a slice


@dataclass(frozen=True)
class ImageContent:
    """What an image shows, as far as its voxels tell.

    Attributes:
        dimension: of the image.
        ct: whether it has the values of a CT.
        background_share: of voxels that have the lowest value.
        liters: size of the rest.
        extent_mm: of the rest, z y x.
        spacing_mm: of the image, x y z.
        cut: whether the rest goes on beyond the image's border.
    """

    dimension: int
    ct: bool
    background_share: float
    liters: float
    extent_mm: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    cut: bool

    @classmethod
    def of(cls, image: Image, mask: Image | None = None) -> ImageContent:
        """The content of an image; what a mask on its grid leaves out counts as background."""
        values = image.data[0].float()
        foreground = values > values.min()
        if mask is not None:
            foreground = foreground & (mask.data[0] > 0)
        ct = looks_like_ct(image.data[0])
        return cls.of_foreground(foreground.cpu().numpy(), image.grid.spacing, ct)

    @classmethod
    def of_foreground(
        cls, foreground: NDArray[np.bool_], spacing_mm: Sequence[float], ct: bool, step: int = 1
    ) -> ImageContent:
        """The content of an image by the voxels that show something; needs no torch.

        Args:
            foreground: (z, y, x).
            spacing_mm: of the image, x y z.
            ct: whether the image has the values of a CT.
            step: `foreground` holds every n-th voxel of the image along each axis.
        """
        d = foreground.ndim
        extent, border = [], 0
        for axis in range(d):
            others = tuple(a for a in range(d) if a != axis)
            at = np.flatnonzero(foreground.any(axis=others))
            length = spacing_mm[d - 1 - axis] * step
            extent.append(float((at[-1] - at[0] + 1) * length) if len(at) else 0.0)
            ends = [int(np.count_nonzero(foreground.take(end, axis))) for end in (0, -1)]
            border = max([border, *ends])
        count = int(np.count_nonzero(foreground))
        return cls(
            d,
            ct,
            1 - count / foreground.size,
            count * float(np.prod(spacing_mm)) * step**d / _MM3_PER_LITER,
            tuple(extent),
            tuple(spacing_mm),
            border > _CUT_SHARE * count * step,
        )

    @property
    def is_brain(self) -> bool:
        """Whether it looks like a human brain whose skull was removed."""
        (least, most), (short, long) = _BRAIN_LITERS, _BRAIN_EXTENT_MM
        return (
            self.dimension == 3
            and not self.ct
            and self.background_share >= _BACKGROUND_SHARE
            and least <= self.liters <= most
            and all(short <= e <= long for e in self.extent_mm)
        )

    def in_words(self) -> str:
        """What made the decision, in English."""
        if self.ct:
            return "the values of a CT"
        extent = " x ".join(f"{e:.0f}" for e in self.extent_mm[::-1])
        size = f"{self.liters:.2g} l, " if self.dimension == 3 else ""
        return f"{size}{extent} mm, {100 * self.background_share:.0f} % background"


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the box of a 3D image is in the world; a 2D image has one voxel along some axis.

    Attributes:
        size: voxels along the image's own axes x y z.
        spacing: mm between them.
        axes: (3, 3), the directions of these axes in the world, one column each.
        low, high: corners of the box around the image, along the axes of the world, mm.
    """

    size: NDArray[np.int_]
    spacing: NDArray[np.floating[Any]]
    axes: NDArray[np.floating[Any]]
    low: NDArray[np.floating[Any]]
    high: NDArray[np.floating[Any]]

    @classmethod
    def of(cls, grid: Grid) -> Placement:
        """The placement of a grid, in LPS; one in 2D becomes one slice."""
        d = grid.dimension
        size, spacing, axes = np.ones(3, int), np.ones(3), np.eye(3)
        size[:d], spacing[:d] = grid.size, grid.spacing
        axes[:d, :d] = np.reshape(grid.direction, (d, d))
        low, high = np.full(3, -0.5), np.full(3, 0.5)
        corners = grid.corners()
        low[:d], high[:d] = corners.min(0), corners.max(0)
        return cls(size, spacing, axes, low, high)

    @property
    def dimension(self) -> int:
        """Axes with more than one voxel."""
        return int((self.size > 1).sum())

    @property
    def slice_axis(self) -> int:
        """The axis of the world that the slices are stacked along."""
        return int(np.abs(self.axes[:, int(self.spacing.argmax())]).argmax())

    @property
    def has_thick_slices(self) -> bool:
        """Whether voxels are several times longer in one direction than in another."""
        spacing = self.spacing[self.size > 1]
        return len(spacing) == 3 and bool(spacing.max() > _THICK * spacing.min())


class ConcernKind(Enum):
    """What can speak against registering two images, or against a model for them."""

    DIMENSIONS_DIFFER = "dimensions differ"
    NO_OVERLAP = "no overlap"
    LITTLE_OVERLAP = "little overlap"
    TURNED = "turned"
    THICK_SLICES = "thick slices"
    SLICE_DIRECTIONS = "slice directions"
    TWO_MODALITIES = "two modalities"
    MODEL_DIMENSION = "dimension of the model"
    MODEL_FOR_MR = "a CT, model for MR"
    MODEL_FOR_CT = "no CT, model for CT"
    NO_BRAIN = "no brain without skull"
    PART_OF_A_BRAIN = "part of a brain"
    COARSE_SAMPLES = "coarse samples"
    MODEL_OF_ONE_MODALITY = "two modalities, model for one"


@dataclass(frozen=True)
class Concern:
    """One reason to look twice.

    Attributes:
        kind: what it is about.
        role: the image that it is about; None for both.
        values: numbers and names for a sentence, by kind.
    """

    kind: ConcernKind
    role: Role | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def in_words(self) -> str:
        """The reason in English, without a capital or a full stop."""
        return _SENTENCES[self.kind].format(role=self.role, **self.values)


_SENTENCES = {
    ConcernKind.DIMENSIONS_DIFFER: "the {role} image is one slice, the other one is a volume",
    ConcernKind.NO_OVERLAP: "the images do not overlap",
    ConcernKind.LITTLE_OVERLAP: "the images overlap by {percent} %",
    ConcernKind.TURNED: "the images are turned by {degrees} degrees against each other",
    ConcernKind.THICK_SLICES: "the {role} image has thick slices ({spacing_mm:.1f} mm)",
    ConcernKind.SLICE_DIRECTIONS: "the slices of both images run in different directions",
    ConcernKind.TWO_MODALITIES: "one image looks like a CT, the other does not",
    ConcernKind.MODEL_DIMENSION: "the {role} image is {dimension}D, {model} was made for others",
    ConcernKind.MODEL_FOR_MR: "the {role} image looks like a CT, {model} was made for MR",
    ConcernKind.MODEL_FOR_CT: "the {role} image does not look like a CT, {model} was made for CT",
    ConcernKind.NO_BRAIN: "the {role} image does not look like a brain without skull ({content}), "
    "which {model} was made for: give a brain mask",
    ConcernKind.PART_OF_A_BRAIN: "the {role} image shows only a part of the brain",
    ConcernKind.COARSE_SAMPLES: "the {role} image has samples {spacing_mm:.3g} mm apart, "
    "{model} was made for {trained_mm:g} mm",
    ConcernKind.MODEL_OF_ONE_MODALITY: "the images are of two modalities, {model} compares one",
}


def overlap_share(fixed: Placement, moving: Placement) -> float:
    """The share (0..1) of the smaller box that both boxes have in common."""
    low, high = np.maximum(fixed.low, moving.low), np.minimum(fixed.high, moving.high)
    smaller = min(np.prod(each.high - each.low) for each in (fixed, moving))
    return float(np.prod(np.maximum(high - low, 0)) / smaller)


def turn_degrees(fixed: Placement, moving: Placement) -> float:
    """The angle between two sets of axes; which axis is called first does not count."""
    cosines = np.abs(fixed.axes.T @ moving.axes)
    return float(np.degrees(np.arccos(np.clip(cosines.max(axis=1).min(), 0, 1))))


def placement_concerns(fixed: Placement, moving: Placement) -> list[Concern]:
    """What speaks against registering two images, by where they are in the world."""
    if fixed.dimension != moving.dimension:
        role: Role = "fixed" if fixed.dimension < moving.dimension else "moving"
        return [Concern(ConcernKind.DIMENSIONS_DIFFER, role)]
    concerns = []
    percent = round(100 * overlap_share(fixed, moving))
    if percent == 0:
        concerns.append(Concern(ConcernKind.NO_OVERLAP))
    elif percent < 100 * _LITTLE_OVERLAP:
        concerns.append(Concern(ConcernKind.LITTLE_OVERLAP, values={"percent": percent}))
    degrees = turn_degrees(fixed, moving)
    if degrees > _TURNED_DEGREES:
        concerns.append(Concern(ConcernKind.TURNED, values={"degrees": round(degrees)}))
    thick = [(role, each) for role, each in _by_role(fixed, moving) if each.has_thick_slices]
    for role, each in thick:
        values = {"spacing_mm": float(each.spacing.max())}
        concerns.append(Concern(ConcernKind.THICK_SLICES, role, values))
    if len(thick) == 2 and fixed.slice_axis != moving.slice_axis:
        concerns.append(Concern(ConcernKind.SLICE_DIRECTIONS))
    return concerns


def content_concerns(fixed: ImageContent, moving: ImageContent) -> list[Concern]:
    """What speaks against registering two images, by what they show."""
    return [Concern(ConcernKind.TWO_MODALITIES)] if fixed.ct != moving.ct else []


def model_concerns(card: ModelCard, fixed: ImageContent, moving: ImageContent) -> list[Concern]:
    """Why the images are not what a model was made for; empty when the model suits."""
    concerns = []
    for role, content in _by_role(fixed, moving):
        if content.dimension not in card.input.dimensions:
            values = {"dimension": content.dimension, "model": card.name}
            concerns.append(Concern(ConcernKind.MODEL_DIMENSION, role, values))
            continue
        concerns += _image_concerns(card, role, content)
    single = card.output.kind != "features" and "any" not in card.modalities
    if single and fixed.ct != moving.ct:
        concerns.append(Concern(ConcernKind.MODEL_OF_ONE_MODALITY, values={"model": card.name}))
    return concerns


def _image_concerns(card: ModelCard, role: Role, content: ImageContent) -> list[Concern]:
    concerns = []
    values: dict[str, Any] = {"model": card.name}
    if content.ct and not {"CT", "any"} & set(card.modalities):
        concerns.append(Concern(ConcernKind.MODEL_FOR_MR, role, values))
    elif not content.ct and set(card.modalities) == {"CT"}:
        concerns.append(Concern(ConcernKind.MODEL_FOR_CT, role, values))
    elif card.input.content == "brain" and not content.is_brain:
        values = {**values, "content": content.in_words()}
        concerns.append(Concern(ConcernKind.NO_BRAIN, role, values))
    elif card.input.content == "brain" and content.cut:
        concerns.append(Concern(ConcernKind.PART_OF_A_BRAIN, role))
    trained_mm, spacing_mm = card.input.spacing_mm, max(content.spacing_mm)
    if trained_mm and spacing_mm > _COARSE * trained_mm:
        values = {**values, "spacing_mm": spacing_mm, "trained_mm": trained_mm}
        concerns.append(Concern(ConcernKind.COARSE_SAMPLES, role, values))
    return concerns


def _by_role(fixed: Any, moving: Any) -> tuple[tuple[Role, Any], tuple[Role, Any]]:
    return ("fixed", fixed), ("moving", moving)


class ChoiceReason(StrEnum):
    """Why a model was chosen."""

    NAMED = "named"
    SUITS = "suits"
    PRESET = "preset"  # an anatomy has settings for the training-free engine
    NONE_SUITS = "none suits"


@dataclass(frozen=True)
class ModelChoice:
    """The models to try for a pair, the best first, and why.

    Attributes:
        models: names; the first one whose result passes its own checks is kept.
        reason: why the first one is the first.
    """

    models: tuple[str, ...]
    reason: ChoiceReason

    def in_words(self) -> str:
        """The choice in English."""
        name = self.models[0]
        return {
            ChoiceReason.NAMED: f"{name} was asked for",
            ChoiceReason.SUITS: f"{name}: both images look like brains without skull",
        }.get(self.reason, f"{name}: no network that is available was made for these images")


def choose_model(
    cards: Sequence[ModelCard],
    fixed: ImageContent,
    moving: ImageContent,
    *,
    preset: str = "generic",
    fitting: bool = False,
) -> ModelChoice | None:
    """The automatic choice: networks that suit both images, then the training-free engine.

    Only models whose card gives an `auto_rank` are taken: those that were measured to be better
    than the training-free engine on what they were made for.

    Args:
        cards: models that are available.
        preset: an anatomy but "generic" has settings of its own for the training-free engine.
        fitting: only take networks whose weights can be fitted to a pair.

    Returns:
        None when `fitting` leaves no model.
    """
    ranked = sorted((c for c in cards if c.auto_rank is not None), key=lambda c: c.auto_rank or 0)
    suitable = [card for card in ranked if not model_concerns(card, fixed, moving)]
    names = [card.name for card in suitable if card.fitting is not None or not fitting]
    if preset != "generic":
        names = []
    if fitting:
        return ModelChoice(tuple(names), ChoiceReason.SUITS) if names else None
    if not names:
        generic = preset == "generic"
        return ModelChoice((SEARCH,), ChoiceReason.NONE_SUITS if generic else ChoiceReason.PRESET)
    return ModelChoice((*names, SEARCH), ChoiceReason.SUITS)


def network_without_masks(
    cards: Sequence[ModelCard], fixed: ImageContent, moving: ImageContent
) -> ModelCard | None:
    """The network that the automatic choice would take if two heads had brain masks.

    Args:
        cards: models that are available.

    Returns:
        None where a network suits without masks, where masks are not all that is missing, and for
        what is too small or too large for a head.
    """
    low, high = _HEAD_EXTENT_MM
    if not all(low <= extent <= high for each in (fixed, moving) for extent in each.extent_mm):
        return None
    ranked = sorted((c for c in cards if c.auto_rank is not None), key=lambda c: c.auto_rank or 0)
    concerns = {card.name: model_concerns(card, fixed, moving) for card in ranked}
    if not all(concerns.values()):
        return None
    masked = (
        card
        for card in ranked
        if all(each.kind is ConcernKind.NO_BRAIN for each in concerns[card.name])
    )
    return next(masked, None)
