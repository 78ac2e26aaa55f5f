"""A document as a PDF on A4."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image as Picture

from neuralreg.errors import PackageMissing
from neuralreg.review.report.document import Document, Figure, Section, Table, VerdictCell
from neuralreg.review.report.html import compress
from neuralreg.review.report.pdf_fonts import Letters, choose_fonts
from neuralreg.review.report_model import Histogram, Verdict

if TYPE_CHECKING:
    from fpdf import FPDF
    from fpdf.fonts import FontFace

_MARGIN, _WIDTH, _BOTTOM = 14.0, 182.0, 281.0  # mm on A4
_TALLEST = 50.0  # mm, of a figure
Color = tuple[int, int, int]

_INK, _DIM, _LINE = (27, 35, 44), (91, 104, 117), (223, 228, 234)
_COLORS: dict[Verdict, tuple[Color, Color]] = {  # of the text, and behind it
    "pass": ((11, 107, 58), (229, 245, 236)),
    "attention": ((122, 77, 0), (255, 243, 214)),
    "fail": ((155, 28, 28), (253, 232, 232)),
    "not measured": ((68, 81, 94), (241, 244, 247)),
    "shown": ((68, 81, 94), (241, 244, 247)),
}


def as_pdf(document: Document) -> bytes:
    """The whole file.

    Raises:
        PackageMissing: fpdf2 is not installed.
    """
    try:
        from fpdf import FPDF
    except ModuleNotFoundError as error:
        raise PackageMissing(
            "a PDF needs the package fpdf2", remedy="Install it, or print the HTML report."
        ) from error
    pdf = FPDF(format="A4")
    pdf.set_title(document.title)
    pdf.set_margins(_MARGIN, _MARGIN, _MARGIN)
    pdf.set_auto_page_break(True, 297 - _BOTTOM)
    pdf.add_page()
    writer = _Writer(pdf, choose_fonts(pdf, document.texts()))
    writer.head(document)
    for section in document.sections:
        writer.section(section)
    return bytes(pdf.output())


class _Writer:
    """Puts the parts of a document on pages."""

    def __init__(self, pdf: FPDF, letters: Letters) -> None:
        self._pdf, self._letters = pdf, letters

    def head(self, document: Document) -> None:
        pdf = self._pdf
        self._text(document.title, 18, bold=True, height=8)
        self._text(document.subtitle, 8.5, color=_DIM, height=4.5)
        if self._letters.note:
            self._text(self._letters.note, 8.5, bold=True, color=_COLORS["attention"][0])
        pdf.ln(3)
        color, behind = _COLORS[document.verdict]
        pdf.set_fill_color(*behind)
        pdf.set_text_color(*color)
        pdf.set_font(self._letters.family, "B", 12)
        pdf.cell(_WIDTH, 10, f"  {document.headline}", fill=True, new_x="LMARGIN", new_y="NEXT")
        pdf.ln(3)
        self._cards(document)

    def _cards(self, document: Document) -> None:
        pdf, top = self._pdf, self._pdf.get_y()
        width = _WIDTH / len(document.cards)
        for n, card in enumerate(document.cards):
            left = _MARGIN + n * width
            color, behind = _COLORS[card.verdict]
            pdf.set_fill_color(*behind)
            pdf.rect(left, top, width - 2, 15, style="F")
            pdf.set_fill_color(*color)
            pdf.rect(left, top, width - 2, 0.9, style="F")
            pdf.set_xy(left + 1.5, top + 2)
            measured = card.verdict != "not measured"
            self._font(11 if measured else 9, bold=measured)
            pdf.cell(width - 4, 6, self._letters.printable(card.value))
            pdf.set_xy(left + 1.5, top + 8.5)
            self._font(7, color=_DIM)
            pdf.cell(width - 4, 4, self._letters.printable(card.caption))
        pdf.set_xy(_MARGIN, top + 18)

    def section(self, section: Section) -> None:
        first = _row_height(section.figures[: section.across], section.across)
        self._room(26 + (first if section.figures and not section.tables else 0))
        pdf = self._pdf
        pdf.ln(3)
        pdf.set_draw_color(*_LINE)
        pdf.line(_MARGIN, pdf.get_y(), _MARGIN + _WIDTH, pdf.get_y())
        pdf.ln(2)
        self._text(section.title, 12, bold=True, height=6.5)
        for words in section.words:
            self._text(words, 8.5, height=4.3)
        for table in section.tables:
            self._table(table)
        self._figures(section.figures, section.across)
        self._histograms(section.histograms)

    def _table(self, table: Table) -> None:
        from fpdf.fonts import FontFace

        pdf = self._pdf
        if table.title:
            self._room(22)
            pdf.ln(1.5)
            self._text(table.title, 9, bold=True, color=_DIM, height=5)
        self._font(7.8)
        pdf.set_draw_color(*_LINE)
        pdf.set_fill_color(255)
        aligned = tuple("RIGHT" if n in table.numbers else "LEFT" for n in range(len(table.header)))
        with pdf.table(
            col_widths=tuple(round(1000 * width) for width in table.widths),
            width=_WIDTH,
            text_align=aligned,
            borders_layout="HORIZONTAL_LINES",
            line_height=4.1,
            padding=(0.7, 1.2, 0.7, 0.5),
            headings_style=FontFace(emphasis="BOLD", color=_DIM),
            first_row_as_headings=True,
        ) as body:
            body.row([self._letters.printable(text) for text in table.header])
            for cells in table.rows:
                row = body.row()
                for cell in cells:
                    if isinstance(cell, VerdictCell):
                        row.cell(self._letters.printable(cell.words), style=_tag(cell.verdict))
                    else:
                        row.cell(self._letters.printable(cell))
        pdf.ln(1)

    def _figures(self, figures: tuple[Figure, ...], across: int) -> None:
        for start in range(0, len(figures), across):
            row = figures[start : start + across]
            height = _row_height(row, across)
            self._room(height + 8)
            self._figure_row(row, across, height)

    def _figure_row(self, row: tuple[Figure, ...], across: int, height: float) -> None:
        pdf, top = self._pdf, self._pdf.get_y() + 1
        width = _WIDTH / across
        lowest = top
        for n, figure in enumerate(row):
            left = _MARGIN + n * width + pdf.c_margin
            w, h = _fit(figure.png, width - 3, height)
            pdf.image(io.BytesIO(compress(figure.png)[0]), left, top, w, h)
            pdf.set_xy(left - pdf.c_margin, top + height + 0.8)
            self._font(7, color=_DIM)
            pdf.multi_cell(width - 3, 3.2, self._letters.printable(figure.caption), align="L")
            lowest = max(lowest, pdf.get_y())
        pdf.set_xy(_MARGIN, lowest + 2)

    def _histograms(self, histograms: tuple[Histogram, ...]) -> None:
        if not histograms:
            return
        self._room(40)
        pdf, top, width = self._pdf, self._pdf.get_y() + 1, _WIDTH / 3
        for n, histogram in enumerate(histograms[:3]):
            self._histogram(histogram, _MARGIN + n * width, top, width - 5)
        pdf.set_xy(_MARGIN, top + 37)

    def _histogram(self, histogram: Histogram, left: float, top: float, width: float) -> None:
        pdf, height = self._pdf, 26.0
        most, n = max(max(histogram.counts), 1), len(histogram.counts)
        pdf.set_fill_color(77, 126, 168)
        for k, count in enumerate(histogram.counts):
            if count:
                tall = height * count / most
                pdf.rect(
                    left + width * k / n, top + height - tall, width / n * 0.85, tall, style="F"
                )
        pdf.line(left, top + height, left + width, top + height)
        self._font(7, color=_DIM)
        for edge, align in ((histogram.edges[0], "L"), (histogram.edges[-1], "R")):
            pdf.set_xy(left, top + height + 0.5)
            pdf.cell(width, 4, f"{edge:.2g}", align=align)
        pdf.set_xy(left, top + height + 4.5)
        unit = f", {histogram.unit}" if histogram.unit else ""
        pdf.multi_cell(width, 3.4, self._letters.printable(histogram.title + unit), align="L")

    def _text(
        self,
        text: str,
        size: float,
        *,
        bold: bool = False,
        color: Color = _INK,
        height: float = 5.0,
    ) -> None:
        self._font(size, bold=bold, color=color)
        self._pdf.multi_cell(
            _WIDTH, height, self._letters.printable(text), align="L", new_x="LMARGIN", new_y="NEXT"
        )

    def _font(self, size: float, *, bold: bool = False, color: Color = _INK) -> None:
        self._pdf.set_font(self._letters.family, "B" if bold else "", size)
        self._pdf.set_text_color(*color)

    def _room(self, height: float) -> None:
        """Begin a page when less than this is left of the one at hand."""
        if self._pdf.get_y() + height > _BOTTOM:
            self._pdf.add_page()


def _tag(verdict: Verdict) -> FontFace:
    from fpdf.fonts import FontFace

    color, behind = _COLORS[verdict]
    return FontFace(color=color, fill_color=behind)


def _row_height(row: tuple[Figure, ...], across: int) -> float:
    width = _WIDTH / across - 3
    return max((_fit(figure.png, width, _TALLEST)[1] for figure in row), default=0.0)


def _fit(png: bytes, width: float, height: float) -> tuple[float, float]:
    """The size of a picture that fits."""
    w, h = Picture.open(io.BytesIO(png)).size
    scale = min(width / w, height / h)
    return w * scale, h * scale
