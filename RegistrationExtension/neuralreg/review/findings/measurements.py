"""Landmarks, field and images as findings: what was measured where, against which limit."""

from __future__ import annotations

import numpy as np

from neuralreg.geometry.typing import Array
from neuralreg.review.case import Case
from neuralreg.review.findings.verdicts import SHOWN, Judge, Measurement, Region, not_measured
from neuralreg.review.geometry.consistency import forward_backward
from neuralreg.review.geometry.local_deformation import (
    bending_energy,
    harmonic_energy,
    statistics,
    without_border,
)
from neuralreg.review.geometry.volumes import format_spacing, on_grid
from neuralreg.review.measures.intensity_similarity import correlation, mutual_information
from neuralreg.review.measures.segment_overlap import boxes_of
from neuralreg.review.report_model import WHOLE_IMAGE, Finding, JacobianStatistics, LandmarkErrors

_FEWEST = 10  # voxels that a segment needs for statistics
_CONSISTENCY = "Forward-backward error"


def landmark_findings(judge: Judge, errors: LandmarkErrors | None) -> list[Finding]:
    """The target registration error."""
    title = "Landmark error (TRE)"
    if errors is None:
        return [not_measured("tre_mean", title, "landmarks", "no pairs of landmarks")]
    after, before = errors.summary("after"), errors.summary("before")
    voxels = errors.summary("voxels")
    region = Region("the landmarks", after.count, "points")
    findings = []
    for statistic, word, value, value_before, in_voxels in (
        ("mean", "mean", after.mean, before.mean, voxels.mean),
        ("maximum", "largest", after.maximum, before.maximum, voxels.maximum),
    ):
        measurement = Measurement(
            f"tre_{statistic}", f"{title}, {word}", "landmarks", value, "mm", region, value_before
        )
        opening = f"{word} landmark error {value:.2f} mm, {in_voxels:.2f} voxels"
        findings.append(judge.judge(measurement, "tre", statistic, opening))
    return findings


def jacobian_statistics(case: Case) -> tuple[JacobianStatistics, ...]:
    """The whole image, the mask or body, and each segment of the fixed side."""
    inner = without_border(case.grid)
    regions = [statistics(case.determinant, case.grid, inner, WHOLE_IMAGE)]
    if case.region != WHOLE_IMAGE and case.inside.any():
        regions.append(statistics(case.determinant, case.grid, case.inside, case.region))
    if case.fixed_labels is not None:
        labels = np.where(inner, on_grid(case.fixed_labels, case.grid, labels=True), 0)
        for label, box in boxes_of(labels).items():
            chosen = labels[box] == label
            if chosen.sum() >= _FEWEST:
                name = case.names.get(label, f"label {label}")
                regions.append(statistics(case.determinant[box], case.grid, chosen, name))
    return tuple(regions)


def jacobian_findings(
    judge: Judge, case: Case, regions: tuple[JacobianStatistics, ...]
) -> list[Finding]:
    """Folding where it counts and per structure, and how far volume changes."""
    main = next((one for one in regions if one.region == case.region), regions[0])
    opening = f"{main.folding_percent:.3g} % of {main.region} ({main.folding_ml:.3g} ml) folded"
    if main is not regions[0]:
        opening += f", {regions[0].folding_percent:.3g} % of the whole image"
    folding = _folding(case, main, "folding_percent", "Folding (Jacobian <= 0)")
    findings = [judge.judge(folding, "folding", "percent", opening)]
    findings += _segment_folding(judge, case, regions)
    findings += [_volume_change(judge, case, main, kind) for kind in ("compression", "expansion")]
    title = "Spread of volume change (SD of log Jacobian)"
    region = Region(main.region, main.count)
    spread = Measurement("sd_log_jacobian", title, "jacobian", main.sd_log, "", region)
    return [*findings, spread.show()]


def _segment_folding(
    judge: Judge, case: Case, regions: tuple[JacobianStatistics, ...]
) -> list[Finding]:
    segments = [one for one in regions if one.region not in (case.region, WHOLE_IMAGE)]
    folded = [one for one in segments if one.folding_percent > 0]
    if not folded:
        return []
    worst = max(folded, key=lambda one: one.folding_percent)
    opening = (
        f"{len(folded)} of {len(segments)} structures fold, most of all {worst.region}: "
        f"{worst.folding_percent:.3g} %"
    )
    measurement = _folding(case, worst, "folding_segments", "Folding in structures")
    return [judge.judge(measurement, "folding", "percent", opening)]


def _folding(case: Case, region: JacobianStatistics, name: str, title: str) -> Measurement:
    where = _region_of(region, case)
    return Measurement(name, title, "jacobian", region.folding_percent, "%", where)


def _region_of(region: JacobianStatistics, case: Case) -> Region:
    return Region(f"{region.region}, every {format_spacing(case.grid)}", region.count)


def _volume_change(judge: Judge, case: Case, region: JacobianStatistics, quantity: str) -> Finding:
    shrinks = quantity == "compression"
    limits = judge.profile.of(quantity)
    statistic = limits[0].statistic if limits else ("p1" if shrinks else "p99")
    value = {
        "p1": region.p1,
        "minimum": region.minimum,
        "p99": region.p99,
        "maximum": region.maximum,
    }[statistic]
    share = "1 %" if statistic in ("p1", "p99") else "some"
    verb, bound = ("shrinks", "less") if shrinks else ("grows", "more")
    opening = f"{share} of {region.region} {verb} to {value:.3g} times its volume or {bound}"
    where = _region_of(region, case)
    title = f"Strongest {quantity}"
    measurement = Measurement(f"{quantity}_{statistic}", title, "jacobian", value, "times", where)
    return judge.judge(measurement, quantity, statistic, opening)


def consistency_findings(judge: Judge, case: Case) -> tuple[list[Finding], Array | None]:
    """Forward and back again, and the map of it on the coarse grid, in mm.

    Two independent registrations, one each way, measure consistency; an inverse that was computed
    from the transform only tells how exact that computation was.
    """
    if case.inverse is None:
        return _invertibility(case)
    error = forward_backward(case.coarse_u, case.coarse, case.inverse)
    values = error[case.within(case.coarse)]
    if case.own_inverse:
        return _inverse_accuracy(case, values), error
    sampled = Region(f"{case.region}, every {format_spacing(case.coarse)}", len(values))
    findings = []
    for statistic, word, value in (
        ("mean", "mean", float(values.mean())),
        ("p99", "99 %", float(np.percentile(values, 99))),
    ):
        name, title = f"consistency_{statistic}", f"{_CONSISTENCY}, {word}"
        measurement = Measurement(name, title, "consistency", value, "mm", sampled)
        opening = f"{word} forward-backward error {value:.2g} mm"
        findings.append(judge.judge(measurement, "consistency", statistic, opening))
    return [*findings, _largest_inconsistency(case, values)], error


def _largest_inconsistency(case: Case, values: Array) -> Finding:
    largest, title = float(values.max()), f"{_CONSISTENCY}, largest"
    region = Region(case.region, len(values))
    measurement = Measurement("consistency_maximum", title, "consistency", largest, "mm", region)
    return measurement.show(
        f"largest forward-backward error {largest:.2g} mm; small by construction where one "
        "direction was computed from the other: it shows stability, not accuracy"
    )


def _inverse_accuracy(case: Case, values: Array) -> list[Finding]:
    why = "the inverse was computed from this transform; register the other way to measure it"
    findings = [not_measured("consistency_mean", _CONSISTENCY, "consistency", why)]
    region = Region(case.region, len(values))
    for name, word, value in (
        ("inverse_mean", "mean", float(values.mean())),
        ("inverse_maximum", "largest", float(values.max())),
    ):
        title = f"Accuracy of the inverse, {word}"
        measurement = Measurement(name, title, "consistency", value, "mm", region)
        words = f"its own inverse is off by {value:.2g} mm ({word}): exactness, not consistency"
        findings.append(measurement.show(words))
    return findings


def _invertibility(case: Case) -> tuple[list[Finding], Array | None]:
    """Without an inverse: whether there can be one."""
    why = "no registration of the other direction was given"
    findings = [not_measured("consistency_mean", _CONSISTENCY, "consistency", why)]
    if case.quick:
        return findings, None
    inside = case.within(case.coarse)
    error = case.estimated_inverse[1]
    worst = float(error[inside].max())
    invertible = worst < min(case.coarse.spacing)
    verdict = (
        "can be inverted" if invertible else "cannot be inverted everywhere, or stretches strongly"
    )
    region = Region(case.region, int(inside.sum()))
    measurement = Measurement(
        "invertibility", "Can be inverted", "consistency", worst, "mm", region
    )
    words = f"{verdict}: the inverse estimated by this review is up to {worst:.2g} mm off"
    return [*findings, measurement.show(words)], error


def deformation_findings(case: Case) -> list[Finding]:
    """How far and how roughly things move: shown, never held against a limit."""
    length = np.linalg.norm(case.coarse_u, axis=-1)
    inside = case.within(case.coarse)
    chosen = length[inside]
    numbers = [
        ("displacement_mean", "Displacement, mean", float(chosen.mean()), "mm"),
        ("displacement_maximum", "Displacement, largest", float(chosen.max()), "mm"),
    ]
    if not case.quick:
        bending = bending_energy(case.coarse_u, case.coarse, inside)
        harmonic = harmonic_energy(case.coarse_u, case.coarse, inside)
        numbers.append(("bending_energy", "Bending energy", bending, "1/mm2"))
        numbers.append(("harmonic_energy", "Harmonic energy", harmonic, ""))
    region = Region(case.region, len(chosen))
    return [
        Measurement(name, title, "deformation", value, unit, region).show()
        for name, title, value, unit in numbers
    ]


def similarity_findings(case: Case) -> list[Finding]:
    """Similarity of the images, before and after: no proof of accuracy."""
    if case.pair is None:
        why, title = "both images are needed", "Similarity of the images"
        return [not_measured("similarity_nmi", title, "agreement", why, SHOWN)]
    images = case.pair.on_grid(case.coarse, case.coarse_u)
    counts = case.within(case.coarse) & images.valid
    region = Region(case.region, int(counts.sum()))
    findings = []
    for name, title, measure in (
        ("similarity_nmi", "Normalized mutual information", mutual_information),
        ("similarity_ncc", "Correlation", correlation),
    ):
        before, after = (
            measure(images.fixed[counts], part[counts]) for part in (images.moving, images.warped)
        )
        if after is None or before is None:
            why = "both images show too little in common"
            findings.append(not_measured(name, title, "agreement", why, SHOWN))
            continue
        findings.append(Measurement(name, title, "agreement", after, "", region, before).show())
    return findings
