"""Tables of pairs: CSV, TSV, XLSX and JSON lines, one row for each registration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralreg.errors import PackageMissing, UnreadableFile
from neuralreg.io.files import suffix_of
from neuralreg.io.tables import read_table, read_text
from neuralreg.registration.options import RegistrationOptions
from neuralreg.studies.table.study_rows import COLUMNS, Fault, StudyRow, doubled_rows, row_of

JSON_LINES = (".jsonl", ".ndjson", ".jsonlines")


@dataclass(frozen=True)
class CellTable:
    """Cells by column, without a meaning yet.

    Attributes:
        path: of the file.
        columns: in the file's order.
        rows: line in the file, and cells by column.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, Any]], ...]


def read_cells(path: Path) -> CellTable:
    """The cells of a table, by the ending of its name.

    Args:
        path: .xlsx (the first sheet), .jsonl (an object per line), or a text table of any
            separator, see `read_table`.

    Raises:
        UnreadableFile: The file is missing or no table, or has two columns of one name.
        PackageMissing: openpyxl, for .xlsx.
    """
    if suffix_of(path) in (".xlsx", ".xlsm"):
        table = _read_workbook(path)
    elif suffix_of(path) in JSON_LINES:
        table = _read_json_lines(path)
    else:
        table = _read_text_table(path)
    twice = {name for name in table.columns if table.columns.count(name) > 1}
    if twice:
        raise UnreadableFile(
            f"{path} has two columns of one name", got=", ".join(sorted(twice)), wanted="one"
        )
    if not table.rows:
        raise UnreadableFile(f"{path} has no rows", wanted="a header and a row for each pair")
    return table


def _column(name: str) -> str:
    """Names of columns in any letter case, with blanks or dashes as in options."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _read_text_table(path: Path) -> CellTable:
    table = read_table(path)
    if not table.rows:
        return CellTable(path, (), ())
    columns = tuple(map(_column, table.rows[0].cells))
    rows = []
    for row in table.rows[1:]:
        if len(row.cells) > len(columns) and any(row.cells[len(columns) :]):
            raise UnreadableFile(f"{row.in_words(path)} has more cells than the header")
        rows.append((row.line, dict(zip(columns, row.cells, strict=False))))
    return CellTable(path, columns, tuple(rows))


def _read_workbook(path: Path) -> CellTable:
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ModuleNotFoundError as error:
        raise PackageMissing(
            "workbooks of spreadsheet programs need the package openpyxl",
            where=str(path),
            remedy="Install neuralreg[batch], or save the sheet as CSV.",
        ) from error
    from zipfile import BadZipFile

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (OSError, BadZipFile, InvalidFileException, KeyError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableFile(f"{path} cannot be read as a workbook", got=reason) from error
    try:
        lines = [
            list(map(_text, cells)) for cells in book.worksheets[0].iter_rows(values_only=True)
        ]
    finally:
        book.close()
    used = [(number, cells) for number, cells in enumerate(lines, start=1) if any(cells)]
    if not used:
        return CellTable(path, (), ())
    header = [_column(cell) for cell in used[0][1]]
    while header and not header[-1]:
        header.pop()
    rows = [(number, dict(zip(header, cells, strict=False))) for number, cells in used[1:]]
    return CellTable(path, tuple(header), tuple(rows))


def _text(value: object) -> str:
    """A cell of a workbook as text: 7.0 is the 7 that was typed."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _read_json_lines(path: Path) -> CellTable:
    text, _ = read_text(path)
    columns: dict[str, None] = {}
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except ValueError as error:
            raise UnreadableFile(f"{path}, line {number} is no JSON", got=str(error)) from error
        if not isinstance(cells, dict):
            raise UnreadableFile(f"{path}, line {number} is no object of JSON", got=line[:40])
        cells = {_column(name): value for name, value in cells.items()}
        columns.update(dict.fromkeys(cells))
        rows.append((number, cells))
    return CellTable(path, tuple(columns), tuple(rows))


def rows_of(
    table: CellTable, common: RegistrationOptions, given: Mapping[str, str]
) -> tuple[list[StudyRow], list[Fault]]:
    """The rows of a table, and every fault of their cells.

    Args:
        table: its cells; paths are relative to its folder.
        common: options of the command, for empty cells.
        given: inputs that the command gives to rows without their own, by role.
    """
    faults = [
        Fault("there is no such column" + _nearest(name), 1, name)
        for name in table.columns
        if name and name not in COLUMNS
    ]
    faults += _missing_columns(table.columns, given)
    if faults:
        return [], faults
    folder = table.path.absolute().parent
    rows = []
    for line, cells in table.rows:
        row, wrong = row_of({**given, **_without_blanks(cells)}, line, folder, common)
        faults += wrong
        if row is not None:
            rows.append(row)
    return rows, faults + doubled_rows(rows)


def _without_blanks(cells: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cells.items() if name and value not in ("", None)}


def _missing_columns(columns: Sequence[str], given: Mapping[str, str]) -> list[Fault]:
    return [
        Fault("the column is missing", 1, name)
        for name in ("id", "fixed", "moving")
        if name not in columns and name not in given
    ]


def _nearest(name: str) -> str:
    """The column that was probably meant, in words."""
    from difflib import get_close_matches

    near = get_close_matches(name, COLUMNS, n=1)
    return f"; was {near[0]} meant?" if near else f"; wanted {', '.join(COLUMNS)}"
