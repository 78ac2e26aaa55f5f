"""The page of a study: progress, distributions, and every pair before and after; opens offline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from neuralreg.studies.execution.row_records import (
    DONE,
    FAILED,
    RUNNING,
    WORK,
    RowRecord,
    StudyFolder,
)
from neuralreg.studies.table.study_rows import StudyRow

_BINS = 24
_STATES = (DONE, FAILED, RUNNING, "waiting")
_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:75rem;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
.bar{display:flex;height:1.1rem;border-radius:.3rem;overflow:hidden;background:#8883}
.done{background:#2e8b57}.failed{background:#c0392b}.running{background:#2f78c4}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}
figure{margin:0}figcaption{font-size:.85rem}svg{width:100%;height:5rem}rect{fill:#2f78c4}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .5rem;border-top:1px solid #8885;vertical-align:top}
td img{width:6rem;image-rendering:auto;background:#000}
.word{color:#fff;border-radius:.3rem;padding:0 .4rem}
.small{font-size:.85rem}.waiting{background:#777}
"""


def study_page(
    study: StudyFolder,
    rows: Sequence[StudyRow],
    records: Sequence[RowRecord],
    decisions: Mapping[str, Mapping[str, Any]],
) -> str:
    """The HTML of a study, its riskiest rows first.

    Args:
        study: its folder; pictures and results are linked relative to it.
        rows: of the table.
        records: of each row.
        decisions: of reviews, by row.
    """
    title = escape(study.path.resolve().name)
    pairs = sorted(zip(rows, records, strict=True), key=lambda pair: risk_key(pair[1], decisions))
    body = "".join(_row(study, row, record, decisions.get(row.id, {})) for row, record in pairs)
    active = any(record.state in (RUNNING, "waiting") for record in records)
    refresh = '<meta http-equiv="refresh" content="30">' if active else ""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{refresh}'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{_progress(records)}"
        f"<h2>Numbers</h2><div class=plots>{_histograms(records)}</div>"
        "<h2>Pairs, the riskiest first</h2><p class=small>Fixed and moving image in one picture: "
        "gray where they agree, green and magenta where they do not.</p>"
        "<table><thead><tr><th>pair<th>before<th>after<th>what to know</tr></thead>"
        f"<tbody>{body}</tbody></table></body></html>\n"
    )


def risk_key(
    record: RowRecord, decisions: Mapping[str, Mapping[str, Any]]
) -> tuple[int, float, float, str]:
    """Sorts rows: failures, then by the review's risk, then by folds and warnings."""
    order = {FAILED: 0, DONE: 1, RUNNING: 2}.get(record.state, 3)
    risk = decisions.get(record.id, {}).get("risk", record.risk)
    folds = record.numbers.get("folding_percent_body", 0.0)
    gain = record.numbers.get("similarity_final", 0.0) - record.numbers.get(
        "similarity_initial", 0.0
    )
    doubts = folds + len(record.warnings) + (1.0 if gain < 0 else 0.0)
    return order, -(risk or 0.0), -doubts, record.id


def _progress(records: Sequence[RowRecord]) -> str:
    counts = {state: sum(record.state == state for record in records) for state in _STATES}
    parts = "".join(
        f'<div class="{state}" style="flex:{counts[state]}"></div>'
        for state in _STATES[:3]
        if counts[state]
    )
    rest = f'<div style="flex:{counts["waiting"]}"></div>' if counts["waiting"] else ""
    words = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    seconds = [record.seconds for record in records if record.seconds is not None]
    mean = f"; {sum(seconds) / len(seconds):.1f} s a pair on average" if seconds else ""
    return f"<div class=bar>{parts}{rest}</div><p>{len(records)} pairs: {words}{mean}.</p>"


def _histograms(records: Sequence[RowRecord]) -> str:
    columns: dict[str, list[float]] = {}
    for record in records:
        facts: dict[str, float | None] = {
            "seconds": record.seconds,
            "memory_mb": record.memory_mb,
            **record.numbers,
        }
        for name, value in facts.items():
            if value is not None and math.isfinite(value):
                columns.setdefault(name, []).append(value)
    return "".join(_histogram(name, values) for name, values in columns.items())


def _histogram(name: str, values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    width = (high - low) / _BINS or 1.0
    counts = [0] * _BINS
    for value in values:
        counts[min(int((value - low) / width), _BINS - 1)] += 1
    top = max(counts)
    heights = [40 * count / top for count in counts]
    bars = "".join(
        f'<rect x="{n}" y="{40 - height:.1f}" width=".9" height="{height:.1f}"/>'
        for n, height in enumerate(heights)
        if height
    )
    words = f"{name.replace('_', ' ')}: {low:.4g} to {high:.4g}, median {_median(values):.4g}"
    return (
        f'<figure><svg viewBox="0 0 {_BINS} 40" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(words)}">{bars}</svg><figcaption>{escape(words)}</figcaption></figure>'
    )


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _row(study: StudyFolder, row: StudyRow, record: RowRecord, decision: Mapping[str, Any]) -> str:
    name, words = escape(row.id), []
    if record.failure is not None:
        words.append(f"<b>{escape(record.failure.kind)}</b>: {escape(record.failure.reason)}")
        words.append(f"<i>{escape(record.failure.remedy)}</i>")
    words += [escape(warning) for warning in record.warnings]
    if record.numbers:
        words.append(_numbers(record))
    verdict = decision.get("verdict") or record.verdict
    if verdict:
        words.append(f"review: {escape(str(verdict))} {escape(str(decision.get('decision', '')))}")
    link = f'<a href="{quote(row.id)}/">{name}</a>' if record.state == DONE else name
    pictures = "".join(f"<td>{_picture(row.id, record, when)}" for when in ("before", "after"))
    state = f'<span class="word {record.state}">{record.state}</span>'
    return f"<tr><td>{link}<br>{state}{pictures}<td class=small>{'<br>'.join(words)}</tr>"


def _picture(row: str, record: RowRecord, when: str) -> str:
    if record.state != DONE:
        return ""
    source = f"{WORK}/rows/{quote(row)}/{when}.png"
    return f'<img loading="lazy" alt="{when}" src="{source}">'


def _numbers(record: RowRecord) -> str:
    names = ("similarity_initial", "similarity_final", "folding_percent_body", "dice_after")
    parts = [f"{n.replace('_', ' ')} {record.numbers[n]:.4g}" for n in names if n in record.numbers]
    return escape(", ".join(parts))
