"""The report of a review as files: HTML, PDF, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuralreg.errors import UnwritableOutput
from neuralreg.io.files import write_whole
from neuralreg.review.report.contents import document_of
from neuralreg.review.report.html import as_html
from neuralreg.review.report.pdf import as_pdf
from neuralreg.review.report_model import Agreement, JacobianStatistics, QualityReport
from neuralreg.review.workflow.decision import Decision

FORMATS = (".html", ".pdf", ".csv", ".json")
_COLUMNS = (
    "section",
    "name",
    "region",
    "value",
    "before",
    "unit",
    "limit",
    "verdict",
    "count",
)
Cell = str | float | int | None


def write_report(
    report: QualityReport,
    path: str | Path,
    *,
    pictures: Mapping[str, bytes] | None = None,
    provenance: Mapping[str, Any] | None = None,
    decision: Decision | None = None,
    title: str = "",
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write a report, each file whole or not at all; the paths that were written.

    Args:
        report: Of the review.
        path: Of the .html, the others are written beside it; or a folder, then they are called
            "review".
        pictures: PNGs by name; see `pictures_of`.
        provenance: See `provenance_of`.
        decision: Of a person, if there is one.
        title: Names what was reviewed; a patient is only named by it.
        formats: Which of `FORMATS`.

    Raises:
        UnwritableOutput: The folder is closed or missing, or a format is unknown.
        PackageMissing: A PDF is wanted, and fpdf2 is missing.
    """
    path = Path(path)
    stem = path / "review" if path.is_dir() else path.with_suffix("")
    unknown = [one for one in formats if one not in FORMATS]
    if unknown:
        raise UnwritableOutput(
            "a report has no such format", got=", ".join(unknown), wanted=", ".join(FORMATS)
        )
    document = document_of(
        report,
        pictures=pictures or {},
        provenance=provenance or {},
        decision=decision,
        title=title,
    )
    writers = {
        ".html": lambda: as_html(document).encode(),
        ".pdf": lambda: as_pdf(document),
        ".csv": lambda: as_csv(report).encode(),
        ".json": lambda: _json(report, provenance or {}, decision),
    }
    written = []
    for ending in formats:
        target = stem.with_name(stem.name + ending)
        with write_whole(target) as draft:
            draft.write_bytes(writers[ending]())
        written.append(target)
    return written


def as_csv(report: QualityReport) -> str:
    """All numbers, one a row: section, name, region, value, before, unit, limit, verdict, count."""
    file = io.StringIO()
    writer = csv.DictWriter(file, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in _rows(report):
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return file.getvalue()


def _rows(report: QualityReport) -> Iterator[dict[str, Cell]]:
    yield from _finding_rows(report)
    yield from _structure_rows(report)
    for region in report.jacobian:
        for name, value in _jacobian(region):
            yield {
                "section": "jacobian",
                "name": name,
                "region": region.region,
                "value": value,
                "count": region.count,
            }
    if report.landmarks is not None:
        errors = report.landmarks
        pairs = zip(errors.names, errors.after_mm, errors.before_mm, strict=True)
        for name, after, before in pairs:
            yield {
                "section": "landmark",
                "name": name,
                "value": after,
                "before": before,
                "unit": "mm",
            }
    for location in report.worst:
        at = " ".join(f"{v:.3f}" for v in location.point_lps)
        yield {
            "section": "place",
            "name": location.kind,
            "region": f"{location.region} (LPS {at})",
            "value": location.value,
            "unit": location.unit,
            "verdict": location.severity,
        }


def _finding_rows(report: QualityReport) -> Iterator[dict[str, Cell]]:
    for finding in report.lines:
        yield {
            "section": finding.group,
            "name": finding.name,
            "region": finding.where,
            "value": finding.value,
            "before": finding.before,
            "unit": finding.unit,
            "limit": finding.limit,
            "verdict": finding.verdict,
            "count": finding.count,
        }


def _structure_rows(report: QualityReport) -> Iterator[dict[str, Cell]]:
    for overlap in report.overlaps:
        sides = zip(_agreement(overlap.after), _agreement(overlap.before), strict=True)
        for (name, after), (_, before) in sides:
            yield {
                "section": "structure",
                "name": name,
                "region": overlap.name,
                "value": after,
                "before": before,
                "verdict": overlap.status,
            }


def _agreement(agreement: Agreement | None) -> list[tuple[str, float | None]]:
    """Names and numbers, in the order of the columns of a report."""
    side = agreement or Agreement(None, None, None, None, None, None, None)
    return [
        ("dice", side.dice),
        ("jaccard", side.jaccard),
        ("mean_mm", side.mean_mm),
        ("hd95_mm", side.hd95_mm),
        ("max_mm", side.max_mm),
        ("volume_change_percent", side.volume_change_percent),
        ("center_shift_mm", side.center_shift_mm),
    ]


def _jacobian(region: JacobianStatistics) -> list[tuple[str, float]]:
    return [
        ("minimum", region.minimum),
        ("p1", region.p1),
        ("p99", region.p99),
        ("maximum", region.maximum),
        ("folding_percent", region.folding_percent),
        ("folding_ml", region.folding_ml),
        ("sd_log", region.sd_log),
    ]


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _json(report: QualityReport, provenance: Mapping[str, Any], decision: Decision | None) -> bytes:
    facts = {
        "report": report.as_record(),
        "provenance": provenance,
        "decision": decision.as_record() if decision else None,
    }
    return json.dumps(facts, indent=1, allow_nan=False).encode()
