"""One correction by hand, as records keep it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuralreg.errors import InvalidOption
from neuralreg.registration.guides.landmark_guide import LandmarkGuide, count_of, list_names

BY_HAND = "the result was corrected by hand"


@dataclass(frozen=True)
class Correction:
    """Points of the fixed image, where they belong in the moving one, and how far that reaches.

    Attributes:
        landmarks: the pairs; their weight does not count, they are met.
        radius_mm: within which the neighborhood moves along; beyond twice of it nothing changes.
        by: who made it.
        time: when, ISO 8601.

    Raises:
        InvalidOption: for a radius that is not positive.
    """

    landmarks: LandmarkGuide
    radius_mm: float
    by: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.radius_mm) and self.radius_mm > 0):
            raise InvalidOption(
                "the radius of a correction is a number", got=f"{self.radius_mm}", wanted="> 0 mm"
            )

    def as_record(self) -> dict[str, Any]:
        """Plain values by name, ready for JSON."""
        landmarks = self.landmarks.as_record()
        return {
            "names": list(landmarks["names"]),
            "fixed": list(landmarks["fixed"]),
            "moving": list(landmarks["moving"]),
            "radius_mm": self.radius_mm,
            "by": self.by,
            "time": self.time,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Correction:
        """The correction that a record holds.

        Raises:
            InvalidOption: for a record of something else.
        """
        try:
            points = LandmarkGuide(record["fixed"], record["moving"], tuple(record["names"]))
            return cls(points, float(record["radius_mm"]), record["by"], record["time"])
        except (KeyError, TypeError) as error:
            raise InvalidOption("this is no record of a correction", got=str(error)) from error


def in_words(corrections: Sequence[Correction]) -> str:
    """What was corrected by hand, and by whom, for a reader."""
    names = [name for each in corrections for name in each.landmarks.names]
    people = sorted({each.by for each in corrections if each.by})
    by = f" by {', '.join(people)}" if people else ""
    where = f"{count_of(len(names), 'point')}: {list_names(names)}"
    return f"{BY_HAND}{by} at {where}; these prove nothing about it"
