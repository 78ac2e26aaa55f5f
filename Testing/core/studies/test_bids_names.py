"""Results under the names of BIDS derivatives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from neuralreg.errors import InvalidOption
from neuralreg.studies.accounts.bids_names import (
    bids_names,
    name_results,
    require_own_names,
    write_dataset,
)
from neuralreg.studies.execution.row_records import DONE, FAILED, RowRecord, StudyFolder
from neuralreg.studies.table.study_rows import StudyRow

FIXED = Path("/data/sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
MOVING = Path("/data/sub-01/ses-2/anat/sub-01_ses-2_run-3_T2w.nii.gz")


def row(fixed=FIXED, moving=MOVING, name="a"):
    return StudyRow(name, {"fixed": fixed, "moving": moving})


def test_a_transform_is_named_by_the_images_that_it_connects():
    top = "sub-01/ses-2/sub-01_ses-2_run-3"
    assert bids_names(row()) == {
        "fixed_to_moving.nii.gz": f"{top}_from-ses2run3T2w_to-ses1T1w_mode-image_xfm.nii.gz",
        "moving_to_fixed.nii.gz": f"{top}_from-ses1T1w_to-ses2run3T2w_mode-image_xfm.nii.gz",
        "warped.nii.gz": f"{top}_space-ses1T1w_desc-warped_T2w.nii.gz",
        "warped_seg.nii.gz": f"{top}_space-ses1T1w_desc-warped_dseg.nii.gz",
        "result.json": f"{top}_from-ses2run3T2w_to-ses1T1w_mode-image_xfm.json",
    }


def test_images_without_entities_are_named_by_the_row():
    name = bids_names(row(Path("/a/template.nii.gz"), Path("/a/my scan.nrrd"), "scan 7"))
    assert name["warped.nii.gz"] == "sub-scan7/sub-scan7_space-template_desc-warped_image.nii.gz"


def test_two_rows_with_one_name_are_refused_before_anything_runs():
    require_own_names([row(), row(Path("/data/sub-01_ses-3_T1w.nii.gz"), name="b")])
    with pytest.raises(InvalidOption, match="a and b: sub-01/"):
        require_own_names([row(), row(Path("/other/sub-01_ses-1_T1w.nii.gz"), name="b")])


def test_results_that_are_done_are_linked_and_described(tmp_path):
    study = StudyFolder(tmp_path)
    (tmp_path / "a").mkdir()
    for name in bids_names(row()):
        (tmp_path / "a" / name).write_text(name)
    write_dataset(study, [row()])
    name_results(study, row(), RowRecord("a", FAILED))
    assert not (tmp_path / "sub-01").exists()
    for _ in range(2):
        name_results(study, row(), RowRecord("a", DONE))
    for name, target in bids_names(row()).items():
        assert (tmp_path / target).read_text() == name
    (tmp_path / "a" / "warped.nii.gz").unlink()
    (tmp_path / "a" / "warped.nii.gz").write_text("computed again")
    name_results(study, row(), RowRecord("a", DONE))
    assert (tmp_path / bids_names(row())["warped.nii.gz"]).read_text() == "computed again"
    about = json.loads((tmp_path / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert about["GeneratedBy"][0]["Name"] == "neuralreg"
    assert "a/" in (tmp_path / ".bidsignore").read_text().splitlines()
