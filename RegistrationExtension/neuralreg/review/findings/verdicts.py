"""Measurements, and the findings that come of holding them against the limits of a profile."""

from __future__ import annotations

from dataclasses import dataclass

from neuralreg.review.limits import QUANTITIES, Limit, Profile
from neuralreg.review.report_model import Finding, Group, Verdict

SHOWN = "no tolerance exists: shown only"
_PHRASES: dict[Verdict, str] = {
    "pass": "within the limit",
    "attention": "needs a look",
    "fail": "beyond the limit",
    "shown": "no limit is set",
}


@dataclass(frozen=True)
class Region:
    """Where something was measured.

    Attributes:
        name: What the region is called.
        count: On how many points, voxels or segments.
        counted: Which of them: "points", "voxels" or "segments".
    """

    name: str
    count: int
    counted: str = "voxels"


@dataclass(frozen=True)
class Measurement:
    """A number before it is held against anything.

    Attributes:
        name: For programs; see `Finding`.
        title: For people.
        group: The part of the report that it belongs to.
        value: The number.
        unit: Of the number; "" for none.
        region: Where it was measured.
        before: The same number without the deformation, where that makes sense.
    """

    name: str
    title: str
    group: Group
    value: float
    unit: str
    region: Region
    before: float | None = None

    def show(self, words: str = "") -> Finding:
        """The finding of a number without a tolerance.

        Args:
            words: The sentence; title and value unless given.
        """
        return self._finding("shown", SHOWN, words or self._title_and_value() + self._change())

    def suspect(self, alarm: bool, words: str, source: str, limit: float | None = None) -> Finding:
        """The finding of a detector: it asks for a look, and never passes or fails."""
        return self._finding("attention" if alarm else "shown", source, words, limit)

    def judge(
        self, verdict: Verdict, limit: Limit | None, bound: float | None, opening: str = ""
    ) -> Finding:
        """The finding of a number that has a tolerance.

        Args:
            verdict: On the number.
            limit: What decided it; None where the profile has none.
            bound: The number that the limit stands for.
            opening: Begins the sentence; title and value unless given.
        """
        words = f"{opening or self._title_and_value()}{self._change()}: {_PHRASES[verdict]}"
        if limit is not None and bound is not None:
            most = QUANTITIES[limit.quantity][1]
            words += f" (at {most} {format_number(bound, self.unit)})"
        return self._finding(verdict, limit.source if limit else SHOWN, words, bound)

    def _title_and_value(self) -> str:
        return f"{self.title} {format_number(self.value, self.unit)}"

    def _change(self) -> str:
        if self.before is None:
            return ""
        return f" ({format_number(self.before, self.unit)} before)"

    def _finding(
        self, verdict: Verdict, source: str, words: str, limit: float | None = None
    ) -> Finding:
        return Finding(
            name=self.name,
            title=self.title,
            value=self.value,
            unit=self.unit,
            where=self.region.name,
            count=self.region.count,
            counted=self.region.counted,
            verdict=verdict,
            source=source,
            words=words,
            group=self.group,
            before=self.before,
            limit=limit,
        )


@dataclass(frozen=True)
class Judge:
    """Holds measurements against limits.

    Attributes:
        profile: The limits.
        voxel_mm: The largest voxel dimension of the fixed image, which some limits stand for.
    """

    profile: Profile
    voxel_mm: float

    def verdict(
        self, quantity: str, statistic: str, value: float
    ) -> tuple[Verdict, Limit | None, float | None]:
        """The verdict on a value, with the limit that it missed, else the first one."""
        limits = self.profile.of(quantity, statistic)
        if not limits:
            return "shown", None, None
        for limit in limits:
            bound = self.profile.bound(limit, self.voxel_mm)
            if limit.is_missed(value, bound):
                return limit.otherwise, limit, bound
        return "pass", limits[0], self.profile.bound(limits[0], self.voxel_mm)

    def bound(self, quantity: str, otherwise: float) -> float:
        """The first bound of a quantity, or a number to use where the profile has none."""
        limits = self.profile.of(quantity)
        return self.profile.bound(limits[0], self.voxel_mm) if limits else otherwise

    def judge(
        self, measurement: Measurement, quantity: str, statistic: str, opening: str = ""
    ) -> Finding:
        """The finding of a measurement that has a tolerance.

        Args:
            measurement: What was measured.
            quantity: One of `QUANTITIES`.
            statistic: One of the quantity's statistics.
            opening: Begins the sentence; title and value unless given.
        """
        return measurement.judge(*self.verdict(quantity, statistic, measurement.value), opening)


def not_measured(name: str, title: str, group: Group, why: str, source: str = "") -> Finding:
    """A finding that says what could not be measured, and why."""
    return Finding(
        name=name,
        title=title,
        value=None,
        unit="",
        where="nowhere",
        count=0,
        counted="",
        verdict="not measured",
        source=source,
        words=f"not measured: {why}",
        group=group,
    )


def format_number(value: float, unit: str) -> str:
    """A number for people: 2.35 mm, 0.87, 0.0031 %."""
    return f"{value:.3g}{' ' if unit else ''}{unit}"
