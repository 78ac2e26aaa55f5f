"""The report of a review that another person can read in a year: HTML, PDF, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuralreg.errors import UnwritableOutput
from neuralreg.geometry.files import written_whole
from neuralreg.review.decision import Decision
from neuralreg.review.document import document_of
from neuralreg.review.html import as_html
from neuralreg.review.pdf import as_pdf
from neuralreg.review.records import QualityReport

FORMATS = (".html", ".pdf", ".csv", ".json")


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
        with written_whole(target) as draft:
            draft.write_bytes(made[ending]())
        written.append(target)
    return written


def as_csv(report: QualityReport) -> str:
    """All numbers, one a row: section, name, region, value, before, unit, limit, verdict, count."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(
        ("section", "name", "region", "value", "before", "unit", "limit", "verdict", "count")
    )
    for line in report.lines:
        numbers = (line.value, line.before, line.unit, line.limit, line.verdict, line.count)
        rows.writerow((line.group, line.name, line.where, *map(_cell, numbers)))
    for one in report.overlaps:
        for name in (
            "dice",
            "jaccard",
            "mean_mm",
            "hd95_mm",
            "max_mm",
            "volume_change_percent",
            "center_shift_mm",
        ):
            after, before = (getattr(side, name, None) for side in (one.after, one.before))
            rows.writerow(
                ("structure", name, one.name, _cell(after), _cell(before), "", "", one.status, "")
            )
    for region in report.jacobian:
        for name in ("minimum", "p1", "p99", "maximum", "folding_percent", "folding_ml", "sd_log"):
            value = _cell(getattr(region, name))
            rows.writerow(("jacobian", name, region.region, value, "", "", "", "", region.count))
    if report.landmarks:
        marks = report.landmarks
        for name, before, after in zip(marks.names, marks.before_mm, marks.after_mm, strict=True):
            rows.writerow(("landmark", name, "", _cell(after), _cell(before), "mm", "", "", ""))
    for place in report.worst:
        at = " ".join(f"{v:.3f}" for v in place.point_lps)
        rows.writerow(
            (
                "place",
                place.kind,
                f"{place.region} ({at})",
                _cell(place.value),
                "",
                place.unit,
                "",
                _cell(place.severity),
                "",
            )
        )
    return file.getvalue()


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
