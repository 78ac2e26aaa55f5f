"""Overlap and surface distances as findings, each by its worst structure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neuralreg.review.findings.verdicts import (
    Judge,
    Measurement,
    Region,
    format_number,
    not_measured,
)
from neuralreg.review.report_model import Agreement, Finding, SegmentOverlap

Column = Callable[[Agreement], float | None]

_NAMED = 4  # segments that a sentence lists
_ALONE = "a structure without a partner cannot be judged"


def segment_findings(
    judge: Judge, overlaps: tuple[SegmentOverlap, ...], both_given: bool
) -> list[Finding]:
    """The findings about segmentations.

    Args:
        judge: Holds them against the limits.
        overlaps: One entry per structure.
        both_given: Whether there are segmentations on both sides.
    """
    measured = {one.name: one for one in overlaps if one.after is not None}
    findings = []
    if measured:
        findings += [_dice(judge, measured), *_surfaces(judge, measured)]
    else:
        why = (
            "the segmentations share no structure"
            if both_given
            else "segmentations of both images are needed"
        )
        for name, title in (("dice_value", "Overlap (Dice)"), ("surface_distance_mean", "Surface")):
            findings.append(not_measured(name, title, "segments", why))
    alone = [f"{one.name} ({one.status})" for one in overlaps if one.status != "measured"]
    return findings + ([_one_sided(alone, len(overlaps))] if alone else [])


def _dice(judge: Judge, measured: dict[str, SegmentOverlap]) -> Finding:
    values = _column(measured, lambda agreement: agreement.dice)
    order = sorted(values, key=values.__getitem__)
    before = measured[order[0]].before
    measurement = Measurement(
        "dice_value",
        "Overlap (Dice), worst structure",
        "segments",
        values[order[0]],
        "",
        Region(order[0], len(values), "segments"),
        before.dice if before else None,
    )
    opening = _opening(judge, values, order, "dice", "value", "Overlap (Dice)", "")
    return judge.judge(measurement, "dice", "value", opening)


def _surfaces(judge: Judge, measured: dict[str, SegmentOverlap]) -> list[Finding]:
    title = "Mean surface distance"
    means = _column(measured, lambda agreement: agreement.mean_mm)
    if not means:
        why = "no structure is left on both sides, or the quick look leaves it out"
        return [not_measured("surface_distance_mean", title, "segments", why)]
    order = sorted(means, key=means.__getitem__, reverse=True)
    before = measured[order[0]].before
    measurement = Measurement(
        "surface_distance_mean",
        f"{title}, worst structure",
        "segments",
        means[order[0]],
        "mm",
        Region(order[0], len(means), "segments"),
        before.mean_mm if before else None,
    )
    opening = _opening(judge, means, order, "surface_distance", "mean", title, "mm")
    return [judge.judge(measurement, "surface_distance", "mean", opening), _hd95(measured)]


def _hd95(measured: dict[str, SegmentOverlap]) -> Finding:
    values = _column(measured, lambda agreement: agreement.hd95_mm)
    worst = max(values, key=values.__getitem__)
    before = measured[worst].before
    return Measurement(
        "hd95",
        "95 % surface distance (HD95), worst structure",
        "segments",
        values[worst],
        "mm",
        Region(worst, len(values), "segments"),
        before.hd95_mm if before else None,
    ).show()


def _opening(
    judge: Judge,
    values: dict[str, float],
    order: list[str],
    quantity: str,
    statistic: str,
    title: str,
    unit: str,
) -> str:
    """The worst structure, the average, and which structures miss a limit. order: worst first."""
    serious = ("fail", "attention")
    bad = [n for n in order if judge.verdict(quantity, statistic, values[n])[0] in serious]
    mean = float(np.mean(list(values.values())))
    worst = format_number(values[order[0]], unit)
    opening = f"{title} {worst} at worst ({order[0]}), {mean:.3g} on average"
    if bad:
        examples = join_names([f"{n} {format_number(values[n], unit)}" for n in bad])
        opening += f"; {len(bad)} of {len(values)} structures miss a limit: {examples}"
    return opening


def _column(measured: dict[str, SegmentOverlap], column: Column) -> dict[str, float]:
    """One number of each structure that has it, with the transform."""
    values = {name: column(one.after) for name, one in measured.items() if one.after is not None}
    return {name: value for name, value in values.items() if value is not None}


def _one_sided(names: list[str], structures: int) -> Finding:
    region = Region("the segmentations", structures, "segments")
    measurement = Measurement(
        "segments_missing",
        "Structures on one side only",
        "segments",
        float(len(names)),
        "",
        region,
    )
    return measurement.suspect(True, f"could not be compared: {join_names(names)}", _ALONE)


def join_names(names: list[str]) -> str:
    """A few of many names."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
