"""Tables of landmarks in every dialect: the same points, or refused by name; never other ones."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from neuralreg.errors import InvalidOption, UnreadableFile
from neuralreg.io.landmark_files import read_landmarks, read_pairs

NAMES = ("Kapsel", "Ülna", "2", "d e")
POINTS = np.array([(1.5, 2.25, 3), (10, -5.5, 4), (-12, 8, -6), (15, 12, 9.0)])
DIALECTS = (",", "."), (";", ","), (";", "."), ("\t", ","), ("\t", "."), ("|", ".")
SHIFT = np.array([6.0, 0, 0])
HEADER = ["name", "fixed_x", "fixed_y", "fixed_z", "moving_x", "moving_y", "moving_z"]


def lines_of(separator: str, point: str, *, header: bool, names: bool) -> list[str]:
    """The lines of a table of pairs."""
    rows = [HEADER[not names :]] if header else []
    for name, fixed in zip(NAMES, POINTS, strict=True):
        numbers = [repr(float(v)).replace(".", point) for v in (*fixed, *(fixed + SHIFT))]
        rows.append([name] * names + numbers)
    return [separator.join(row) for row in rows]


def write(path: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def require_same(path: Path) -> tuple[str, ...]:
    """Check the points, and give the notes."""
    pairs = read_pairs(path)
    np.testing.assert_allclose(pairs.fixed, POINTS)
    np.testing.assert_allclose(pairs.moving, POINTS + SHIFT)
    return pairs.notes


@pytest.mark.parametrize(
    ("separator", "point"),
    [(",", "."), (";", ","), (";", "."), ("\t", ","), ("\t", "."), ("|", ".")],
)
def test_every_separator_gives_the_same_points(tmp_path, separator, point):
    for header, names in product((True, False), repeat=2):
        lines = lines_of(separator, point, header=header, names=names)
        assert require_same(write(tmp_path / "t.csv", lines)) == ()


def test_numbers_between_blanks_as_numpy_writes_them(tmp_path):
    np.savetxt(tmp_path / "t.txt", np.hstack([POINTS, POINTS + SHIFT]))
    assert require_same(tmp_path / "t.txt") == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_every_encoding_gives_the_same_points_and_says_what_it_assumed(tmp_path, encoding):
    lines = lines_of(";", ",", header=True, names=True)
    notes = require_same(write(tmp_path / "t.csv", lines, encoding))
    assert bool(notes) == (encoding in ("utf-16-le", "utf-16-be", "cp1252"))
    assert read_pairs(tmp_path / "t.csv").names == NAMES


def test_what_a_spreadsheet_program_adds_is_no_landmark(tmp_path):
    lines = lines_of(";", ",", header=True, names=True)
    assert require_same(write(tmp_path / "hint.csv", ["sep=;", *lines])) == ()
    notes = require_same(write(tmp_path / "title.csv", ["Landmarks of case 7;;;", *lines]))
    assert "line 1" in notes[0]
    assert "title" in notes[0]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_counts_is_no_coordinate(tmp_path, header, names, start):
    lines = lines_of(",", ".", header=header, names=names)
    counted = [f"{n},{line}" for n, line in enumerate(lines[header:], start=start)]
    require_same(write(tmp_path / "t.csv", [f",{line}" for line in lines[:header]] + counted))


def test_a_minus_of_typesetting_is_a_minus(tmp_path):
    lines = lines_of(",", ".", header=True, names=True)
    require_same(write(tmp_path / "t.csv", [line.replace("-", "\u2212") for line in lines]))


@pytest.mark.parametrize("header", [True, False])
def test_decimal_commas_between_commas_are_refused_and_never_read_as_coordinates(tmp_path, header):
    path = write(tmp_path / "t.csv", lines_of(",", ",", header=header, names=True))
    with pytest.raises(UnreadableFile, match=r"t\.csv"):
        read_pairs(path)
    for name, shift in (("f.csv", 0), ("m.csv", 6)):
        rows = [f"a,{1 + shift},5,2,25,3,0", f"b,{10 + shift},0,-5,5,4,0"]
        write(tmp_path / name, ["name,x,y,z", *rows])
    with pytest.raises(UnreadableFile, match=r"f\.csv, line 2 .*7 cells"):
        read_pairs(tmp_path / "f.csv", tmp_path / "m.csv")


@pytest.mark.parametrize(
    "header",
    ["name,x (cm),y (cm),z (cm)", "name,x [m],y [m],z [m]", "name,i,j,k", "name,x_vox,y_vox,z_vox"],
)
def test_coordinates_in_another_unit_are_refused(tmp_path, header):
    path = write(tmp_path / "t.csv", [header, "a,1,2,3"])
    with pytest.raises(UnreadableFile, match="not in mm"):
        read_landmarks(path)


@pytest.mark.parametrize("header", ["name,x [mm],y [mm],z [mm]", "m in place,x (mm),y (mm),z (mm)"])
def test_millimeters_in_a_header_are_read(tmp_path, header):
    assert read_landmarks(write(tmp_path / "t.csv", [header, "a,1,2,3"])).points == ((1, 2, 3),)


@pytest.mark.parametrize("unit", ["cm", "um", "voxel"])
def test_markups_in_another_unit_are_refused(tmp_path, unit):
    markup = {
        "coordinateUnits": unit,
        "controlPoints": [{"label": "a", "position": [1, 2, 3]}],
    }
    (tmp_path / "a.mrk.json").write_text(json.dumps({"markups": [markup]}))
    with pytest.raises(UnreadableFile, match=f"not in mm: got {unit}"):
        read_landmarks(tmp_path / "a.mrk.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + bytes(range(256)), "workbook"),
        (bytes(range(32)) * 20, "no text file"),
        (b"", "no pairs"),
        (b"name,fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z\n", "no pairs"),
    ],
)
def test_what_is_no_table_is_said_to_be_none(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UnreadableFile, match=words):
        read_pairs(tmp_path / "t.csv")


def test_lists_without_a_common_order_are_refused_with_both_files_and_the_names(tmp_path):
    write(tmp_path / "f.csv", ["name,x,y,z", "a,1,2,3", "b,1,2,3"])
    write(tmp_path / "m.csv", ["name,x,y,z", "a,1,2,3"])
    with pytest.raises(InvalidOption, match=r"f\.csv, .*m\.csv.*without a partner: b"):
        read_pairs(tmp_path / "f.csv", tmp_path / "m.csv")
