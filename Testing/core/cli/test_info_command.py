"""`neuralreg info` of results, of points, and of what belongs to neither."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.support.command_line import neuralreg


@pytest.fixture(scope="module")
def results(pair, tmp_path_factory):
    """The folder of a quick registration, beside copies of its images."""
    folder = tmp_path_factory.mktemp("study")
    images = [shutil.copy(pair / f"{side}.nii.gz", folder) for side in ("fixed", "moving")]
    options = "--prealign", "center", "--refine-steps", "2", "--refine", "lncc"
    done = neuralreg("register", *images, "-o", folder / "results", "-q", *options)
    assert done.exit_code == 0, done.stderr
    return folder / "results"


def facts_of(*arguments) -> dict:
    done = neuralreg("info", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["", "result.json"])
def test_a_folder_of_results_tells_how_they_were_made_and_came_out(results, name):
    record = json.loads((results / "result.json").read_text())
    facts = facts_of(results / name)
    assert facts["kind"] == "results of a registration"
    assert facts["model"] == record["model"] == "convex"
    assert facts["similarity_final"] == record["outcome"]["similarity_final"]
    assert facts["fixed"] == str(results.parent / "fixed.nii.gz")
    assert facts["files"] == record["files"]


def test_what_was_changed_or_lost_since_is_named(results, tmp_path):
    moved = tmp_path / "study"
    shutil.copytree(results.parent, moved)
    folder = moved / "results"
    record = json.loads((folder / "result.json").read_text())
    for about in record["inputs"].values():
        about["path"] = about["path"].replace(str(results.parent), str(tmp_path / "elsewhere"))
    (folder / "result.json").write_text(json.dumps(record))
    (moved / "moving.nii.gz").unlink()
    (folder / "warped.nii.gz").unlink()
    field = sitk.ReadImage(str(folder / "fixed_to_moving.nii.gz"))
    other = sitk.GetImageFromArray(1.5 * sitk.GetArrayFromImage(field), isVector=True)
    other.CopyInformation(field)
    sitk.WriteImage(other, str(folder / "fixed_to_moving.nii.gz"))
    facts = facts_of(folder)
    assert facts["fixed"] == str(moved / "fixed.nii.gz")  # found by its hash
    assert facts["moving"].endswith("moving.nii.gz (missing)")
    assert "warped.nii.gz (missing)" in facts["files"]
    assert "fixed_to_moving.nii.gz (changed since)" in facts["files"]


def test_a_damaged_record_is_one_error(tmp_path):
    (tmp_path / "result.json").write_text('{"model": "conv')
    done = neuralreg("info", tmp_path)
    assert done.exit_code == 1
    assert "is no record of a registration" in " ".join(done.output.split())


def test_landmarks_tell_where_they_lie(tmp_path):
    (tmp_path / "p.csv").write_text("x,y,z\n1,2,3\n5,-4,9\n")
    facts = facts_of(tmp_path / "p.csv")
    assert facts["points"] == 2
    assert facts["lowest_lps"] == [1, -4, 3]
    assert facts["highest_lps"] == [5, 2, 9]


def test_a_segmentation_names_its_segments(tmp_path):
    image = sitk.GetImageFromArray(np.ones((4, 5, 6, 2), np.uint8), isVector=True)
    for key, value in {"Name": "liver", "Layer": "1", "LabelValue": "3"}.items():
        image.SetMetaData(f"Segment0_{key}", value)
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    facts = facts_of(tmp_path / "a.seg.nrrd")
    assert facts["layers"] == 2
    assert facts["segments"] == ["liver (layer 1, label 3)"]
    assert facts["size"] == [6, 5, 4]
