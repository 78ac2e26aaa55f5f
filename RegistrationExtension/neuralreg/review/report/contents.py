"""What a report of a review contains: its sections, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuralreg.review.findings.verdicts import format_number
from neuralreg.review.report.document import Card, Document, Figure, Section, Table, VerdictCell
from neuralreg.review.report_model import Finding, QualityReport, Verdict
from neuralreg.review.workflow.decision import Decision

_HEADLINES: dict[Verdict, str] = {
    "pass": "Nothing needs attention",
    "attention": "Something needs attention",
    "fail": "A limit is missed",
}
_GROUPS = (
    ("landmarks", "Landmarks"),
    ("segments", "Segmentations"),
    ("jacobian", "Volume change"),
    ("consistency", "Forward and back"),
    ("suspicion", "What images and field alone can tell"),
    ("agreement", "Similarity of the images"),
    ("deformation", "The deformation"),
)
_MOST_LANDMARKS = 15
_MOST_PLACES = 12


def document_of(
    report: QualityReport,
    *,
    pictures: Mapping[str, bytes],
    provenance: Mapping[str, Any],
    decision: Decision | None = None,
    title: str = "",
) -> Document:
    """The report as a document.

    Args:
        report: Of the review.
        pictures: PNGs by name; see `pictures_of`.
        provenance: See `provenance_of`.
        decision: Of a person, if there is one.
        title: Names what was reviewed.
    """
    sections = [
        _decision(decision, report),
        _summary(report),
        *_pictures(pictures),
        _places(report, pictures),
        _lines(report),
        _segments(report),
        _landmarks(report),
        _jacobian(report),
        Section("Histograms", histograms=report.histograms),
        _provenance(report, provenance),
    ]
    return Document(
        title=title or "Review of a deformable registration",
        subtitle=f"Limits: {report.profile}. Made by Neural Registration {report.version}"
        + (f", {provenance['time']}" if "time" in provenance else ""),
        verdict=report.verdict,
        headline=_HEADLINES[report.verdict],
        cards=_cards(report),
        sections=tuple(s for s in sections if s is not None),
    )


def _cards(report: QualityReport) -> tuple[Card, ...]:
    """The five quantities of TG-132."""
    quantities = (
        ("tre_mean", "Landmark error"),
        ("dice_value", "Dice, worst"),
        ("surface_distance_mean", "Surface distance, worst"),
        ("folding_percent", "Folding"),
        ("consistency_mean", "Forward and back"),
    )
    findings = {finding.name: finding for finding in report.lines}
    cards = []
    for name, title in quantities:
        finding = findings.get(name)
        if finding is None or finding.value is None:
            cards.append(Card(title, "not measured", "not measured"))
        else:
            value = format_number(finding.value, finding.unit)
            cards.append(Card(title, value, finding.verdict))
    return tuple(cards)


def _decision(decision: Decision | None, report: QualityReport) -> Section | None:
    if decision is None:
        return None
    words = [decision.in_words()]
    if decision.transform_hash != report.transform_hash:
        words.append("This decision is void: the transform was changed after it was made.")
    rows = tuple((name, verdict, "") for name, verdict in decision.segments.items())
    table = Table(("Structure", "Decision", ""), rows, (0.4, 0.4, 0.2))
    return Section("Decision", tuple(words), (table,) if rows else ())


def _summary(report: QualityReport) -> Section:
    serious = [one for one in report.lines if one.verdict in ("fail", "attention")]
    unknown = [one.title for one in report.lines if one.verdict == "not measured"]
    words = []
    if unknown:
        words.append(f"Not measured, so nothing is known about: {'; '.join(unknown)}.")
    words += list(report.notes)
    if report.detail == "quick":
        words.append("A quick look at fewer samples: the numbers are not final.")
    rows = tuple((one.title, VerdictCell(one.verdict), one.words) for one in serious)
    table = Table(("What", "Verdict", "In words"), rows, (0.24, 0.12, 0.64))
    return Section("What to look at", tuple(words), (table,) if rows else ())


def _pictures(pictures: Mapping[str, bytes]) -> list[Section]:
    groups = (
        (
            "before",
            "Before",
            "Fixed image in green, moving image in magenta, gray where they agree.",
        ),
        ("after", "After", "The same with the moving image warped by the transform."),
        (
            "grid",
            "Deformation",
            "A grid that stays straight where the transform only turns, stretches and shears.",
        ),
        (
            "jacobian",
            "Volume change",
            "Red grows up to twice, blue shrinks down to half, yellow is folded.",
        ),
    )
    sections = []
    for key, title, words in groups:
        figures = [Figure(png, plane) for kind, plane, png in _by_kind(pictures) if kind == key]
        if figures:
            sections.append(Section(title, (words,), figures=tuple(figures)))
    kinds = {key for key, _, _ in groups} | {"place"}
    other = [
        Figure(png, f"{kind}/{plane}" if plane else kind)
        for kind, plane, png in _by_kind(pictures)
        if kind not in kinds
    ]
    return [*sections, *([Section("More pictures", figures=tuple(other))] if other else [])]


def _by_kind(pictures: Mapping[str, bytes]) -> list[tuple[str, str, bytes]]:
    """Kind, plane and PNG of each picture; their names are "kind/plane"."""
    parts = [(*name.partition("/"), png) for name, png in pictures.items()]
    return [(kind, plane, png) for kind, _slash, plane, png in parts]


def _places(report: QualityReport, pictures: Mapping[str, bytes]) -> Section | None:
    if not report.worst:
        return None
    rows = tuple(
        (str(n), one.words, _lps(one.point_lps), f"{one.severity:.2g}")
        for n, one in enumerate(report.worst[:_MOST_PLACES], start=1)
    )
    table = Table(("", "What", "LPS mm", "Severity"), rows, (0.06, 0.58, 0.24, 0.12), numbers=(3,))
    figures = tuple(
        Figure(pictures[f"place/{n}"], f"{n}: before | after. {one.words}")
        for n, one in enumerate(report.worst, start=1)
        if f"place/{n}" in pictures
    )
    words = "The most severe first; 1 is at the limit, below 1 is merely the largest of its kind."
    return Section("Worst places", (words,), (table,), figures, across=2)


def _lines(report: QualityReport) -> Section:
    tables = []
    for group, title in _GROUPS:
        rows = tuple(_row(one) for one in report.lines if one.group == group)
        if rows:
            header = ("Measure", "Value", "Before", "Limit", "Verdict", "Where, on how many")
            widths = (0.27, 0.12, 0.11, 0.1, 0.13, 0.27)
            tables.append(Table(header, rows, widths, title, (1, 2, 3)))
    sources = sorted({f"{one.source}." for one in report.lines if one.limit is not None})
    return Section("All numbers", ("Limits come from:", *sources), tuple(tables))


def _row(finding: Finding) -> tuple[str | VerdictCell, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else format_number(value, finding.unit)

    count = f"{finding.count:,}".replace(",", " ")
    counted = f"{count} {finding.counted}" if finding.count else ""
    where = ", ".join(part for part in (finding.where, counted) if part)
    return (
        finding.title,
        number(finding.value),
        number(finding.before),
        number(finding.limit),
        VerdictCell(finding.verdict),
        where,
    )


def _segments(report: QualityReport) -> Section | None:
    if not report.overlaps:
        return None
    rows: list[tuple[str, ...]] = []
    for one in report.overlaps:
        if one.after is None:
            rows.append((one.name, one.status, "", "", "", "", ""))
            continue
        before, after = one.before, one.after
        rows.append(
            (
                one.name,
                _change(before.dice if before else None, after.dice, 3),
                f"{after.jaccard:.3f}" if after.jaccard is not None else "",
                _change(before.mean_mm if before else None, after.mean_mm, 2),
                _change(before.hd95_mm if before else None, after.hd95_mm, 2),
                _change(None, after.volume_change_percent, 1),
                _change(before.center_shift_mm if before else None, after.center_shift_mm, 2),
            )
        )
    header = ("Structure", "Dice", "Jaccard", "Mean mm", "HD95 mm", "Volume %", "Center mm")
    widths = (0.25, 0.14, 0.09, 0.14, 0.15, 0.09, 0.14)
    table = Table(header, tuple(rows), widths, numbers=(1, 2, 3, 4, 5, 6))
    words = "Before, then after. Distances between surfaces, on the finer of both grids."
    return Section("Structures", (words,), (table,))


def _lps(point: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.1f}" for value in point)


def _change(before: float | None, after: float | None, digits: int) -> str:
    if after is None:
        return "empty"
    return f"{after:.{digits}f}" if before is None else f"{before:.{digits}f} to {after:.{digits}f}"


def _landmarks(report: QualityReport) -> Section | None:
    marks = report.landmarks
    if marks is None:
        return None
    summaries = (
        ("before, mm", marks.summary("before")),
        ("after, mm", marks.summary("after")),
        ("after, voxels", marks.summary("voxels")),
    )
    few = Table(
        ("", "Mean", "Median", "95 %", "Largest"),
        tuple(
            (title, *(f"{v:.2f}" for v in (s.mean, s.median, s.p95, s.maximum)))
            for title, s in summaries
        ),
        (0.32, 0.17, 0.17, 0.17, 0.17),
        numbers=(1, 2, 3, 4),
        title=f"{len(marks.names)} pairs",
    )
    order = sorted(range(len(marks.names)), key=lambda n: -marks.after_mm[n])[:_MOST_LANDMARKS]
    rows = tuple(
        (
            marks.names[n],
            _lps(marks.fixed_lps[n]),
            f"{marks.before_mm[n]:.2f}",
            f"{marks.after_mm[n]:.2f}",
            f"{marks.after_voxels[n]:.2f}",
        )
        for n in order
    )
    header = ("Landmark", "LPS mm", "Before mm", "After mm", "Voxels")
    worst = Table(
        header, rows, (0.2, 0.32, 0.16, 0.16, 0.16), title="The largest errors", numbers=(2, 3, 4)
    )
    return Section("Landmarks", (), (few, worst))


def _jacobian(report: QualityReport) -> Section:
    rows = tuple(
        (
            one.region,
            f"{one.minimum:.3g}",
            f"{one.p1:.3g}",
            f"{one.p99:.3g}",
            f"{one.maximum:.3g}",
            f"{one.folding_ml:.3g}",
            f"{one.sd_log:.3g}",
        )
        for one in report.jacobian
    )
    header = ("Region", "Least", "1 %", "99 %", "Most", "Folded ml", "SD log")
    table = Table(
        header, rows, (0.34, 0.11, 0.11, 0.11, 0.11, 0.11, 0.11), numbers=(1, 2, 3, 4, 5, 6)
    )
    return Section("Jacobian determinant", (), (table,))


def _provenance(report: QualityReport, provenance: Mapping[str, Any]) -> Section:
    rows = [("transform (as reviewed)", f"sha256 {report.transform_hash}")]
    for role, facts in provenance.get("inputs", {}).items():
        rows.append((role, _as_text(facts)))
    if "registration" in provenance:
        rows.append(("made by", _registration(provenance["registration"])))
    for name in provenance:
        if name not in ("inputs", "registration"):
            rows.append((name, _as_text(provenance[name])))
    table = Table(("What", "Source"), tuple(rows), (0.22, 0.78))
    words = (
        "Research software: not for clinical use by itself. Similarity and overlap do not prove "
        "accuracy; consistency shows stability."
    )
    return Section("Provenance", (words,), (table,))


def _registration(registration: Mapping[str, Any]) -> str:
    """How the transform was made, in words."""
    names = ("model", "weights_sha256", "options", "neuralreg", "software", "time", "warnings")
    facts = {name: registration[name] for name in names if registration.get(name)}
    device = registration.get("provenance", {}).get("device")
    return _as_text({**facts, **({"device": device} if device else {})})


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_as_text(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
