"""Whether two images are what a model was made for, and which model suits them best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuralreg.measures.modality import looks_like_ct
from neuralreg.zoo.card import ModelCard

if TYPE_CHECKING:
    from neuralreg.geometry.image import Image

# A human brain without skull: most of its image is one background value, the rest is as large as
# brains with their fluid are, and neither flat nor long.
_BACKGROUND_SHARE = 0.25
_BRAIN_LITERS = (0.6, 2.3)
_BRAIN_EXTENT_MM = (95.0, 215.0)
_MM3_PER_LITER = 1e6
_COARSE = 2.0  # times the spacing that a network was trained with
_CUT_SHARE = 0.02  # of the object that may lie in the outermost slices


@dataclass(frozen=True)
class Content:
    """What an image shows, as far as its voxels tell.

    ct: has the values of a CT. background_share: of voxels that have the lowest value.
    liters, extent_mm: size of the rest, z y x. cut: the rest goes on beyond the image's border.
    """

    dimension: int
    ct: bool
    background_share: float
    liters: float
    extent_mm: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    cut: bool

    @classmethod
    def of(cls, image: Image, mask: Image | None = None) -> Content:
        """mask: on the image's grid; what it leaves out counts as background."""
        values = image.data[0].float()
        shown = values > values.min()
        if mask is not None:
            shown = shown & (mask.data[0] > 0)
        return cls.of_shown(shown.cpu().numpy(), image.grid.spacing, looks_like_ct(image.data[0]))

    @classmethod
    def of_shown(
        cls, shown: NDArray[np.bool_], spacing_mm: Sequence[float], ct: bool, thinned: int = 1
    ) -> Content:
        """Needs no torch. shown: (z, y, x), where the image shows something. spacing_mm: x y z.

        thinned: only every so manieth voxel of the image is given, along each axis.
        """
        d = shown.ndim
        extent, border = [], 0
        for axis in range(d):
            at = np.flatnonzero(shown.any(axis=tuple(a for a in range(d) if a != axis)))
            step = spacing_mm[d - 1 - axis] * thinned
            extent.append(float((at[-1] - at[0] + 1) * step) if len(at) else 0.0)
            ends = [int(np.count_nonzero(shown.take(end, axis))) for end in (0, -1)]
            border = max([border, *ends])
        count = int(np.count_nonzero(shown))
        return cls(
            d,
            ct,
            1 - count / shown.size,
            count * float(np.prod(spacing_mm)) * thinned**d / _MM3_PER_LITER,
            tuple(extent),
            tuple(spacing_mm),
            border > _CUT_SHARE * count * thinned,
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
        """For people: what made the decision."""
        if self.ct:
            return "the values of a CT"
        extent = " x ".join(f"{e:.0f}" for e in self.extent_mm[::-1])
        size = f"{self.liters:.2g} l, " if self.dimension == 3 else ""
        return f"{size}{extent} mm, {100 * self.background_share:.0f} % background"


def concerns(card: ModelCard, fixed: Content, moving: Content) -> list[str]:
    """Reasons why the images are not what a model was made for, each a sentence; none: suits."""
    found = []
    for role, seen in (("fixed", fixed), ("moving", moving)):
        if seen.dimension not in card.input.dimensions:
            found.append(f"the {role} image is {seen.dimension}D, {card.name} was made for others")
            continue
        if seen.ct and not {"CT", "any"} & set(card.modalities):
            found.append(f"the {role} image looks like a CT, {card.name} was made for MR")
        elif card.input.content == "brain" and not seen.is_brain:
            found.append(
                f"the {role} image does not look like a brain without skull "
                f"({seen.in_words()}), which {card.name} was made for: give a brain mask"
            )
        elif card.input.content == "brain" and seen.cut:
            found.append(f"the {role} image shows only a part of the brain")
        if card.input.spacing_mm and max(seen.spacing_mm) > _COARSE * card.input.spacing_mm:
            found.append(
                f"the {role} image has samples {max(seen.spacing_mm):.3g} mm apart, "
                f"{card.name} was made for {card.input.spacing_mm:g} mm"
            )
    if card.output.kind != "features" and "any" not in card.modalities and fixed.ct != moving.ct:
        found.append(f"the images are of two modalities, {card.name} compares one")
    return found


def candidates(cards: Sequence[ModelCard], fixed: Content, moving: Content) -> list[ModelCard]:
    """The models that suit, the best first; the training-free engine is the last.

    Only models whose card gives an `auto_rank` are taken: those that were measured to be better
    than the training-free engine on what they were made for.
    """
    ranked = sorted((c for c in cards if c.auto_rank is not None), key=lambda c: c.auto_rank or 0)
    return [card for card in ranked if not concerns(card, fixed, moving)]
