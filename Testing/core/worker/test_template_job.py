"""The job "template": a round at a time, each going on with what the one before registered."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import UnwritableOutput
from neuralreg.registration.options import RegistrationOptions
from neuralreg.worker.jobs import function_of

from Testing.support.made_group import bent_body, write_group

BENDS = [(5.0, 0.0, -3.0), (-5.0, 0.0, 3.0)]  # of mean 0
QUICK = RegistrationOptions(model="convex", refinement=None)


def test_rounds_add_up_and_the_last_one_writes_the_files(tmp_path):
    images = tmp_path / "_inputs" / "train" / "images"
    images.mkdir(parents=True)
    write_group(images, BENDS, 16)
    build, stages = function_of("template"), []
    arguments = {
        "folder": str(tmp_path), "rounds": 0, "most": 1, "median": False,
        "options": QUICK.as_record(),
    }  # fmt: skip
    first = build(arguments, lambda fraction, text: stages.append(text))
    assert not first["finished"]
    assert [line["kind"] for line in first["rounds"]] == ["rigid", "affine"]
    assert not (tmp_path / "template.nii.gz").exists()

    second = build({**arguments, "rounds": 1}, lambda fraction, text: stages.append(text))
    assert second["finished"]
    assert second["rounds"][:2] == first["rounds"]  # from what was kept
    truth = sitk.GetArrayFromImage(bent_body((0, 0, 0), 16)) / 100
    assert np.corrcoef(second["image"].data.ravel(), truth.ravel())[0, 1] > 0.9
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "template.nii.gz")))
    assert np.array_equal(written, second["image"].data)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["command"] == "template"
    assert len(record["inputs"]) == 2
    assert not (tmp_path / "registrations").exists()
    with pytest.raises(UnwritableOutput, match="holds a template already"):
        build(arguments, lambda *_: None)
