"""`neuralreg jacobian`, against SimpleITK and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.support import foreign_transforms as foreign
from Testing.support.command_line import facts_of, neuralreg


def values_of(path) -> np.ndarray:
    """(x, y, z)."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T


def closed_form(points: np.ndarray) -> np.ndarray:
    """The determinant of `foreign.bent` by tiny differences."""
    steps = 1e-4 * np.eye(3)
    columns = [(foreign.bent(points + h) - foreign.bent(points - h)) / 2e-4 for h in steps]
    return np.linalg.det(np.stack(columns, -1))


@pytest.fixture(params=["LPS", "LAS", "oblique left"])
def side(request, tmp_path):
    size, spacing = (22, 20, 18), (1.0, 1.2, 1.4)
    return foreign.make_side(tmp_path / "fixed.nii", request.param, size, spacing)


def test_the_map_is_the_change_of_volume_on_any_grid(tmp_path, side):
    foreign.write_warp("spm", side, side, foreign.bent, tmp_path / "y.nii")
    facts_of("jacobian", tmp_path / "y.nii", "-o", tmp_path / "map.nii.gz")
    inside = (slice(1, -1),) * 3
    expected = closed_form(side.points())
    np.testing.assert_allclose(
        values_of(tmp_path / "map.nii.gz")[inside], expected[inside], atol=0.003
    )
    facts_of("jacobian", tmp_path / "y.nii", "-o", tmp_path / "log.nii.gz", "--log")
    np.testing.assert_allclose(
        values_of(tmp_path / "log.nii.gz")[inside], np.log(expected[inside]), atol=0.003
    )


def test_the_map_is_simpleitks_where_the_axes_are_those_of_lps(tmp_path):
    side = foreign.make_side(tmp_path / "fixed.nii", "LPS")
    foreign.write_warp("spm", side, side, foreign.bent, tmp_path / "y.nii")
    neuralreg("convert", tmp_path / "y.nii", "-o", tmp_path / "field.nrrd")
    facts_of("jacobian", tmp_path / "field.nrrd", "-o", tmp_path / "map.nrrd")
    field = sitk.ReadImage(str(tmp_path / "field.nrrd"))
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field)).T
    inside = (slice(1, -1),) * 3
    ours = values_of(tmp_path / "map.nrrd")
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-5)


def test_on_another_image_the_map_has_its_voxels(tmp_path, side):
    foreign.write_warp("spm", side, side, foreign.bent, tmp_path / "y.nii")
    other = foreign.make_side(tmp_path / "other.nii", "RAS", (9, 8, 7), (1.5, 1.5, 1.5))
    facts_of("jacobian", tmp_path / "y.nii", "-o", tmp_path / "map.nii", "--on", other.path)
    ours = values_of(tmp_path / "map.nii")
    assert ours.shape == other.size
    np.testing.assert_allclose(ours, closed_form(other.points()), atol=0.02)


def test_a_matrix_needs_an_image_and_has_its_own_determinant(tmp_path, side):
    foreign.write_matrix("lta-ras", side, side, foreign.MATRIX, tmp_path / "a.lta")
    result = neuralreg("jacobian", tmp_path / "a.lta", "-o", tmp_path / "map.nii")
    assert (result.exit_code, "--on FIXED" in result.stderr) == (1, True)
    facts_of("jacobian", tmp_path / "a.lta", "-o", tmp_path / "map.nii", "--on", side.path)
    expected = np.linalg.det(foreign.MATRIX)
    np.testing.assert_allclose(values_of(tmp_path / "map.nii"), expected, atol=1e-6)


def test_folds_are_negative_said_and_clamped_under_the_logarithm(tmp_path, side):
    mirror = np.diag([-1.0, 1, 1, 1])
    foreign.write_warp("spm", side, side, lambda p: foreign.apply(mirror, p), tmp_path / "y.nii")
    facts = facts_of("jacobian", tmp_path / "y.nii", "-o", tmp_path / "map.nii")
    assert facts["folded_percent"] == 100
    assert "fold" in facts["warnings"][0]
    np.testing.assert_allclose(values_of(tmp_path / "map.nii"), -1, atol=1e-4)
    facts_of("jacobian", tmp_path / "y.nii", "-o", tmp_path / "log.nii", "--log")
    np.testing.assert_allclose(values_of(tmp_path / "log.nii"), np.log(1e-3), atol=1e-4)
