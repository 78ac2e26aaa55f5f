"""A worklist survives what people do with it: other paths, spreadsheets, files of others."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import UnreadableFile
from neuralreg.review.workflow.provenance import describe_input
from neuralreg.review.workflow.worklist import (
    Entry,
    keep_decisions,
    read_worklist,
    work_through,
    write_worklist,
)

from Testing.support.command_line import neuralreg


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """Two results as `neuralreg register` leaves them; the working folder is the one above."""
    z, y, x = np.mgrid[:12, :12, :12] - 5.5
    body = (100 / (1 + np.exp(np.sqrt(x**2 + y**2 + z**2) - 4))).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(body), tmp_path / "image.nii.gz")
    folder = tmp_path / "study"
    for n, case in enumerate("ab"):
        (folder / case).mkdir(parents=True)
        for name, sign in (("fixed_to_moving", 1), ("moving_to_fixed", -1)):
            vectors = np.full((12, 12, 12, 3), 0.1 * n * sign, np.float32)
            field = sitk.GetImageFromArray(vectors, isVector=True)
            sitk.WriteImage(field, folder / case / f"{name}.nii.gz")
        inputs = {side: {"path": str(tmp_path / "image.nii.gz")} for side in ("fixed", "moving")}
        record = {"inputs": inputs, "files": ["fixed_to_moving.nii.gz"]}
        (folder / case / "result.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    return folder


def worklist(*arguments: object) -> dict[str, dict[str, object]]:
    done = neuralreg("worklist", *map(str, arguments), "-q", "--json")
    assert done.exit_code in (0, 1), done.output
    return {entry["case"]: entry for entry in json.loads(done.stdout)["entries"]}


def decide(path: Path, separator: str = ",", encoding: str = "utf-8") -> None:
    """Accept case a, as a person does in a spreadsheet program."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["case"] == "a":
            row.update(decision="accepted", by="Jürgen", note="all slices; seen", time="2026")
        if separator != ",":
            row["risk"] = row["risk"].replace(".", ",")
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, sorted(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("again", ["study", "./study/", "absolute", "--again", "list"])
def test_a_decision_stays_however_the_folder_is_named(study, again):
    worklist("study")
    decide(study / "worklist.csv")
    arguments = {
        "absolute": [study],
        "--again": ["study", "--again"],
        "list": ["study/worklist.csv"],
    }
    entries = worklist(*arguments.get(again, [again]))
    assert entries["a"]["decision"] == "accepted"
    assert entries["a"]["by"] == "Jürgen"
    assert entries["a"]["note"] == "all slices; seen"
    assert entries["b"]["decision"] == ""


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_decision_survives_a_spreadsheet_program(study, separator, encoding):
    before = worklist("study")
    decide(study / "worklist.csv", separator, encoding)
    after = worklist("study")
    changed = {"decision": "accepted", "by": "Jürgen", "note": "all slices; seen", "time": "2026"}
    assert after["a"] == {**before["a"], **changed}
    assert after["b"] == before["b"]


def test_a_decision_survives_the_renaming_of_the_folder(study):
    worklist("study")
    decide(study / "worklist.csv")
    study.rename(study.with_name("renamed"))
    entries = worklist("renamed")
    assert entries["a"]["decision"] == "accepted"
    assert Path(entries["a"]["transform"]).is_file()


def test_a_decision_in_a_list_elsewhere_survives_the_renaming_of_the_folder(study):
    """Known by the content of the transform: the paths in the list lead nowhere."""
    worklist("study", "-o", "w.csv")
    decide(Path("w.csv"))
    study.rename(study.with_name("renamed"))
    assert worklist("renamed", "-o", "w.csv")["a"]["decision"] == "accepted"


def test_a_decision_about_another_transform_is_void(study):
    worklist("study")
    decide(study / "worklist.csv")
    (study / "a" / "fixed_to_moving.nii.gz").write_bytes(
        (study / "b" / "fixed_to_moving.nii.gz").read_bytes()
    )
    assert worklist("study", "--again")["a"]["decision"] == ""


@pytest.mark.parametrize("images", ["there", "gone"])
@pytest.mark.parametrize("source", ["study", "study/worklist.csv"])
def test_a_changed_transform_makes_review_and_decision_stale_visibly(study, source, images):
    before = worklist("study")["a"]
    decide(study / "worklist.csv")
    other = (study / "b" / "fixed_to_moving.nii.gz").read_bytes()
    (study / "a" / "fixed_to_moving.nii.gz").write_bytes(other)
    if images == "gone":
        (study.parent / "image.nii.gz").unlink()
    for _ in range(2):
        done = neuralreg("worklist", source, "-q")
        entry = next(e for e in read_worklist(study / "worklist.csv") if e.case == "a")
        assert (entry.decision, entry.by, entry.time) == ("", "", "")
        assert entry.note.startswith("void, the transform changed since: accepted by Jürgen 2026")
        assert "all slices; seen" in entry.note
        assert entry.transform_sha256 != before["transform_sha256"]
        assert (entry.verdict == "error") == (images == "gone")
        assert "warning: a: void" in done.stderr


@pytest.mark.parametrize("change", [{"decision": "rejected", "by": "B"}, {"note": "see slice 9"}])
def test_what_another_person_changes_while_others_are_reviewed_wins(change):
    known = [Entry("a", "/a", transform_sha256="1", decision="accepted", by="A"), Entry("b", "/b")]
    theirs = [replace(known[0], **change), known[1]]
    mine = [replace(known[0], verdict="pass"), known[1]]
    kept = keep_decisions(mine, theirs, known)
    assert kept == [replace(mine[0], **change), mine[1]]


def test_a_decision_made_before_the_first_review_ends_is_kept():
    known = [Entry("a", "/a")]
    theirs, mine = [replace(known[0], decision="rejected")], [replace(known[0], verdict="pass")]
    kept = keep_decisions([replace(mine[0], transform_sha256="1")], theirs, known)
    assert [entry.decision for entry in kept] == ["rejected"]


def test_two_studies_in_one_list_do_not_erase_each_other(study):
    worklist("study/a", "-o", "w.csv")
    decide(Path("w.csv"))
    worklist("study/b", "-o", "w.csv")
    entries = {entry.case: entry for entry in read_worklist(Path("w.csv"))}
    assert entries["a"].decision == "accepted"
    assert entries["b"].verdict


def test_a_decided_case_whose_results_are_gone_stays_and_an_undecided_one_goes(study):
    worklist("study")
    decide(study / "worklist.csv")
    (study / "c").mkdir()
    for case in "ab":
        for name in ("fixed_to_moving.nii.gz", "result.json"):
            (study / case / name).unlink()
    (study / "c" / "result.json").write_text("{}")
    assert sorted(worklist("study")) == ["a", "c"]


def change_header(path: Path, change) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(n, line) for n, line in enumerate(lines)))


@pytest.mark.parametrize(
    "change",
    [
        lambda n, line: line.title() if n == 0 else line,
        lambda n, line: f",{line}" if n == 0 else f"{n - 1},{line}",
        lambda n, line: f"{line},Comment" if n == 0 else f"{line},to do {n}",
    ],
    ids=["capitals", "a counting column", "a column of one's own"],
)
def test_a_decision_survives_what_people_do_to_the_columns(study, change):
    worklist("study")
    decide(study / "worklist.csv")
    change_header(study / "worklist.csv", change)
    own = "Comment" in (study / "worklist.csv").read_text()
    for _ in range(2):
        assert worklist("study")["a"]["decision"] == "accepted"
    assert {e.others.get("Comment") for e in read_worklist(study / "worklist.csv")} == (
        {"to do 1", "to do 2"} if own else {None}
    )


@pytest.mark.parametrize(
    ("word", "decided"), [("Accepted", True), ("REJECTED", True), ("ok", False)]
)
def test_a_decision_is_one_of_those_that_there_are_or_said_to_be_none(study, word, decided):
    worklist("study")
    decide(study / "worklist.csv")
    text = (study / "worklist.csv").read_text().replace("accepted", word)
    (study / "worklist.csv").write_text(text)
    done = neuralreg("worklist", "study", "-q")
    assert ("is no decision" in done.stderr) == (not decided)
    entry = next(e for e in read_worklist(study / "worklist.csv") if e.case == "a")
    assert entry.decision == (word.lower() if decided else word)
    assert entry.is_decided == decided


def test_inputs_that_moved_with_the_results_are_still_the_inputs(study, tmp_path):
    """Judged by the exit code of a review that needs both images."""
    whole = tmp_path / "whole"
    (whole / "study").mkdir(parents=True)
    (tmp_path / "image.nii.gz").rename(whole / "image.nii.gz")
    for case in "ab":
        (study / case).rename(whole / "study" / case)
        record = json.loads((whole / "study" / case / "result.json").read_text())
        record["inputs"] = {
            side: describe_input(whole / "image.nii.gz", whole / "study" / case)
            for side in ("fixed", "moving")
        }
        (whole / "study" / case / "result.json").write_text(json.dumps(record))
    moved = whole.rename(tmp_path / "moved")
    entries = worklist("moved/study")
    assert {entry["verdict"] for entry in entries.values()} <= {"pass", "attention", "fail"}
    assert Path(entries["a"]["fixed"]).resolve() == moved / "image.nii.gz"
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), str(moved / "image.nii.gz"))
    assert worklist("moved/study", "--again")["a"]["verdict"] == "error"


def test_a_list_of_windows_is_read_here(study):
    worklist("study")
    text = (study / "worklist.csv").read_text()
    (study / "worklist.csv").write_text(text.replace("a/fixed_to", "a\\fixed_to"))
    assert worklist("study/worklist.csv", "--again")["a"]["verdict"] != "error"


def test_a_list_in_another_folder_can_be_read_again(study, tmp_path):
    (tmp_path / "lists").mkdir()
    first = worklist("study", "-o", "lists/w.csv")
    assert worklist("lists/w.csv", "--again") == first
    assert all(entry["verdict"] != "error" for entry in first.values())


@pytest.mark.parametrize("content", ['{"score": 1}', "no json", "[]", '{"inputs": {"a": 1}}', ""])
def test_a_record_of_another_program_does_not_stop_the_others(study, content):
    (study / "other").mkdir()
    (study / "other" / "result.json").write_text(content)
    for arguments in (["study"], ["study"], ["study", "--again"]):
        entries = worklist(*arguments)
        assert entries["other"]["verdict"] == "error"
        assert "is no record" in str(entries["other"]["findings"])
        assert {entries[case]["verdict"] for case in "ab"} <= {"pass", "attention", "fail"}


def test_whatever_goes_wrong_with_one_case_the_others_go_on():
    def review(entry: Entry):
        raise ValueError("unforeseen")

    done = work_through([Entry("a", "a"), Entry("b", "b")], review, lambda _: None)
    assert [entry.findings for entry in done] == ["ValueError: unforeseen"] * 2


def test_what_failed_is_tried_again_once_it_is_there(study):
    field = study / "a" / "fixed_to_moving.nii.gz"
    content = field.read_bytes()
    field.write_text("broken")
    assert worklist("study")["a"]["verdict"] == "error"
    field.write_bytes(content)
    assert worklist("study")["a"]["verdict"] != "error"


def test_a_decision_that_was_made_while_others_were_reviewed_is_kept():
    mine = [Entry("a", "/a", transform_sha256="1"), Entry("b", "/b", transform_sha256="2")]
    theirs = [replace(mine[0], decision="rejected", by="B"), replace(mine[1], decision="")]
    changed = [replace(mine[0], transform_sha256="3")]
    assert [e.decision for e in keep_decisions(mine, theirs)] == ["rejected", ""]
    assert [e.decision for e in keep_decisions(changed, theirs)] == [""]


def test_entries_of_one_name_do_not_hide_each_other(tmp_path):
    entries = [Entry("a", str(tmp_path / "1")), Entry("a", str(tmp_path / "2"))]
    write_worklist(entries, tmp_path / "w.csv")
    assert [entry.case for entry in read_worklist(tmp_path / "w.csv")] == ["a", "a (2)"]


@pytest.mark.parametrize("row", ["a,t.nrrd,much", "a,t.nrrd,1,surplus"])
def test_a_row_that_is_none_is_named(tmp_path, row):
    (tmp_path / "w.csv").write_text(f"case,transform,risk\n{row}\n")
    with pytest.raises(UnreadableFile, match="line 2"):
        read_worklist(tmp_path / "w.csv")
