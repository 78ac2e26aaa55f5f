"""Pairs of landmarks and their files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuralreg.errors import InvalidOption, UnreadableFile, UnwritableOutput
from neuralreg.review.report_model import Point

_MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)


@dataclass(frozen=True)
class Landmarks:
    """Named points in LPS mm."""

    names: tuple[str, ...]
    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.points):
            raise InvalidOption(
                "each landmark has a name and a position",
                got=f"{len(self.names)} names and {len(self.points)} points",
            )


@dataclass(frozen=True)
class Pairs:
    """Landmarks in the fixed image and their partners in the moving one, in LPS mm."""

    names: tuple[str, ...]
    fixed: tuple[Point, ...]
    moving: tuple[Point, ...]

    @classmethod
    def of(cls, fixed: Landmarks, moving: Landmarks) -> Pairs:
        """Landmarks of the same name, or, where no name occurs on both sides, of the same order.

        Raises:
            InvalidOption: Some have no partner.
        """
        shared = [name for name in fixed.names if name in set(moving.names)]
        unique = len(set(fixed.names)) == len(fixed.names) == len(set(moving.names))
        if unique and len(shared) == len(fixed.names) == len(moving.names):
            partner = dict(zip(moving.names, moving.points, strict=True))
            return cls(fixed.names, fixed.points, tuple(partner[n] for n in fixed.names))
        if len(fixed.points) == len(moving.points) and not (unique and shared):
            return cls(fixed.names, fixed.points, moving.points)
        raise InvalidOption(
            "each landmark has a partner of its name, or both lists have the same order and length",
            got=f"{len(fixed.points)} fixed and {len(moving.points)} moving landmarks, "
            f"{len(shared)} names on both sides",
        )


def repeatability(first: Landmarks, second: Landmarks) -> tuple[float, ...]:
    """How far apart two people (or one, twice) placed each landmark, in mm.

    Raises:
        InvalidOption: The two sets do not belong together.
    """
    pairs = Pairs.of(first, second)
    gap = np.subtract(pairs.fixed, pairs.moving)
    return tuple(np.linalg.norm(gap, axis=1).tolist())


def read_landmarks(path: str | Path) -> Landmarks:
    """The landmarks in a `.mrk.json` of 3D Slicer, or in a CSV with name, x, y, z in LPS mm.

    Raises:
        UnreadableFile: The file is missing or holds something else.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{path} cannot be opened", got=str(error)) from error
    return _from_markups(path, text) if path.suffix == ".json" else _from_csv(path, text)


def write_landmarks(landmarks: Landmarks, path: str | Path) -> None:
    """Write a `.mrk.json` (LPS) that 3D Slicer opens, or a CSV.

    Raises:
        UnwritableOutput: The folder is closed or the suffix is neither.
    """
    path = Path(path)
    if path.suffix not in (".json", ".csv"):
        raise UnwritableOutput(
            f"{path} has no suffix of landmark files", wanted=".mrk.json or .csv"
        )
    try:
        if path.suffix == ".json":
            path.write_text(json.dumps(_as_markups(landmarks), indent=1) + "\n", encoding="utf-8")
        else:
            _write_rows(path, ("name", "x", "y", "z"), _rows(landmarks.names, landmarks.points))
    except OSError as error:
        raise UnwritableOutput(f"{path} cannot be written", got=str(error)) from error


def read_pairs(path: str | Path, partner: str | Path | None = None) -> Pairs:
    """Pairs in one CSV, or in two files of landmarks.

    One CSV: name and six numbers, or six (in the plane four) numbers, in a row: fixed x y z, then
    moving x y z, LPS mm; a header row is skipped.

    Args:
        path: The CSV, or the landmarks of the fixed image.
        partner: The landmarks of the moving image.

    Raises:
        UnreadableFile: A file is missing or holds something else.
        InvalidOption: Some landmarks have no partner.
    """
    path = Path(path)
    if partner is not None:
        return Pairs.of(read_landmarks(path), read_landmarks(partner))
    names, rows = _numbers(path, path.read_text(encoding="utf-8") if path.is_file() else "")
    if not rows or len(rows[0]) not in (4, 6):
        raise UnreadableFile(
            f"{path} holds no pairs of landmarks",
            got=f"{len(rows)} rows of {len(rows[0]) if rows else 0} numbers",
            wanted="6 numbers a row (4 in the plane): fixed x y z, moving x y z",
        )
    d = len(rows[0]) // 2
    return Pairs(names, tuple(row[:d] for row in rows), tuple(row[d:] for row in rows))


def write_pairs(pairs: Pairs, path: str | Path) -> None:
    """Write pairs as one CSV.

    Raises:
        UnwritableOutput: The folder is closed or missing.
    """
    header = ("name", "fixed_x", "fixed_y", "fixed_z", "moving_x", "moving_y", "moving_z")
    points = [f + m for f, m in zip(pairs.fixed, pairs.moving, strict=True)]
    try:
        _write_rows(Path(path), header, _rows(pairs.names, points))
    except OSError as error:
        raise UnwritableOutput(f"{path} cannot be written", got=str(error)) from error


def _rows(names: Sequence[str], points: Iterable[Point]) -> list[list[str]]:
    return [[n, *(f"{v:.6g}" for v in p)] for n, p in zip(names, points, strict=True)]


def _write_rows(path: Path, header: Sequence[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([list(header), *rows])


def _as_markups(landmarks: Landmarks) -> dict[str, object]:
    points = [
        {"id": str(n), "label": name, "position": list(point), "positionStatus": "defined"}
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


def _from_markups(path: Path, text: str) -> Landmarks:
    try:
        markup = json.loads(text)["markups"][0]
        defined = [
            point
            for point in markup["controlPoints"]
            if point.get("positionStatus", "defined") == "defined"
        ]
        points = [tuple(float(v) for v in point["position"]) for point in defined]
        names = tuple(str(p.get("label") or n) for n, p in enumerate(defined, start=1))
    except (ValueError, LookupError, TypeError) as error:
        raise UnreadableFile(
            f"{path} holds no markups", got=str(error), wanted="a .mrk.json of 3D Slicer"
        ) from error
    if markup.get("coordinateSystem", "LPS") in ("RAS", "0"):
        points = [(-x, -y, z) for x, y, z in points]
    return Landmarks(names, tuple(points))


def _from_csv(path: Path, text: str) -> Landmarks:
    names, rows = _numbers(path, text)
    if not rows or len(rows[0]) not in (2, 3):
        raise UnreadableFile(
            f"{path} holds no landmarks", wanted="rows of a name and x, y, z in LPS mm"
        )
    return Landmarks(names, tuple(rows))


def _numbers(path: Path, text: str) -> tuple[tuple[str, ...], list[Point]]:
    """The rows of numbers in a CSV, and the names before them or their position in the order."""
    names: list[str] = []
    rows: list[Point] = []
    for cells in csv.reader(text.splitlines()):
        if not cells or cells[0].startswith("#"):
            continue
        named = not _is_number(cells[0])
        values = cells[1:] if named else cells
        if not all(map(_is_number, values)):
            if rows:
                raise UnreadableFile(f"{path} has a row without numbers", got=",".join(cells))
            continue
        names.append(cells[0] if named else str(len(rows) + 1))
        rows.append(tuple(map(float, values)))
    if len({len(row) for row in rows}) > 1:
        raise UnreadableFile(f"{path} has rows of different lengths")
    return tuple(names), rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
