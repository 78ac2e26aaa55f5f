"""Landmarks and pairs of landmarks, and their files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuralreg.errors import InvalidOption, UnreadableFile, UnwritableOutput
from neuralreg.io.files import suffix_of, write_whole
from neuralreg.io.landmark_tables import Point, points_in
from neuralreg.io.tables import Row, format_table, read_table, read_text

_MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)
_RAS, _LPS = ("RAS", "0"), ("LPS", "1")  # as the versions of 3D Slicer write them
_MILLIMETERS = ("mm", ["mm", "UCUM", "millimeter"], None)
_FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


@dataclass(frozen=True)
class Landmarks:
    """Named points in LPS mm.

    Attributes:
        names: of the points, which need not differ.
        points: None for those without a position; they keep the place of the others.
        notes: what was assumed or left out while reading, in words.
    """

    names: tuple[str, ...]
    points: tuple[Point | None, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.points):
            raise InvalidOption(
                "each landmark has a name and a position",
                got=f"{len(self.names)} names and {len(self.points)} points",
            )

    def defined_points(self) -> list[tuple[str, Point]]:
        """Names and positions of the points that have one."""
        points = zip(self.names, self.points, strict=True)
        return [(name, point) for name, point in points if point is not None]


@dataclass(frozen=True)
class Pairs:
    """Landmarks in the fixed image and their partners in the moving one, in LPS mm.

    Attributes:
        names: of the pairs.
        fixed, moving: the points.
        notes: what was assumed or left out, in words.
    """

    names: tuple[str, ...]
    fixed: tuple[Point, ...]
    moving: tuple[Point, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, fixed: Landmarks, moving: Landmarks) -> Pairs:
        """Landmarks of the same name, or, where no name occurs on both sides, of the same order.

        Those without a position on one side are left out, with a note.

        Raises:
            InvalidOption: Some have no partner.
        """
        shared = [name for name in fixed.names if name in set(moving.names)]
        unique = len(set(fixed.names)) == len(fixed.names) == len(set(moving.names))
        notes = (*fixed.notes, *moving.notes)
        if unique and len(shared) == len(fixed.names) == len(moving.names):
            partner = dict(zip(moving.names, moving.points, strict=True))
            return cls._complete_only(
                fixed.names, fixed.points, [partner[n] for n in fixed.names], notes
            )
        if len(fixed.points) == len(moving.points) and not (unique and shared):
            if fixed.names != moving.names:
                notes += ("the names of the landmarks differ: they were paired by their order",)
            return cls._complete_only(fixed.names, fixed.points, moving.points, notes)
        alone = sorted(set(fixed.names) ^ set(moving.names))
        raise InvalidOption(
            "each landmark has a partner of its name, or both lists have the same order and length",
            got=f"{len(fixed.points)} fixed and {len(moving.points)} moving landmarks, "
            f"{len(shared)} names on both sides, without a partner: {', '.join(alone) or 'none'}",
        )

    @classmethod
    def _complete_only(
        cls,
        names: Sequence[str],
        fixed: Sequence[Point | None],
        moving: Sequence[Point | None],
        notes: tuple[str, ...],
    ) -> Pairs:
        pairs = list(zip(names, fixed, moving, strict=True))
        complete = [(n, f, m) for n, f, m in pairs if f is not None and m is not None]
        left_out = [name for name, f, m in pairs if f is None or m is None]
        if left_out:
            which = ", ".join(left_out)
            notes += (f"landmarks without a position on one side were left out: {which}",)
        return cls(
            tuple(name for name, _, _ in complete),
            tuple(f for _, f, _ in complete),
            tuple(m for _, _, m in complete),
            notes,
        )

    def finite(self) -> Pairs:
        """The pairs whose coordinates are all numbers; the others are left out, with a note."""
        fixed, moving = (tuple(map(_finite, side)) for side in (self.fixed, self.moving))
        return self._complete_only(self.names, fixed, moving, self.notes)


def read_landmarks(path: str | Path) -> Landmarks:
    """The landmarks in a file.

    Args:
        path: A `.mrk.json` or `.fcsv` of 3D Slicer, or a table (CSV, TSV) with name, x, y, z or x,
            y, z in LPS mm.

    Raises:
        UnreadableFile: The file is missing or holds something else.
    """
    path = Path(path)
    if suffix_of(path) == ".json":
        return _from_markups(path, *read_text(path))
    if suffix_of(path) == ".fcsv":
        return _from_fcsv(path)
    table = read_table(path)
    names, rows, notes = points_in(table, ("x", "y", "z"))
    return Landmarks(names, tuple(map(_finite, rows)), notes)


def read_pairs(path: str | Path, partner: str | Path | None = None) -> Pairs:
    """Pairs in one table, or in two files of landmarks.

    One table: name and six (in the plane four) numbers, or only these, in a row: fixed x y z, then
    moving x y z, LPS mm, or columns that a header names: fixed_x or fx, moving_x or mx, ...

    Args:
        path: The table, or the landmarks of the fixed image.
        partner: The landmarks of the moving image.

    Raises:
        UnreadableFile: A file is missing or holds something else.
        InvalidOption: Some landmarks have no partner.
    """
    path = Path(path)
    if partner is not None:
        try:
            return Pairs.of(read_landmarks(path), read_landmarks(partner))
        except InvalidOption as error:
            raise error.at(f"{path}, {partner}") from error
    if suffix_of(path) in (".json", ".fcsv"):
        raise UnreadableFile(
            f"{path} holds the landmarks of one image",
            remedy="Give those of the moving image as well (--moving-landmarks).",
        )
    axes = ("fixed_x", "fixed_y", "fixed_z", "moving_x", "moving_y", "moving_z")
    names, rows, notes = points_in(read_table(path), axes)
    fixed = tuple(row[: len(row) // 2] for row in rows)
    moving = tuple(row[len(row) // 2 :] for row in rows)
    return Pairs(names, fixed, moving, notes).finite()


def write_landmarks(landmarks: Landmarks, path: str | Path) -> None:
    """Write a `.mrk.json` (LPS) or `.fcsv` that 3D Slicer opens, or a table.

    Raises:
        UnwritableOutput: The folder is closed or the suffix is neither.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if suffix not in (".json", ".fcsv", ".csv", ".tsv"):
        raise UnwritableOutput(
            f"{path} has no suffix of landmark files", wanted=".mrk.json, .fcsv, .csv or .tsv"
        )
    if suffix == ".json":
        _write(json.dumps(_as_markups(landmarks), indent=1) + "\n", path)
        return
    if suffix == ".fcsv":
        _write(_as_fcsv(landmarks), path)
        return
    d = max((len(point) for _, point in landmarks.defined_points()), default=3)
    points = [point or (math.nan,) * d for point in landmarks.points]
    _write(_table(("x", "y", "z")[:d], landmarks.names, points), path)


def write_pairs(pairs: Pairs, path: str | Path) -> None:
    """Write pairs as one CSV.

    Raises:
        UnwritableOutput: The folder is closed or missing.
    """
    d = max(map(len, pairs.fixed), default=3)
    axes = [f"{side}_{axis}" for side in ("fixed", "moving") for axis in "xyz"[:d]]
    points = [f + m for f, m in zip(pairs.fixed, pairs.moving, strict=True)]
    _write(_table(axes, pairs.names, points), Path(path))


def _write(text: str, path: Path) -> None:
    with write_whole(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def _table(axes: Sequence[str], names: Sequence[str], points: Sequence[Point]) -> str:
    rows = ([n, *(repr(float(v)) for v in p)] for n, p in zip(names, points, strict=True))
    return format_table(("name", *axes), rows)


def _finite(point: Point | None) -> Point | None:
    return point if point is not None and all(map(math.isfinite, point)) else None


def _as_fcsv(landmarks: Landmarks) -> str:
    """In LPS, as the last version of 3D Slicer that knew no other format wrote it."""
    settings = ("Markups fiducial file version = 4.11", "CoordinateSystem = LPS",
                f"columns = {_FCSV_COLUMNS}")  # fmt: skip
    comments = "".join(f"# {line}\n" for line in settings)
    named = zip(landmarks.names, landmarks.points, strict=True)
    rows = [
        [f"F-{n}", *map(repr, point), "0", "0", "0", "1", "1", "1", "0", name, "", ""]
        for n, (name, point) in enumerate(named, start=1)
        if point is not None
    ]
    return comments + "".join(format_table(row, ()) for row in rows)


def _as_markups(landmarks: Landmarks) -> dict[str, object]:
    points = [
        {
            "id": str(n),
            "label": name,
            "position": list(point or (0.0, 0.0, 0.0)),
            "positionStatus": "defined" if point else "undefined",
        }
        for n, (name, point) in enumerate(
            zip(landmarks.names, landmarks.points, strict=True), start=1
        )
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": points,
    }
    return {"@schema": _MARKUPS_SCHEMA, "markups": [markup]}


def _from_markups(path: Path, text: str, notes: tuple[str, ...]) -> Landmarks:
    try:
        markups = json.loads(text)["markups"]
        control_points = markups[0]["controlPoints"]
        system = markups[0].get("coordinateSystem", "LPS")
        unit = markups[0].get("coordinateUnits", "mm")
        names = tuple(str(p.get("label") or n) for n, p in enumerate(control_points, start=1))
        points = [_position(point) for point in control_points]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnreadableFile(
            f"{path} holds no markups", got=str(error), wanted="a .mrk.json of 3D Slicer"
        ) from error
    if unit not in _MILLIMETERS:
        raise UnreadableFile(
            f"{path} has coordinates that are not in mm", got=str(unit), wanted="mm"
        )
    if len(markups) > 1:
        raise UnreadableFile(
            f"{path} holds several lists of points", got=f"{len(markups)} lists", wanted="one"
        )
    return Landmarks(names, _as_lps(path, points, system), notes)


def _position(control_point: dict[str, Any]) -> Point | None:
    if control_point.get("positionStatus", "defined") != "defined":
        return None
    return _finite(tuple(float(v) for v in control_point["position"]))


def _as_lps(path: Path, points: Sequence[Point | None], system: object) -> tuple[Point | None, ...]:
    name = str(system).upper()
    if name not in _RAS + _LPS:
        raise UnreadableFile(
            f"{path} is in a coordinate system that cannot be read",
            got=str(system),
            wanted="LPS or RAS",
            remedy="Load it in 3D Slicer and save it as .mrk.json.",
        )
    if name in _LPS:
        return tuple(points)
    return tuple(point and (-point[0], -point[1], *point[2:]) for point in points)


def _from_fcsv(path: Path) -> Landmarks:
    """Slicer 4's format: rows of values, with the coordinate system and columns in comments."""
    table = read_table(path)
    settings = {"CoordinateSystem": "RAS", "columns": _FCSV_COLUMNS}
    names, points = list[str](), list[Point | None]()
    for row in table.rows:
        if row.cells[0].startswith("#"):
            name, _, value = ",".join(row.cells).lstrip("# ").partition("=")
            settings[name.strip()] = value.strip()
            continue
        cells = dict(zip(settings["columns"].split(","), row.cells, strict=False))
        names.append(cells.get("label") or str(len(names) + 1))
        points.append(_fcsv_point(path, row, [cells.get(axis, "") for axis in "xyz"]))
    system = settings["CoordinateSystem"]
    return Landmarks(tuple(names), _as_lps(path, points, system), table.notes)


def _fcsv_point(path: Path, row: Row, cells: list[str]) -> Point | None:
    try:
        return _finite(tuple(map(float, cells)))
    except ValueError as error:
        raise UnreadableFile(
            f"{row.in_words(path)} has no position", wanted="x, y and z, as 3D Slicer writes them"
        ) from error
