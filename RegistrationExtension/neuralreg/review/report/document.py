"""A review as a document: sections of words, tables and pictures, whatever they are written as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuralreg.review.findings.verdicts import written
from neuralreg.review.report_model import Histogram, Line, QualityReport, Verdict
from neuralreg.review.workflow.decision import Decision

VERDICTS: dict[str, str] = {
    "pass": "pass",
    "attention": "attention",
    "fail": "fail",
    "not measured": "not measured",
    "shown": "no limit",
}
_HEADLINES = {
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


@dataclass(frozen=True)
class Table:
    """Rows of texts. widths: shares of the page. verdict: the column that holds verdicts."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    verdict: int | None = None
    title: str = ""
    numbers: tuple[int, ...] = ()  # columns that are set to the right


@dataclass(frozen=True)
class Figure:
    """A picture (PNG) and what it shows."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it. across: figures per row."""

    title: str
    words: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    across: int = 3
    histograms: tuple[Histogram, ...] = ()


@dataclass(frozen=True)
class Document:
    """A report. verdict: with its headline. cards: the numbers that matter most."""

    title: str
    subtitle: str
    verdict: Verdict
    headline: str
    cards: tuple[tuple[str, str, Verdict], ...]
    sections: tuple[Section, ...] = field(default=())


def document_of(
    report: QualityReport,
    *,
    pictures: Mapping[str, bytes],
    provenance: Mapping[str, Any],
    decision: Decision | None = None,
    title: str = "",
) -> Document:
    """The report as a document. pictures: PNGs by name, see `pictures_of`."""
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


def _cards(report: QualityReport) -> tuple[tuple[str, str, Verdict], ...]:
    """The five quantities of TG-132."""
    wanted = (
        ("tre_mean", "Landmark error"),
        ("dice_value", "Dice, worst"),
        ("surface_distance_mean", "Surface distance, worst"),
        ("folding_percent", "Folding"),
        ("consistency_mean", "Forward and back"),
    )
    named = {line.name: line for line in report.lines}
    cards = []
    for name, title in wanted:
        line = named.get(name)
        if line is None or line.value is None:
            cards.append((title, "not measured", "not measured"))
        else:
            cards.append((title, written(line.value, line.unit), line.verdict))
    return tuple(cards)  # type: ignore[arg-type]


def _decision(decision: Decision | None, report: QualityReport) -> Section | None:
    if decision is None:
        return None
    words = [decision.in_words()]
    if decision.transform_hash != report.transform_hash:
        words.append("This decision is void: the transform was changed after it.")
    rows = tuple((name, verdict, "") for name, verdict in decision.segments.items())
    table = Table(("Structure", "Decision", ""), rows, (0.4, 0.4, 0.2))
    return Section("Decision", tuple(words), (table,) if rows else ())


def _summary(report: QualityReport) -> Section:
    serious = [line for line in report.lines if line.verdict in ("fail", "attention")]
    unknown = [line.title for line in report.lines if line.verdict == "not measured"]
    words = []
    if unknown:
        words.append(f"Not measured, so nothing is known about: {'; '.join(unknown)}.")
    words += list(report.notes)
    if report.detail == "quick":
        words.append("A quick look at fewer samples: the numbers are not final.")
    rows = tuple((line.title, VERDICTS[line.verdict], line.words) for line in serious)
    table = Table(("What", "Verdict", "In words"), rows, (0.24, 0.12, 0.64), verdict=1)
    return Section("What to look at", tuple(words), (table,) if rows else ())


def _pictures(pictures: Mapping[str, bytes]) -> list[Section]:
    groups = (
        (
            "before",
            "Before",
            "Fixed image in green, moving image in magenta, gray where they agree.",
        ),
        ("after", "After", "The same with the moving image brought along by the transform."),
        (
            "grid",
            "The bending",
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
        found = [
            Figure(png, name.partition("/")[2])
            for name, png in pictures.items()
            if name.partition("/")[0] == key
        ]
        if found:
            sections.append(Section(title, (words,), figures=tuple(found)))
    known = {key for key, _, _ in groups} | {"place"}
    other = [
        Figure(png, name) for name, png in pictures.items() if name.partition("/")[0] not in known
    ]
    return [*sections, *([Section("More pictures", figures=tuple(other))] if other else [])]


def _places(report: QualityReport, pictures: Mapping[str, bytes]) -> Section | None:
    if not report.worst:
        return None
    rows = tuple(
        (str(n), place.words, _lps(place.point_lps), f"{place.severity:.2g}")
        for n, place in enumerate(report.worst[:_MOST_PLACES], start=1)
    )
    table = Table(("", "What", "LPS mm", "Severity"), rows, (0.06, 0.58, 0.24, 0.12), numbers=(3,))
    figures = tuple(
        Figure(pictures[f"place/{n}"], f"{n}: before | after. {place.words}")
        for n, place in enumerate(report.worst, start=1)
        if f"place/{n}" in pictures
    )
    words = "The most severe first; 1 is at the limit, and what is below is merely the most."
    return Section("Worst places", (words,), (table,), figures, across=2)


def _lines(report: QualityReport) -> Section:
    tables = []
    for group, title in _GROUPS:
        rows = tuple(_row(line) for line in report.lines if line.group == group)
        if rows:
            header = ("Measure", "Value", "Before", "Limit", "Verdict", "Where, on how many")
            widths = (0.27, 0.12, 0.11, 0.1, 0.13, 0.27)
            tables.append(Table(header, rows, widths, 4, title, (1, 2, 3)))
    sources = sorted({f"{line.source}." for line in report.lines if line.limit is not None})
    return Section("All numbers", ("Limits come from:", *sources), tuple(tables))


def _row(line: Line) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else written(value, line.unit)

    counted = f"{line.count:,} {line.counted}".replace(",", " ") if line.count else ""
    where = ", ".join(part for part in (line.where, counted) if part)
    return (
        line.title,
        number(line.value),
        number(line.before),
        number(line.limit),
        VERDICTS[line.verdict],
        where,
    )


def _segments(report: QualityReport) -> Section | None:
    if not report.overlaps:
        return None
    rows = []
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
        rows.append((role, _told(facts)))
    if "registration" in provenance:
        rows.append(("made by", _made(provenance["registration"])))
    for name in provenance:
        if name not in ("inputs", "registration"):
            rows.append((name, _told(provenance[name])))
    table = Table(("What", "From where"), tuple(rows), (0.22, 0.78))
    words = (
        "Research software: not for clinical use by itself. Similarity and overlap do not prove "
        "accuracy; consistency shows stability."
    )
    return Section("Where this comes from", (words,), (table,))


def _made(registration: Mapping[str, Any]) -> str:
    """How the transform came about, in words."""
    wanted = ("model", "weights_sha256", "options", "neuralreg", "software", "time", "warnings")
    known = {name: registration[name] for name in wanted if registration.get(name)}
    device = registration.get("provenance", {}).get("device")
    return _told({**known, **({"device": device} if device else {})})


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_told(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_told(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
