"""Tables in text files, as spreadsheets, statistics packages and people write them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from neuralreg.errors import UnreadableFile

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NOTHING = {"", "nan", "na", "n/a", "none", "null", "nil", "-", "--", "inf", "+inf", "-inf"}
_SEPARATORS = (";", "\t", ",", "|")  # of equally good ones the first; without any of them blanks
_SPREADSHEET_HINT = re.compile(r"sep=(.)\s*(?:\r\n|\n|\r)", re.IGNORECASE)  # of Excel, line 1
_MINUS = "\u2212"  # as typesetting programs and statistics packages write it
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls
_UTF_16_SHARE = 0.2  # of the bytes are 0 in UTF-16
_CONTROL_SHARE = 0.02  # of the characters at most, in a text


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        line: of the file in which it ends, from 1.
        cells: without the blanks around them.
    """

    line: int
    cells: tuple[str, ...]

    def in_words(self, path: Path) -> str:
        """The file, the line, and what is in it."""
        return f"{path}, line {self.line} ({', '.join(self.cells)})"


@dataclass(frozen=True)
class Table:
    """The cells of a file; what they mean is for the reader to say.

    Attributes:
        path: of the file.
        rows: without blank ones; a header, where there is one, is the first.
        separator: of the cells.
        notes: what was assumed while reading, in words.
    """

    path: Path
    rows: tuple[Row, ...]
    separator: str
    notes: tuple[str, ...]

    def number(self, cell: str) -> float | None:
        """The number in a cell, also with a decimal comma where that does not separate cells."""
        if self.separator != ",":
            cell = cell.replace(",", ".", 1)
        cell = cell.replace(_MINUS, "-")
        return float(cell) if _NUMBER.fullmatch(cell) else None

    def is_number(self, cell: str) -> bool:
        """Whether a cell holds a number, or one of the words for a number that is missing."""
        return cell.lower() in _NOTHING or self.number(cell) is not None


def read_table(path: Path) -> Table:
    """The table in a file with commas, semicolons, tabs, bars or blanks between its cells.

    Args:
        path: UTF-8, UTF-16 with a byte order mark, or Windows-1252 (Latin-1); a cell in quotes may
            have several lines.

    Raises:
        UnreadableFile: The file is missing, or its quotes do not match.
    """
    text, notes = read_text(path)
    if hint := _SPREADSHEET_HINT.match(text):
        return _split(path, text[hint.end() :], hint[1], notes, 1)
    tables = [_split(path, text, separator, notes) for separator in _SEPARATORS]
    best = max(tables, key=_plausibility)
    alone = all(len(row.cells) == 1 for row in best.rows)
    return _split(path, text, " ", notes) if alone else best


def read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """The text of a file, and what had to be assumed about its encoding, in words.

    Raises:
        UnreadableFile: The file is missing, or no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableFile(
            f"{path} cannot be opened", got=error.strerror or str(error), remedy="Check the path."
        ) from error
    if content.startswith(_WORKBOOKS):
        raise UnreadableFile(
            f"{path} is a workbook of a spreadsheet program",
            wanted="a text file",
            remedy="Save the sheet as CSV.",
        )
    text, notes = _decode(path, content)
    control = sum(not letter.isprintable() and not letter.isspace() for letter in text)
    if control > _CONTROL_SHARE * len(text) + 1:
        raise UnreadableFile(f"{path} is no text file", got=f"{control} control characters")
    return text, notes


def _decode(path: Path, content: bytes) -> tuple[str, tuple[str, ...]]:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace"), ()
    if content.count(0) > _UTF_16_SHARE * len(content):
        order = "utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be"
        note = f"{path} has no byte order mark: it was read as UTF-16"
        return content.decode(order, errors="replace"), (note,)
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        note = f"{path} is not in UTF-8: its names were read as Windows-1252"
        return content.decode("cp1252", errors="replace"), (note,)


def format_cell(value: object) -> str:
    """A value for a table: numbers with six digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def format_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """The text of a table with commas, which `read_table` takes apart again."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([list(header), *map(list, rows)])
    return file.getvalue()


def _split(
    path: Path, text: str, separator: str, notes: tuple[str, ...], lines_before: int = 0
) -> Table:
    if separator == " ":
        text = "".join(re.sub(r"[ \t]+", " ", line).lstrip(" ") for line in text.splitlines(True))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                line = lines_before + reader.line_num
                rows.append(Row(line, tuple(cell.strip() for cell in cells)))
    except csv.Error as error:
        raise UnreadableFile(
            f"{path} is no table", got=f"{error}, line {reader.line_num}"
        ) from error
    used = (n for row in rows for n, cell in enumerate(row.cells, start=1) if cell)
    width = max(used, default=0)  # spreadsheets add columns without content
    rows = [Row(row.line, row.cells[:width]) for row in rows]
    return Table(path, tuple(rows), separator, notes)


def _plausibility(table: Table) -> tuple[bool, int, float]:
    """More cells that are numbers, then more rows as wide as the first, speak for a separator."""
    if not table.rows:
        return False, 0, 0.0
    width = len(table.rows[0].cells)
    numbers = sum(table.number(cell) is not None for row in table.rows for cell in row.cells)
    alike = sum(len(row.cells) == width for row in table.rows) / len(table.rows)
    return width > 1, numbers, alike
