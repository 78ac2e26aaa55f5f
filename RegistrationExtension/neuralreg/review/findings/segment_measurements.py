"""Overlap and surface distances as lines, each by its worst structure."""

from __future__ import annotations

import numpy as np

from neuralreg.review.findings.verdicts import Judge, shown, unmeasured, written
from neuralreg.review.report_model import Agreement, Line, SegmentOverlap

_NAMED = 4  # segments that a sentence lists


def segment_lines(judge: Judge, overlaps: tuple[SegmentOverlap, ...], given: bool) -> list[Line]:
    """The lines about segmentations. given: whether there are any on both sides."""
    measured = {one.name: one for one in overlaps if one.after is not None}
    lines = []
    if measured:
        lines += [_dice(judge, measured), *_surfaces(judge, measured)]
    else:
        why = "segmentations of both images are needed"
        why = "the segmentations share no structure" if given else why
        for name, title in (("dice_value", "Overlap (Dice)"), ("surface_distance_mean", "Surface")):
            lines.append(unmeasured(name, title, "segments", why))
    lost = [f"{one.name} ({one.status})" for one in overlaps if one.status != "measured"]
    return lines + ([_lost(lost, len(overlaps))] if lost else [])


def _dice(judge: Judge, measured: dict[str, SegmentOverlap]) -> Line:
    values = _column(measured, "dice")
    return _worst(judge, measured, values, "dice", "value", "Overlap (Dice)", "")


def _surfaces(judge: Judge, measured: dict[str, SegmentOverlap]) -> list[Line]:
    means, hd95s = _column(measured, "mean_mm"), _column(measured, "hd95_mm")
    if not means:
        why = "no structure is left on both sides, or the quick look leaves it out"
        return [unmeasured("surface_distance_mean", "Mean surface distance", "segments", why)]
    title = "Mean surface distance"
    name = max(hd95s, key=hd95s.__getitem__)
    before = measured[name].before
    hd95 = shown(
        "hd95",
        "95 % surface distance (HD95), worst structure",
        hd95s[name],
        "mm",
        name,
        len(hd95s),
        "segments",
        counted="segments",
        before=before.hd95_mm if before else None,
    )
    return [_worst(judge, measured, means, "surface_distance", "mean", title, "mm"), hd95]


def _worst(
    judge: Judge,
    measured: dict[str, SegmentOverlap],
    values: dict[str, float],
    quantity: str,
    statistic: str,
    title: str,
    unit: str,
) -> Line:
    order = sorted(values, key=values.__getitem__, reverse=bool(unit))
    worst = order[0]
    serious = ("fail", "attention")
    bad = [n for n in order if judge.verdict(quantity, statistic, values[n])[0] in serious]
    mean = float(np.mean(list(values.values())))
    told = f"{title} {written(values[worst], unit)} at worst ({worst}), {mean:.3g} on average"
    if bad:
        examples = listed([f"{n} {written(values[n], unit)}" for n in bad])
        told += f"; {len(bad)} of {len(values)} structures miss a limit: {examples}"
    before = measured[worst].before
    attribute = "mean_mm" if unit else "dice"
    return judge.line(
        quantity,
        statistic,
        values[worst],
        f"{title}, worst structure",
        unit=unit,
        where=worst,
        count=len(values),
        counted="segments",
        group="segments",
        before=getattr(before, attribute) if before else None,
        told=told,
    )


def _column(measured: dict[str, SegmentOverlap], attribute: str) -> dict[str, float]:
    """One number of each structure that has it, with the transform."""

    def of(agreement: Agreement | None) -> float | None:
        return getattr(agreement, attribute) if agreement else None

    found = {name: of(one.after) for name, one in measured.items()}
    return {name: value for name, value in found.items() if value is not None}


def _lost(lost: list[str], of: int) -> Line:
    return Line(
        name="segments_missing",
        title="Structures on one side only",
        value=float(len(lost)),
        unit="",
        where="the segmentations",
        count=of,
        counted="segments",
        verdict="attention",
        source="a structure without a partner cannot be judged",
        words=f"could not be compared: {listed(lost)}",
        group="segments",
    )


def listed(names: list[str]) -> str:
    """A few of many names."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
