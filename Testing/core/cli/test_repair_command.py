"""`neuralreg repair`: a folder in, a corrected folder out, and each correction can go again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.support.command_line import facts_of, neuralreg
from Testing.support.image_files import field_of

POINT = {"A": (30.0, 28.0, 30.0)}
OTHER = {"B": (44.0, 40.0, 42.0)}


@pytest.fixture(scope="module")
def result(pair, tmp_path_factory):
    """A result whose two directions are known, with the record of a quick registration."""
    folder = tmp_path_factory.mktemp("result") / "first"
    done = neuralreg("register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", folder,
                     "--moving-seg", pair / "moving_seg.nii.gz", "--model", "convex",
                     "--refine", "mind", "--refine-steps", 2)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    return folder


def landmark_files(folder, result, points, shift=(0.0, 4.0, 0.0)):
    """Files of points, and of where the result takes points that are `shift` away."""
    field = field_of(result / "fixed_to_moving.nii.gz")
    files = folder / f"fixed_{'_'.join(points)}.csv", folder / f"moving_{'_'.join(points)}.csv"
    partners = {n: field.TransformPoint(tuple(np.add(p, shift))) for n, p in points.items()}
    for path, side in zip(files, (points, partners), strict=True):
        rows = [",".join(map(str, (name, *point))) for name, point in side.items()]
        path.write_text("\n".join(["name,x,y,z", *rows]))
    return files


def misses(folder, files) -> float:
    """How far the first point is from its partner after a result."""
    fixed, moving = ([float(v) for v in f.read_text().split()[1].split(",")[1:]] for f in files)
    field = field_of(folder / "fixed_to_moving.nii.gz")
    return float(np.linalg.norm(np.subtract(field.TransformPoint(fixed), moving)))


def test_corrections_add_up_and_each_can_be_taken_back(result, tmp_path):
    one = landmark_files(tmp_path, result, POINT)
    two = landmark_files(tmp_path, result, OTHER, shift=(3.0, 0.0, 0.0))
    radius = ("--radius-mm", 12)
    first = facts_of("repair", result, "--landmarks", *one, *radius, "-o", tmp_path / "1")
    second = facts_of("repair", tmp_path / "1", "--landmarks", *two, *radius, "--by", "Ada",
                      "-o", tmp_path / "2")  # fmt: skip
    facts_of("repair", tmp_path / "2", "--take-back", 1, "-o", tmp_path / "3")
    nothing = facts_of("repair", tmp_path / "3", "--take-back", 1, "-o", tmp_path / "4")
    assert misses(result, one) > 3.5
    assert misses(tmp_path / "1", one) < 0.2
    assert max(misses(tmp_path / "2", files) for files in (one, two)) < 0.2
    assert misses(tmp_path / "3", one) > 3
    assert misses(tmp_path / "3", two) < 0.2
    assert [c["by"] for c in second["repair"]["corrections"]] == ["", "Ada"]
    assert any("by hand by Ada at 2 points: A, B" in warning for warning in second["warnings"])
    original = json.loads((result / "result.json").read_text())
    assert nothing["transform_sha256"] == original["transform_sha256"]
    assert nothing["warnings"] == original["warnings"]
    assert first["transform_sha256"] != original["transform_sha256"]


def test_a_repaired_folder_is_a_result_that_itk_reads_and_rerun_repeats(pair, result, tmp_path):
    files = landmark_files(tmp_path, result, POINT)
    facts = facts_of("repair", result, "--landmarks", *files, "-o", tmp_path / "new")
    folder = tmp_path / "new"
    assert sorted(f.name for f in folder.iterdir()) == facts["files"]
    forward, back = (field_of(folder / f"{name}.nii.gz")
                     for name in ("fixed_to_moving", "moving_to_fixed"))  # fmt: skip
    point = POINT["A"]
    np.testing.assert_allclose(back.TransformPoint(forward.TransformPoint(point)), point, atol=0.3)
    fixed, moving = (sitk.ReadImage(str(pair / f"{n}.nii.gz")) for n in ("fixed", "moving"))
    lowest = float(sitk.GetArrayFromImage(moving).min())
    theirs = sitk.Resample(moving, fixed, forward, sitk.sitkLinear, lowest)
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "warped.nii.gz"))).astype(float)
    assert np.abs(ours - sitk.GetArrayFromImage(theirs)).max() <= 1
    assert neuralreg("rerun", folder).exit_code == 0
    report = json.loads(
        neuralreg("review", folder / "fixed_to_moving.nii.gz", "--landmarks", files[0],
                  "--moving-landmarks", files[1], "--json").stdout
    )  # fmt: skip
    assert report["landmarks"] is None
    assert any("corrected by hand" in note for note in report["notes"])


def test_what_cannot_be_repaired_is_refused_and_nothing_is_written(result, tmp_path):
    files = landmark_files(tmp_path, result, POINT)
    far = landmark_files(tmp_path, result, {"C": (900.0, 0.0, 0.0)})
    refusals = {
        "needs landmarks": [result],
        "a result that was corrected": [result, "--take-back", 3, "--landmarks", *files],
        "outside of the fixed image": [result, "--landmarks", *far],
        "radius": [result, "--landmarks", *files, "--radius-mm", -2],
        "smaller than the field": [result, "--landmarks", *files, "--radius-mm", 1],
        "cannot be opened": [tmp_path / "no", "--landmarks", *files],
    }
    for words, arguments in refusals.items():
        done = neuralreg("repair", *arguments, "-o", tmp_path / "new")
        assert done.exit_code != 0
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "new").exists()


def test_a_result_is_never_written_over_by_its_own_repair(result, tmp_path):
    files = landmark_files(tmp_path, result, POINT)
    done = neuralreg("repair", result, "--landmarks", *files, "-o", result, "--overwrite")
    assert done.exit_code == 4
    assert misses(result, files) > 3.5


def test_corrections_cannot_be_taken_back_when_the_base_is_gone(result, tmp_path):
    shutil.copytree(result, tmp_path / "base")
    files = landmark_files(tmp_path, result, POINT)
    facts_of("repair", tmp_path / "base", "--landmarks", *files, "-o", tmp_path / "new")
    shutil.rmtree(tmp_path / "base")
    done = neuralreg("repair", tmp_path / "new", "--take-back", 1, "-o", tmp_path / "newer")
    assert done.exit_code == 1
    assert "fixed_to_moving.nii.gz" in done.stderr
    assert not (tmp_path / "newer").exists()
