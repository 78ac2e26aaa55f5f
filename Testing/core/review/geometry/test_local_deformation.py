"""Deformations, Jacobians and errors there and back, against mathematics and SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.geometry.grid import Grid
from neuralreg.io.itk import to_itk
from neuralreg.review.geometry.consistency import forward_backward, invert
from neuralreg.review.geometry.deformation import Deformation, resample
from neuralreg.review.geometry.local_deformation import (
    bending_energy,
    harmonic_energy,
    jacobian_determinant,
    statistics,
    stretches,
)

from Testing.support.itk_points import transform_points
from Testing.support.reviewed import field, places, wavy

EYE = tuple(np.eye(3).ravel())
GRID = Grid((22, 20, 18), (1.5, 2.0, 1.0), (-10, 5, 3), EYE)


def affine_field(grid: Grid, matrix: np.ndarray) -> np.ndarray:
    return (places(grid) @ (matrix - np.eye(len(matrix))).T).astype(np.float32)


def test_the_jacobian_of_an_affine_field_is_its_determinant(a_grid):
    random = np.random.default_rng(2)
    matrix = np.eye(a_grid.dimension) + random.normal(0, 0.15, (a_grid.dimension,) * 2)
    found = jacobian_determinant(affine_field(a_grid, matrix), a_grid)
    assert found == pytest.approx(np.linalg.det(matrix), abs=2e-4)


def test_the_jacobian_is_that_of_itk():
    u = wavy(GRID, 3.0)
    image = sitk.GetImageFromArray(u.astype(float), isVector=True)
    image.SetSpacing(GRID.spacing)
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
    inner = (slice(1, -1),) * 3
    assert jacobian_determinant(u, GRID)[inner] == pytest.approx(theirs[inner], abs=1e-5)


def test_a_mirrored_part_is_folded_and_its_volume_is_told():
    u = np.zeros((*GRID.shape, 3), np.float32)
    inside = np.zeros(GRID.shape, bool)
    inside[5:12, 6:14, 6:16] = True
    u[..., 0] = np.where(inside, -2 * (places(GRID)[..., 0] - places(GRID)[0, 0, 10, 0]), 0)
    found = statistics(jacobian_determinant(u, GRID), GRID, np.ones(GRID.shape, bool), "all")
    assert found.minimum < -0.5
    assert found.folding_percent > 0
    expected_ml = found.folding_percent / 100 * GRID.count * 1.5 * 2.0 * 1.0 / 1000
    assert found.folding_ml == pytest.approx(expected_ml)


def test_statistics_of_a_uniform_stretch_are_its_volume():
    matrix = np.diag([1.2, 1.0, 1.0])
    determinant = jacobian_determinant(affine_field(GRID, matrix), GRID)
    found = statistics(determinant, GRID, np.ones(GRID.shape, bool), "all")
    assert (found.minimum, found.p99, found.maximum) == pytest.approx((1.2, 1.2, 1.2), abs=1e-4)
    assert found.sd_log == pytest.approx(0, abs=1e-4)
    assert found.count == GRID.count


def test_shear_stretches_without_changing_volume():
    matrix = np.eye(3)
    matrix[0, 1] = 1.0
    u = affine_field(GRID, matrix)
    assert jacobian_determinant(u, GRID) == pytest.approx(1.0, abs=1e-4)
    assert stretches(u, GRID) == pytest.approx((1 + 5**0.5) / 2, abs=1e-3)


def test_a_bend_has_the_energy_that_calculus_gives():
    at = places(GRID)
    u = np.zeros((*GRID.shape, 3), np.float32)
    u[..., 1] = 0.02 * at[..., 0] ** 2  # second derivative 0.04, slope 0.04 x
    inner = np.zeros(GRID.shape, bool)
    inner[:, :, 2:-2] = True
    assert bending_energy(u, GRID, inner) == pytest.approx(0.04**2, rel=1e-3)
    expected = float(((0.04 * at[..., 0]) ** 2)[inner].mean())
    assert harmonic_energy(u, GRID, inner) == pytest.approx(expected, rel=1e-3)


def test_an_affine_field_does_not_bend():
    matrix = np.eye(3) + 0.1
    inside = np.ones(GRID.shape, bool)
    assert bending_energy(affine_field(GRID, matrix), GRID, inside) < 1e-9


def test_a_turned_grid_is_read_as_the_core_reads_it(smooth_field):
    """Grids with other axes cannot be read axis by axis."""
    grid = Grid((12, 10, 11), (1, 1.5, 2), (0, 0, 0), EYE)
    turned = Grid((9, 9, 9), (1, 1, 1), (1, 2, 3), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    core = smooth_field(grid)
    vectors = core.vectors.movedim(0, -1).numpy()
    theirs = core.at(turned).movedim(0, -1).numpy()
    inside = grid.covers(places(turned))
    assert resample(vectors, grid, turned)[inside] == pytest.approx(theirs[inside], abs=1e-4)


def test_a_transform_is_the_same_however_it_comes(smooth_field, tmp_path):
    from neuralreg.io.transform_files import write_transform

    core = smooth_field(GRID)
    for name in ("t.nrrd", "t.nii.gz", "t.h5"):
        write_transform(core, tmp_path / name)
    found = [Deformation.of(core), Deformation.of(to_itk(core))]
    found += [Deformation.of(tmp_path / name) for name in ("t.nrrd", "t.nii.gz", "t.h5")]
    assert len({one.sha256 for one in found}) == 1


def test_a_chain_and_a_spline_keep_their_hashes_when_they_are_read_again(smooth_field, tmp_path):
    spline = sitk.BSplineTransformInitializer(sitk.Image((20, 20, 20), sitk.sitkUInt8), [4, 4, 4])
    moved = np.random.default_rng(0).normal(size=len(spline.GetParameters()))
    spline.SetParameters(moved.tolist())
    affine = sitk.AffineTransform(3)
    affine.SetTranslation((3.0, -2.0, 1.0))
    chain = sitk.CompositeTransform([affine, to_itk(smooth_field(GRID)), spline])
    hashes = []
    for name in ("one.h5", "two.h5"):
        sitk.WriteTransform(chain, str(tmp_path / name))
        hashes.append(Deformation.of(tmp_path / name).sha256)
    assert hashes[0] == hashes[1]
    affine.SetTranslation((3.0, -2.0, 1.5))
    changed = sitk.CompositeTransform([affine, to_itk(smooth_field(GRID)), spline])
    assert Deformation.of(changed).sha256 != hashes[0]


def test_a_changed_transform_has_another_hash(smooth_field):
    core = smooth_field(GRID)
    before = Deformation.of(core).sha256
    core.vectors[0, 3, 4, 5] += 0.001
    assert Deformation.of(core).sha256 != before


def test_a_composite_of_itk_moves_points_as_itk_does(smooth_field):
    core = to_itk(smooth_field(GRID))
    affine = sitk.AffineTransform(3)
    affine.SetTranslation((3.0, -2.0, 1.0))
    both = sitk.CompositeTransform([affine, core])
    points = places(GRID)[4:9, 5:9, 5:9].reshape(-1, 3)
    ours = Deformation.of(sitk.Transform(both))
    theirs = transform_points(both, points)
    assert ours(points) == pytest.approx(theirs, abs=1e-6)
    on_grid = ours.on(GRID)[4:9, 5:9, 5:9].reshape(-1, 3)
    assert on_grid == pytest.approx(theirs - points, abs=1e-4)


def test_going_there_and_back_by_an_exact_inverse_ends_at_home():
    matrix = np.eye(4)
    matrix[:3, :3] += np.random.default_rng(0).normal(0, 0.1, (3, 3))
    matrix[:3, 3] = (4, -3, 2)
    there = Deformation(3, matrix=matrix)
    back = Deformation(3, matrix=np.linalg.inv(matrix))
    assert forward_backward(there.on(GRID), GRID, back).max() < 1e-4


def test_an_inverse_that_is_off_by_2_mm_shows_2_mm():
    u = np.zeros((*GRID.shape, 3), np.float32)
    off = u.copy()
    off[..., 1] = 2.0
    assert forward_backward(u, GRID, field(off, GRID)) == pytest.approx(2.0)


def test_the_inverse_that_is_made_takes_points_home():
    there = field(wavy(GRID, 3.0), GRID)
    back, left = invert(there, GRID)
    inner = (slice(4, -4),) * 3
    assert left[inner].max() < 0.05
    assert forward_backward(there.on(GRID), GRID, back)[inner].max() < 0.5


def test_a_large_turn_is_inverted_too():
    angle = np.radians(80)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    grid = Grid((20, 20, 20), (2, 2, 2), (-19, -19, -19), EYE)
    there = field(affine_field(grid, turn) + wavy(grid, 1.0), grid)
    _, left = invert(there, grid)
    assert left[6:14, 6:14, 6:14].max() < 0.05


def test_a_fold_cannot_be_inverted():
    at = places(GRID)
    near = np.exp(-(np.linalg.norm(at - GRID.center, axis=-1) ** 2) / 30)
    there = field(-2.5 * near[..., None] * (at - GRID.center), GRID)
    assert invert(there, GRID)[1].max() > 0.5
