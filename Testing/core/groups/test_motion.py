"""Sequences with made motion."""

from __future__ import annotations

import csv
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.groups.motion import MotionOptions, estimate_motion
from neuralreg.io.itk import image_from_itk
from neuralreg.registration.options import USUAL

from Testing.support.command_line import neuralreg
from Testing.support.made_group import bent_body

SIZE, FRAMES, BROKEN = 20, 4, 1
RNG = np.random.default_rng(3)
TRUTH = [
    sitk.Euler3DTransform((0, 0, 0), *np.radians(RNG.normal(0, 2, 3)), RNG.normal(0, 1.5, 3))
    for _ in range(FRAMES)
]


@pytest.fixture(scope="module")
def frames():
    """A body that moved rigidly, frame by frame: frame 2 lies as the others' reference."""
    body = bent_body((0, 0, 0), 3 * SIZE)
    grid = bent_body((0, 0, 0), SIZE)
    ways = [sitk.Euler3DTransform() if n == 2 else way for n, way in enumerate(TRUTH)]
    moved = [sitk.Resample(body, grid, way.GetInverse(), sitk.sitkBSpline) for way in ways]
    return moved, ways


def write(frames, path):
    sitk.WriteImage(sitk.JoinSeries(frames, 0.0, 2.5), str(path))
    return path


def error_mm(folder, ways, number, reference):
    """Mean distance between where points of one frame go in another, by us and in truth."""
    points = np.random.default_rng(0).uniform(-22, 22, (40, 3)).tolist()
    ours = [sitk.ReadTransform(str(folder / f"frame_{n:03}.tfm")) for n in (reference, number)]
    theirs = ways[reference], ways[number]
    there = [
        [two.TransformPoint(one.GetInverse().TransformPoint(p)) for p in points]
        for one, two in (ours, theirs)
    ]
    return np.linalg.norm(np.subtract(*there), axis=1).mean()


@pytest.mark.parametrize("to", ["frame", "mean", "chain"])
def test_known_motion_is_found(frames, tmp_path, to):
    moved, ways = frames
    path = write(moved, tmp_path / "series.nii.gz")
    out = tmp_path / "out"
    done = neuralreg("sequence", path, "-o", out, "--to", to, "--frame", "2", "--json", "-q")
    assert done.exit_code == 0, done.stderr
    for number in range(FRAMES):
        assert error_mm(out, ways, number, 2) < 0.15  # mm, of voxels of 4 mm
    assert json.loads(done.stdout)["warnings"] == []  # by the fast way, every one
    still = sitk.ReadImage(str(out / "moved.nii.gz"))
    assert still.GetSpacing()[3] == pytest.approx(2.5)
    values, before = (
        sitk.GetArrayFromImage(i)[:, 4:-4, 4:-4, 4:-4].std(0).mean()
        for i in (still, sitk.ReadImage(str(path)))
    )
    assert values < 0.35 * before


def test_the_table_and_the_plot_hold_the_motion(frames, tmp_path):
    moved, ways = frames
    out = tmp_path / "out"
    path = write(moved[1:4], tmp_path / "series.nii.gz")
    done = neuralreg("sequence", path, "-o", out, "--to", "frame", "--frame", "1", "-q")
    assert done.exit_code == 0, done.stderr
    rows = list(csv.DictReader((out / "motion.csv").open()))
    angles = [float(rows[0][f"rotation_{axis}_degrees"]) for axis in "xyz"]
    shifts = [float(rows[0][f"translation_{axis}_mm"]) for axis in "xyz"]
    truth = ways[1]
    np.testing.assert_allclose(shifts, truth.GetTranslation(), atol=0.3)
    matrix = np.reshape(truth.GetMatrix(), (3, 3))
    turned = sitk.Euler3DTransform()
    turned.SetComputeZYX(True)
    turned.SetMatrix(matrix.ravel())
    exact = np.degrees([turned.GetAngleX(), turned.GetAngleY(), turned.GetAngleZ()])
    np.testing.assert_allclose(angles, exact, atol=0.6)
    power = np.abs(shifts).sum() + 50 * np.abs(np.radians(angles)).sum()
    assert float(rows[1]["displacement_mm"]) == pytest.approx(power, rel=0.01)
    picture = ElementTree.parse(out / "motion.svg").getroot()
    assert len(picture.findall(".//{*}polyline")) == 7


def test_a_closed_chain_ends_where_it_began(frames, tmp_path):
    moved, _ = frames
    path, out = write(moved, tmp_path / "series.nii.gz"), tmp_path / "out"
    options = "--to", "chain", "--periodic", "--frame", "0", "-q"
    done = neuralreg("sequence", path, "-o", out, *options)
    assert done.exit_code == 0, done.stderr
    first = np.array(sitk.ReadTransform(str(out / "frame_000.tfm")).GetParameters())
    np.testing.assert_allclose(first, [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], atol=1e-9)


def test_a_frame_that_shows_nothing_is_named_and_the_others_go_on(frames, tmp_path):
    moved, ways = frames
    moved = list(moved)
    moved[BROKEN] = moved[BROKEN] * float("nan")
    path, out = write(moved, tmp_path / "series.nrrd"), tmp_path / "out"
    done = neuralreg("sequence", path, "-o", out, "--to", "frame", "--json", "-q")
    assert done.exit_code == 1
    facts = json.loads(done.stdout)
    assert facts["failed"] == [BROKEN]
    assert any(f"frame {BROKEN} stays as it is" in words for words in facts["warnings"])
    assert not (out / f"frame_{BROKEN:03}.tfm").exists()
    assert error_mm(out, ways, 3, 2) < 0.3


def test_brightness_that_drifts_moves_nothing(frames, tmp_path):
    moved, ways = frames
    changed = [frame * (1 + 0.2 * n) + 30.0 * n for n, frame in enumerate(moved)]
    path, out = write(changed, tmp_path / "series.nii.gz"), tmp_path / "out"
    done = neuralreg("sequence", path, "-o", out, "--to", "frame", "--json", "-q")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["warnings"] == []
    assert max(error_mm(out, ways, number, 2) for number in range(FRAMES)) < 0.15


def test_a_frame_of_another_contrast_is_searched_for_with_a_remark(frames, tmp_path):
    moved, ways = frames
    moved = list(moved)
    moved[BROKEN] = sitk.Abs(moved[BROKEN] - 65.0)  # dark where it was bright
    path, out = write(moved, tmp_path / "series.nii.gz"), tmp_path / "out"
    done = neuralreg("sequence", path, "-o", out, "--to", "frame", "--json", "-q")
    assert done.exit_code == 0, done.stderr
    (words,) = json.loads(done.stdout)["warnings"]
    assert words.startswith(f"frame {BROKEN} was aligned by the slower search: ")
    assert error_mm(out, ways, BROKEN, 2) < 0.6


@pytest.mark.parametrize("spacing", [(2.5, 2.5, 8.0), (2.5, 4.0, 80.0)])
def test_thick_and_single_slices_move_by_mm(tmp_path, spacing):
    """In the plane of a single slice only: nothing else can be seen in it."""
    body = bent_body((0, 0, 0), 60)
    size = [round(80 / s) for s in spacing]
    origin = [-(n - 1) / 2 * s for n, s in zip(size, spacing, strict=True)]
    turn, shift = np.radians((0, 0, 3)), (2.0, -1.5, 0)
    way = sitk.Euler3DTransform((0, 0, 0), *turn, shift)
    frames = [
        sitk.Resample(body, size, each, sitk.sitkBSpline, origin, spacing)
        for each in (sitk.Transform(3, sitk.sitkIdentity), way.GetInverse())
    ]
    path, out = write(frames, tmp_path / "series.nii.gz"), tmp_path / "out"
    done = neuralreg("sequence", path, "-o", out, "--to", "frame", "--frame", "0", "--json", "-q")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["warnings"] == []
    row = list(csv.DictReader((out / "motion.csv").open()))[1]
    pose = [float(row[f"translation_{a}_mm"]) for a in "xyz"]
    angles = [float(row[f"rotation_{a}_degrees"]) for a in "xyz"]
    np.testing.assert_allclose(pose, shift, atol=0.2)
    np.testing.assert_allclose(angles, (0, 0, 3), atol=0.2)


def test_slices_that_stretch_need_the_affine_way():
    body = sitk.GetImageFromArray(sitk.GetArrayFromImage(bent_body((0, 0, 0), 60))[30])
    body.SetOrigin((-40.0, -40.0))
    body.SetSpacing((80 / 60, 80 / 60))
    matrix = np.array([[1.08, 0.03], [-0.05, 0.95]])
    way = sitk.AffineTransform(matrix.ravel().tolist(), (1.5, -1.0))
    frames = [body, sitk.Resample(body, body, way.GetInverse(), sitk.sitkBSpline)]
    images = [image_from_itk(frame) for frame in frames]
    motion = estimate_motion(images, MotionOptions.parse("frame", 0, "affine", False, USUAL))
    assert motion.notes == ()
    points = np.random.default_rng(0).uniform(-22, 22, (40, 2))
    truth = [way.TransformPoint(p) for p in points.tolist()]
    assert np.linalg.norm(motion.ways[1](points) - truth, axis=1).max() < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--frame", "9"), "no such frame"),
        (("--to", "nowhere"), "unknown target"),
        (("--deformation", "stretchy"), "unknown deformation"),
        (("--to", "chain", "--deformation", "deformable"), "rigid or affine"),
        (("--periodic",), "closed"),
    ],
)
def test_wrong_use_is_one_error(frames, tmp_path, options, words):
    path = write(frames[0][:2], tmp_path / "series.nii.gz")
    done = neuralreg("sequence", path, "-o", tmp_path / "out", *options)
    assert done.exit_code == 1
    assert words in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_a_time_axis_of_one_is_refused(frames, tmp_path):
    sitk.WriteImage(frames[0][0], str(tmp_path / "one.nii.gz"))
    done = neuralreg("sequence", tmp_path / "one.nii.gz", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "at least two frames" in " ".join(done.output.split())
