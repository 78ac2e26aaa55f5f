"""The table of a study: every format, every fault with its row and column, and pairs by names."""

from __future__ import annotations

import json

import numpy as np
import pytest
from neuralreg.errors import InvalidOption, RegistrationError, UnreadableFile
from neuralreg.registration.options import FieldRefinement, LinearAlignment, RegistrationOptions
from neuralreg.studies.table.pairings import (
    images_in_folder,
    images_of_pattern,
    images_of_table,
    pair_all,
    pair_by_patterns,
    pair_consecutive,
    pair_with,
)
from neuralreg.studies.table.study_check import check_files
from neuralreg.studies.table.study_rows import COLUMNS, ROLES, option_value
from neuralreg.studies.table.study_table import read_cells, rows_of

from Testing.support.command_line import facts_of, neuralreg
from Testing.support.image_files import save_image
from Testing.support.programs import run_python

USUAL = RegistrationOptions()
CELLS = [
    ["id", "fixed", "moving", "prealign"],
    ["a", "f.nii", "m.nii", "none"],
    ["7", "f.nii", "n.nii", ""],
]


def write(path, rows=CELLS):
    """The rows as a table of the kind that the name's ending says."""
    if path.suffix == ".xlsx":
        from openpyxl import Workbook

        book = Workbook()
        for row in rows:
            book.active.append([float(cell) if cell.isdigit() else cell or None for cell in row])
        book.save(path)
    elif path.suffix == ".jsonl":
        lines = (dict(zip(rows[0], row, strict=True)) for row in rows[1:])
        path.write_text("\n".join(map(json.dumps, lines)))
    else:
        separator = {".tsv": "\t", ".csv": ","}[path.suffix]
        path.write_text("\n".join(separator.join(row) for row in rows) + "\n")
    return path


def rows_in(path, options=USUAL, **given):
    return rows_of(read_cells(path), options, given)


def faults_of(tmp_path, *rows):
    return [fault.in_words() for fault in rows_in(write(tmp_path / "t.csv", list(rows)))[1]]


@pytest.mark.parametrize("ending", ["csv", "tsv", "xlsx", "jsonl"])
def test_a_table_of_any_kind_gives_the_same_rows(tmp_path, ending):
    (first, second), faults = rows_in(
        write(tmp_path / f"t.{ending}"), USUAL.replace(linear="rigid")
    )
    assert faults == []
    assert (first.id, second.id) == ("a", "7")
    assert first.inputs == {"fixed": tmp_path / "f.nii", "moving": tmp_path / "m.nii"}
    assert first.options.linear == LinearAlignment.NONE
    assert second.options.linear == LinearAlignment.RIGID  # an empty cell takes the command's


def test_a_file_that_is_called_a_workbook_and_is_none_is_refused(tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_text("id,fixed,moving\n")
    with pytest.raises(UnreadableFile, match=r"t\.xlsx cannot be read as a workbook"):
        read_cells(path)


def test_any_option_of_a_registration_is_a_column(tmp_path):
    header = ["id", "fixed", "moving", "model", "option", "refine", "refine_steps", "preset"]
    header += ["extract_brain", "device", "precision", "full_resolution"]
    cells = ["a", "f", "m", "convex", "reach=0.3; other=2", "lncc", "5", "cardiac", "yes", "cpu"]
    cells += ["bfloat16", "no"]
    (row,), faults = rows_in(write(tmp_path / "t.csv", [header, cells]))
    assert faults == []
    assert row.options == RegistrationOptions(
        model="convex",
        model_options={"reach": 0.3, "other": 2.0},
        refinement=FieldRefinement("lncc", 5),
        preset="cardiac",
        extract_brain=True,
        device="cpu",
        precision="bfloat16",
    )


def test_every_option_and_every_file_of_a_registration_has_a_column():
    from dataclasses import fields

    from neuralreg.worker.file_jobs.job_files import Job

    assert {option.name for option in fields(RegistrationOptions)} <= set(COLUMNS)
    files = {part.name for part in fields(Job)} - {"options", "initial_format", "keep_uids"}
    assert files - {"channels", "surfaces"} == set(ROLES)


def test_every_option_of_register_is_one_of_batch_and_reaches_the_rows():
    import inspect
    from dataclasses import fields

    from neuralreg.cli.batch import registration_options, run

    spelled = {"model_options": "option", "linear": "prealign", "refinement": "refine"}
    spelled["label_source"] = "drive_labels"
    options = {option.name for option in fields(RegistrationOptions)} - {
        "landmarks",
        "channel_weights",
    }
    names = {spelled.get(name, name) for name in options}
    assert names <= set(inspect.signature(run).parameters)
    given = {"model": "convex", "option": ["a=1"], "refine": "mind", "refine_steps": 2}
    options = registration_options({**given, "prealign": "none", "device": "cpu"})
    mind = FieldRefinement("mind", 2)
    wanted = RegistrationOptions("convex", {"a": 1.0}, "none", refinement=mind, device="cpu")
    assert options.as_record() == wanted.as_record()
    guided = {"drive_labels": "auto", "label_weight": 0.5, "extract_brain": "template"}
    more = registration_options({**given, "prealign": "none", "device": "cpu", **guided})
    assert (more.label_weight, more.extract_brain) == (0.5, "template")
    assert more.label_source == "auto"


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([["id", "fixed"], ["a", "f"]], "row 1, column moving: the column is missing"),
        (
            [["id", "fixed", "moving", "fixd_seg"], ["a", "f", "m", ""]],
            "row 1, column fixd_seg: there is no such column; was fixed_seg meant?",
        ),
        ([["id", "fixed", "moving"], ["a", "", "m"]], "row 2, column fixed: is empty"),
        (
            [["id", "fixed", "moving"], ["a", "f", "m"], ["A", "f", "n"]],
            "row 3, column id: 'A' is the id of row 2 as well",
        ),
        (
            [["id", "fixed", "moving"], ["a", "f", "m"], ["b", "f", "m"]],
            "row 3, column moving: asks for the same as row 2 (a)",
        ),
        (
            [["id", "fixed", "moving", "landmarks_fixed"], ["a", "f", "m", "p.csv"]],
            "row 2, column landmarks_moving: is empty; landmarks are pairs",
        ),
        (
            [["id", "fixed", "moving"], ["../x", "f", "m"]],
            "row 2, column id: '../x' names a folder and must not hold '/'",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_named_by_row_and_column(tmp_path, rows, fault):
    assert faults_of(tmp_path, *rows) == [fault]


@pytest.mark.parametrize("name", ["_x", ".x", "x.", "CON", "con.txt", "a:b", "x" * 121])
def test_an_id_that_names_no_folder_everywhere_is_a_fault(tmp_path, name):
    (fault,) = faults_of(tmp_path, ["id", "fixed", "moving"], [name, "f", "m"])
    assert fault.startswith("row 2, column id: ")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("prealign", "somehow"),
        ("extract_brain", "maybe"),
        ("option", "reach"),
        ("preset", "feet"),
        ("refine", "ncc"),
        ("refinement", "{no json"),
        ("refine_steps", "2"),  # without refine
    ],
)
def test_a_wrong_option_is_named_by_row_and_column(tmp_path, name, cell):
    (fault,) = faults_of(tmp_path, ["id", "fixed", "moving", name], ["a", "f", "m", cell])
    assert fault.startswith(f"row 2, column {name}: ")


def test_options_of_other_types_are_read_by_the_type_of_their_usual_value():
    assert option_value("full_resolution", "TRUE") is True
    assert option_value("model_options", '{"a": 1}') == {"a": 1}
    with pytest.raises(InvalidOption):
        option_value("full_resolution", "2")


@pytest.fixture
def images(tmp_path):
    """A folder like one of BIDS: two subjects, the first with two sessions, the second with one."""
    for name in ("sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-1"):
        folder = tmp_path / name / "anat"
        folder.mkdir(parents=True)
        stem = name.replace("/", "_")
        array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
        save_image(array, folder / f"{stem}_T1w.nii.gz")
        save_image(array, folder / f"{stem}_dseg.nii.gz")
    return tmp_path


FIRST = "sub-{subject}/ses-1/anat/*_T1w.nii.gz"
ANY = "sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}_T1w.nii.gz"


def test_files_are_paired_by_what_stands_in_braces(images):
    seg = "sub-{subject}/ses-{session}/anat/*_dseg.nii.gz"
    table, _ = pair_by_patterns(images, {"fixed": FIRST, "moving": ANY, "moving_seg": seg})
    (row,), faults = rows_of(table, USUAL, {})
    assert faults == []
    assert row.id == "sub-01_ses-2"
    assert row.inputs["fixed"].name == "sub-01_ses-1_T1w.nii.gz"
    assert row.inputs["moving"].name == "sub-01_ses-2_T1w.nii.gz"
    assert row.inputs["moving_seg"].name == "sub-01_ses-2_dseg.nii.gz"


def test_an_image_without_a_partner_is_named(images):
    patterns = {"fixed": "sub-{subject}/ses-2/anat/*_T1w.nii.gz", "moving": FIRST}
    table, lonely = pair_by_patterns(images, patterns)
    assert len(table.rows) == 1
    assert len(lonely) == 1
    assert "sub-02_ses-1_T1w.nii.gz has no fixed image" in lonely[0]


@pytest.mark.parametrize(
    "patterns",
    [
        {"fixed": FIRST, "moving": "sub-{subject}/*.mha"},  # no such file
        {"fixed": "none.nii", "moving": ANY},
        {"fixed": FIRST, "moving": ANY, "moving_seg": "{run}.nii"},  # no such entity
        {"fixed": FIRST, "moving": ANY, "moving_seg": "sub-{subject}/ses-{session}/anat/*"},  # two
    ],
)
def test_patterns_that_fit_nothing_or_too_much_are_refused(images, patterns):
    with pytest.raises(RegistrationError):
        pair_by_patterns(images, patterns)


def test_consecutive_images_stay_within_their_subject(images):
    listed = images_of_pattern(images, {"image": ANY})
    table = pair_consecutive(listed, images / "pairs")
    assert [cells["id"] for _, cells in table.rows] == ["sub-01_ses-2_to_sub-01_ses-1"]


def test_the_images_of_a_folder_are_paired_in_the_order_in_which_one_counts(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / f"scan{number}.nii.gz").touch()
    listed = images_in_folder(tmp_path)
    ids = [cells["id"] for _, cells in pair_consecutive(listed, tmp_path / "p").rows]
    assert ids == ["scan2_to_scan1", "scan10_to_scan2"]
    assert len(pair_all(listed, tmp_path / "p").rows) == 3
    onto = pair_with(listed, tmp_path / "scan1.nii.gz", tmp_path / "p")
    assert [cells["id"] for _, cells in onto.rows] == ["scan2", "scan10"]


def test_a_table_of_images_brings_their_segmentations(tmp_path):
    cells = [["id", "image", "seg"], ["a", "a.nii", "as.nii"], ["b", "b.nii", "bs.nii"]]
    table = pair_all(images_of_table(read_cells(write(tmp_path / "t.csv", cells))), tmp_path / "p")
    (row,), faults = rows_of(table, USUAL, {})
    assert faults == []
    assert row.inputs["fixed_seg"] == tmp_path / "as.nii"
    assert row.inputs["moving_seg"] == tmp_path / "bs.nii"


def test_the_check_reads_every_header_and_names_row_and_column(tmp_path):
    save_image(np.zeros((4, 4, 4), np.uint8), tmp_path / "f.nii.gz")
    save_image(np.zeros((4, 4), np.uint8), tmp_path / "plane.nii.gz", (1.0, 1.0))
    (tmp_path / "text.nii.gz").write_text("nothing")
    rows = [["id", "fixed", "moving", "moving_seg"]]
    rows += [["a", "f.nii.gz", "plane.nii.gz", ""], ["b", "f.nii.gz", "text.nii.gz", ""]]
    rows += [["c", "f.nii.gz", "gone.nii.gz", ""], ["d", "f.nii.gz", "f.nii.gz", "gone.nii.gz"]]
    faults, _ = check_files(rows_in(write(tmp_path / "t.csv", rows))[0])
    assert [(fault.line, fault.column) for fault in faults] == [
        (2, "moving"), (3, "moving"), (4, "moving"), (5, "moving_seg"), (5, "moving"),
    ]  # fmt: skip
    assert "plane.nii.gz has 2 axes, the fixed image 3" in faults[0].what
    done = neuralreg("batch", tmp_path / "t.csv", "--check", "--quiet")
    assert done.exit_code == 1
    assert "row 4, column moving: " in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        "f.nii.gz", "plane.nii.gz", "text.nii.gz", "t.csv"
    }  # fmt: skip


def test_a_dry_run_lists_the_rows_and_what_they_need_and_writes_nothing(tmp_path):
    for name in ("f", "m"):
        save_image(np.zeros((4, 4, 4), np.uint8), tmp_path / f"{name}.nii")
    rows = [["id", "fixed", "moving"], ["a", "f.nii", "m.nii"]]
    table = write(tmp_path / "t.csv", rows)
    facts = facts_of("batch", table, "-o", tmp_path / "study", "--dry-run", "--quiet")
    assert facts["rows"] == ["a"]
    assert facts["forecast"]["seconds"] > 0
    assert facts["forecast"]["memory_mb"] > 100
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["t.csv"],
        ["t.csv", "-o", "s", "--retry", "all"],
        ["t.csv", "-o", "s", "--shard", "3/2"],
        ["t.csv", "-o", "s", "--only", "nobody"],
        ["t.csv", "-o", "s", "--all-pairs", "--consecutive"],
        ["--bids", ".", "-o", "s"],
        ["none.csv", "-o", "s"],
        ["status", "s"],
    ],
)
def test_wrong_use_ends_with_2_and_one_sentence_and_writes_nothing(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv")
    done = neuralreg("batch", *words)
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_whoever_leads_a_study_loads_neither_torch_nor_dask():
    heavy = "{'torch', 'dask', 'distributed', 'openpyxl'} & set(sys.modules)"
    code = "import sys, neuralreg.studies.execution.study_run, neuralreg.cli.main"
    assert run_python(f"{code}; print({heavy})").strip() == "set()"
