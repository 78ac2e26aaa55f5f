"""Landmarks: their files, their landmark_errors, and how well two people agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
from neuralreg.errors import InvalidOption, UnreadableFile, UnwritableOutput
from neuralreg.geometry.grid import Grid
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.measures.landmarks import (
    Landmarks,
    Pairs,
    read_landmarks,
    read_pairs,
    repeatability,
    write_landmarks,
    write_pairs,
)
from neuralreg.review.measures.target_registration_error import landmark_errors

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


def test_a_markup_that_was_not_placed_is_left_out(tmp_path):
    write_landmarks(POINTS, tmp_path / "p.mrk.json")
    content = json.loads((tmp_path / "p.mrk.json").read_text())
    content["markups"][0]["controlPoints"][0]["positionStatus"] = "undefined"
    (tmp_path / "p.mrk.json").write_text(json.dumps(content))
    assert read_landmarks(tmp_path / "p.mrk.json").names == ("base",)


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
