"""`neuralreg convert`, and files of other programs in the other commands."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from Testing.support import foreign_transforms as foreign
from Testing.support.command_line import facts_of, neuralreg
from Testing.support.itk_points import transform_points


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """A fixed image, and the moving one that the matrix makes of the same body."""
    folder = tmp_path_factory.mktemp("sides")
    size = (34, 30, 28)
    fixed = foreign.make_side(folder / "fixed.nii.gz", "LAS", size, (1.0, 1.2, 1.1))
    moving = foreign.make_side(folder / "moving.nii.gz", "oblique", size, (1.2, 1.2, 1.2))
    back = foreign.apply(np.linalg.inv(foreign.MATRIX), moving.points())
    body = body_at(back)
    nibabel.save(nibabel.Nifti1Image(body.astype(np.float32), moving.affine), moving.path)
    image = nibabel.Nifti1Image(body_at(fixed.points()).astype(np.float32), fixed.affine)
    nibabel.save(image, fixed.path)
    return fixed, moving


def body_at(points: np.ndarray) -> np.ndarray:
    """A textured body without any symmetry."""
    x, y, z = np.moveaxis(points, -1, 0)
    inside = 1 / (1 + np.exp((x / 9) ** 2 + (y / 12) ** 2 + (z / 10) ** 2 - 1) ** 4)
    blob = np.exp(-(((points - [5, -6, 4]) / 3) ** 2).sum(-1))
    return 1000 * inside * (1 + 0.3 * np.sin(0.7 * x) * np.cos(0.5 * y + 0.4 * z) + blob)


def options(sides) -> list[object]:
    return ["--fixed", sides[0].path, "--moving", sides[1].path]


POINTS = np.random.default_rng(0).uniform(-10, 10, (30, 3))


def test_a_matrix_of_flirt_becomes_one_of_itk_and_says_what_it_maps(tmp_path, sides):
    foreign.write_matrix("fsl", *sides, foreign.MATRIX, tmp_path / "flirt.mat")
    out = tmp_path / "t.tfm"
    facts = facts_of("convert", tmp_path / "flirt.mat", "-o", out, "--from", "fsl", *options(sides))
    np.testing.assert_allclose(
        transform_points(sitk.ReadTransform(str(out)), POINTS), foreign.linear(POINTS), atol=1e-3
    )
    assert "fixed image (fixed.nii.gz) to the moving image (moving.nii.gz)" in facts["maps"]
    assert "moving to fixed, between FSL coordinates" in facts["read"][0]
    assert facts["warnings"] == []
    again = tmp_path / "again.mat"
    facts_of("convert", out, "-o", again, "--to", "fsl", *options(sides))
    expected = np.loadtxt(tmp_path / "flirt.mat")
    np.testing.assert_allclose(np.loadtxt(again), expected, atol=1e-5)


def test_the_words_of_a_person_and_of_a_program_are_the_same(tmp_path, sides):
    foreign.write_matrix("lta-ras", *sides, foreign.MATRIX, tmp_path / "a.lta")
    result = neuralreg("convert", tmp_path / "a.lta", "-o", tmp_path / "a.1D", *options(sides))
    assert result.exit_code == 0, result.stderr
    assert "for AFNI" in result.stdout
    assert "maps points of the fixed image" in result.stdout
    assert "3dAllineate -1Dmatrix_apply" in result.stdout
    numbers = np.loadtxt(tmp_path / "a.1D")
    expected = foreign.matrix_of("afni", *sides, foreign.MATRIX)[:3].ravel()
    np.testing.assert_allclose(numbers, expected, atol=1e-6)


@pytest.mark.parametrize("inverted", [False, True])
def test_several_files_are_joined_in_the_order_in_which_points_pass(tmp_path, sides, inverted):
    turn = sitk.Euler3DTransform([0, 0, 0], 0.1, 0.2, -0.3, [4, 5, 6])
    sitk.WriteTransform(turn.GetInverse() if inverted else turn, str(tmp_path / "turn.tfm"))
    foreign.write_matrix("mrtrix", *sides, foreign.MATRIX, tmp_path / "then.txt")
    first = f"[{tmp_path / 'turn.tfm'},1]" if inverted else tmp_path / "turn.tfm"
    facts_of("convert", first, tmp_path / "then.txt", "-o", tmp_path / "both.tfm")
    turned = transform_points(turn, POINTS)
    np.testing.assert_allclose(
        transform_points(sitk.ReadTransform(str(tmp_path / "both.tfm")), POINTS),
        foreign.linear(turned),
        atol=1e-6,
    )


def test_a_chain_with_a_field_keeps_its_members_in_a_composite(tmp_path, sides):
    fixed, _ = sides
    foreign.write_warp("spm", *sides, foreign.bent, tmp_path / "y_t.nii")
    turn = sitk.Euler3DTransform([0, 0, 0], 0.1, 0.2, -0.3, [1, -1, 2])
    sitk.WriteTransform(turn, str(tmp_path / "turn.tfm"))
    files = tmp_path / "y_t.nii", tmp_path / "turn.tfm"
    facts_of("convert", *files, "-o", tmp_path / "both.h5")
    inside = fixed.points()[4:-4:5, 4:-4:5, 4:-4:5].reshape(-1, 3)
    bent = foreign.bent(inside).tolist()
    expected = np.array([turn.TransformPoint(point) for point in bent])
    np.testing.assert_allclose(
        transform_points(sitk.ReadTransform(str(tmp_path / "both.h5")), inside), expected, atol=1e-3
    )
    facts_of("convert", *files, "-o", tmp_path / "both.nii.gz")
    image = sitk.Cast(sitk.ReadImage(str(tmp_path / "both.nii.gz")), sitk.sitkVectorFloat64)
    field = sitk.DisplacementFieldTransform(image)
    ours = transform_points(field, inside)
    np.testing.assert_allclose(ours, expected, atol=1e-3)
    facts = facts_of("info", tmp_path / "both.h5")
    assert facts["points_pass"] == "DisplacementFieldTransform -> Euler3DTransform"


def test_the_inverse_maps_from_moving_to_fixed(tmp_path, sides):
    foreign.write_warp("fsl-relative", *sides, foreign.bent, tmp_path / "warp.nii.gz")
    out = tmp_path / "back.nii.gz"
    facts = facts_of("convert", tmp_path / "warp.nii.gz", "-o", out, "--inverse", *options(sides))
    assert "their fixed image (fixed.nii.gz)" in facts["maps"]
    image = sitk.Cast(sitk.ReadImage(str(out)), sitk.sitkVectorFloat64)
    field = sitk.DisplacementFieldTransform(image)
    near = POINTS / 2
    ours = np.array([field.TransformPoint(p) for p in foreign.bent(near).tolist()])
    np.testing.assert_allclose(ours, near, atol=0.05)


@pytest.mark.parametrize("mistake", ["inverse", "frame", "order"])
def test_images_that_fit_another_reading_better_are_a_warning(tmp_path, sides, mistake):
    wrong = {
        "inverse": np.linalg.inv(foreign.MATRIX),
        "frame": foreign.FLIP @ foreign.MATRIX @ foreign.FLIP,
        "order": foreign.MATRIX[[1, 0, 2, 3]][:, [1, 0, 2, 3]],
    }[mistake]
    foreign.write_matrix("lta-ras", *sides, wrong, tmp_path / "a.lta")
    facts = facts_of("convert", tmp_path / "a.lta", "-o", tmp_path / "t.tfm", *options(sides))
    assert len(facts["warnings"]) == 1
    words = {"inverse": "by the inverse", "frame": "RAS instead of LPS", "order": "y x z"}[mistake]
    assert words in facts["warnings"][0]


def test_what_content_does_not_decide_is_asked_and_nothing_is_written(tmp_path, sides):
    foreign.write_matrix("niftyreg", *sides, foreign.MATRIX, tmp_path / "aff.txt")
    result = neuralreg("convert", tmp_path / "aff.txt", "-o", tmp_path / "t.tfm")
    assert result.exit_code == 1
    assert "does not say of which coordinates" in result.stderr
    assert "--from" in result.stderr
    assert not (tmp_path / "t.tfm").exists()


@pytest.mark.parametrize(
    ("name", "to", "words"),
    [("t.lta", None, "no file for a transform that is not linear"),
     ("t.mat", "fsl", "no ending of such a file of FSL"),
     ("t.doc", None, "no ending of a transform format"),
     ("t.nii", "voxelmorph", "read and not written"),
     ("t.nii", "brainvoyager", "unknown format")],
)  # fmt: skip
def test_what_cannot_be_written_is_said(tmp_path, sides, name, to, words):
    foreign.write_warp("spm", *sides, foreign.bent, tmp_path / "y_t.nii")
    target = [] if to is None else ["--to", to]
    result = neuralreg("convert", tmp_path / "y_t.nii", "-o", tmp_path / name, *target)
    assert result.exit_code in (1, 4)
    assert words in result.stderr
    assert not (tmp_path / name).exists()


def test_a_field_that_does_not_cover_the_fixed_image_is_said(tmp_path, sides):
    small = foreign.make_side(tmp_path / "small.nii", "LAS", (20, 20, 20), (1.0, 1.0, 1.0))
    foreign.write_warp("mrtrix-displacement", small, sides[1], foreign.bent, tmp_path / "w.nii")
    facts = facts_of("convert", tmp_path / "w.nii", "-o", tmp_path / "y_w.nii", "--from", "mrtrix",
                 "--to", "spm", "--fixed", sides[0].path)  # fmt: skip
    assert any("outside of the field's grid" in warning for warning in facts["warnings"])


def test_other_commands_read_the_same_files(tmp_path, sides):
    fixed, moving = sides
    flirt = tmp_path / "flirt.mat"
    foreign.write_matrix("fsl", *sides, foreign.MATRIX, flirt)
    facts = facts_of("info", flirt, "--from", "fsl", *options(sides))
    assert facts["program"] == "FSL"
    np.testing.assert_allclose(facts["matrix_lps"], foreign.MATRIX, atol=1e-4)
    warped = tmp_path / "warped.nii.gz"
    facts_of("warp", moving.path, flirt, "-r", fixed.path, "-o", warped, "--from", "fsl")
    ours = nibabel.load(warped).get_fdata()[6:-6, 6:-6, 6:-6]
    body = body_at(fixed.points())[6:-6, 6:-6, 6:-6]
    assert np.abs(ours - body).mean() < 0.02 * body.max()
    facts_of("invert", flirt, "-o", tmp_path / "back.tfm", "--from", "fsl", *options(sides))
    back = transform_points(sitk.ReadTransform(str(tmp_path / "back.tfm")), foreign.linear(POINTS))
    np.testing.assert_allclose(back, POINTS, atol=1e-3)
    result = neuralreg("review", flirt, "--from", "fsl", *options(sides), "-q")
    assert result.exit_code in (0, 1), result.stderr
    table = tmp_path / "list.csv"
    table.write_text(f"transform,fixed,moving,format\n{flirt},{fixed.path},{moving.path},fsl\n")
    result = neuralreg("worklist", table, "-q")
    assert result.exit_code in (0, 1), result.stderr
    assert "error" not in result.stdout
