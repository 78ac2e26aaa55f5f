"""`neuralreg review --consistency`: the other direction, registered as the transform was."""

from __future__ import annotations

import json

import pytest

from Testing.support.command_line import neuralreg as run


def lines_of(done) -> dict[str, dict]:
    return {line["name"]: line for line in json.loads(done.stdout)["lines"]}


@pytest.fixture
def registered(files, tmp_path):
    """A folder that `neuralreg register` left."""
    folder = tmp_path / "registered"
    pair = files("fixed"), files("moving")
    few = "--refine", "lncc", "--refine-steps", "2"
    done = run("register", *pair, "--model", "convex", *few, "-o", folder, "-q")
    assert done.exit_code == 0, done.output
    return folder


def test_the_other_direction_is_registered_in_the_same_way(registered, files, tmp_path):
    transform, report = registered / "fixed_to_moving.nii.gz", tmp_path / "r.html"
    sides = "--fixed", files("fixed"), "--moving", files("moving")
    asked = "review", transform, *sides, "--json", "-q"
    done = run(*asked, "--consistency", "--report", report)
    line = lines_of(done)["consistency_mean"]
    assert line["verdict"] == "pass"
    assert 0.0 < line["value"] < 3.0
    assert (
        "convex"
        in json.loads(report.with_suffix(".json").read_text())["provenance"][
            "other way registered by"
        ]
    )
    alone = lines_of(run(*asked))
    assert alone["consistency_mean"]["verdict"] == "not measured"
    own = lines_of(run(*asked, "--inverse", registered / "moving_to_fixed.nii.gz"))
    assert own["consistency_mean"]["verdict"] == "not measured"
    assert own["inverse_mean"]["verdict"] == "shown"
    assert own["inverse_mean"]["value"] < line["value"]  # exactness is not consistency


def test_a_start_is_turned_round_as_well(files, tmp_path):
    import SimpleITK as sitk
    from neuralreg.cli.reverse_registration import _inverse_of
    from neuralreg.registration.options import RegistrationOptions
    from neuralreg.worker.file_jobs.job_files import Job

    start = sitk.TranslationTransform(3, (4.0, -2.0, 1.0))
    sitk.WriteTransform(start, str(tmp_path / "initial.tfm"))
    sides = files("fixed"), files("moving")
    job = Job(*sides, *[None] * 4, tmp_path / "initial.tfm", RegistrationOptions())
    back = sitk.ReadTransform(str(_inverse_of(job, tmp_path)))
    assert back.TransformPoint((4.0, -2.0, 1.0)) == pytest.approx((0.0, 0.0, 0.0))


def test_without_a_record_a_model_has_to_be_named(files):
    sides = "--fixed", files("fixed"), "--moving", files("moving")
    done = run("review", files("transform"), *sides, "--consistency", "-q")
    assert done.exit_code == 2
    assert "--model" in done.output
    named = run(
        "review", files("transform"), *sides, "--consistency", "--model", "convex", "--json", "-q"
    )
    assert lines_of(named)["consistency_mean"]["verdict"] == "pass"


def test_two_transforms_of_the_other_direction_are_refused(files):
    done = run("review", files("transform"), "--inverse", files("transform"), "--consistency")
    assert done.exit_code == 2
    assert "one transform of the other direction" in done.output
