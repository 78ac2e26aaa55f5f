"""`neuralreg batch` with real registrations on real worker processes."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import UnwritableOutput
from neuralreg.worker.file_jobs.pair_job import register_files
from PIL import Image
from scipy import ndimage

from Testing.support.command_line import facts_of, neuralreg
from Testing.support.image_files import save_image

QUICK = ["--prealign", "none", "--refine", "mind", "--refine-steps", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three pairs, one of which has segmentations, and a damaged one; computed by one worker."""
    folder = tmp_path_factory.mktemp("batch")
    z, y, x = np.mgrid[:16, :18, :20]
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=x.shape), 2) * 400
    inside = ((z - 8) / 6) ** 2 + ((y - 9) / 7) ** 2 + ((x - 9) / 7) ** 2 < 1
    image = (inside * (200 + noise)).astype(np.int16)
    save_image(image, folder / "f.nii.gz")
    save_image(inside.astype(np.uint8), folder / "fs.nii.gz")
    for shift in (1, 2):
        save_image(np.roll(image, shift, 2), folder / f"m{shift}.nii.gz")
    save_image(np.roll(inside, 1, 2).astype(np.uint8), folder / "ms.nii.gz")
    (folder / "bad.nii.gz").write_bytes((folder / "f.nii.gz").read_bytes()[:300])
    points = np.array([[-2.0, 28, 25], [0, 30, 22], [2, 26, 27]])  # within the body, LPS mm
    for name, shift in (("pf", 0.0), ("pm", 2.0)):
        np.savetxt(folder / f"{name}.csv", points + [shift, 0, 0], delimiter=",")
    (folder / "t.csv").write_text(
        "id,fixed,moving,fixed_seg,moving_seg,landmarks_fixed,landmarks_moving,bring_labels\n"
        "one,f.nii.gz,m1.nii.gz,fs.nii.gz,ms.nii.gz,pf.csv,pm.csv,\n"
        "two,f.nii.gz,m2.nii.gz,,,,,ms.nii.gz\n"
        "damaged,bad.nii.gz,m2.nii.gz,,,,,\n"
    )
    command = [
        "batch",
        folder / "t.csv",
        "-o",
        folder / "study",
        "--workers",
        1,
        "--review",
        "--names",
        "bids",
    ]
    done = neuralreg(*command, *QUICK, "--quiet", "--json")
    return folder, done


def test_a_study_with_a_failure_ends_with_1_and_a_line_of_json_for_each_row(study):
    folder, done = study
    assert done.exit_code == 1, done.stderr
    *rows, last = map(json.loads, done.stdout.splitlines())
    assert {row["id"]: row["state"] for row in rows} == {
        "one": "done", "two": "done", "damaged": "failed"
    }  # fmt: skip
    assert last == {"study": str(folder / "study"), "states": {"done": 2, "failed": 1}}


def test_a_row_is_what_register_writes(study, tmp_path):
    folder, _ = study
    sides = [f"--{side}-seg={folder / side[0]}s.nii.gz" for side in ("fixed", "moving")]
    images = [folder / "f.nii.gz", folder / "m1.nii.gz"]
    single = facts_of("register", *images, *sides, "-o", tmp_path / "r", *QUICK, "--quiet")
    row = json.loads((folder / "study" / "one" / "result.json").read_text())
    assert row["files"] == single["files"]
    assert sorted(path.name for path in (folder / "study" / "one").iterdir()) == row["files"]
    assert row["options"] == single["options"]
    assert row["outcome"]["similarity_final"] == pytest.approx(
        single["outcome"]["similarity_final"], abs=1e-3
    )


def test_all_that_steers_in_a_row_does_what_it_does_on_the_command_line(study, tmp_path):
    folder, _ = study
    f, m, fs, ms, pf, pm = (
        folder / name
        for name in ("f.nii.gz", "m1.nii.gz", "fs.nii.gz", "ms.nii.gz", "pf.csv", "pm.csv")
    )
    (tmp_path / "t.csv").write_text(
        "id,fixed,moving,fixed_seg,moving_seg,label_weight,sliding,fixed_landmarks,"
        "moving_landmarks,fixed_surfaces,moving_surfaces\n"
        f"a,{f},{m},{fs},{ms},0.5,{fs},{pf},{pm},{fs},{ms}\n"
        f"b,{f},{m},{fs},{ms},,,{pf},,{fs},\n"
    )
    faulty = neuralreg("batch", tmp_path / "t.csv", "--check")
    said = " ".join(faulty.output.split())
    assert "column moving_landmarks: is empty; landmarks are pairs" in said
    assert "column moving_surfaces: has another number of files than fixed_surfaces" in said
    lines = (tmp_path / "t.csv").read_text().splitlines(keepends=True)
    (tmp_path / "t.csv").write_text("".join(lines[:2]))
    few = ["--model", "convex", *QUICK]
    done = neuralreg("batch", tmp_path / "t.csv", "-o", tmp_path / "study", *few, "--quiet")
    assert done.exit_code == 0, done.stderr
    sides = ["--fixed-seg", fs, "--moving-seg", ms, "--drive-labels", "--label-weight", 0.5]
    steer = ["--sliding", fs, "--landmarks", pf, pm, "--surface", fs, ms]
    single = facts_of("register", f, m, *sides, *steer, "-o", tmp_path / "r", *few, "--quiet")
    row = json.loads((tmp_path / "study" / "a" / "result.json").read_text())
    assert row["options"] == single["options"]
    assert row["transform_sha256"] == single["transform_sha256"]
    assert set(row["inputs"]) == set(single["inputs"])


def test_the_table_has_time_memory_numbers_and_the_verdict(study):
    folder, _ = study
    with (folder / "study" / "study.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    one = rows["one"]
    assert 0 < float(one["seconds"]) < 60
    assert 100 < float(one["memory_mb"]) < 5000
    assert float(one["dice_after"]) > float(one["dice_before"])
    assert float(one["landmark_error_mean_before_mm"]) == pytest.approx(2.0)
    assert float(one["landmark_error_mean_mm"]) < 1.0
    assert rows["two"]["landmark_error_mean_mm"] == ""
    assert one["verdict"] in ("pass", "attention", "fail")
    assert rows["damaged"]["state"] == "failed"
    assert "bad.nii.gz is truncated or damaged" in rows["damaged"]["reason"]


def test_the_page_opens_offline_and_shows_every_pair_before_and_after_the_failure_first(study):
    folder, _ = study
    page = (folder / "study" / "index.html").read_text()
    assert not re.search(r'(src|href)="(https?:)?//', page)
    pictures = re.findall(r'src="([^"]+)"', page)
    assert len(pictures) == 4
    agreement = {}
    for name in pictures:
        pixels = np.asarray(Image.open(folder / "study" / name)).astype(float)
        agreement[name] = np.abs(pixels[..., 0] - pixels[..., 1]).mean()
    for row in ("one", "two"):
        after, before = (agreement[f"_study/rows/{row}/{when}.png"] for when in ("after", "before"))
        assert after < before
    rows = re.findall(r"<tr><td>(?:<a [^>]*>)?(\w+)", page)
    assert rows[0] == "damaged"
    assert page.count("<svg") > 5


def test_the_worklist_opens_a_study_and_its_verdict_comes_into_the_table(study):
    folder, _ = study
    listed = neuralreg("worklist", folder / "study", "-q", "--json")
    assert listed.exit_code in (0, 1), listed.stderr
    entries = {entry["case"]: entry for entry in json.loads(listed.stdout)["entries"]}
    assert set(entries) == {"one", "two"}
    again = ["batch", folder / "t.csv", "-o", folder / "study", *QUICK, "--quiet"]
    assert neuralreg(*again).exit_code == 1  # nothing is computed, the accounts are written
    with (folder / "study" / "study.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["one"]["verdict"] == entries["one"]["verdict"]


def test_status_tells_programs_a_line_for_each_row(study):
    folder, _ = study
    done = neuralreg("batch", "status", folder / "study", "--json")
    assert done.exit_code == 1
    *rows, last = map(json.loads, done.stdout.splitlines())
    assert [row["id"] for row in rows] == ["one", "two", "damaged"]
    assert last["states"] == {"done": 2, "failed": 1}
    words = neuralreg("batch", "status", folder / "study").stdout
    assert "failed: damaged" in words


def test_results_that_the_study_did_not_make_are_not_replaced(study, tmp_path):
    folder, _ = study
    (tmp_path / "warped.nii.gz").write_text("somebody's")
    job = {"inputs": {"fixed": folder / "f.nii.gz", "moving": folder / "m1.nii.gz"}}
    job |= {"options": {}, "initial_format": None, "thumbnails": None, "review": False}
    with pytest.raises(UnwritableOutput, match="did not make"):
        register_files({**job, "folder": tmp_path, "overwrite": False}, lambda *_: None)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["somebody's"]


def test_names_of_bids_lead_to_the_same_files(study):
    folder, _ = study
    named = folder / "study" / "sub-one" / "sub-one_from-m1_to-f_mode-image_xfm.nii.gz"
    assert named.samefile(folder / "study" / "one" / "fixed_to_moving.nii.gz")
    assert (folder / "study" / "dataset_description.json").exists()
    assert not (folder / "study" / "sub-damaged").exists()


def test_further_files_come_along_and_one_that_is_damaged_does_not_stop_the_others(study, tmp_path):
    folder, _ = study
    brought = folder / "study" / "two" / "ms_warped.nii.gz"
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(brought))))) == {0, 1}
    inputs = {
        "fixed": "f",
        "moving": "m1",
        "bring 1": "bad",
        "bring 2": "m1",
        "bring_labels 1": "ms",
    }
    job = {"inputs": {role: folder / f"{name}.nii.gz" for role, name in inputs.items()}}
    job |= {"options": {"linear": "none"}, "initial_format": None, "thumbnails": None}
    job |= {"review": False, "folder": tmp_path, "overwrite": False}
    facts = register_files(job, lambda *_: None)
    (failure,) = facts["failures"]
    assert "bad.nii.gz is truncated" in failure
    assert (tmp_path / "m1_warped.nii.gz").exists()
    assert (tmp_path / "ms_warped.nii.gz").exists()
