"""Lists of landmarks: markups of 3D Slicer, which keep all that is no position, and tables."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neuralreg.errors import UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.io.files import suffix_of, write_whole
from neuralreg.io.landmark_files import Landmarks, read_landmarks, write_landmarks
from neuralreg.io.point_sets.point_set import PointSet, flip_ras
from neuralreg.io.tables import read_text

SUFFIXES = (".json", ".fcsv", ".csv", ".tsv")
_OF_POINTS = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")  # others have a size and axes


def read_list(path: Path, notes: list[str]) -> PointSet:
    """The landmarks of a file that have a position.

    Args:
        path: .mrk.json, .fcsv, or a table as `read_landmarks` takes it.
        notes: what had to be assumed is appended in words.

    Raises:
        UnreadableFile: it is damaged, holds none, or holds markups with a size, such as a plane.
    """
    landmarks = read_landmarks(path)
    notes += landmarks.notes
    points = [point for _, point in landmarks.defined_points()]
    if not points:
        raise UnreadableFile(f"{path} holds no landmark with a position")
    document = _document(path) if suffix_of(path) == ".json" else None
    return PointSet(np.array(points, float), partial(_write, landmarks, document))


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(read_text(path)[0])
    kind = document["markups"][0].get("type", "Fiducial")
    if kind not in _OF_POINTS:
        raise UnreadableFile(
            f"{path} holds a markup with a size and axes, which a deformation does not keep",
            got=str(kind),
            wanted=", ".join(_OF_POINTS),
        )
    return document


def _write(
    landmarks: Landmarks,
    document: dict[str, Any] | None,
    points: Matrix,
    path: Path,
    grid: Grid | None,
) -> None:
    rows = iter(points.tolist())
    moved = tuple(point and tuple(next(rows)) for point in landmarks.points)
    if document is None or suffix_of(path) != ".json":
        write_landmarks(Landmarks(landmarks.names, moved), path)
        return
    text = json.dumps(_with_positions(document, moved), indent=4) + "\n"
    with write_whole(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def _with_positions(document: dict[str, Any], points: tuple[Any, ...]) -> dict[str, Any]:
    """The same markups at other positions (LPS mm), without lengths and angles of before."""
    markup = dict(document["markups"][0])
    system = str(markup.get("coordinateSystem", "LPS")).upper()
    changed = []
    for control_point, point in zip(markup["controlPoints"], points, strict=True):
        entry = dict(control_point)
        if point is not None:
            position = np.array([point], float)
            in_file = flip_ras(position) if system in ("RAS", "0") else position
            entry["position"] = in_file[0].tolist()
        changed.append(entry)
    markup["controlPoints"] = changed
    markup.pop("measurements", None)  # 3D Slicer measures anew
    return {**document, "markups": [markup]}
