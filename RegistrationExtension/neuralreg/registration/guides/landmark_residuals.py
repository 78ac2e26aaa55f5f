"""How far landmarks that steer are apart, before and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.linear import LinearTransform
from neuralreg.registration.guides.landmark_checks import sides
from neuralreg.registration.guides.landmark_guide import LandmarkGuide, Point, count_of, list_names

_ROUNDING_MM = 0.1  # by which a change of their mean distance counts as one


def landmark_residuals(
    guide: LandmarkGuide | None,
    initial: LinearTransform | DisplacementField,
    field: DisplacementField,
) -> LandmarkResiduals | None:
    """The residuals of a chain and of its initial transform; None without landmarks."""
    return None if guide is None else LandmarkResiduals.of(guide, initial, field)


@dataclass(frozen=True)
class LandmarkResiduals:
    """How far each fixed landmark is from its partner, in mm.

    Attributes:
        names: of the pairs.
        fixed: the points in the fixed image, LPS mm.
        initial_mm: as the images came.
        linear_mm: after what came before the deformation.
        final_mm: after the whole chain.
        tolerance_mm: how exactly they were said to be placed.
    """

    names: tuple[str, ...]
    fixed: tuple[Point, ...]
    initial_mm: tuple[float, ...]
    linear_mm: tuple[float, ...]
    final_mm: tuple[float, ...]
    tolerance_mm: float

    @classmethod
    def of(
        cls,
        guide: LandmarkGuide,
        initial: LinearTransform | DisplacementField,
        field: DisplacementField,
    ) -> LandmarkResiduals:
        """The residuals of a chain and of its initial transform."""
        d = field.grid.dimension
        points, partners = sides(guide, d)
        lengths = [
            tuple(np.linalg.norm(moved - partners, axis=1).tolist())
            for moved in (points, initial(points), field(points))
        ]
        return cls(guide.names, guide.fixed, lengths[0], lengths[1], lengths[2], guide.tolerance_mm)

    @property
    def is_gain(self) -> bool:
        """Whether the deformation brings pairs together that were beyond their tolerance."""
        return self._gain_mm() > _ROUNDING_MM

    def failure(self) -> str | None:
        """What the pairs have against the deformation, in words; None for nothing."""
        if self._gain_mm() >= -_ROUNDING_MM:
            return None
        return (
            "the landmarks are farther apart than after the linear alignment: by "
            f"{-self._gain_mm():.3g} mm on average"
        )

    def _gain_mm(self) -> float:
        before, after = (
            np.clip(np.subtract(lengths, self.tolerance_mm), 0, None).mean()
            for lengths in (self.linear_mm, self.final_mm)
        )
        return float(before - after)

    def as_record(self) -> dict[str, object]:
        """Plain values by name, ready for JSON."""
        return asdict(self)

    def notes(self) -> list[str]:
        """What the pairs say about the result, in words."""
        words = (
            f"{count_of(len(self.names), 'pair')} of landmarks steered the result, no proof of it: "
            f"{np.mean(self.initial_mm):.3g} mm apart on average before, "
            f"{np.mean(self.final_mm):.3g} mm after"
        )
        order = np.argsort(self.final_mm)[::-1].tolist()
        late = [
            f"{self.names[n]} ({self.final_mm[n]:.3g} mm)"
            for n in order
            if self.final_mm[n] > self.tolerance_mm
        ]
        if not late:
            return [words]
        return [
            words,
            f"landmarks farther from their partners than the tolerance of {self.tolerance_mm:g} "
            f"mm: {list_names(late)}; check where they were placed",
        ]
