"""Names in other scripts in the PDF of a report: printed, or reported as missing."""

from __future__ import annotations

import re
import zlib

import pytest
from neuralreg.review.report import pdf_fonts
from neuralreg.review.report.document import Card, Document, Figure, Section, Table, VerdictCell
from neuralreg.review.report.pdf import as_pdf
from neuralreg.review.report_model import Histogram

needs_font = pytest.mark.skipif(
    pdf_fonts.font_folder() is None, reason="matplotlib, whose font is embedded, is not installed"
)


def a_pdf(words: str) -> str:
    """Everything that a PDF with these words holds, unpacked."""
    section = Section("Names", (words,))
    cards = (Card("Dice", "0.9", "pass"),)
    made = as_pdf(Document("Review", "of names", "pass", "Nothing", cards, (section,)))
    parts = [made]
    for packed in re.findall(rb"stream\n(.*?)\nendstream", made, re.DOTALL):
        try:
            parts.append(zlib.decompress(packed))
        except zlib.error:  # a stream that is not packed is there already
            continue
    return b"\n".join(parts).decode("latin-1")


@needs_font
@pytest.mark.parametrize("name", ["Żółć", "Жуков", "Ελένη", "Հայ"])
def test_a_name_in_another_script_is_printed(name):
    found = a_pdf(name)
    assert "DejaVuSans" in found
    codes = {match.upper() for match in re.findall(r"<([0-9A-Fa-f]{4})>", found)}
    assert {f"{ord(letter):04X}" for letter in name} <= codes  # what a reader copies out
    assert "question marks" not in found


def test_latin_names_need_no_font_of_ours():
    found = a_pdf("Größe, señor, ≤ 3 mm")
    assert "DejaVuSans" not in found
    assert "Gr\xf6\xdfe" in found or r"Gr\366\337e" in found


@needs_font
@pytest.mark.parametrize("name", ["北京", "محمد", "שרה"])
def test_what_no_font_here_can_print_is_said(name):
    from fpdf import FPDF

    letters = pdf_fonts.choose_fonts(FPDF(), [name, "Ж"])
    assert letters.missing == set(name)
    assert letters.printable(f"{name} Ж") == "?" * len(name) + " Ж"
    assert f"{len(set(name))} letters of names" in letters.note
    assert "HTML report" in letters.note
    assert "FontFile2" in a_pdf(f"{name} Ж")


def test_without_a_font_the_report_says_what_to_install(monkeypatch):
    monkeypatch.setattr(pdf_fonts, "font_folder", lambda: None)
    found = a_pdf("Жуков")
    assert "cannot be printed and appear as" in found.replace("\\", "")
    assert "matplotlib" in found


def test_no_text_of_a_document_is_forgotten():
    table = Table(("six", "seven"), (("eight", VerdictCell("shown")),), (0.5, 0.5), "five")
    histogram = Histogram("ten", "eleven", (0.0, 1.0), (1,))
    figures = (Figure(b"", "nine"),)
    section = Section("three", ("four",), (table,), figures, histograms=(histogram,))
    cards = (Card("twelve", "thirteen", "pass"),)
    document = Document("one", "two", "pass", "fourteen", cards, (section,))
    words = {"one", "two", "three", "four", "five", "six", "seven", "eight", "no limit", "nine"}
    words |= {"ten", "eleven", "twelve: pass", "thirteen", "fourteen"}
    assert words == set(document.texts())
