"""The command line as real processes; SimpleITK reads what they write."""

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
import torch
from neuralreg.zoo.registry import model_card
from scipy import ndimage

from Testing.support.dicom_files import write_dose

RESULTS = [
    "fixed_to_moving.nii.gz",
    "moving_to_fixed.nii.gz",
    "result.json",
    "warped.nii.gz",
    "warped_seg.nii.gz",
]
COMMAND = [sys.executable, "-m", "neuralreg"]


def neuralreg(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def save(array: np.ndarray, path: Path, spacing: tuple[float, ...] = (2.0, 2.0, 2.5)) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-20.0, 10.0, 5.0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """A blob of four parts, once as it is and once two voxels along x; with label maps."""
    folder = tmp_path_factory.mktemp("pair")
    z, y, x = np.mgrid[:24, :28, :32]
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=x.shape), 2) * 400
    inside = ((z - 12) / 8) ** 2 + ((y - 14) / 10) ** 2 + ((x - 15) / 11) ** 2 < 1
    labels = (inside * (1 + (y > 14) + 2 * (z > 12))).astype(np.uint8)
    image = (inside * (200 + 60 * labels + texture)).astype(np.int16)
    save(image, folder / "fixed.nii.gz")
    save(labels, folder / "fixed_seg.nii.gz")
    save(np.roll(image, 2, 2), folder / "moving.nii.gz")
    save(np.roll(labels, 2, 2), folder / "moving_seg.nii.gz")
    return folder


@pytest.fixture(scope="module")
def registered(pair, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("results") / "made" / "for it"
    done = neuralreg(
        "register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", folder, "--json",
        "--fixed-seg", pair / "fixed_seg.nii.gz", "--moving-seg", pair / "moving_seg.nii.gz",
        "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done


def field_of(path: Path) -> sitk.Transform:
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkVectorFloat64)
    return sitk.DisplacementFieldTransform(image)


def test_help_is_quick_because_nothing_heavy_is_loaded():
    heavy = "{'torch', 'SimpleITK', 'rich.progress', 'numpy'} & set(sys.modules)"
    code = f"import sys, neuralreg.cli.main; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_help_names_the_commands_and_the_exit_codes():
    done = neuralreg("--help")
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
    assert done.returncode == 4
    assert "--overwrite" in done.stderr
    assert (folder / "warped.nii.gz").stat().st_mtime_ns == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "terminated"])
def test_a_stopped_registration_leaves_no_half_file(pair, tmp_path, number):
    out = tmp_path / "new" / "out"
    command = [*COMMAND, "register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "%" in process.stderr.readline()  # the work has begun
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 143)
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
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_told_before_the_work_begins(pair, tmp_path):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "results"
    done = neuralreg("register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", out)
    assert done.returncode == 4
    assert "cannot be made" in done.stderr
    assert "%" not in done.stderr


@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="the superuser may write everywhere"
)
def test_a_folder_that_is_closed_is_told_before_the_work_begins(pair, tmp_path):
    tmp_path.chmod(0o500)
    done = neuralreg("register", pair / "fixed.nii.gz", pair / "moving.nii.gz", "-o", tmp_path)
    tmp_path.chmod(0o700)
    assert done.returncode == 4


def test_for_programs_an_error_is_json_too(tmp_path):
    done = neuralreg("info", "--json", tmp_path / "absent.nii.gz")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["kind"] == "UnreadableFile"


@pytest.fixture
def chain(tmp_path) -> list[Path]:
    """A rotation and then a field, as files."""
    rotation = sitk.Euler3DTransform([10.0, 35.0, 35.0], 0.0, 0.1, 0.2, [3.0, -2.0, 1.0])
    sitk.WriteTransform(rotation, str(tmp_path / "first.tfm"))
    noise = np.random.default_rng(0).normal(size=(8, 9, 10, 3)) * [3, 1, 2]
    field = sitk.GetImageFromArray(noise, isVector=True)
    field.SetSpacing((10.0, 10.0, 12.0))
    field.SetOrigin((-35.0, -5.0, -10.0))
    sitk.WriteImage(field, str(tmp_path / "then.nrrd"))
    return [tmp_path / "first.tfm", tmp_path / "then.nrrd"]


def itk_chain(chain: list[Path]) -> sitk.Transform:
    # ITK applies the last one first.
    return sitk.CompositeTransform([field_of(chain[1]), sitk.ReadTransform(str(chain[0]))])


def test_warp_applies_the_first_transform_first(pair, chain, tmp_path):
    moving, reference = pair / "moving.nii.gz", pair / "fixed.nii.gz"
    done = neuralreg("warp", moving, *chain, "-r", reference, "-o", tmp_path / "warped.nii.gz")
    assert done.returncode == 0, done.stderr
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "warped.nii.gz"))).astype(float)
    images = [sitk.ReadImage(str(path)) for path in (moving, reference)]
    lowest = float(sitk.GetArrayFromImage(images[0]).min())
    warped = sitk.Resample(*images, itk_chain(chain), sitk.sitkLinear, lowest)
    theirs = sitk.GetArrayFromImage(warped)
    assert np.abs(ours - theirs).max() <= 1


def test_warped_labels_stay_labels(pair, chain, tmp_path):
    moving, reference = pair / "moving_seg.nii.gz", pair / "fixed.nii.gz"
    out = tmp_path / "warped.nii.gz"
    done = neuralreg("warp", moving, *chain, "-r", reference, "-o", out, "--labels")
    assert done.returncode == 0, done.stderr
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    images = [sitk.ReadImage(str(path)) for path in (moving, reference)]
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(*images, itk_chain(chain), sitk.sitkNearestNeighbor)
    )
    assert set(np.unique(ours)) <= set(np.unique(theirs))
    assert (ours == theirs).mean() > 0.97


def test_the_inverse_of_a_field_takes_points_back(pair, chain, tmp_path):
    out = tmp_path / "back.nii.gz"
    done = neuralreg("invert", chain[1], "-o", out, "-r", pair / "moving.nii.gz", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["largest_error_mm"] <= 0.01
    forward, back = field_of(chain[1]), field_of(out)
    image = sitk.ReadImage(str(pair / "moving.nii.gz"))
    for index in ([5, 6, 7], [16, 14, 12], [25, 20, 15]):
        point = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(
            forward.TransformPoint(back.TransformPoint(point)), point, atol=0.02
        )


def test_the_inverse_of_a_rotation_is_a_rotation(chain, tmp_path):
    done = neuralreg("invert", chain[0], "-o", tmp_path / "back.tfm")
    assert done.returncode == 0, done.stderr
    forward, back = (sitk.ReadTransform(str(p)) for p in (chain[0], tmp_path / "back.tfm"))
    point = (1.0, 2.0, 3.0)
    np.testing.assert_allclose(back.TransformPoint(forward.TransformPoint(point)), point, atol=1e-9)


def test_info_tells_what_a_file_holds(pair, chain):
    facts = [
        json.loads(neuralreg("info", "--json", path).stdout)
        for path in (pair / "fixed_seg.nii.gz", *chain)
    ]
    assert [one["kind"] for one in facts] == [
        "3D image",
        "3D linear transform, fixed to moving",
        "3D displacement field, fixed to moving",
    ]
    assert facts[0]["labels"] == [0, 1, 2, 3, 4]
    image = sitk.ReadImage(str(pair / "fixed_seg.nii.gz"))
    axes = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    assert facts[0]["axes"] == axes == "LPS"
    matrix = sitk.Euler3DTransform(sitk.ReadTransform(str(chain[0]))).GetMatrix()
    angle = np.degrees(np.arccos((sum(matrix[::4]) - 1) / 2))
    assert facts[1]["rotation_degrees"] == pytest.approx(angle, abs=1e-6)
    assert facts[2]["size"] == [10, 9, 8]


def test_the_models_are_listed():
    done = neuralreg("models", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert "convex" in [card["name"] for card in json.loads(done.stdout)["models"]]


def test_a_model_that_is_not_there_is_an_error():
    done = neuralreg("models", "show", "no-such-model")
    assert done.returncode == 3
    assert "no-such-model" in done.stderr


class Shifting(torch.nn.Module):
    """Registers shifts: the difference of the centers of mass, in voxels x y z."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        n = fixed.shape[-1]
        at = torch.arange(n, dtype=fixed.dtype)
        shifts = []
        for dims in ([2, 3], [2, 4], [3, 4]):
            both = [(v.sum(dims)[0, 0] * at).sum() / v.sum() for v in (fixed, moving)]
            shifts.append(self.sign * (both[1] - both[0]))
        there = torch.stack([shifts[2], shifts[1], shifts[0]][::-1])
        return there.view(1, 3, 1, 1, 1).expand(1, 3, n, n, n)


def a_card_of_your_own(folder, sign=1.0):
    """A saved program that registers shifts, with its card beside it."""
    torch.jit.script(Shifting(sign)).save(folder / "mine.pt")
    card = model_card("convex").model_dump(mode="json") | {
        "name": "mine",
        "architecture": "program",
        "arguments": {},
        "input": {"dimensions": [3], "space": "whole", "shape": [40, 40, 40]},
        "output": {"kind": "voxel", "order": "xyz"},
        "weights": {"file": "mine.pt", "format": "torchscript"},
    }
    (folder / "mine.json").write_text(json.dumps(card))
    return folder / "mine.json"


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NEURALREG_MODELS", str(folder))
    return folder


def test_a_model_of_your_own_is_imported_and_listed(tmp_path, own_models):
    done = neuralreg("models", "import", a_card_of_your_own(tmp_path))
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in own_models.iterdir()) == ["mine.json", "mine.pt"]
    assert "mine " in neuralreg("models", "list").stdout


def test_a_model_whose_card_gives_the_wrong_direction_is_not_imported(tmp_path, own_models):
    done = neuralreg("models", "import", a_card_of_your_own(tmp_path, sign=-1.0))
    assert done.returncode == 3
    assert "got -1.00 of the shift" in done.stderr
    assert not list(own_models.iterdir())


def test_weights_that_are_not_those_of_the_card_are_not_imported(tmp_path, own_models):
    card = model_card("convex").model_dump(mode="json")
    (tmp_path / "mine.pt").write_bytes(b"other numbers")
    card |= {"name": "mine", "weights": {"file": "mine.pt", "sha256": "0" * 64}}
    (tmp_path / "mine.json").write_text(json.dumps(card))
    done = neuralreg("models", "import", tmp_path / "mine.json")
    assert done.returncode == 3
    assert not list(own_models.iterdir())


def test_weights_are_imported_checked_and_removed(tmp_path, own_models, monkeypatch):
    content = b"some weights"
    card = model_card("convex").model_dump(mode="json") | {
        "name": "probe",
        "weights": {"file": "probe.pth", "sha256": hashlib.sha256(content).hexdigest()},
    }
    (own_models / "probe.json").write_text(json.dumps(card))
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "download (1)").write_bytes(content)
    assert "to get" in neuralreg("models", "list").stdout.split("probe")[1].splitlines()[0]
    assert neuralreg("models", "import", tmp_path / "download (1)").returncode == 0
    checked = json.loads(neuralreg("models", "verify", "probe", "--json").stdout)
    assert checked == {"models": {"probe": "checked"}}
    (tmp_path / "cache" / "probe.pth").write_bytes(b"some weight")
    assert neuralreg("models", "verify", "probe").returncode == 3
    removed = json.loads(neuralreg("models", "remove", "probe", "--json").stdout)
    assert removed == {"model": "probe", "removed": True}
    assert neuralreg("models", "get", "probe").returncode == 3


@pytest.fixture(scope="module")
def body(tmp_path_factory) -> Path:
    """A CT of a body in air, four frames of it, and a shift that brings its border into view."""
    folder = tmp_path_factory.mktemp("body")
    z, y, x = np.mgrid[-12:12, -12:12, -12:12]
    ct = np.rint(1040 / (1 + np.exp(np.sqrt(x**2 + 1.3 * y**2 + z**2) - 8)) - 1000)
    save(ct.astype(np.int16), folder / "ct.nii.gz")
    frames = [sitk.ReadImage(str(folder / "ct.nii.gz")) + 10 * k for k in range(4)]
    sitk.WriteImage(sitk.JoinSeries(frames, 0.0, 2.5), str(folder / "series.nii.gz"))
    sitk.WriteTransform(sitk.TranslationTransform(3, (12.0, 0.0, 0.0)), str(folder / "shift.tfm"))
    return folder


@pytest.mark.parametrize(("options", "outside"), [([], -1000), (["--background", "-7"], -7)])
def test_warp_fills_what_the_image_does_not_show(body, tmp_path, options, outside):
    out = tmp_path / "warped.nii.gz"
    ct = body / "ct.nii.gz"
    done = neuralreg("warp", ct, body / "shift.tfm", "-r", ct, "-o", out, *options)
    assert done.returncode == 0, done.stderr
    image, shift = sitk.ReadImage(str(ct)), sitk.ReadTransform(str(body / "shift.tfm"))
    theirs = sitk.Resample(image, image, shift, sitk.sitkLinear, float(outside))
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(out))).astype(int)
    assert np.abs(ours - sitk.GetArrayFromImage(theirs)).max() <= 1
    assert (ours[:, :, -1] == outside).all()


def test_warp_brings_every_frame_of_a_series(body, tmp_path):
    out, reference = tmp_path / "warped.nii.gz", body / "ct.nii.gz"
    done = neuralreg(
        "warp", body / "series.nii.gz", body / "shift.tfm", "-r", reference, "-o", out, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 4
    series, ours = (sitk.ReadImage(str(path)) for path in (body / "series.nii.gz", out))
    assert ours.GetSpacing() == pytest.approx(series.GetSpacing())
    assert ours.GetOrigin() == pytest.approx(series.GetOrigin())
    image, shift = sitk.ReadImage(str(reference)), sitk.ReadTransform(str(body / "shift.tfm"))
    for k in range(4):
        air = float(sitk.GetArrayFromImage(series[..., k]).min())
        theirs = sitk.Resample(series[..., k], image, shift, sitk.sitkLinear, air)
        gap = sitk.GetArrayFromImage(ours[..., k]).astype(int) - sitk.GetArrayFromImage(theirs)
        assert np.abs(gap).max() <= 1


@pytest.mark.parametrize("reference", ["gray.png", "rgb.png", "field.nii.gz"])
def test_of_a_reference_only_the_grid_counts(tmp_path, reference):
    y, x = np.mgrid[-16:16, -16:16]
    gray = (200 / (1 + np.exp(np.hypot(x, 1.3 * y) - 8))).astype(np.uint8)
    colors = sitk.GetImageFromArray(np.stack([gray] * 3, -1), isVector=True)
    field = np.zeros((32, 32, 2), np.float32)
    field[..., 0] = 3
    sitk.WriteImage(sitk.GetImageFromArray(gray), str(tmp_path / "gray.png"))
    sitk.WriteImage(colors, str(tmp_path / "rgb.png"))
    sitk.WriteImage(sitk.GetImageFromArray(field, True), str(tmp_path / "field.nii.gz"))
    places = (tmp_path / "field.nii.gz", "-r", tmp_path / reference)
    done = neuralreg("warp", tmp_path / "gray.png", *places, "-o", tmp_path / "warped.nrrd")
    assert done.returncode == 0, done.stderr
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "warped.nrrd")))
    np.testing.assert_array_equal(warped[:, :-3], gray[:, 3:])
    done = neuralreg("invert", *places, "-o", tmp_path / "back.nrrd")
    assert done.returncode == 0, done.stderr


def test_info_says_units_frames_and_remarks(body, tmp_path):
    stored = np.full((3, 4, 5), 1000, np.uint16)
    dose = write_dose(tmp_path / "dose.dcm", stored, scaling="0.001", step=3.0)
    facts = json.loads(neuralreg("info", dose, "--json").stdout)
    assert (facts["units"], facts["frames"], facts["highest"]) == ("GY", 1, pytest.approx(1))
    assert facts["remarks"] == [{"kind": "units", "units": "GY"}]
    facts = json.loads(neuralreg("info", body / "series.nii.gz", "--json").stdout)
    assert (facts["units"], facts["frames"]) == (None, 4)
    assert facts["remarks"] == [{"kind": "frame chosen", "axes": 4, "frame": 0, "frames": 4}]
