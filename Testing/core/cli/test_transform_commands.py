"""`neuralreg warp`, `invert` and `info`; SimpleITK reads what they write."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.support.command_line import neuralreg
from Testing.support.dicom_files import write_dose
from Testing.support.image_files import field_of, save_image


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
    assert done.exit_code == 0, done.stderr
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
    assert done.exit_code == 0, done.stderr
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
    assert done.exit_code == 0, done.stderr
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
    assert done.exit_code == 0, done.stderr
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


@pytest.fixture(scope="module")
def body(tmp_path_factory) -> Path:
    """A CT of a body in air, four frames of it, and a shift that brings its border into view."""
    folder = tmp_path_factory.mktemp("body")
    z, y, x = np.mgrid[-12:12, -12:12, -12:12]
    ct = np.rint(1040 / (1 + np.exp(np.sqrt(x**2 + 1.3 * y**2 + z**2) - 8)) - 1000)
    save_image(ct.astype(np.int16), folder / "ct.nii.gz")
    frames = [sitk.ReadImage(str(folder / "ct.nii.gz")) + 10 * k for k in range(4)]
    sitk.WriteImage(sitk.JoinSeries(frames, 0.0, 2.5), str(folder / "series.nii.gz"))
    sitk.WriteTransform(sitk.TranslationTransform(3, (12.0, 0.0, 0.0)), str(folder / "shift.tfm"))
    return folder


@pytest.mark.parametrize(("options", "outside"), [([], -1000), (["--background", "-7"], -7)])
def test_warp_fills_what_the_image_does_not_show(body, tmp_path, options, outside):
    out = tmp_path / "warped.nii.gz"
    ct = body / "ct.nii.gz"
    done = neuralreg("warp", ct, body / "shift.tfm", "-r", ct, "-o", out, *options)
    assert done.exit_code == 0, done.stderr
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
    assert done.exit_code == 0, done.stderr
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
    assert done.exit_code == 0, done.stderr
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "warped.nrrd")))
    np.testing.assert_array_equal(warped[:, :-3], gray[:, 3:])
    done = neuralreg("invert", *places, "-o", tmp_path / "back.nrrd")
    assert done.exit_code == 0, done.stderr


def test_info_says_units_frames_and_remarks(body, tmp_path):
    stored = np.full((3, 4, 5), 1000, np.uint16)
    dose = write_dose(tmp_path / "dose.dcm", stored, scaling="0.001", step=3.0)
    facts = json.loads(neuralreg("info", dose, "--json").stdout)
    assert (facts["units"], facts["frames"], facts["highest"]) == ("GY", 1, pytest.approx(1))
    assert facts["remarks"] == [{"kind": "units", "units": "GY"}]
    facts = json.loads(neuralreg("info", body / "series.nii.gz", "--json").stdout)
    assert (facts["units"], facts["frames"]) == (None, 4)
    assert facts["remarks"] == [{"kind": "frame chosen", "axes": 4, "frame": 0, "frames": 4}]
