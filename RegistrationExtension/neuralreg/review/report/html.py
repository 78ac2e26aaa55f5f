"""A document as one HTML file with everything in it, for the screen and for A4."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image as Picture

from neuralreg.review.report.document import Card, Document, Figure, Section, Table, VerdictCell
from neuralreg.review.report_model import Histogram, Verdict

_QUALITY = 88
_SMALL = 60_000  # bytes: a PNG that is no larger stays one
_STYLE = """
@page{size:A4;margin:14mm 13mm}
*{box-sizing:border-box}
body{margin:0;background:#eef1f4;color:#1b232c;font:14.5px/1.5 system-ui,-apple-system,"Segoe UI",
Roboto,"Helvetica Neue",sans-serif;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:980px;margin:24px auto;background:#fff;padding:36px 44px 44px;border-radius:10px;
box-shadow:0 1px 4px #0002}
h1{font-size:26px;line-height:1.2;letter-spacing:-.01em;margin:0 0 2px}
h2{font-size:17px;margin:34px 0 6px;padding-top:14px;border-top:1px solid #dfe4ea;
break-after:avoid}
h3{font-size:13px;margin:16px 0 4px;color:#4c5a69;break-after:avoid}
p{margin:4px 0 8px;max-width:84ch}.dim{color:#5b6875}
.verdict{display:flex;align-items:center;gap:12px;margin:20px 0 4px;padding:12px 16px;
border-radius:8px;border:1px solid;font-size:17px;font-weight:600}
.cards{display:grid;grid-template-columns:repeat(5,1fr);gap:10px;margin:14px 0 4px}
.card{border:1px solid #dfe4ea;border-radius:8px;padding:9px 12px;border-top-width:4px}
.card b{display:block;font-size:18px;font-variant-numeric:tabular-nums;line-height:1.3}
.card span{font-size:12px;color:#5b6875}
.card.not-measured b{font-size:14px;color:#5b6875;font-weight:500}
table{border-collapse:collapse;width:100%;font-size:12.8px;table-layout:fixed;margin:4px 0 10px}
th{text-align:left;font-weight:600;color:#4c5a69;border-bottom:1.5px solid #b9c3cd}
td,th{padding:4px 8px 4px 0;vertical-align:top;overflow-wrap:anywhere}
td{border-bottom:1px solid #e8ecf0}tr{break-inside:avoid}
.n{text-align:right;font-variant-numeric:tabular-nums;padding-right:14px}
.tag{display:inline-block;padding:0 8px;border-radius:9px;font-size:12px;white-space:nowrap;
border:1px solid}
.pass{color:#0b6b3a;background:#e5f5ec;border-color:#7cc79c}
.attention{color:#7a4d00;background:#fff3d6;border-color:#e3b23c}
.fail{color:#9b1c1c;background:#fde8e8;border-color:#e08585}
.shown,.not-measured{color:#44515e;background:#f1f4f7;border-color:#c3ccd5}
.card.pass,.card.attention,.card.fail,.card.not-measured,.card.shown{background:#fff;
color:#1b232c}
.card.pass{border-color:#dfe4ea;border-top-color:#2f9e62}
.card.attention{border-color:#dfe4ea;border-top-color:#e0a100}
.card.fail{border-color:#dfe4ea;border-top-color:#cc3333}
.row{display:grid;gap:10px;margin:8px 0 4px}
figure{margin:0;break-inside:avoid}img{display:block;width:100%;border-radius:5px;background:#000}
.row.fit img{height:250px;object-fit:contain}
figcaption{font-size:12px;color:#5b6875;margin-top:3px}
.histograms{display:grid;grid-template-columns:repeat(3,1fr);gap:18px}
svg{width:100%;height:auto}
@media print{body{background:#fff;font-size:10.2pt}main{max-width:none;margin:0;padding:0;
box-shadow:none}.row.fit img{height:52mm}table{font-size:8.6pt}h2{margin-top:20px}}
"""


def as_html(document: Document) -> str:
    """The whole file; nothing is loaded from anywhere."""
    kind = _kind(document.verdict)
    cards = "".join(map(_card, document.cards))
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(document.title)}</title><style>{_STYLE}</style>\n<main>\n"
        f'<h1>{escape(document.title)}</h1><p class="dim">{escape(document.subtitle)}</p>\n'
        f'<div class="verdict {kind}"><span>{escape(document.headline)}</span></div>\n'
        f'<div class="cards">{cards}</div>\n'
        + "\n".join(map(_section, document.sections))
        + "\n</main></html>\n"
    )


def compress(png: bytes) -> tuple[bytes, str]:
    """The picture in fewer bytes, and its media type."""
    if len(png) <= _SMALL:
        return png, "image/png"
    file = io.BytesIO()
    Picture.open(io.BytesIO(png)).convert("RGB").save(file, "JPEG", quality=_QUALITY)
    return file.getvalue(), "image/jpeg"


def _card(card: Card) -> str:
    return (
        f'<div class="card {_kind(card.verdict)}"><b>{escape(card.value)}</b>'
        f"<span>{escape(card.caption)}</span></div>"
    )


def _section(section: Section) -> str:
    words = "".join(f"<p>{escape(text)}</p>" for text in section.words)
    tables = "".join(map(_table, section.tables))
    fit = " fit" if section.across == 3 else ""
    across = min(section.across, max(len(section.figures), 1))
    figures = "".join(map(_figure, section.figures))
    row = (
        f'<div class="row{fit}" style="grid-template-columns:repeat({across},1fr)">{figures}</div>'
    )
    histograms = "".join(map(_histogram, section.histograms))
    return (
        f"<section><h2>{escape(section.title)}</h2>{words}{tables}"
        + (row if section.figures else "")
        + (f'<div class="histograms">{histograms}</div>' if histograms else "")
        + "</section>"
    )


def _table(table: Table) -> str:
    widths = "".join(f'<col style="width:{100 * width:.0f}%">' for width in table.widths)
    right = dict.fromkeys(table.numbers, ' class="n"')
    head = "".join(f"<th{right.get(n, '')}>{escape(t)}</th>" for n, t in enumerate(table.header))
    rows = "".join(
        "<tr>" + "".join(_cell(table, n, cell) for n, cell in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    title = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    return (
        f"{title}<table><colgroup>{widths}</colgroup><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _cell(table: Table, column: int, cell: str | VerdictCell) -> str:
    if isinstance(cell, VerdictCell):
        return f'<td><span class="tag {_kind(cell.verdict)}">{escape(cell.words)}</span></td>'
    right = ' class="n"' if column in table.numbers else ""
    return f"<td{right}>{escape(cell)}</td>"


def _figure(figure: Figure) -> str:
    data, media = compress(figure.png)
    source = f"data:{media};base64,{base64.b64encode(data).decode()}"
    caption = escape(figure.caption)
    return (
        f'<figure><img alt="{caption}" src="{source}"><figcaption>{caption}</figcaption></figure>'
    )


def _histogram(histogram: Histogram) -> str:
    most = max(max(histogram.counts), 1)
    n = len(histogram.counts)
    bars = "".join(
        f'<rect x="{300 * k / n:.1f}" y="{100 - 96 * count / most:.1f}" '
        f'width="{300 / n - 0.6:.1f}" height="{96 * count / most:.1f}"/>'
        for k, count in enumerate(histogram.counts)
        if count
    )
    low, high = (f"{edge:.2g}" for edge in (histogram.edges[0], histogram.edges[-1]))
    unit = f", {histogram.unit}" if histogram.unit else ""
    return (
        f"<figure><svg viewBox='0 0 300 118' role='img'><g fill='#4d7ea8'>{bars}</g>"
        f"<path d='M0 100H300' stroke='#8894a0'/><g font-size='11' fill='#4c5a69'>"
        f"<text x='0' y='114'>{low}</text>"
        f"<text x='300' y='114' text-anchor='end'>{high}</text></g></svg>"
        f"<figcaption>{escape(histogram.title)}{unit}</figcaption></figure>"
    )


def _kind(verdict: Verdict) -> str:
    return verdict.replace(" ", "-")
