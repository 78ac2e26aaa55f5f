"""Files of other programs: what their definitions mean, on grids of every kind, both ways."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidTransform
from neuralreg.io.exchange.families import FAMILIES, WRITERS, read_content
from neuralreg.io.exchange.matrices import from_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.transform_chains import write_content

from Testing.support import foreign_transforms as foreign
from Testing.support.paths import ROOT

PAIRS = [("RAS", "LAS"), ("PIR", "oblique"), ("oblique left", "RAS"), ("oblique", "oblique left")]
MATRICES = {  # name of the file, what --from has to say
    "fsl": ("flirt.mat", "fsl"),
    "afni": ("a.aff12.1D", None),
    "niftyreg": ("aladin.txt", "niftyreg"),
    "mrtrix": ("linear.txt", None),
    "lta-ras": ("a.lta", None),
    "lta-voxels": ("a.lta", None),
    "register.dat": ("register.dat", None),
}
WARPS = {
    "fsl-relative": ("warp.nii.gz", None),
    "fsl-absolute": ("warp.nii.gz", None),
    "afni": ("warp.nii", None),
    "niftyreg-deformation": ("def.nii.gz", None),
    "niftyreg-displacement": ("disp.nii", None),
    "spm": ("y_t1.nii", None),
    "mrtrix-deformation": ("warp.nii", "mrtrix"),
    "mrtrix-displacement": ("warp.nii", "mrtrix"),
    "voxelmorph": ("warp.nii.gz", "voxelmorph"),
    "voxelmorph-npz": ("warp.npz", None),
    "learn2reg": ("disp.nii.gz", "learn2reg"),
    "learn2reg-npz": ("disp.npz", None),
}
TOLERANCE_MM = 1e-3


@pytest.fixture(params=PAIRS, ids=lambda pair: " to ".join(pair), scope="module")
def sides(request, tmp_path_factory):
    """A fixed and a moving image of one size, each with voxels in another order."""
    folder = tmp_path_factory.mktemp("sides")
    fixed = foreign.make_side(folder / "fixed.nii.gz", request.param[0])
    moving = foreign.make_side(folder / "moving.nii.gz", request.param[1], spacing=(2.2, 2.4, 3.1))
    return fixed, moving


def files_of(sides) -> Sides:
    return Sides(*(side.path for side in sides))


@pytest.mark.parametrize("form", MATRICES)
def test_a_matrix_of_another_program_takes_points_where_that_program_does(tmp_path, sides, form):
    name, source = MATRICES[form]
    foreign.write_matrix(form, *sides, foreign.MATRIX, tmp_path / name)
    content, _ = read_content(tmp_path / name, files_of(sides), source=source)
    points = sides[0].points().reshape(-1, 3)[::7]
    ours = foreign.apply(from_affine(content), points)
    np.testing.assert_allclose(ours, foreign.linear(points), atol=TOLERANCE_MM)


@pytest.mark.parametrize("form", WARPS)
def test_a_warp_of_another_program_takes_voxels_where_that_program_does(tmp_path, sides, form):
    name, source = WARPS[form]
    foreign.write_warp(form, *sides, foreign.bent, tmp_path / name)
    content, _ = read_content(tmp_path / name, files_of(sides), source=source)
    fixed = sides[0]
    ours = fixed.points() + sitk.GetArrayFromImage(content).transpose(2, 1, 0, 3)
    np.testing.assert_allclose(ours, foreign.bent(fixed.points()), atol=TOLERANCE_MM)
    corner = content.TransformIndexToPhysicalPoint((3, 4, 5))
    np.testing.assert_allclose(corner, fixed.points()[3, 4, 5], atol=TOLERANCE_MM)


@pytest.mark.parametrize(
    ("target", "name", "form"),
    [("fsl", "t.mat", "fsl"), ("afni", "t.1D", "afni"), ("niftyreg", "t.txt", "niftyreg"),
     ("mrtrix", "t.txt", "mrtrix"), ("freesurfer", "t.lta", "lta-ras")],
)  # fmt: skip
def test_a_matrix_is_written_with_the_numbers_of_that_program(tmp_path, sides, target, name, form):
    WRITERS[target].linear(foreign.MATRIX, tmp_path / name, files_of(sides), [])
    text = (tmp_path / name).read_text()
    if target == "freesurfer":
        text = text.split("1 4 4\n")[1].split("src")[0]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    numbers = np.array([float(word) for line in lines for word in line.split()])
    expected = foreign.matrix_of(form, *sides, foreign.MATRIX).ravel()[: len(numbers)]
    np.testing.assert_allclose(numbers, expected, atol=1e-6)


def test_a_written_lta_says_where_both_volumes_lie(tmp_path, sides):
    path = tmp_path / "t.lta"
    WRITERS["freesurfer"].linear(foreign.MATRIX, path, files_of(sides), [])
    text = path.read_text()
    for name, side in zip(("src", "dst"), sides[::-1], strict=True):
        part = text.split(f"{name} volume info\n")[1].split("volume info\n")[0]
        values = dict(line.split(" = ", 1) for line in part.splitlines() if " = " in line)
        expected = dict(
            line.split(" = ", 1) for line in foreign.volume_info(side).splitlines() if line
        )
        for key in ("volume", "voxelsize", "xras", "yras", "zras", "cras"):
            ours = [float(v) for v in values[key].split()]
            theirs = [float(v) for v in expected[key].split()]
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "name", "form"),
    [("fsl", "w.nii.gz", "fsl-relative"), ("fsl-absolute", "w.nii.gz", "fsl-absolute"),
     ("afni", "w.nii", "afni"), ("niftyreg", "w.nii.gz", "niftyreg"), ("spm", "y_w.nii", "spm"),
     ("mrtrix", "w.nii", "mrtrix-deformation"),
     ("mrtrix-displacement", "w.nii", "mrtrix-displacement"),
     ("learn2reg", "w.nii.gz", "learn2reg"), ("learn2reg", "w.npz", "learn2reg")],
)  # fmt: skip
def test_a_field_is_written_so_that_the_program_takes_voxels_there(
    tmp_path, sides, target, name, form
):
    fixed, moving = sides
    field = field_on(fixed, foreign.bent)
    write_content(field, tmp_path / name, target, files_of(sides), [])
    moved = foreign.apply_warp(form, fixed, moving, tmp_path / name)
    np.testing.assert_allclose(moved, foreign.bent(fixed.points()), atol=TOLERANCE_MM)
    if target in ("niftyreg", "spm", "fsl", "afni"):
        back, family = read_content(tmp_path / name, files_of(sides))
        assert family == target
        np.testing.assert_allclose(
            sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(field), atol=TOLERANCE_MM
        )


def field_on(fixed: foreign.Side, mapping: foreign.Map) -> sitk.Image:
    """Displacements in LPS mm on the voxels of an image, as ITK has them."""
    vectors = (mapping(fixed.points()) - fixed.points()).transpose(2, 1, 0, 3)
    field = sitk.GetImageFromArray(vectors.astype(np.float32), isVector=True)
    lps = foreign.FLIP @ fixed.affine
    field.SetSpacing(fixed.spacing.tolist())
    field.SetOrigin(lps[:3, 3].tolist())
    field.SetDirection((lps[:3, :3] / fixed.spacing).ravel().tolist())
    return field


@pytest.mark.parametrize("form", ["fsl", "register.dat"])
def test_a_matrix_between_voxels_is_refused_without_the_images(tmp_path, sides, form):
    name, source = MATRICES[form]
    foreign.write_matrix(form, *sides, foreign.MATRIX, tmp_path / name)
    for known, missing in ((Sides(), "fixed"), (Sides(sides[0].path), "moving")):
        with pytest.raises(InvalidTransform, match=rf"without the {missing} image.*--{missing}"):
            read_content(tmp_path / name, known, source=source)


@pytest.mark.parametrize(
    "form", ["mrtrix-deformation", "mrtrix-displacement", "voxelmorph", "learn2reg"]
)
def test_vectors_without_a_mark_are_a_question(tmp_path, sides, form):
    path = tmp_path / "warp.nii.gz"
    foreign.write_warp(form, *sides, foreign.bent, path)
    with pytest.raises(InvalidTransform, match=r"several programs.*warp\.nii\.gz.*--from"):
        read_content(path, files_of(sides))


def test_afni_says_when_it_does_not_know_whether_an_image_is_oblique(tmp_path, sides):
    notes: list[str] = []
    foreign.write_matrix("afni", *sides, foreign.MATRIX, tmp_path / "a.1D")
    read_content(tmp_path / "a.1D", notes=notes)
    assert [word in note for word, note in zip(("moving", "fixed"), notes, strict=True)] == [
        True,
        True,
    ]
    notes.clear()
    read_content(tmp_path / "a.1D", files_of(sides), notes=notes)
    assert notes == []


def test_positions_without_a_mark_are_no_displacements(tmp_path, sides):
    fixed = sides[0]
    for name, vectors in (("lps", foreign.bent(fixed.points())),
                          ("ras", foreign.in_ras(foreign.bent(fixed.points())))):  # fmt: skip
        path = tmp_path / f"{name}.nii.gz"
        foreign.save_vectors(vectors[:, :, :, None], fixed, path, 1007)
        with pytest.raises(InvalidTransform, match=rf"as positions do.*{name}\.nii\.gz.*--from"):
            read_content(path)
        read_content(path, source="itk")


def test_a_turn_by_any_right_angles_is_not_taken_for_positions(tmp_path, sides):
    fixed = sides[0]
    for order, signs in itertools.product(
        itertools.permutations(range(3)), ((1, 1, 1), (-1, 1, 1), (-1, -1, 1), (-1, -1, -1))
    ):
        turn = np.eye(4)
        turn[:3, :3] = np.eye(3)[list(order)] * signs
        vectors = foreign.apply(turn, fixed.points()) - fixed.points()
        foreign.save_vectors(vectors[:, :, :, None], fixed, tmp_path / "turn.nii", 1007)
        read_content(tmp_path / "turn.nii")


def test_every_program_is_in_the_table_of_the_page_within_a_thousandth_of_a_millimeter():
    page = (ROOT / "docs" / "transforms.md").read_text(encoding="utf-8")
    table = page.split("<!-- table of benchmarks.transforms -->")[1].split("<!-- end")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[3:]]
    differences = [float(cell) for row in rows for cell in row[2:4] if cell]
    assert max(differences) < TOLERANCE_MM
    elsewhere = {"DICOM", FAMILIES["scene"].program}  # in test_dicom_*, test_scene_files
    programs = {family.program for family in FAMILIES.values()} - elsewhere
    assert programs <= {row[0] for row in rows}
    written = {row[0] for row in rows if row[3]}
    assert {FAMILIES[name].program for name in WRITERS} & programs <= written
