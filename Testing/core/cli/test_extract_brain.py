"""`register --extract-brain` takes the name of a model, and none."""

from __future__ import annotations

import pytest
from neuralreg.registration.options import RegistrationOptions
from neuralreg.worker.file_jobs import file_job

from Testing.support.command_line import neuralreg


@pytest.fixture
def extraction(tmp_path, monkeypatch):
    """What a command has asked for, and its error otherwise."""
    jobs = []
    monkeypatch.setattr(file_job, "run", lambda job, *_, **_more: jobs.append(job) or 1 / 0)

    def ask(*words: str):
        outcome = neuralreg("register", *words, "--quiet", "-o", str(tmp_path / "out"))
        return jobs.pop().options.extract_brain if jobs else outcome.stderr

    return ask


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (("f.nii", "m.nii"), False),
        (("f.nii", "m.nii", "--extract-brain"), "auto"),
        (("--extract-brain", "f.nii", "m.nii"), "auto"),
        (("f.nii", "m.nii", "--extract-brain", "--overwrite"), "auto"),
        (("f.nii", "m.nii", "--extract-brain", "mindgrab"), "mindgrab"),
        (("--extract-brain", "template", "f.nii", "m.nii"), "template"),
        (("f.nii", "m.nii", "--extract-brain=mindgrab"), "mindgrab"),
    ],
)
def test_the_model_is_the_one_that_was_named_or_the_automatic_one(extraction, words, model):
    assert extraction(*words) == model


def test_an_unknown_model_is_named_with_those_that_there_are(extraction):
    message = extraction("f.nii", "m.nii", "--extract-brain=bet")
    assert "'bet'" in message
    assert "mindgrab" in message


def test_records_of_earlier_runs_that_only_say_yes_still_count():
    assert RegistrationOptions.from_record({"extract_brain": True}).extract_brain == "auto"
    assert RegistrationOptions.from_record({"extract_brain": False}).extract_brain is False
