"""A report as sections of words, tables and pictures, whatever format they are written in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from neuralreg.review.report_model import Histogram, Verdict

VERDICT_WORDS: dict[Verdict, str] = {
    "pass": "pass",
    "attention": "attention",
    "fail": "fail",
    "not measured": "not measured",
    "shown": "no limit",
}


@dataclass(frozen=True)
class VerdictCell:
    """A verdict in a table, which is colored."""

    verdict: Verdict

    @property
    def words(self) -> str:
        """The verdict for people."""
        return VERDICT_WORDS[self.verdict]


@dataclass(frozen=True)
class Card:
    """One of the numbers that matter most.

    Attributes:
        title: What it is.
        value: The number with its unit; "not measured" where there is none.
        verdict: On the number.
    """

    title: str
    value: str
    verdict: Verdict

    @property
    def caption(self) -> str:
        """The title and the verdict."""
        if self.verdict == "not measured":
            return self.title
        return f"{self.title}: {VERDICT_WORDS[self.verdict]}"


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Attributes:
        header: Titles of the columns.
        rows: Texts; a verdict is a `VerdictCell`.
        widths: Shares of the page.
        title: Above the table.
        numbers: Columns that are aligned to the right.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str | VerdictCell, ...], ...]
    widths: tuple[float, ...]
    title: str = ""
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A picture (PNG) and what it shows."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what is under it.

    Attributes:
        title: The heading.
        words: Paragraphs.
        tables: Below the paragraphs.
        figures: Below the tables.
        across: Figures per row.
        histograms: Below the figures.
    """

    title: str
    words: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    across: int = 3
    histograms: tuple[Histogram, ...] = ()

    def texts(self) -> Iterator[str]:
        """All texts of the section."""
        yield from (self.title, *self.words)
        for table in self.tables:
            yield from (table.title, *table.header)
            for row in table.rows:
                yield from (cell if isinstance(cell, str) else cell.words for cell in row)
        yield from (figure.caption for figure in self.figures)
        for histogram in self.histograms:
            yield from (histogram.title, histogram.unit)


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: What was reviewed.
        subtitle: By which limits, by which program, when.
        verdict: Of the review.
        headline: The verdict in words.
        cards: The numbers that matter most.
        sections: Everything else.
    """

    title: str
    subtitle: str
    verdict: Verdict
    headline: str
    cards: tuple[Card, ...]
    sections: tuple[Section, ...] = field(default=())

    def texts(self) -> Iterator[str]:
        """All texts of the report."""
        yield from (self.title, self.subtitle, self.headline)
        for card in self.cards:
            yield from (card.caption, card.value)
        for section in self.sections:
            yield from section.texts()
