"""Landmarks, field and images as lines: what was measured where, and held against which limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralreg.review.case import Case
from neuralreg.review.findings.verdicts import SHOWN, Judge, shown, unmeasured
from neuralreg.review.geometry.consistency import forward_backward
from neuralreg.review.geometry.local_deformation import (
    bending_energy,
    harmonic_energy,
    statistics,
    without_border,
)
from neuralreg.review.geometry.volumes import on_grid, spacing_in_words
from neuralreg.review.measures.intensity_similarity import correlation, mutual_information
from neuralreg.review.measures.segment_overlap import boxes_of
from neuralreg.review.report_model import JacobianStatistics, LandmarkErrors, Line

Array = NDArray[Any]

_FEWEST = 10  # voxels that a segment needs for statistics


def landmark_lines(judge: Judge, errors: LandmarkErrors | None) -> list[Line]:
    """The target registration error."""
    title = "Landmark error (TRE)"
    if errors is None:
        return [unmeasured("tre_mean", title, "landmarks", "no pairs of landmarks were given")]
    after, before = errors.summary("after"), errors.summary("before")
    voxels = errors.summary("voxels")
    lines = []
    for statistic, word in (("mean", "mean"), ("maximum", "largest")):
        value = getattr(after, statistic)
        told = f"{word} landmark error {value:.2f} mm, {getattr(voxels, statistic):.2f} voxels"
        lines.append(
            judge.line(
                "tre",
                statistic,
                value,
                f"{title}, {word}",
                unit="mm",
                where="the landmarks",
                count=after.count,
                counted="points",
                group="landmarks",
                before=getattr(before, statistic),
                told=told,
            )
        )
    return lines


def jacobian_statistics(case: Case) -> tuple[JacobianStatistics, ...]:
    """The whole image, the mask or body, and each segment of the fixed side."""
    inner = without_border(case.grid)
    found = [statistics(case.determinant, case.grid, inner, "the whole image")]
    if case.region != "the whole image" and case.inside.any():
        found.append(statistics(case.determinant, case.grid, case.inside, case.region))
    if case.fixed_labels is not None:
        labels = np.where(inner, on_grid(case.fixed_labels, case.grid, labels=True), 0)
        for label, box in boxes_of(labels).items():
            chosen = labels[box] == label
            if chosen.sum() >= _FEWEST:
                name = case.names.get(label, f"label {label}")
                found.append(statistics(case.determinant[box], case.grid, chosen, name))
    return tuple(found)


def jacobian_lines(judge: Judge, case: Case, regions: tuple[JacobianStatistics, ...]) -> list[Line]:
    """Folding where it counts and per structure, and how far volume changes."""
    main = next((one for one in regions if one.region == case.region), regions[0])
    told = f"{main.folding_percent:.3g} % of {main.region} ({main.folding_ml:.3g} ml) folded"
    if main is not regions[0]:
        told += f", {regions[0].folding_percent:.3g} % of the whole image"
    lines = [_folding(judge, case, main, told)]
    segments = [one for one in regions if one.region not in (case.region, regions[0].region)]
    folded = [one for one in segments if one.folding_percent > 0]
    if folded:
        worst = max(folded, key=lambda one: one.folding_percent)
        told = (
            f"{len(folded)} of {len(segments)} structures fold, most of all {worst.region}: "
            f"{worst.folding_percent:.3g} %"
        )
        line = _folding(judge, case, worst, told)
        lines.append(replace(line, name="folding_segments", title="Folding in structures"))
    for quantity, usual in (("compression", "p1"), ("expansion", "p99")):
        limits = judge.profile.of(quantity)
        statistic = limits[0].statistic if limits else usual
        lines.append(_change(judge, case, main, quantity, statistic))
    spread = "Spread of volume change (SD of log Jacobian)"
    lines.append(
        shown("sd_log_jacobian", spread, main.sd_log, "", main.region, main.count, "jacobian")
    )
    return lines


def _folding(judge: Judge, case: Case, region: JacobianStatistics, told: str) -> Line:
    return judge.line(
        "folding",
        "percent",
        region.folding_percent,
        "Folding (Jacobian <= 0)",
        unit="%",
        where=f"{region.region}, every {spacing_in_words(case.grid)}",
        count=region.count,
        counted="voxels",
        group="jacobian",
        told=told,
    )


def _change(
    judge: Judge, case: Case, region: JacobianStatistics, quantity: str, statistic: str
) -> Line:
    value = float(getattr(region, statistic))
    share = "1 %" if statistic in ("p1", "p99") else "some"
    way = ("shrinks", "less") if quantity == "compression" else ("grows", "more")
    return judge.line(
        quantity,
        statistic,
        value,
        f"Strongest {quantity}",
        unit="times",
        where=f"{region.region}, every {spacing_in_words(case.grid)}",
        count=region.count,
        counted="voxels",
        group="jacobian",
        told=f"{share} of {region.region} {way[0]} to {value:.3g} times its volume or {way[1]}",
    )


def consistency_lines(judge: Judge, case: Case) -> tuple[list[Line], Array | None]:
    """Forward and back again, and the map of it on the coarse grid, in mm.

    Two registrations of their own, one each way, make consistency; an inverse that was computed
    from the transform only tells how exact that computation was.
    """
    title = "Forward-backward error"
    if case.inverse is None:
        return _invertible(case, title)
    inside = case.within(case.coarse)
    error = forward_backward(case.coarse_u, case.coarse, case.inverse)
    values = error[inside]
    if case.own_inverse:
        return _inverse_accuracy(case, title, values), error
    lines = [
        judge.line(
            "consistency",
            statistic,
            value,
            f"{title}, {word}",
            unit="mm",
            where=f"{case.region}, every {spacing_in_words(case.coarse)}",
            count=len(values),
            counted="voxels",
            group="consistency",
            told=f"{word} forward-backward error {value:.2g} mm",
        )
        for statistic, word, value in (
            ("mean", "mean", float(values.mean())),
            ("p99", "99 %", float(np.percentile(values, 99))),
        )
    ]
    largest = float(values.max())
    words = (
        f"largest forward-backward error {largest:.2g} mm; small by construction where one "
        "direction was computed from the other: it shows stability, not accuracy"
    )
    line = shown(
        "consistency_maximum",
        f"{title}, largest",
        largest,
        "mm",
        case.region,
        len(values),
        "consistency",
        words=words,
    )
    return [*lines, line], error


def _inverse_accuracy(case: Case, title: str, values: Array) -> list[Line]:
    why = "the inverse was computed from this transform; register the other way to measure it"
    lines = [unmeasured("consistency_mean", title, "consistency", why)]
    for name, word, value in (
        ("inverse_mean", "mean", float(values.mean())),
        ("inverse_maximum", "largest", float(values.max())),
    ):
        words = f"its own inverse is off by {value:.2g} mm ({word}): exactness, not consistency"
        heading, count = f"Accuracy of the inverse, {word}", len(values)
        line = shown(name, heading, value, "mm", case.region, count, "consistency", words=words)
        lines.append(line)
    return lines


def _invertible(case: Case, title: str) -> tuple[list[Line], Array | None]:
    """Without an inverse: whether there can be one."""
    why = "no registration of the other direction was given"
    lines = [unmeasured("consistency_mean", title, "consistency", why)]
    if case.quick:
        return lines, None
    inside = case.within(case.coarse)
    left = case.made_inverse[1]
    worst = float(left[inside].max())
    well = worst < min(case.coarse.spacing)
    verdict = "can be inverted" if well else "cannot be inverted everywhere, or stretches strongly"
    words = f"{verdict}: the inverse made for this review is up to {worst:.2g} mm off"
    count = int(inside.sum())
    lines.append(
        shown(
            "invertibility",
            "Can be inverted",
            worst,
            "mm",
            case.region,
            count,
            "consistency",
            words=words,
        )
    )
    return lines, left


def deformation_lines(case: Case) -> list[Line]:
    """How far and how roughly things move: shown, never held against a limit."""
    length = np.linalg.norm(case.coarse_u, axis=-1)
    inside = case.within(case.coarse)
    chosen = length[inside]
    found = [
        ("displacement_mean", "Displacement, mean", float(chosen.mean()), "mm"),
        ("displacement_maximum", "Displacement, largest", float(chosen.max()), "mm"),
    ]
    if not case.quick:
        bending = bending_energy(case.coarse_u, case.coarse, inside)
        harmonic = harmonic_energy(case.coarse_u, case.coarse, inside)
        found.append(("bending_energy", "Bending energy", bending, "1/mm2"))
        found.append(("harmonic_energy", "Harmonic energy", harmonic, ""))
    return [shown(*one, case.region, len(chosen), "deformation") for one in found]


def agreement_lines(case: Case) -> list[Line]:
    """Similarity of the images, before and after: no proof of accuracy."""
    if case.fixed is None or case.moving is None:
        why, title = "both images are needed", "Similarity of the images"
        return [unmeasured("similarity_nmi", title, "agreement", why, SHOWN)]
    fixed, moving, warped, seen = case.images_on(case.coarse, case.coarse_u)
    counts = case.within(case.coarse) & seen
    lines = []
    for name, title, measure in (
        ("similarity_nmi", "Normalized mutual information", mutual_information),
        ("similarity_ncc", "Correlation", correlation),
    ):
        before, after = (measure(fixed[counts], part[counts]) for part in (moving, warped))
        if after is None or before is None:
            why = "too little is in both images"
            lines.append(unmeasured(name, title, "agreement", why, SHOWN))
            continue
        count = int(counts.sum())
        lines.append(shown(name, title, after, "", case.region, count, "agreement", before=before))
    return lines
