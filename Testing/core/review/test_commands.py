"""`neuralreg review`, `worklist` and `rerun`, and the worker's job."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from neuralreg.cli.rerun import job_of, registration_in
from neuralreg.errors import InvalidOption
from neuralreg.progress import silent
from neuralreg.review.assess import assess
from neuralreg.review.report_model import QualityReport
from neuralreg.review.workflow.worklist import (
    Entry,
    read_worklist,
    record_review,
    risk_of,
    sort_by_risk,
    work_through,
    write_worklist,
)
from neuralreg.worker.jobs import function_of
from neuralreg.worker.messages import Field, ReviewJob, Voxels
from neuralreg.worker.serialization import at_once, pack, unpack

from Testing.support.command_line import neuralreg as run
from Testing.support.phantom import CUBE
from Testing.support.reviewed import places


def spoiled(files, tmp_path: Path) -> Path:
    """A transform with a fold, as a file."""
    import SimpleITK as sitk
    from neuralreg.review.geometry.deformation import Deformation, place_on_grid

    u = Deformation.of(files("transform")).on(CUBE)
    offset = places(CUBE) - [8.0, -6.0, 2.0]
    near = np.exp(-0.5 * (np.linalg.norm(offset, axis=-1) / 7) ** 2)[..., None]
    image = sitk.GetImageFromArray((u - 2 * near * offset).astype(np.float32), isVector=True)
    sitk.WriteImage(place_on_grid(image, CUBE), str(tmp_path / "bad.nrrd"))
    return tmp_path / "bad.nrrd"


def test_a_right_transform_ends_with_0(files):
    done = run("review", files("transform"), "--fixed", files("fixed"), "--moving", files("moving"))
    assert done.exit_code == 0, done.output
    assert "pass, by the limits of AAPM TG-132" in done.stdout


def test_a_folded_transform_ends_with_1_and_says_where(files, tmp_path):
    done = run("review", spoiled(files, tmp_path), "--fixed", files("fixed"), "--json")
    assert done.exit_code == 1
    facts = json.loads(done.stdout)
    assert facts["verdict"] == "fail"
    assert facts["worst"][0]["kind"] == "folding"


@pytest.mark.parametrize("transform", ["nothing.nrrd", "fixed.nrrd"])
def test_what_cannot_be_reviewed_ends_with_2(files, transform):
    done = run("review", files("fixed").with_name(transform))
    assert done.exit_code == 2


def test_a_report_is_written_beside_its_numbers(files, tmp_path):
    done = run(
        "review",
        files("transform"),
        "--fixed",
        files("fixed"),
        "--moving",
        files("moving"),
        "--report",
        tmp_path / "r.html",
        "--subject",
        "Case 7",
        "-q",
    )
    assert done.exit_code == 0, done.output
    assert "Case 7" in (tmp_path / "r.html").read_text()
    assert {p.suffix for p in tmp_path.glob("r.*")} == {".html", ".pdf", ".csv", ".json"}
    again = run("review", files("transform"), "--report", tmp_path / "r.html")
    assert again.exit_code == 2
    assert "overwrite" in again.output


def test_names_of_labels_reach_the_report(files, tmp_path):
    (tmp_path / "names.json").write_text('{"1": "Liver", "2": "Spleen"}')
    done = run(
        "review",
        files("transform"),
        "--fixed-seg",
        files("fixed_labels"),
        "--moving-seg",
        files("moving_labels"),
        "--names",
        tmp_path / "names.json",
        "--json",
    )
    facts = json.loads(done.stdout)
    assert {one["name"] for one in facts["overlaps"]} == {"Liver", "Spleen"}


def test_a_worklist_is_ranked_and_resumed(files, tmp_path):
    bad = spoiled(files, tmp_path)
    source = tmp_path / "list.csv"
    source.write_text(
        "case,transform,fixed,moving\n"
        f"good,{files('transform')},{files('fixed')},{files('moving')}\n"
        f"bad,{bad},{files('fixed')},{files('moving')}\n"
        "lost,missing.nrrd,,\n"
    )
    done = run("worklist", source, "-q")
    assert done.exit_code == 1
    rows = list(csv.DictReader(source.open()))
    assert [row["case"] for row in rows] == ["lost", "bad", "good"]
    assert [row["verdict"] for row in rows] == ["error", "fail", "pass"]
    bad.unlink()  # reviewed already: it is not read again
    done = run("worklist", source, "-q")
    assert done.exit_code == 1
    assert "is not there" in done.stderr
    assert [row["verdict"] for row in csv.DictReader(source.open())] == ["error", "fail", "pass"]


@pytest.fixture
def two_entries():
    return [Entry("a", "a.nrrd"), Entry("b", "b.nrrd")]


def test_work_that_is_stopped_keeps_what_was_done(two_entries, a_case, tmp_path):
    report = assess(a_case["transform"], detail="quick")
    kept: list[list[Entry]] = []

    def review(entry: Entry) -> QualityReport:
        if entry.case == "b":
            raise KeyboardInterrupt
        return report

    with pytest.raises(KeyboardInterrupt):
        work_through(two_entries, review, kept.append)
    assert [entry.verdict for entry in kept[-1]] == ["", report.verdict] or kept[-1][0].verdict


def test_decided_cases_sink_to_the_end():
    entries = [
        Entry("calm", "t", verdict="pass", risk=0.1),
        Entry("done", "t", verdict="fail", risk=30, decision="rejected"),
        Entry("bad", "t", verdict="fail", risk=20),
    ]
    assert [entry.case for entry in sort_by_risk(entries)] == ["bad", "calm", "done"]


def test_a_changed_transform_loses_its_decision(a_case):
    report = assess(a_case["transform"], detail="quick")
    old = Entry("a", "t", transform_sha256="old", decision="accepted", by="Dr. A")
    assert record_review(old, report).decision == ""
    same = replace(old, transform_sha256=report.transform_hash)
    assert record_review(same, report).decision == "accepted"


def test_risk_puts_missed_limits_before_suspicions(a_case):
    report = assess(a_case["transform"], detail="quick")
    line = report.lines[0]
    failed = replace(report, lines=(replace(line, verdict="fail"),))
    suspected = replace(report, lines=(replace(line, verdict="attention"),) * 3)
    assert risk_of(failed) > risk_of(suspected) > risk_of(replace(report, lines=()))


def test_a_worklist_comes_back_as_it_was_written(tmp_path):
    entries = [
        Entry("a", str(tmp_path / "t.nrrd"), verdict="pass", risk=1.25, note='said "no", so')
    ]
    write_worklist(entries, tmp_path / "w.csv")
    assert read_worklist(tmp_path / "w.csv") == entries


def test_a_column_of_ones_own_is_kept(tmp_path):
    (tmp_path / "w.csv").write_text("transform,colour\na.nrrd,red\n")
    write_worklist(read_worklist(tmp_path / "w.csv"), tmp_path / "w.csv")
    (entry,) = read_worklist(tmp_path / "w.csv")
    assert entry.others == {"colour": "red"}


def review_job(case: dict, **more: object) -> ReviewJob:
    import SimpleITK as sitk

    def voxels(name: str) -> Voxels:
        return Voxels(sitk.GetArrayFromImage(case[name]), CUBE)

    return ReviewJob(
        transform=Field(case["transform"].vectors, CUBE),
        fixed=voxels("fixed"),
        moving=voxels("moving"),
        fixed_labels=voxels("fixed_labels"),
        moving_labels=voxels("moving_labels"),
        names={"1": "Large", "2": "Small"},
        **more,
    )


def handed(job: ReviewJob, folder: Path):
    """The job through the worker's own packing, there and back."""
    from neuralreg.worker.serialization import arguments_of

    for name in ("in", "out"):
        (folder / name).mkdir()
    arguments = unpack(json.loads(json.dumps(at_once(pack(arguments_of(job), folder / "in")))))
    value = function_of("review")(arguments, silent)
    return unpack(json.loads(json.dumps(at_once(pack(value, folder / "out")))))


def test_the_worker_gives_the_same_report_and_the_maps(a_case, tmp_path):
    points = ((0.0, 0.0, 0.0), (5.0, 5.0, 5.0))
    maps = ("jacobian", "magnitude", "forward_backward", "residual", "warped")
    found = handed(
        review_job(a_case, fixed_points=points, moving_points=points, maps=maps), tmp_path
    )
    report = QualityReport.from_record(found.report)
    plain = assess(**a_case)
    assert report.overlaps == plain.overlaps
    assert report.transform_hash == plain.transform_hash
    assert report.landmarks is not None
    assert set(found.maps) == set(maps)
    magnitude = found.maps["magnitude"]
    expected = np.linalg.norm(a_case["transform"].vectors, axis=-1)
    assert np.asarray(magnitude.data) == pytest.approx(expected, abs=1e-4)
    assert magnitude.grid == CUBE


def test_an_unknown_map_or_detail_is_an_error(a_case, tmp_path):
    with pytest.raises(InvalidOption, match="no such map"):
        handed(review_job(a_case, maps=("temperature",)), tmp_path)
    with pytest.raises(InvalidOption, match="detail"):
        function_of("review")({"transform": "t", "detail": "some"}, silent)


def test_a_registration_is_repeated_from_its_record(files, tmp_path):
    folder = tmp_path / "result"
    done = run(
        "register",
        files("fixed"),
        files("moving"),
        "-o",
        folder,
        "-q",
        "--model",
        "convex",
        "--prealign",
        "none",
    )
    assert done.exit_code == 0, done.output
    facts = json.loads((folder / "result.json").read_text())
    assert facts["inputs"]["fixed"]["spacing_mm"] == [2.0, 2.0, 2.0]
    assert "SimpleITK" in facts["software"]
    again = run("rerun", folder, "--json", "-q")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["same"]
    report = run("review", folder / "fixed_to_moving.nii.gz", "--report", tmp_path / "r.html")
    assert report.exit_code == 0, report.output
    assert "convex" in (tmp_path / "r.html").read_text()
    assert str(tmp_path) not in (tmp_path / "r.json").read_text()
    told, _ = registration_in(tmp_path / "r.json")
    assert job_of(told, files("fixed").parent).inputs()["fixed"].name == "fixed.nrrd"
    whole = json.loads(run("review", folder, "--json", "-q").stdout)
    images = "--fixed", files("fixed"), "--moving", files("moving")
    one, two = (folder / f"{name}.nii.gz" for name in ("fixed_to_moving", "moving_to_fixed"))
    by_file = json.loads(run("review", one, *images, "--inverse", two, "--json", "-q").stdout)
    assert whole["lines"] == by_file["lines"]
    listed = run("worklist", folder, "--json", "-q")
    assert json.loads(listed.stdout)["entries"][0]["verdict"] in ("pass", "attention", "fail")
    files("moving").write_bytes(files("fixed").read_bytes())
    refused = run("rerun", folder, "-q")
    assert refused.exit_code == 2
    assert "another hash" in refused.output


@pytest.mark.parametrize("content", ["{}", "no json"])
def test_something_else_than_a_record_cannot_be_repeated(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    done = run("rerun", tmp_path)
    assert done.exit_code == 2
    assert "no record" in done.output


def test_the_command_line_reviews_without_torch(files):
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from neuralreg.cli.main import app\n"
        f"app(['review', {str(files('transform'))!r}, '--fixed', {str(files('fixed'))!r}, '-q'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
