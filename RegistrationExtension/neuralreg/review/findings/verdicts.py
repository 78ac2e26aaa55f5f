"""A number held against the limits of a profile, put in words."""

from __future__ import annotations

from dataclasses import dataclass

from neuralreg.review.limits import QUANTITIES, Limit, Profile
from neuralreg.review.report_model import Group, Line, Verdict

SHOWN = "no tolerance exists: shown only"


@dataclass(frozen=True)
class Judge:
    """The limits, and the largest voxel dimension of the fixed image that some stand for."""

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
            if limit.missed(value, bound):
                return limit.otherwise, limit, bound
        return "pass", limits[0], self.profile.bound(limits[0], self.voxel_mm)

    def bound(self, quantity: str, otherwise: float) -> float:
        """The first bound of a quantity, or a number to use where the profile has none."""
        limits = self.profile.of(quantity)
        return self.profile.bound(limits[0], self.voxel_mm) if limits else otherwise

    def line(
        self,
        quantity: str,
        statistic: str,
        value: float,
        title: str,
        *,
        unit: str,
        where: str,
        count: int,
        counted: str,
        group: Group,
        before: float | None = None,
        told: str = "",
    ) -> Line:
        """A line about a quantity that has a tolerance."""
        verdict, limit, bound = self.verdict(quantity, statistic, value)
        most = QUANTITIES[quantity][1]
        allowed = "" if bound is None else f"at {most} {written(bound, unit)} is asked for"
        opening = told or f"{title} {written(value, unit)}"
        was = "" if before is None else f" ({written(before, unit)} before)"
        words = f"{opening}{was}: {_PHRASE[verdict]}" + (f", {allowed}" if allowed else "")
        return Line(
            name=f"{quantity}_{statistic}",
            title=title,
            value=value,
            unit=unit,
            where=where,
            count=count,
            counted=counted,
            verdict=verdict,
            source=limit.source if limit else SHOWN,
            words=words,
            group=group,
            before=before,
            limit=bound,
        )


_PHRASE = {
    "pass": "within the limit",
    "attention": "look at it",
    "fail": "beyond the limit",
    "shown": "no limit is set",
}


def shown(
    name: str,
    title: str,
    value: float,
    unit: str,
    where: str,
    count: int,
    group: Group,
    *,
    counted: str = "voxels",
    before: float | None = None,
    words: str = "",
) -> Line:
    """A line about a number that no limit exists for."""
    was = "" if before is None else f" ({written(before, unit)} before)"
    text = words or f"{title} {written(value, unit)}{was}"
    return Line(
        name, title, value, unit, where, count, counted, "shown", SHOWN, text, group, before
    )


def unmeasured(name: str, title: str, group: Group, why: str, source: str = "") -> Line:
    """A line that says what could not be measured, and why."""
    return Line(
        name,
        title,
        None,
        "",
        "nowhere",
        0,
        "",
        "not measured",
        source,
        f"not measured: {why}",
        group,
    )


def written(value: float, unit: str) -> str:
    """A number for people: 2.35 mm, 0.87, 0.0031 %."""
    return f"{value:.3g}{' ' if unit else ''}{unit}"
