"""Nothing is lost: results appear as they exist, and no command replaces what it reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import UnwritableOutput
from neuralreg.io.files import require_free
from neuralreg.worker.file_jobs import file_job

from Testing.support.command_line import neuralreg

TRANSFORMS = ["fixed_to_moving.nii.gz", "moving_to_fixed.nii.gz"]


@pytest.fixture
def pair(tmp_path) -> list[str]:
    """Two images of a disk in 2D, and a label map of it, as files."""
    y, x = np.mgrid[:32, :32] - 15.5
    for name, dx in (("fixed", 0), ("moving", 2)):
        disk = np.hypot(x - dx, 1.2 * y)
        sitk.WriteImage(
            sitk.GetImageFromArray((200 / (1 + np.exp(disk - 9)) + x).astype(np.float32)),
            tmp_path / f"{name}.nrrd",
        )
        sitk.WriteImage(
            sitk.GetImageFromArray((disk < 9).astype(np.uint8)), tmp_path / f"{name}_seg.nrrd"
        )
    return [str(tmp_path / f"{name}.nrrd") for name in ("fixed", "moving")]


def register(pair: list[str], out: Path, *more: object):
    return neuralreg("register", *pair, "-o", out, "--prealign", "none", "-q", *more)


@pytest.mark.parametrize("broken", ["warp", "warp_labels", "dice"])
def test_what_fails_after_the_registration_leaves_the_transforms(
    pair, tmp_path, monkeypatch, broken
):
    def fail(*_, **__):
        raise RuntimeError("not for this number type")

    monkeypatch.setattr(file_job, broken, fail)
    out = tmp_path / "out"
    segmentations = [f"--{side}-seg={tmp_path / side}_seg.nrrd" for side in ("fixed", "moving")]
    done = register(pair, out, *segmentations)
    assert done.exit_code == 1
    assert "not for this number type" in done.stderr
    assert "the transforms were written" in done.stderr
    record = json.loads((out / "result.json").read_text())
    assert {*TRANSFORMS, "result.json"} <= set(record["files"])
    assert {path.name for path in out.iterdir()} == set(record["files"])
    assert any("not for this number type" in warning for warning in record["warnings"])


def test_what_is_missing_comes_with_the_command_that_makes_it(pair, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no")

    monkeypatch.setattr(file_job, "warp", fail)
    out = tmp_path / "out"
    done = register(pair, out)
    command = done.stderr.split("try: neuralreg ")[1].splitlines()[0].split()
    monkeypatch.undo()
    assert neuralreg(*command).exit_code == 0
    assert (out / "warped.nii.gz").is_file()


def test_results_of_another_run_that_ended_meanwhile_are_not_replaced(pair, tmp_path, monkeypatch):
    out = tmp_path / "out"
    work = file_job.register

    def meanwhile(*arguments, **options):
        (out / "result.json").write_text("the other run's")
        return work(*arguments, **options)

    monkeypatch.setattr(file_job, "register", meanwhile)
    done = register(pair, out)
    assert done.exit_code == 4
    assert "result.json exists" in done.stderr
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "result.json": "the other run's"
    }
    assert register(pair, out, "--overwrite").exit_code == 0


def test_a_transform_that_another_run_writes_at_the_same_time_stays(pair, tmp_path, monkeypatch):
    out = tmp_path / "out"
    write = file_job.write_transform

    def meanwhile(transform, path):
        (out / "fixed_to_moving.nii.gz").write_text("the other run's")
        write(transform, path)

    monkeypatch.setattr(file_job, "write_transform", meanwhile)
    assert register(pair, out).exit_code == 4
    assert (out / "fixed_to_moving.nii.gz").read_text() == "the other run's"


def test_results_of_an_earlier_run_do_not_stay_beside_new_transforms(pair, tmp_path, monkeypatch):
    out = tmp_path / "out"
    segmentations = [f"--{side}-seg={tmp_path / side}_seg.nrrd" for side in ("fixed", "moving")]
    assert register(pair, out, *segmentations).exit_code == 0
    assert register(pair, out, "--overwrite").exit_code == 0
    assert not (out / "warped_seg.nii.gz").exists()


@pytest.mark.parametrize("name", ["itself", "relative", "symbolic link", "hard link", "its values"])
def test_no_output_is_an_input_however_it_is_named(tmp_path, monkeypatch, name):
    image = tmp_path / "image.nhdr"
    sitk.WriteImage(sitk.Image(8, 8, sitk.sitkUInt8), str(image), useCompression=False)
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "other.nhdr"
    if name == "itself":
        output = image
    elif name == "relative":
        output = Path("image.nhdr")
    elif name == "symbolic link":
        output.symlink_to(image)
    elif name == "hard link":
        os.link(image, output)
    else:
        output = tmp_path / "image.mhd"  # whose values would be in image.raw, as of the .nhdr
    with pytest.raises(UnwritableOutput, match="would replace an input"):
        require_free(output, True, [None, image])


def test_commands_refuse_to_replace_their_inputs(pair, tmp_path):
    fixed, moving = pair
    shift = tmp_path / "shift.tfm"
    sitk.WriteTransform(sitk.TranslationTransform(2, (1.0, 2.0)), str(shift))
    out = tmp_path / "out"
    out.mkdir()
    (out / "warped.nii.gz").symlink_to(moving)
    table = tmp_path / "t.csv"  # beside t.html the report writes its numbers there
    table.write_text("1,2,2,4\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for command in (
        ("warp", moving, shift, "-r", fixed, "-o", moving),
        ("warp", moving, shift, "-r", fixed, "-o", fixed),
        ("warp", moving, shift, "-r", fixed, "-o", shift),
        ("invert", shift, "-o", shift),
        ("brain-mask", fixed, "-o", fixed),
        ("register", fixed, moving, "-o", out),
        ("review", shift, "--fixed", fixed, "--report", fixed),
        ("review", shift, "--fixed", fixed, "--landmarks", table, "--report", tmp_path / "t.html"),
        ("robustness", fixed, moving, "-o", moving),
    ):
        done = neuralreg(*command, "--overwrite")
        assert done.exit_code in (2, 4), command
        assert "would replace an input" in done.stderr, command
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", ["linear", "field"])
@pytest.mark.parametrize("command", ["warp", "chain", "register", "invert", "review"])
def test_no_command_takes_a_transform_of_other_axes_than_its_images(pair, tmp_path, command, kind):
    path = tmp_path / ("t3.tfm" if kind == "linear" else "t3.nrrd")
    if kind == "linear":
        sitk.WriteTransform(sitk.TranslationTransform(3, (3.0, 0.0, 0.0)), str(path))
    else:
        sitk.WriteImage(sitk.Image([6, 6, 6], sitk.sitkVectorFloat64, 3), str(path))
    flat = tmp_path / "t2.tfm"
    sitk.WriteTransform(sitk.TranslationTransform(2, (3.0, 0.0)), str(flat))
    fixed, moving = pair
    arguments = {
        "warp": ("warp", moving, path, "-r", fixed, "-o", tmp_path / "w.nrrd"),
        "chain": ("warp", moving, flat, path, "-r", fixed, "-o", tmp_path / "w.nrrd"),
        "register": ("register", fixed, moving, "--initial", path, "-o", tmp_path / "out", "-q"),
        "invert": ("invert", path, "-r", fixed, "-o", tmp_path / "inverse.tfm"),
        "review": ("review", path, "--fixed", fixed),
    }
    done = neuralreg(*arguments[command])
    assert done.exit_code == (2 if command == "review" else 1), done.output
    assert "images and transform have the same number of axes" in done.stderr


@pytest.mark.parametrize("suffix", [".NII", ".NII.GZ", ".nii.GZ", ".NRRD", ".MHA", ".Mha", ".MHD"])
def test_an_ending_in_capitals_is_the_same_format(pair, tmp_path, suffix):
    """Judged by SimpleITK, from a copy under the usual ending where it does not know this one."""
    still = tmp_path / "still.tfm"
    sitk.WriteTransform(sitk.TranslationTransform(2), str(still))
    out = tmp_path / f"out{suffix}"
    assert neuralreg("warp", pair[0], still, "-r", pair[0], "-o", out).exit_code == 0
    small = out.rename(out.with_name(f"out{suffix.lower()}"))
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(small)))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(pair[0]))
    np.testing.assert_allclose(written, expected, atol=0.01)
    again = small.rename(out)
    done = neuralreg("info", again, "--json")
    assert json.loads(done.stdout)["size"] == [32, 32]


@pytest.mark.parametrize(("value", "code"), [("1.5", 1), ("300", 1), ("nan", 1), ("7", 0)])
def test_a_background_that_the_number_type_does_not_have_is_refused(pair, tmp_path, value, code):
    sitk.WriteTransform(sitk.TranslationTransform(2, (40, 0)), str(tmp_path / "far.tfm"))
    labels, out = tmp_path / "fixed_seg.nrrd", tmp_path / "out.nrrd"
    files = [labels, tmp_path / "far.tfm", "-r", labels, "-o", out]
    done = neuralreg("warp", *files, "--labels", "--background", value)
    assert done.exit_code == code
    if code == 0:
        assert set(sitk.GetArrayFromImage(sitk.ReadImage(str(out))).ravel()) == {7}


def test_dimensions_that_differ_are_refused_with_the_file(pair, tmp_path):
    volume, still = tmp_path / "volume.nrrd", tmp_path / "still.tfm"
    sitk.WriteImage(sitk.Image(8, 8, 8, sitk.sitkFloat32), str(volume))
    sitk.WriteTransform(sitk.TranslationTransform(3), str(still))
    done = neuralreg("warp", pair[0], still, "-r", volume, "-o", tmp_path / "out.nrrd")
    assert (done.exit_code, "fixed.nrrd" in done.stderr) == (1, True)
    done = register(pair, tmp_path / "out", "--initial", still)
    assert (done.exit_code, "still.tfm" in done.stderr) == (1, True)


def test_a_record_with_a_byte_order_mark_is_read(pair, tmp_path):
    assert register(pair, tmp_path / "out").exit_code == 0
    record = tmp_path / "out" / "result.json"
    record.write_bytes(b"\xef\xbb\xbf" + record.read_bytes())
    (tmp_path / "names.json").write_bytes(b'\xef\xbb\xbf{"1": "Disk"}')
    assert neuralreg("rerun", record, "-q").exit_code == 0
    segmentations = [f"--{side}-seg={tmp_path / side}_seg.nrrd" for side in ("fixed", "moving")]
    field = tmp_path / "out" / TRANSFORMS[0]
    names = ["--names", tmp_path / "names.json"]
    done = neuralreg("review", field, "--fixed", pair[0], *segmentations, *names, "-q")
    assert done.exit_code in (0, 1)
    assert "Disk" in done.stdout
