"""Folders with several DICOM series, as scanners export them: which one is meant is said."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from neuralreg.errors import UnreadableFile
from neuralreg.io.files import sha256_of
from neuralreg.io.formats.dicom_identity import dicom_identity
from neuralreg.io.image_files import read_image
from pydicom.uid import generate_uid

from Testing.support.command_line import facts_of, neuralreg
from Testing.support.dicom_files import write_slices

COUNT = 12
VALUES = np.random.default_rng(5).integers(0, 900, (3, COUNT, 16, 14)).astype(np.int16)
DESCRIPTIONS = ("T1 native", "T1 contrast", "T2")


@pytest.fixture
def study(tmp_path) -> Path:
    """Three series of twelve slices in one folder, with their files mixed."""
    folder = tmp_path / "study of today"
    folder.mkdir()
    for k, (values, description) in enumerate(zip(VALUES, DESCRIPTIONS, strict=True)):
        part = tmp_path / f"part{k}"
        part.mkdir()
        own = {name: generate_uid(entropy_srcs=[name, str(k)])
               for name in ("SeriesInstanceUID", "FrameOfReferenceUID")}  # fmt: skip
        write_slices(
            part, values, np.ones(COUNT), Modality="MR", SeriesNumber=10 * (k + 1),
            SeriesDescription=description, **own,
        )  # fmt: skip
        for file in part.iterdir():
            file.rename(folder / f"{file.stem}-{k}.dcm")
    return folder


def uid_of(study: Path, k: int) -> str:
    return str(pydicom.dcmread(study / f"000-{k}.dcm").SeriesInstanceUID)


def test_without_a_choice_every_series_and_the_way_to_name_one_are_said(study):
    with pytest.raises(UnreadableFile) as refusal:
        read_image(study)
    text = str(refusal.value)
    assert "3 DICOM series" in text
    for k, description in enumerate(DESCRIPTIONS):
        assert f"'{description}' (number {10 * (k + 1)}, 12 files from 000-{k}.dcm" in text
        assert uid_of(study, k) in text
    assert f"{study}::10" in text


@pytest.mark.parametrize("k", range(3))
def test_a_series_is_chosen_by_number_description_or_uid(study, k):
    for name in (str(10 * (k + 1)), DESCRIPTIONS[k].upper(), uid_of(study, k)):
        image = read_image(Path(f"{study}::{name}"))
        np.testing.assert_array_equal(image.data[0].numpy(), VALUES[k])


def test_a_name_that_no_series_or_more_than_one_has_is_refused_with_the_series(study):
    with pytest.raises(UnreadableFile, match=r"no series is called '4'.*T1 contrast"):
        read_image(Path(f"{study}::4"))
    for k in (0, 1):
        for path in study.glob(f"*-{k}.dcm"):
            file = pydicom.dcmread(path)
            file.SeriesNumber = 7
            file.save_as(path)
    with pytest.raises(UnreadableFile, match=r"2 series are called '7'") as refusal:
        read_image(Path(f"{study}::7"))
    assert f"::{min(uid_of(study, 0), uid_of(study, 1))}" in refusal.value.remedy


@pytest.mark.parametrize("name", ["nowhere::10", "image.nii::10"])
def test_a_series_is_of_a_folder_that_exists(tmp_path, name):
    sitk.WriteImage(sitk.GetImageFromArray(VALUES[0]), str(tmp_path / "image.nii"))
    with pytest.raises(UnreadableFile, match="cannot be opened"):
        read_image(tmp_path / name)


def test_a_file_whose_name_has_two_colons_is_that_file(study, tmp_path):
    odd = study / "x::10.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(VALUES[2]), str(odd))
    np.testing.assert_array_equal(read_image(odd).data[0].numpy(), VALUES[2])


def test_every_command_takes_a_series(study, tmp_path):
    fixed, moving = f"{study}::10", f"{study}::20"
    listed = facts_of("info", study)
    assert [one["number"] for one in listed["series"]] == ["10", "20", "30"]
    assert facts_of("info", fixed)["highest"] == VALUES[0].max()
    identity = tmp_path / "identity.tfm"
    sitk.WriteTransform(sitk.Euler3DTransform(), str(identity))
    out = tmp_path / "warped.nii.gz"
    facts_of("warp", moving, identity, "-r", fixed, "-o", out)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(out))), VALUES[1])
    outcome = neuralreg("review", identity, "--fixed", fixed, "--moving", moving, "--json")
    assert "similarity" in outcome.stdout, outcome.output
    registration = tmp_path / "registration.dcm"
    facts_of("convert", identity, "-o", registration, "--fixed", fixed, "--moving", moving)
    assert pydicom.dcmread(registration).FrameOfReferenceUID == generate_uid(
        entropy_srcs=["FrameOfReferenceUID", "0"]
    )


def test_register_records_the_series_and_finds_it_again(study, tmp_path):
    out = tmp_path / "result"
    facts_of("register", f"{study}::10", f"{study}::30", "-o", out, "--model", "convex",
             "--prealign", "none", "--refine", "mind", "--refine-steps", 1)  # fmt: skip
    record = json.loads((out / "result.json").read_text())
    assert record["inputs"]["moving"]["path"] == f"{study.resolve()}::30"
    assert record["inputs"]["moving"]["sha256"] == sha256_of(study)
    shown = neuralreg("info", out).stdout
    assert "missing" not in shown
    assert "changed" not in shown
    sides = [record["inputs"][side]["dicom"] for side in ("fixed", "moving")]
    for k, side in ((0, sides[0]), (2, sides[1])):
        header = pydicom.dcmread(study / f"000-{k}.dcm")
        for name, uid in (("study", header.StudyInstanceUID), ("series", header.SeriesInstanceUID),
                          ("frame_of_reference", header.FrameOfReferenceUID)):  # fmt: skip
            assert side[f"{name}_uid_sha256"] == hashlib.sha256(uid.encode()).hexdigest()
            assert uid not in (out / "result.json").read_text()
    assert sides[0]["study_uid_sha256"] == sides[1]["study_uid_sha256"]
    assert sides[0]["series_uid_sha256"] != sides[1]["series_uid_sha256"]


def test_a_patient_is_known_again_and_not_named(study):
    for path in study.glob("*-2.dcm"):
        file = pydicom.dcmread(path)
        file.PatientID = "4711"
        file.save_as(path)
    nobody, other = (dicom_identity(Path(f"{study}::{k}0")) for k in (1, 3))
    assert "patient_scrypt" not in nobody
    assert other["patient_scrypt"] == dicom_identity(study / "005-2.dcm")["patient_scrypt"]
    assert "4711" not in str(other)
    plain = dicom_identity(Path(f"{study}::30"), plain_uids=True)
    assert plain["series_uid"] == uid_of(study, 2)
    assert {**plain, **other} == plain


def test_a_table_of_pairs_names_series(study, tmp_path):
    table = tmp_path / "pairs.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["id", "fixed", "moving"], ["a", f"{study.name}::10", f"{study.name}::20"]]
        )
    outcome = neuralreg("batch", table, "--check")
    assert outcome.exit_code == 0, outcome.output
    table.write_text(table.read_text().replace("::20", "::21"))
    outcome = neuralreg("batch", table, "--check")
    assert outcome.exit_code != 0
    assert "'21'" in outcome.output
