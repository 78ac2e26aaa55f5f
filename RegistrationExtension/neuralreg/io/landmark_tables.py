"""Which columns of a table hold the coordinates and the names of landmarks."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mode

from neuralreg.errors import UnreadableFile
from neuralreg.io.tables import Row, Table

Point = tuple[float, ...]  # x y z in LPS mm
_NAMES = ("name", "label", "landmark", "point", "id", "index", "number", "nr", "no", "n", "")
_OTHER_UNITS = {"cm", "m", "um", "\u00b5m", "\u03bcm", "inch", "in", "px", "vox", "voxel", "voxels",
                "pixel", "pixels", "ijk"}  # fmt: skip
_WORDS_TOO = {"in", "m"}  # these are units in brackets only
_SHORT = {"f": "fixed", "m": "moving"}


@dataclass(frozen=True)
class _Columns:
    """Where names and coordinates are.

    Attributes:
        name: column of the names, None for none.
        coordinates: their columns, in the order of the axes.
        end: column from which on there is nothing.
    """

    name: int | None
    coordinates: tuple[int, ...]
    end: int


def points_in(
    table: Table, axes: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Point, ...], tuple[str, ...]]:
    """Names, coordinates and notes of the rows of a table, in their order.

    Args:
        table: Of landmarks, with or without a header and names.
        axes: What the columns in 3D are called, such as x, y, z; those in z may be missing.

    Returns:
        A missing coordinate is NaN. Without names the rows are numbered. A note names each row that
        was left out as a comment.

    Raises:
        UnreadableFile: The table has other columns, or a row without numbers.
    """
    header, rows, notes = _parts(table)
    columns = _columns(table, header, rows, axes)
    names, points = list[str](), list[Point]()
    for row in rows:
        names.append(_name(row, columns, len(names) + 1))
        points.append(_point(table, row, columns))
    return tuple(names), tuple(points), (*table.notes, *notes)


def _parts(table: Table) -> tuple[tuple[str, ...], list[Row], list[str]]:
    """The cells of the header, () without one; the other rows; a note per row left out."""
    header: tuple[str, ...] = ()
    rows, notes = list[Row](), list[str]()
    for row in table.rows:
        numbers = any(table.number(cell) is not None for cell in row.cells)
        words = sum(not table.is_number(cell) for cell in row.cells)
        if not rows and not numbers and words > 1:  # of several such lines the last one
            header = tuple(cell.lstrip("# ") for cell in row.cells)
        elif not rows and not header and not numbers and row is not table.rows[-1]:
            notes.append(f"{row.in_words(table.path)} was left out as a title")
        elif not row.cells[0].startswith("#"):
            rows.append(row)
        elif numbers:
            notes.append(f"{row.in_words(table.path)} was left out as a comment")
    return header, rows, notes


def _columns(table: Table, header: Sequence[str], rows: list[Row], axes: Sequence[str]) -> _Columns:
    _refuse_other_frames(table, header)
    by_name = _columns_by_name(header, axes)
    width = mode([len(row.cells) for row in rows] or [len(header)])
    if by_name and max(by_name.coordinates) < max((len(row.cells) for row in rows), default=0):
        return by_name
    first_is_name = any(not table.is_number(row.cells[0]) for row in rows)
    flat = len(axes) - len(axes) // 3
    if header and width < len(axes) + 1 and _plain(header[0]) in _NAMES:
        first_is_name = True
    if not header and width == len(axes) + 2 and _counts(table, rows):
        return _Columns(1, tuple(range(2, width)), width)
    for n in (len(axes), flat):
        if rows and width == n and not first_is_name:
            return _Columns(None, tuple(range(n)), n)
        if rows and width == n + 1 and (first_is_name or n == len(axes) or len(axes) == 6):
            return _Columns(0, tuple(range(1, n + 1)), n + 1)
    pairs = len(axes) == 6
    raise UnreadableFile(
        f"{table.path} holds no {'pairs of ' if pairs else ''}landmarks",
        got=f"{len(rows)} rows of {width} cells",
        wanted="a name and 6 numbers a row (4 in the plane): fixed x y z, moving x y z"
        if pairs
        else "rows of a name and x, y, z in LPS mm",
    )


def _columns_by_name(header: Sequence[str], axes: Sequence[str]) -> _Columns | None:
    """The columns that the header names; None where it does not name all of them once."""
    plain = [_plain(cell) for cell in header]
    flat = [axis for axis in axes if not axis.endswith("z")]
    for wanted in (list(map(_plain, axes)), list(map(_plain, flat))):
        if all(plain.count(axis) == 1 for axis in wanted):
            columns = tuple(plain.index(axis) for axis in wanted)
            others = [n for n in range(len(plain)) if n not in columns]
            by_word = [plain.index(word) for word in _NAMES if word in plain]
            return _Columns(next(iter(by_word or others), None), columns, len(header))
    return None


def _counts(table: Table, rows: list[Row]) -> bool:
    """Whether the first column counts the rows, from 0 or 1, and the second holds names."""
    counts = [table.number(row.cells[0]) for row in rows]
    named = any(not table.is_number(row.cells[1]) for row in rows)
    return named and counts in ([*range(len(rows))], [*range(1, len(rows) + 1)])


def _refuse_other_frames(table: Table, header: Sequence[str]) -> None:
    """Raise an error for coordinates that the header says are not in LPS mm."""
    words = set(re.split(r"[^a-z]+", " ".join(header).lower()))
    brackets = (re.findall(r"[\[(](.*?)[\])]", cell.lower()) for cell in header)
    units = {unit.strip() for cell_units in brackets for unit in cell_units}
    if "ras" in words or {"r", "a", "s"} <= words:
        what, remedy = "coordinates in RAS", "Change the sign of x and y, and the header."
    elif {"i", "j", "k"} <= words or (units | words - _WORDS_TOO) & _OTHER_UNITS:
        what, remedy = "coordinates that are not in mm", "Convert them, and change the header."
    else:
        return
    raise UnreadableFile(
        f"{table.path} has {what}", got=", ".join(header), wanted="LPS mm", remedy=remedy
    )


def _plain(cell: str) -> str:
    """A column's name without units and signs: "Fixed_X [mm]", "fx" and "x_fixed" are "fixedx"."""
    words = re.sub(r"[\[(].*?[\])]", "", cell.lower())
    letters = re.sub(r"\b(mm|lps)\b|[^a-z0-9]", "", words.replace("_", " "))
    if match := re.fullmatch(r"([xyz])(fixed|moving|f|m)", letters):
        letters = match[2] + match[1]
    if match := re.fullmatch(r"([fm])([xyz])", letters):
        letters = _SHORT[match[1]] + match[2]
    return letters


def _name(row: Row, columns: _Columns, number: int) -> str:
    if columns.name is None or columns.name >= len(row.cells):
        return str(number)
    return row.cells[columns.name] or str(number)


def _point(table: Table, row: Row, columns: _Columns) -> Point:
    last = max(columns.coordinates)
    used = row.cells + ("",) * (last + 1 - len(row.cells))
    cells = [used[n] for n in columns.coordinates]
    wrong = [cell for cell in cells if not table.is_number(cell)]
    extra = any(row.cells[columns.end :])  # such as a decimal comma between commas
    if wrong or extra:
        raise UnreadableFile(
            f"{row.in_words(table.path)} is no row of landmarks",
            got=", ".join(wrong) or f"{len(row.cells)} cells",
            wanted=f"{len(cells)} numbers, nan where a point has no position",
        )
    return tuple(math.nan if (v := table.number(cell)) is None else v for cell in cells)
