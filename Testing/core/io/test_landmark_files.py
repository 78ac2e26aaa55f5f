"""Landmarks: their files, their landmark_errors, and how well two people agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidOption, UnreadableFile, UnwritableOutput
from neuralreg.geometry.grid import Grid
from neuralreg.io.landmark_files import (
    Landmarks,
    Pairs,
    read_landmarks,
    read_pairs,
    write_landmarks,
    write_pairs,
)
from neuralreg.review.assess import assess
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.measures.target_registration_error import landmark_errors, repeatability

POINTS = Landmarks(("apex", "base"), ((1.5, -2.0, 3.25), (10.0, 20.0, -30.0)))
SHIFTED = Pairs(("a", "b"), ((0, 0, 0), (5, 5, 5)), ((3, 4, 0), (5, 5, 17)))


def shift(x: float, y: float, z: float) -> Deformation:
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return Deformation(3, matrix=matrix)


@pytest.mark.parametrize("name", ["points.mrk.json", "points.csv"])
def test_landmarks_come_back_as_they_were_written(tmp_path, name):
    write_landmarks(POINTS, tmp_path / name)
    assert read_landmarks(tmp_path / name) == POINTS


def test_markups_in_ras_are_turned_into_lps(tmp_path):
    write_landmarks(POINTS, tmp_path / "p.mrk.json")
    content = json.loads((tmp_path / "p.mrk.json").read_text())
    content["markups"][0]["coordinateSystem"] = "RAS"
    (tmp_path / "p.mrk.json").write_text(json.dumps(content))
    assert read_landmarks(tmp_path / "p.mrk.json").points[0] == (-1.5, 2.0, 3.25)


def test_a_markup_that_was_not_placed_keeps_its_place(tmp_path):
    write_landmarks(POINTS, tmp_path / "p.mrk.json")
    content = json.loads((tmp_path / "p.mrk.json").read_text())
    content["markups"][0]["controlPoints"][0]["positionStatus"] = "undefined"
    (tmp_path / "p.mrk.json").write_text(json.dumps(content))
    read = read_landmarks(tmp_path / "p.mrk.json")
    assert read.names == ("apex", "base")
    assert [name for name, _ in read.defined_points()] == ["base"]


def test_pairs_come_back_as_they_were_written(tmp_path):
    write_pairs(SHIFTED, tmp_path / "pairs.csv")
    assert read_pairs(tmp_path / "pairs.csv") == SHIFTED


def test_pairs_without_names_are_numbered(tmp_path):
    (tmp_path / "p.csv").write_text("0,0,0,3,4,0\n5,5,5,5,5,17\n")
    assert read_pairs(tmp_path / "p.csv").names == ("1", "2")


def test_partners_in_another_order_find_each_other_by_name(tmp_path):
    fixed = Landmarks(("a", "b"), ((0, 0, 0), (1, 1, 1)))
    moving = Landmarks(("b", "a"), ((1, 1, 2), (0, 0, 1)))
    assert Pairs.of(fixed, moving).moving == ((0, 0, 1), (1, 1, 2))


def test_a_landmark_without_a_partner_is_an_error():
    with pytest.raises(InvalidOption, match="partner"):
        Pairs.of(Landmarks(("a", "b"), ((0, 0, 0), (1, 1, 1))), Landmarks(("a",), ((0, 0, 0),)))


def test_errors_are_the_distances_from_the_partners():
    found = landmark_errors(SHIFTED, shift(0, 0, 0), None)
    assert found.after_mm == pytest.approx((5, 12))
    assert found.summary("after").mean == pytest.approx(8.5)
    assert found.summary("after").maximum == pytest.approx(12)
    assert found.before_mm == found.after_mm


def test_a_transform_that_brings_a_landmark_home_leaves_no_error_there():
    found = landmark_errors(SHIFTED, shift(3, 4, 0), None)
    assert found.after_mm[0] == pytest.approx(0, abs=1e-9)
    assert found.before_mm[0] == pytest.approx(5)


def test_errors_in_voxels_count_along_the_axes_of_the_moving_image():
    """A turned grid with anisotropic voxels: 12 mm along its first axis of 3 mm are 4 voxels."""
    grid = Grid((9, 9, 9), (3, 1, 2), (0, 0, 0), (0, 0, 1, 0, 1, 0, -1, 0, 0))
    along_first = np.reshape(grid.direction, (3, 3))[:, 0] * 12
    pairs = Pairs(("a",), ((0, 0, 0),), (tuple(along_first),))
    assert landmark_errors(pairs, shift(0, 0, 0), grid).after_voxels == pytest.approx((4,))


def test_two_observers_are_compared_point_by_point():
    second = Landmarks(("apex", "base"), ((1.5, -2.0, 4.25), (10.0, 23.0, -26.0)))
    assert repeatability(POINTS, second) == pytest.approx((1.0, 5.0))


@pytest.mark.parametrize(
    ("name", "content"),
    [("p.csv", "no,numbers,at,all\n"), ("p.mrk.json", "{}"), ("p.mrk.json", "not json")],
)
def test_a_file_that_holds_something_else_says_so(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UnreadableFile, match=name):
        read_landmarks(tmp_path / name)


def test_a_missing_file_of_pairs_says_so(tmp_path):
    with pytest.raises(UnreadableFile, match=r"nothing\.csv"):
        read_pairs(tmp_path / "nothing.csv")


def test_an_unknown_ending_is_an_error(tmp_path):
    with pytest.raises(UnwritableOutput, match="ending"):
        write_landmarks(POINTS, tmp_path / "p.txt")


CELLS = [(1.0, 2.0, 3.0, 7.0, 2.0, 3.0), (10.5, -5.0, 4.0, 16.5, -5.0, 4.0)]
HEADERS = {
    "without a header": "",
    "with a header": "name,fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z",
    "with a short header": "id,fx,fy,fz,mx,my,mz",
    "with units": "Landmark,x_fixed (mm),y_fixed (mm),z_fixed (mm),x_moving,y_moving,z_moving",
    "as pandas writes its index": ",Fixed X,Fixed Y,Fixed Z,Moving X,Moving Y,Moving Z",
    "with words of its own": "Nr.,a1,a2,a3,b1,b2,b3",
}
NAMES = {"words": ("apex", "base"), "numbers": ("1", "2"), "letters": ("Höhle (ä)", "Kuppel")}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("header", HEADERS)
def test_a_table_of_pairs_is_read_alike_however_it_was_saved(
    tmp_path, header, names, separator, encoding
):
    lines = [HEADERS[header].replace(",", separator)] if HEADERS[header] else []
    for name, numbers in zip(NAMES[names], CELLS, strict=True):
        cells = [f"{value:.2f}" for value in numbers]
        if separator != ",":  # as spreadsheets do where the decimal sign is a comma
            cells = [cell.replace(".", ",") for cell in cells]
        lines.append(separator.join([name, *cells]))
    path = tmp_path / "pairs.csv"
    path.write_bytes("\r\n".join([*lines, separator * 6, ""]).encode(encoding))
    pairs = read_pairs(path)
    assert pairs.names == NAMES[names]
    assert pairs.fixed == tuple(row[:3] for row in CELLS)
    assert pairs.moving == tuple(row[3:] for row in CELLS)
    assert bool(pairs.notes) == (names == "letters" and encoding in ("latin-1", "cp1252"))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize(
    "names",
    [
        ("1", "2"),
        ("1.5", "2.5"),
        ("a,b", 'with "quotes"'),
        ("two\nlines", "a;b;1;2;3"),
        ("ä", "nan"),
    ],
)
def test_names_of_every_kind_come_back_as_they_were_written(tmp_path, d, names):
    points = ((1 / 3, 123456.789, -2e-9)[:d], (4.0, 5.0, 6.0)[:d])
    pairs = Pairs(names, points, points[::-1])
    write_pairs(pairs, tmp_path / "pairs.csv")
    assert read_pairs(tmp_path / "pairs.csv") == pairs
    landmarks = Landmarks((*names, "no position"), (*points, None))
    write_landmarks(landmarks, tmp_path / "points.csv")
    assert read_landmarks(tmp_path / "points.csv") == landmarks


def test_points_without_a_position_come_back_as_such(tmp_path):
    landmarks = Landmarks(("a", "b"), (None, (1.0, 2.0, 3.0)))
    write_landmarks(landmarks, tmp_path / "points.mrk.json")
    assert read_landmarks(tmp_path / "points.mrk.json") == landmarks


def test_numbers_that_name_landmarks_in_the_plane_are_no_coordinates(tmp_path):
    (tmp_path / "p.csv").write_text("id,x,y\n1,10,20\n2,30,25\n")
    assert read_landmarks(tmp_path / "p.csv").points == ((10, 20), (30, 25))


@pytest.mark.parametrize("missing", ["nan,nan,nan", "NaN,,", ",,", "n/a,n/a,n/a", "inf,1,2"])
def test_a_landmark_without_a_partner_is_left_out_by_name(tmp_path, missing):
    rows = f"name,fx,fy,fz,mx,my,mz\nL1,1,2,3,{missing}\nL2,1,2,3,4,5,6\n"
    (tmp_path / "p.csv").write_text(rows)
    pairs = read_pairs(tmp_path / "p.csv")
    assert pairs.names == ("L2",)
    assert any("left out: L1" in note for note in pairs.notes)


def test_a_row_that_was_commented_out_is_named(tmp_path):
    (tmp_path / "p.csv").write_text("# in LPS mm\n1,2,3,4,5,6\n#7,8,9,1,2,3\n")
    pairs = read_pairs(tmp_path / "p.csv")
    assert len(pairs.names) == 1
    assert any("line 3" in note and "comment" in note for note in pairs.notes)


@pytest.mark.parametrize("row", ["L2,1,2,three,4,5,6", "L2,1,2,3,4,5,6,7"])
def test_a_row_that_is_none_is_refused_by_its_line(tmp_path, row):
    (tmp_path / "p.csv").write_text(f"L1,1,2,3,4,5,6\n{row}\n")
    with pytest.raises(UnreadableFile, match="line 2"):
        read_pairs(tmp_path / "p.csv")


def test_a_table_in_ras_is_refused(tmp_path):
    (tmp_path / "p.csv").write_text("name,r,a,s\nL1,1,2,3\n")
    with pytest.raises(UnreadableFile, match="RAS"):
        read_landmarks(tmp_path / "p.csv")


def test_a_missing_table_is_told_as_such(tmp_path):
    with pytest.raises(UnreadableFile, match=r"cannot be opened.*No such file"):
        read_pairs(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("system", "flip"), [("RAS", -1), ("0", -1), ("LPS", 1), ("1", 1), (None, -1)]
)
def test_lists_of_slicer_4_are_read_by_their_coordinate_system(tmp_path, system, flip):
    comment = f"# CoordinateSystem = {system}\n" if system else ""
    (tmp_path / "p.fcsv").write_text(
        f"# Markups fiducial file version = 4.11\n{comment}"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        f"vtkMRMLMarkupsFiducialNode_1,{flip * 1.5},{flip * -2},3.25,0,0,0,1,1,1,0,F-1,,\n"
    )
    assert read_landmarks(tmp_path / "p.fcsv") == Landmarks(("F-1",), ((1.5, -2.0, 3.25),))


def test_lists_of_slicer_3_name_their_columns(tmp_path):
    (tmp_path / "p.fcsv").write_text(
        "# Fiducial List file p.fcsv\n# version = 2\n# name = p\n"
        "# columns = label,x,y,z,sel,vis\nF,-1.5,2,3.25,1,1\n"
    )
    assert read_landmarks(tmp_path / "p.fcsv") == Landmarks(("F",), ((1.5, -2.0, 3.25),))


@pytest.mark.parametrize("name", ["p.fcsv", "p.mrk.json"])
def test_a_list_in_voxels_is_refused(tmp_path, name):
    write_landmarks(POINTS, tmp_path / "p.mrk.json")
    text = (tmp_path / "p.mrk.json").read_text().replace('"LPS"', '"IJK"')
    (tmp_path / name).write_text(
        text if name.endswith("json") else "# CoordinateSystem = IJK\n1,2,3,4\n"
    )
    with pytest.raises(UnreadableFile, match="coordinate system"):
        read_landmarks(tmp_path / name)


def test_points_without_a_position_do_not_shift_the_pairs():
    fixed = Landmarks(("F-1", "F-2", "F-3"), ((1, 1, 1), None, (3, 3, 3)))
    moving = Landmarks(("M-1", "M-2", "M-3"), ((1, 1, 2), (2, 2, 3), (3, 3, 4)))
    pairs = Pairs.of(fixed, moving)
    assert pairs.moving == ((1, 1, 2), (3, 3, 4))
    assert any("by their order" in note for note in pairs.notes)
    assert any("left out: F-2" in note for note in pairs.notes)


def test_lists_without_points_are_not_measured():
    nothing = Landmarks((), ())
    pairs = Pairs.of(nothing, nothing)
    shift_mm = sitk.TranslationTransform(3, (1.0, 0.0, 0.0))
    image = sitk.Image(12, 12, 12, sitk.sitkFloat32) + 1
    report = assess(shift_mm, fixed=image, landmarks=pairs)
    assert report.landmarks is None
    (line,) = [line for line in report.lines if line.name == "tre_mean"]
    assert line.verdict == "not measured"
    assert "no pairs of landmarks" in line.words
    assert any("no pairs of landmarks" in note for note in report.notes)


def test_a_review_passes_on_what_was_left_out(tmp_path):
    (tmp_path / "p.csv").write_text("a,1,2,3,2,2,3\nb,nan,nan,nan,1,1,1\nc,5,5,5,6,5,5\n")
    image = sitk.Image(12, 12, 12, sitk.sitkFloat32) + 1
    shift_mm = sitk.TranslationTransform(3, (1.0, 0.0, 0.0))
    report = assess(shift_mm, fixed=image, landmarks=tmp_path / "p.csv")
    assert report.landmarks is not None
    assert report.landmarks.after_mm == pytest.approx((0, 0))
    assert any("left out: b" in note for note in report.notes)


def test_landmarks_of_other_axes_than_the_transform_are_refused():
    with pytest.raises(InvalidOption, match="as many coordinates"):
        landmark_errors(Pairs(("a",), ((1, 2),), ((1, 2),)), shift(0, 0, 0), None)
