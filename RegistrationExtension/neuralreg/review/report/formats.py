"""The report of a review that another person can read in a year: HTML, PDF, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from neuralreg.errors import UnwritableOutput
from neuralreg.io.files import write_whole
from neuralreg.review.report.document import document_of
from neuralreg.review.report.html import as_html
from neuralreg.review.report.pdf import as_pdf
from neuralreg.review.report_model import Agreement, QualityReport
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
_OVERLAP = tuple(part.name for part in fields(Agreement))
_JACOBIAN = ("minimum", "p1", "p99", "maximum", "folding_percent", "folding_ml", "sd_log")


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

    path: of the .html, the others stand beside it; or a folder, then they are called "review".
    pictures: PNGs by name, see `pictures_of`. provenance: see `provenance_of`.
    title: names what was reviewed; a patient is only named by it.
    Raises UnwritableOutput when the folder is closed, PackageMissing for a PDF without fpdf2.
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
    made = {
        ".html": lambda: as_html(document).encode(),
        ".pdf": lambda: as_pdf(document),
        ".csv": lambda: as_csv(report).encode(),
        ".json": lambda: _json(report, provenance or {}, decision),
    }
    written = []
    for ending in formats:
        target = stem.with_name(stem.name + ending)
        with write_whole(target) as draft:
            draft.write_bytes(made[ending]())
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


def _rows(report: QualityReport) -> Iterator[dict[str, object]]:
    for line in report.lines:
        row = {name: getattr(line, name) for name in _COLUMNS[1:] if name != "region"}
        yield {"section": line.group, "region": line.where, **row}
    for one in report.overlaps:
        for name in _OVERLAP:
            after, before = (getattr(side, name, None) for side in (one.after, one.before))
            row = {"name": name, "region": one.name, "value": after, "before": before}
            yield {"section": "structure", **row, "verdict": one.status}
    for region in report.jacobian:
        for name in _JACOBIAN:
            row = {"name": name, "region": region.region, "value": getattr(region, name)}
            yield {"section": "jacobian", **row, "count": region.count}
    marks = report.landmarks
    for n, name in enumerate(marks.names if marks else ()):
        assert marks is not None
        row = {"name": name, "value": marks.after_mm[n], "before": marks.before_mm[n]}
        yield {"section": "landmark", **row, "unit": "mm"}
    for place in report.worst:
        at = " ".join(f"{v:.3f}" for v in place.point_lps)
        row = {"name": place.kind, "region": f"{place.region} (LPS {at})", "value": place.value}
        yield {"section": "place", **row, "unit": place.unit, "verdict": place.severity}


def _cell(value: object) -> str:
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
