"""Decisions: kept, read again, and void when the transform changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from neuralreg.errors import InvalidOption, UnreadableFile, UnwritableOutput
from neuralreg.review.workflow.decision import (
    Decision,
    decision_path,
    is_void,
    read_decision,
    write_decision,
)

MADE = Decision(
    "accepted", "Dr. A", "abc", level=1, note="liver only", segments={"Liver": "accepted"}
)


def test_a_decision_comes_back_as_it_was_written(tmp_path):
    write_decision(MADE, tmp_path / "d.json")
    assert read_decision(tmp_path / "d.json") == MADE


def test_without_a_file_there_is_no_decision(tmp_path):
    assert read_decision(tmp_path / "d.json") is None


def test_a_decision_about_another_transform_is_void():
    assert is_void(MADE, "abd")
    assert not is_void(MADE, "abc")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("t.nii.gz", "t.decision.json"), ("a.b.h5", "a.b.decision.json")],
)
def test_a_decision_is_kept_beside_the_transform(name, expected):
    assert decision_path(Path("folder") / name) == Path("folder") / expected


def test_a_decision_in_words_says_for_what_by_whom_and_why():
    words = MADE.in_words()
    for part in ("Accepted", "level 1", "Dr. A", "liver only"):
        assert part in words


@pytest.mark.parametrize(
    "wrong", [{"verdict": "maybe"}, {"level": 9}, {"segments": {"Liver": "fine"}}]
)
def test_an_unknown_decision_is_an_error(wrong):
    with pytest.raises(InvalidOption, match="unknown"):
        Decision(**{"verdict": "accepted", "by": "", "transform_hash": "", **wrong})


def test_a_file_that_holds_something_else_says_so(tmp_path):
    (tmp_path / "d.json").write_text('{"verdict": "accepted"}')
    with pytest.raises(UnreadableFile, match=r"d\.json"):
        read_decision(tmp_path / "d.json")


def test_a_folder_that_does_not_exist_says_so(tmp_path):
    with pytest.raises(UnwritableOutput):
        write_decision(MADE, tmp_path / "nowhere" / "d.json")
