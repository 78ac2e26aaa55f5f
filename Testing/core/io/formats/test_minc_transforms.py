"""Grids of MINC: by the definition of volume_io, and against ITK, which reads by libminc."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidImage, InvalidTransform, UnreadableFile
from neuralreg.io.exchange.families import read_content
from neuralreg.io.itk_transforms import read_itk_transform

from Testing.support import foreign_transforms as foreign
from Testing.support import minc_files
from Testing.support.command_line import neuralreg

TOLERANCE_MM = 1e-3
LINEAR = """Transform_Type = Linear;
Linear_Transform =
 0.99 0.05 0 4
 -0.05 0.98 0.1 -6
 0 -0.1 1.02 8.5;
"""


@pytest.fixture(params=["RAS", "PIR", "oblique", "oblique left"])
def side(request, tmp_path):
    return foreign.make_side(tmp_path / "image.nii.gz", request.param)


@pytest.fixture
def oblique(tmp_path):
    return foreign.make_side(tmp_path / "image.nii.gz", "oblique")


def displacements(side) -> np.ndarray:
    """What a grid holds for the voxels: RAS mm."""
    return foreign.in_ras(foreign.bent(side.points()) - side.points())


def moved_voxels(side, field: sitk.Image) -> np.ndarray:
    """Where a field takes the voxels of an image, each read at its place in the world."""
    size = side.indices().reshape(-1, 3)
    points = side.points().reshape(-1, 3)
    at = [field.TransformPhysicalPointToIndex(point.tolist()) for point in points]
    assert np.unique(at, axis=0).shape == size.shape
    return points + np.array([field[index] for index in at])


@pytest.mark.parametrize(
    "order",
    [
        minc_files.ORDER,
        ("vector_dimension", "zspace", "yspace", "xspace"),
        ("xspace", "zspace", "yspace", "vector_dimension"),
    ],
)
@pytest.mark.parametrize("steps_back", [(), (0, 2)])
def test_an_inverted_grid_takes_fixed_voxels_where_it_says(tmp_path, side, order, steps_back):
    grid, path = tmp_path / "t_grid_0.mnc", tmp_path / "t.xfm"
    minc_files.write_minc2(grid, displacements(side), side.affine, order, steps_back)
    minc_files.write_grid_xfm(path, grid, inverted=True)
    field, family = read_content(path)
    assert family == "minc"
    expected = foreign.bent(side.points()).reshape(-1, 3)
    np.testing.assert_allclose(moved_voxels(side, field), expected, atol=TOLERANCE_MM)


def test_a_grid_leads_from_moving_to_fixed_as_libminc_applies_it(tmp_path, side):
    """ITK gives the numbers of the file, RAS mm, interpolated between samples as here."""
    grid, path = tmp_path / "t_grid_0.mnc", tmp_path / "t.xfm"
    minc_files.write_minc2(grid, displacements(side) / 3, side.affine)
    minc_files.write_grid_xfm(path, grid, inverted=False)
    notes: list[str] = []
    field, _ = read_content(path, notes=notes)
    assert "their inverse was computed" in notes[0]
    theirs = sitk.ReadTransform(str(path))
    middle = np.s_[4:-4, 4:-4, 4:-4]
    fixed = side.points()[middle].reshape(-1, 3)
    moving = moved_voxels(side, field).reshape(*side.size, 3)[middle].reshape(-1, 3)
    assert np.abs(moving - fixed).max() > 0.5
    back = [theirs.TransformPoint(point.tolist()) for point in foreign.in_ras(moving)]
    np.testing.assert_allclose(foreign.in_ras(np.array(back)), fixed, atol=TOLERANCE_MM)


def test_a_matrix_and_a_grid_are_passed_backward_in_their_order(tmp_path, oblique):
    grid, path = tmp_path / "t_grid_0.mnc", tmp_path / "t.xfm"
    minc_files.write_minc2(grid, displacements(oblique), oblique.affine)
    minc_files.write_grid_xfm(path, grid, inverted=True, before=LINEAR)
    ours = read_itk_transform(path)
    rows = [[float(v) for v in line.strip(" ;").split()] for line in LINEAR.splitlines()[2:]]
    back = np.linalg.inv(np.vstack([rows, [0, 0, 0, 1]]))
    for point in oblique.points()[3:-3:3, 3:-3:3, 3:-3:3].reshape(-1, 3):
        bent = foreign.in_ras(foreign.bent(point))
        expected = foreign.in_ras(foreign.apply(back, bent))
        assert ours.TransformPoint(point.tolist()) == pytest.approx(expected, abs=TOLERANCE_MM)


def test_a_grid_of_minc_1_keeps_the_scale_of_each_slice(tmp_path, oblique):
    grid, path = tmp_path / "t_grid_0.mnc", tmp_path / "t.xfm"
    minc_files.write_minc1(grid, displacements(oblique), oblique.affine)
    minc_files.write_grid_xfm(path, grid, inverted=True)
    field, _ = read_content(path)
    expected = foreign.bent(oblique.points()).reshape(-1, 3)
    np.testing.assert_allclose(moved_voxels(oblique, field), expected, atol=TOLERANCE_MM)


def test_a_grid_is_found_beside_its_file_and_converted(tmp_path, oblique):
    grid, path = tmp_path / "t_grid_0.mnc", tmp_path / "t.xfm"
    minc_files.write_minc2(grid, displacements(oblique), oblique.affine)
    minc_files.write_grid_xfm(path, grid, inverted=True)
    path.write_text(path.read_text().replace(grid.name, f"/elsewhere/{grid.name}"))
    done = neuralreg("convert", path, "-o", tmp_path / "warp.nii.gz")
    assert done.exit_code == 0, done.stderr
    field = sitk.ReadImage(str(tmp_path / "warp.nii.gz"))
    expected = foreign.bent(oblique.points()).reshape(-1, 3)
    np.testing.assert_allclose(moved_voxels(oblique, field), expected, atol=TOLERANCE_MM)


def write_scalars(path, side):
    minc_files.write_minc2(path, displacements(side)[..., :2], side.affine)


def write_sheared(path, side):
    shear = np.eye(4)
    shear[0, 1] = 0.2
    minc_files.write_minc2(path, displacements(side), shear @ side.affine)


@pytest.mark.parametrize(
    ("write", "change", "kind", "words"),
    [
        (None, ("", ""), UnreadableFile, "t_grid_0.mnc cannot be opened"),
        (lambda p, side: p.write_bytes(b"CDF\1"), ("", ""), UnreadableFile, "t_grid_0.mnc"),
        (write_scalars, ("", ""), InvalidTransform, "three numbers per voxel.*vector_dimension 2"),
        (write_sheared, ("", ""), InvalidImage, "t_grid_0.mnc"),
        (None, ("Displacement_Volume", "Volume"), UnreadableFile, "wanted Displacement_Volume"),
        (None, ("Grid_Transform", "Thin_Plate_Spline_Transform"), InvalidTransform,
         "Thin_Plate_Spline_Transform.*minc_displacement"),
    ],
)  # fmt: skip
def test_what_is_no_grid_is_refused(tmp_path, oblique, write, change, kind, words):
    grid, path = tmp_path / "t_grid_0.mnc", tmp_path / "t.xfm"
    minc_files.write_grid_xfm(path, grid, inverted=True)
    path.write_text(path.read_text().replace(*change))
    if write:
        write(grid, oblique)
    with pytest.raises(kind, match=words):
        read_content(path)
