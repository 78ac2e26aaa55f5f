"""`neuralreg register`: files, exit codes, Ctrl-C; SimpleITK reads what it writes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.distance import pdist

from Testing.support.command_line import COMMAND, neuralreg, neuralreg_process
from Testing.support.image_files import field_of

RESULTS = [
    "fixed_to_moving.nii.gz",
    "moving_to_fixed.nii.gz",
    "result.json",
    "warped.nii.gz",
    "warped_seg.nii.gz",
]


@pytest.fixture(scope="module")
def registered(pair, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("results") / "made" / "for it"
    done = neuralreg_process(
        "register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", folder, "--json",
        "--fixed-seg", pair / "fixed_seg.nii.gz", "--moving-seg", pair / "moving_seg.nii.gz",
        "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done


def test_help_is_quick_because_nothing_heavy_is_loaded():
    heavy = "{'torch', 'SimpleITK', 'rich.progress', 'numpy'} & set(sys.modules)"
    code = f"import sys, neuralreg.cli.main; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_help_names_the_commands_and_the_exit_codes():
    done = neuralreg_process("--help")
    assert done.returncode == 0
    for word in ("register", "warp", "invert", "models", "info", "130"):
        assert word in done.stdout


def test_the_results_folder_holds_whole_files_only(registered):
    folder, _ = registered
    assert sorted(file.name for file in folder.iterdir()) == RESULTS


def test_a_known_shift_is_found_and_the_field_file_holds_the_whole_chain(pair, registered):
    folder, _ = registered
    forward = field_of(folder / "fixed_to_moving.nii.gz")
    fixed = sitk.ReadImage(str(pair / "fixed.nii.gz"))
    inside = np.argwhere(sitk.GetArrayFromImage(fixed) > 0)[::97, ::-1]
    points = [fixed.TransformContinuousIndexToPhysicalPoint(p) for p in inside.astype(float)]
    errors = [
        np.linalg.norm(np.subtract(forward.TransformPoint(p), p) - [4.0, 0.0, 0.0]) for p in points
    ]
    assert np.mean(errors) < 0.7  # mm, of voxels of 2 x 2 x 2.5 mm
    there_and_back = [
        field_of(folder / "moving_to_fixed.nii.gz").TransformPoint(forward.TransformPoint(p))
        for p in points
    ]
    np.testing.assert_allclose(there_and_back, points, atol=0.3)


def test_the_warped_image_is_what_itk_makes_of_the_field_file(pair, registered):
    folder, _ = registered
    fixed, moving = (sitk.ReadImage(str(pair / f"{n}.nii.gz")) for n in ("fixed", "moving"))
    lowest = float(sitk.GetArrayFromImage(moving).min())  # shown where the moving image ends
    field = field_of(folder / "fixed_to_moving.nii.gz")
    theirs = sitk.Resample(moving, fixed, field, sitk.sitkLinear, lowest)
    ours = sitk.ReadImage(str(folder / "warped.nii.gz"))
    assert ours.GetPixelID() == moving.GetPixelID()
    a, b = sitk.GetArrayFromImage(ours).astype(float), sitk.GetArrayFromImage(theirs)
    assert np.abs(a - b).max() <= 1  # rounding


def test_the_warped_label_map_fits_and_has_no_new_labels(pair, registered):
    folder, _ = registered
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "warped_seg.nii.gz")))
    fixed = sitk.GetArrayFromImage(sitk.ReadImage(str(pair / "fixed_seg.nii.gz")))
    assert set(np.unique(warped)) <= {0, 1, 2, 3, 4}
    assert (warped == fixed)[fixed > 0].mean() > 0.9


def test_json_is_one_object_and_equals_result_json(registered):
    folder, done = registered
    facts = json.loads(done.stdout)
    assert facts == json.loads((folder / "result.json").read_text())
    assert facts["model"] == "convex"
    assert facts["files"] == RESULTS
    told = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert [f"warning: {warning}" for warning in facts["warnings"]] == told
    assert set(facts["inputs"]) == {"fixed", "moving", "fixed_seg", "moving_seg"}
    assert facts["outcome"]["similarity_final"] > facts["outcome"]["similarity_initial"]


def test_dice_per_label_is_that_of_the_files(pair, registered):
    folder, done = registered
    fixed, warped = (
        sitk.ReadImage(str(path))
        for path in (pair / "fixed_seg.nii.gz", folder / "warped_seg.nii.gz")
    )
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(warped, fixed)
    labels = json.loads(done.stdout)["dice"]["labels"]
    assert set(labels) == {"1", "2", "3", "4"}
    for label, dice in labels.items():
        assert dice["after"] == pytest.approx(measure.GetDiceCoefficient(int(label)), abs=1e-6)
        assert dice["after"] > dice["before"]


def test_input_hashes_are_those_of_the_files(pair, registered):
    facts = json.loads(registered[1].stdout)
    expected = hashlib.sha256((pair / "fixed.nii.gz").read_bytes()).hexdigest()
    assert facts["inputs"]["fixed"]["sha256"] == expected


def test_results_are_not_overwritten_unasked(pair, registered):
    folder, _ = registered
    before = (folder / "warped.nii.gz").stat().st_mtime_ns
    done = neuralreg("register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", folder)
    assert done.exit_code == 4
    assert "--overwrite" in done.stderr
    assert (folder / "warped.nii.gz").stat().st_mtime_ns == before


ENDS = {"Ctrl-C": signal.SIGINT, "terminated": signal.SIGTERM}
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as in nohup
    ENDS["terminal closed"] = signal.SIGHUP


@pytest.mark.parametrize("number", list(ENDS.values()), ids=list(ENDS))
def test_a_stopped_registration_leaves_no_half_file(pair, tmp_path, number):
    out = tmp_path / "new" / "out"
    command = [*COMMAND, "register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "%" in process.stderr.readline()  # the work has begun
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


BAD = [
    (["register", "{pair}/absent.nii.gz", "{pair}/moving.nii.gz"], 1, "cannot be opened"),
    (["register", "{pair}/fixed.nii.gz"], 2, "Missing argument"),
    (["register", "{both}", "--model", "no-such-model"], 3, "no-such-model"),
    (["register", "{both}", "--device", "cuda:99"], 3, "cuda:99"),
    (["register", "{both}", "--prealign", "magic"], 1, "magic"),
    (["register", "{both}", "--preset", "teapot"], 1, "teapot"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), BAD, ids=[row[2] for row in BAD])
def test_what_cannot_be_done_ends_in_its_exit_code_and_one_line(
    pair, tmp_path, arguments, code, words
):
    both = f"{pair}/fixed.nii.gz {pair}/moving.nii.gz"
    filled = " ".join(arguments).format(pair=pair, both=both).split()
    done = neuralreg(*filled, "-o", tmp_path / "out")
    assert done.exit_code == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_told_before_the_work_begins(pair, tmp_path):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "results"
    done = neuralreg("register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", out)
    assert done.exit_code == 4
    assert "cannot be made" in done.stderr
    assert "%" not in done.stderr


@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="the superuser may write everywhere"
)
def test_a_folder_that_is_closed_is_told_before_the_work_begins(pair, tmp_path):
    tmp_path.chmod(0o500)
    done = neuralreg("register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", tmp_path)
    tmp_path.chmod(0o700)
    assert done.exit_code == 4


def test_for_programs_an_error_is_json_too(tmp_path):
    done = neuralreg_process("info", "--json", tmp_path / "absent.nii.gz")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["kind"] == "UnreadableFile"


def test_landmarks_steer_and_a_record_repeats_them(pair, tmp_path):
    at = {"A": (20, 28, 30), "B": (40, 20, 30), "C": (30, 40, 25)}
    lines = [f"{name},{x},{y},{z}" for name, (x, y, z) in at.items()]
    moved = [f"{name},{x + 4},{y},{z}" for name, (x, y, z) in at.items()]
    for side, rows in (("f", lines), ("m", moved[::-1])):
        (tmp_path / f"{side}.csv").write_text("\n".join(["name,x,y,z", *rows]))
    files = tmp_path / "f.csv", tmp_path / "m.csv"
    images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
    done = neuralreg("register", *images, "--landmarks", *files, "-o", tmp_path / "out",
                     "--model", "convex", "--refine", "mind", "--refine-steps", 3)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "3 pairs of landmarks steered the result" in done.stderr
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["options"]["landmarks"]["names"] == ["A", "B", "C"]
    digest = hashlib.sha256((tmp_path / "m.csv").read_bytes()).hexdigest()
    assert record["inputs"]["moving_landmarks"]["sha256"] == digest
    assert max(record["provenance"]["landmarks"]["final_mm"]) < 2
    again = neuralreg("rerun", tmp_path / "out", "--json")
    assert again.exit_code == 0, again.stderr
    proof = neuralreg("review", tmp_path / "out" / "fixed_to_moving.nii.gz", "--landmarks",
                      files[0], "--moving-landmarks", files[1], "--json")  # fmt: skip
    report = json.loads(proof.stdout)
    assert report["landmarks"] is None
    assert any("proves nothing about it" in note for note in report["notes"])


def test_landmarks_that_are_wrong_leave_no_results(pair, tmp_path):
    (tmp_path / "f.csv").write_text("name,x,y,z\nA,20,28,30\nB,500,20,30\n")
    (tmp_path / "m.csv").write_text("name,x,y,z\nA,20,28,30\nB,40,20,30\n")
    images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
    done = neuralreg("register", *images, "--landmarks", tmp_path / "f.csv", tmp_path / "m.csv",
                     "-o", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 1
    assert "outside of the fixed image: got B" in done.stderr
    assert not (tmp_path / "out").exists()


def test_channels_with_weights_are_in_the_record_which_repeats_them(pair, tmp_path):
    images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
    done = neuralreg("register", *images, "--channel", *images, "-o", tmp_path / "out",
                     "--channel", *images, 0.25, "--model", "convex", "--prealign", "none",
                     "--refine", "mind", "--refine-steps", 1)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["options"]["channel_weights"] == [1.0, 0.25]
    digest = hashlib.sha256(images[1].read_bytes()).hexdigest()
    assert record["inputs"]["moving_channel_2"]["sha256"] == digest
    assert record["provenance"]["refined"]["channels"] == ["mind"] * 3
    again = neuralreg("rerun", tmp_path / "out", "--json")
    assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["f.nii"], "--channel takes a file of the fixed and one of the moving side: got f.nii"),
        (["f.nii", "m.nii", "-1"], "the weight of a channel is a number: got -1.0, wanted > 0"),
        (["f.nii", "m.nii", "nan"], "the weight of a channel is a number: got nan"),
    ],
)
def test_a_channel_that_cannot_be_is_named(pair, tmp_path, words, message):
    images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
    done = neuralreg("register", *images, "-o", tmp_path / "out", "--channel", *words)
    assert done.exit_code == 1
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_pictures_in_colors_are_registered_and_warped_in_colors(tmp_path):
    y, x = np.mgrid[:48, :56]
    for name, shift in (("f", 0), ("m", 2)):
        red = 200 / (1 + np.exp(np.hypot(x - 28 - shift, (y - 24) / 1.4) - 12))
        colors = np.stack([red, red / 2, 40 + 0 * red], -1).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(colors, isVector=True), tmp_path / f"{name}.png")
    done = neuralreg("register", tmp_path / "f.png", tmp_path / "m.png", "-o", tmp_path / "out",
                     "--channels", "rgb", "--prealign", "none")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "blue is constant on one side" in done.stderr
    warped = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "warped.nii.gz"))
    fixed = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "f.png"))
    assert warped.shape == fixed.shape
    assert np.abs(warped.astype(float) - fixed)[8:-8, 8:-8].mean() < 3


def test_rigid_labels_are_in_the_record_which_repeats_them(pair, tmp_path):
    images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
    options = ("--model", "convex", "--prealign", "none", "--refine", "mind", "--refine-steps", 1)
    done = neuralreg("register", *images, "--fixed-seg", pair / "fixed_seg.nii.gz", *options,
                     "--rigid-labels", "1", "-o", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["options"]["rigid_labels"] == [1]
    forward = field_of(tmp_path / "out" / "fixed_to_moving.nii.gz")
    labels = sitk.ReadImage(pair / "fixed_seg.nii.gz")
    inside = np.argwhere(sitk.GetArrayFromImage(labels) == 1)[::53, ::-1].astype(float)
    points = [labels.TransformContinuousIndexToPhysicalPoint(p) for p in inside]
    moved = np.array([forward.TransformPoint(p) for p in points])
    assert np.abs(pdist(moved) - pdist(np.array(points))).max() < 0.05
    again = neuralreg("rerun", tmp_path / "out", "--json")
    assert again.exit_code == 0, again.stderr
    alone = neuralreg("register", *images, "--rigid-labels", "1", "-o", tmp_path / "none")
    assert alone.exit_code == 1
    assert "--fixed-seg" in alone.stderr


def write_layers(labels, path, names):
    """A segmentation of two layers: all labels together, and label 1 alone within them."""
    values = sitk.GetArrayFromImage(labels)
    layers = [(values > 0).astype(np.uint8), (values == 1).astype(np.uint8)]
    image = sitk.Compose([sitk.GetImageFromArray(layer) for layer in layers])
    image.CopyInformation(labels)
    for n, name in enumerate(names):
        layer = str(("organ", "part").index(name))
        for key, value in {"Name": name, "Layer": layer, "LabelValue": "1"}.items():
            image.SetMetaData(f"Segment{n}_{key}", value)
    sitk.WriteImage(image, str(path))


def test_segments_that_overlap_drive_by_name(pair, tmp_path):
    for side, names in (("fixed", ("organ", "part")), ("moving", ("part", "organ"))):
        labels = sitk.ReadImage(pair / f"{side}_seg.nii.gz")
        write_layers(labels, tmp_path / f"{side}.seg.nrrd", names)
    images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
    few = ("--model", "convex", "--prealign", "none", "--refine", "mind", "--refine-steps", 2)
    files = "--fixed-seg", tmp_path / "fixed.seg.nrrd", "--moving-seg", tmp_path / "moving.seg.nrrd"
    done = neuralreg("register", *images, *files, "--drive-labels", *few, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "belong together by their names: 1 organ, 2 part" in said
    assert "no warped_seg.nii.gz" in said
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["provenance"]["labels"] == [1, 2]
    assert neuralreg("rerun", tmp_path / "out", "--json").exit_code == 0
    write_layers(labels, tmp_path / "moving.seg.nrrd", ("organ", "organ"))
    twice = neuralreg("register", *images, *files, "--drive-labels", "-o", tmp_path / "twice")
    assert twice.exit_code == 1
    assert "two are called 'organ'" in " ".join(twice.stderr.split())


def test_a_mask_of_what_slides_is_in_the_record_which_repeats_it(pair, tmp_path):
    images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
    mask = pair / "fixed_seg.nii.gz"
    few = ("--model", "convex", "--prealign", "none", "--refine", "lncc", "--refine-steps", 2)
    done = neuralreg("register", *images, "--sliding", mask, *few, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    digest = hashlib.sha256(mask.read_bytes()).hexdigest()
    assert record["inputs"]["sliding"]["sha256"] == digest
    assert record["provenance"]["sliding"]["slide_mean_mm"] >= 0
    again = neuralreg("rerun", tmp_path / "out", "--json")
    assert again.exit_code == 0, again.stderr


def test_a_mesh_and_a_label_map_pull_and_the_record_repeats_them(pair, tmp_path):
    labels = sitk.ReadImage(pair / "fixed_seg.nii.gz")
    inside = sitk.GetArrayFromImage(labels) > 0
    edge = inside & ~np.all([np.roll(inside, s, a) for a in range(3) for s in (1, -1)], axis=0)
    points = [labels.TransformContinuousIndexToPhysicalPoint(p)
              for p in np.argwhere(edge)[:, ::-1].astype(float)]  # fmt: skip
    mesh = tmp_path / "fixed.vtk"
    mesh.write_text(
        "# vtk DataFile Version 3.0\nSPACE=LPS\nASCII\nDATASET POLYDATA\n"
        f"POINTS {len(points)} float\n" + "\n".join(f"{x} {y} {z}" for x, y, z in points) + "\n"
    )
    images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
    done = neuralreg("register", *images, "--surface", mesh, pair / "moving_seg.nii.gz",
                     "--prealign", "none", "--model", "convex", "--refine", "mind",
                     "--refine-steps", 2, "-o", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "surfaces drove the result" in done.stderr
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (
        record["inputs"]["fixed_surface_1"]["sha256"]
        == hashlib.sha256(mesh.read_bytes()).hexdigest()
    )
    assert record["provenance"]["surfaces"]["final_mm"] < 1.5
    again = neuralreg("rerun", tmp_path / "out", "--json")
    assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize(
    ("option", "value", "partner"),
    [
        ("--landmark-weight", "3", "--landmarks"),
        ("--landmark-tolerance-mm", "1", "--landmarks"),
        ("--landmark-frame", "RAS", "--landmarks"),
        ("--label-weight", "2", "--drive-labels"),
        ("--surface-weight", "2", "--surface"),
    ],
)
def test_an_option_that_does_nothing_alone_is_refused(pair, tmp_path, option, value, partner):
    images = [pair / f"{side}.nii.gz" for side in ("fixed", "moving")]
    done = neuralreg("register", *images, "-o", tmp_path / "out", option, value)
    assert done.exit_code == 1
    assert f"{option} does nothing without {partner}" in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()
