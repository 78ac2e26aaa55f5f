"""Splines, velocities and containers: against closed forms and what ITK computes."""

from __future__ import annotations

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import InvalidTransform
from neuralreg.io.exchange.families import read_content
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.itk_transforms import read_itk_transform
from neuralreg.io.transform_chains import write_content
from scipy.interpolate import BSpline

from Testing.support import foreign_transforms as foreign
from Testing.support.itk_points import transform_points

HEAD = "#Insight Transform File V1.0\n"


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sides")
    fixed = foreign.make_side(folder / "fixed.nii.gz", "oblique left")
    return fixed, foreign.make_side(folder / "moving.nii.gz", "RAS", spacing=(2.2, 2.4, 3.1))


def files_of(sides) -> Sides:
    return Sides(*(side.path for side in sides))


def block(kind: str, parameters, fixed) -> str:
    words = [" ".join(map(repr, np.ravel(part).astype(float).tolist())) for part in
             (parameters, fixed)]  # fmt: skip
    return f"Transform: {kind}\nParameters: {words[0]}\nFixedParameters: {words[1]}\n"


def cubic_sum(coefficients: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Tensor products of SciPy's cubic B-splines: coefficients (x, y, z, 3) at index (n, 3)."""
    element = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    weights = [
        np.nan_to_num(element(index[:, c, None] - np.arange(coefficients.shape[c])))
        for c in range(3)
    ]
    return np.einsum("na,nb,nc,abcd->nd", *weights, coefficients)


def knots(shape=(9, 9, 9)) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 1.5, (*shape, 3))


def grid_of_knots(shape, spacing=10.0) -> list[float]:
    origin = foreign.TURN @ [-spacing * (n - 1) / 2 for n in shape]
    return [*shape, *origin, *[spacing] * 3, *foreign.TURN.ravel()]


def test_a_spline_of_itk_3_is_added_to_its_bulk_transform(tmp_path):
    values, fixed = knots(), grid_of_knots((9, 9, 9))
    parameters = values.transpose(3, 2, 1, 0)  # component by component, x fastest
    bulk = block("AffineTransform_double_3_3",
                 [*foreign.MATRIX[:3, :3].ravel(), *foreign.MATRIX[:3, 3]], [0, 0, 0])  # fmt: skip
    path = tmp_path / "brainsfit.tfm"
    path.write_text(HEAD + block("BSplineDeformableTransform_double_3_3", parameters, fixed) + bulk)
    points = np.random.default_rng(0).uniform(-15, 15, (50, 3))
    index = (np.linalg.inv(foreign.TURN) @ (points - fixed[3:6]).T).T / 10.0
    expected = foreign.linear(points) + cubic_sum(values, index)
    np.testing.assert_allclose(
        transform_points(read_itk_transform(path), points), expected, atol=1e-6
    )


def test_a_spline_between_points_meets_all_of_them(tmp_path, sides):
    generator = np.random.default_rng(1)
    fine = foreign.make_side(tmp_path / "fine.nii", "RAS", (31, 31, 31), (1.0, 1.0, 1.0))
    start = np.array([fine.points()[tuple(i)] for i in generator.integers(2, 29, (9, 3))])
    end = start + generator.normal(0, 1, (9, 3))
    path = tmp_path / "tps.tfm"
    path.write_text(HEAD + block("ThinPlateSplineKernelTransform_double_3_3", start, end))
    with pytest.raises(InvalidTransform, match="without the fixed image"):
        read_itk_transform(path)
    transform = read_itk_transform(path, Sides(fine.path))
    np.testing.assert_allclose(transform_points(transform, start), end, atol=1e-3)


def test_a_thin_plate_between_points_of_a_matrix_is_that_matrix(tmp_path, sides):
    start = np.random.default_rng(1).uniform(-12, 12, (9, 3))
    path = tmp_path / "tps.tfm"
    path.write_text(
        HEAD + block("ThinPlateSplineKernelTransform_double_3_3", start, foreign.linear(start))
    )
    transform = read_itk_transform(path, files_of(sides))
    points = sides[0].points()[2:-2, 2:-2, 2:-2].reshape(-1, 3)
    np.testing.assert_allclose(
        transform_points(transform, points), foreign.linear(points), atol=1e-3
    )


@pytest.mark.parametrize(
    ("kind", "parameters", "fixed", "shift"),
    [("Rigid3DTransform", [0, -1, 0, 1, 0, 0, 0, 0, 1, 4, 5, 6], [1, 2, 3], (7, 6, 6)),
     ("CenteredAffineTransform",
      [0, -1, 0, 1, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6], [0, 0, 0], (7, 6, 6)),
     ("CenteredEuler3DTransform", [0, 0, np.pi / 2, 1, 2, 3, 4, 5, 6], [0, 0, 0], (7, 6, 6))],
)  # fmt: skip
def test_old_and_centered_kinds_of_itk_are_read(tmp_path, kind, parameters, fixed, shift):
    path = tmp_path / "old.tfm"
    path.write_text(HEAD + block(f"{kind}_double_3_3", parameters, fixed))
    # (x, y, z) -> center + (-(y - 2), x - 1, z - 3) + (4, 5, 6)
    assert transform_points(read_itk_transform(path), np.zeros((1, 3)))[0] == pytest.approx(shift)


def test_coefficients_of_fnirt_are_added_to_the_affine_in_their_header(tmp_path, sides):
    fixed, moving = sides
    step = (4, 3, 5)
    shape = tuple(int(np.ceil(n / k)) + 3 for n, k in zip(fixed.size, step, strict=True))
    values = knots(shape)
    image = nibabel.Nifti1Image(values.astype(np.float32), np.eye(4))
    affine = foreign.matrix_of("fsl", fixed, moving, foreign.MATRIX)  # moving to fixed
    image.set_sform(affine, 1)
    image.header["pixdim"][1:4] = step
    image.header["intent_code"] = 2007
    for k, spacing in enumerate(fixed.spacing, start=1):
        image.header[f"intent_p{k}"] = spacing
    image.header["sform_code"] = 1
    nibabel.save(image, tmp_path / "coef.nii.gz")
    content, _ = read_content(tmp_path / "coef.nii.gz", files_of(sides))
    index = fixed.indices().reshape(-1, 3)
    straight = foreign.apply(np.linalg.inv(affine) @ fixed.fsl, index)
    expected = foreign.from_fsl(fixed, moving, straight + cubic_sum(values, index / step + 1))
    ours = sitk.GetArrayFromImage(content).transpose(2, 1, 0, 3) + fixed.points()
    np.testing.assert_allclose(ours.reshape(-1, 3), expected, atol=1e-3)
    with pytest.raises(InvalidTransform, match="another fixed image"):
        read_content(tmp_path / "coef.nii.gz", Sides(moving.path, moving.path))


def control_points(folder, kind: int, displacements: np.ndarray) -> tuple[foreign.Side, np.ndarray]:
    """A grid of control points of NiftyReg: an image whose voxels are the points."""
    size = displacements.shape[:3]
    side = foreign.make_side(folder / "cpp.nii", "oblique", size, (9.0, 9.0, 9.0))
    positions = foreign.in_ras(side.points() + displacements)
    path = folder / "cpp.nii"
    foreign.save_vectors(positions[:, :, :, None], side, path, 1007, b"NREG_TRANS", kind)
    return side, np.linalg.inv(foreign.FLIP @ side.affine)


def test_a_grid_of_control_points_of_niftyreg_is_their_cubic_spline(tmp_path):
    values = knots()
    side, to_index = control_points(tmp_path, 2, values)
    points = np.random.default_rng(0).uniform(-12, 12, (50, 3)) + [1, -2, 3]
    expected = points + cubic_sum(values, foreign.apply(to_index, points))
    transform = read_itk_transform(side.path)
    np.testing.assert_allclose(transform_points(transform, points), expected, atol=1e-3)


def test_a_velocity_of_niftyreg_moves_points_along_it(tmp_path, sides):
    """A velocity that is linear in the position has the matrix exponential for its motion."""
    from scipy.linalg import expm

    rate = np.zeros((4, 4))
    rate[:3, :3] = [[0.05, -0.1, 0], [0.1, 0.02, 0], [0, 0.03, -0.04]]
    rate[:3, 3] = [1.0, -2.0, 0.5]
    fixed = foreign.make_side(tmp_path / "v.nii", "LAS", (30, 30, 30), (2.0, 2.0, 2.0))
    velocity = foreign.in_ras(foreign.apply(rate, fixed.points()))
    path = tmp_path / "v.nii"
    foreign.save_vectors(velocity[:, :, :, None], fixed, path, 1007, b"NREG_TRANS", 4)
    points = np.random.default_rng(0).uniform(-12, 12, (20, 3))
    expected = foreign.apply(expm(rate), points)
    np.testing.assert_allclose(
        transform_points(read_itk_transform(path), points), expected, atol=0.02
    )


@pytest.mark.parametrize("form", ["displacements", "deformations"])
def test_a_field_of_x5_is_between_points_in_ras(tmp_path, sides, form):
    fixed = sides[0]
    points = foreign.bent(fixed.points())
    values = points if form == "deformations" else points - fixed.points()
    with h5py.File(tmp_path / "t.x5", "w") as file:
        file.attrs["Format"], file.attrs["Version"] = "X5", np.uint16(1)
        node = file.create_group("TransformGroup/0")
        node.attrs["Type"], node.attrs["Representation"] = "nonlinear", form
        node["Transform"] = foreign.in_ras(values)
        node["Domain/Mapping"] = fixed.affine
    content, family = read_content(tmp_path / "t.x5")
    assert family == "x5"
    ours = sitk.GetArrayFromImage(content).transpose(2, 1, 0, 3) + fixed.points()
    np.testing.assert_allclose(ours, points, atol=1e-3)
    write_content(content, tmp_path / "again.x5", "x5", Sides(), [])
    with h5py.File(tmp_path / "again.x5") as file:
        node = file["TransformGroup/0"]
        assert (node.attrs["Type"], node.attrs["SubType"]) == ("nonlinear", "densefield")
        stored = foreign.in_ras(np.array(node["Transform"])) + fixed.points()
        np.testing.assert_allclose(stored, points, atol=1e-3)
        np.testing.assert_allclose(np.array(node["Domain/Mapping"]), fixed.affine, atol=1e-5)


def test_a_matrix_of_x5_is_between_points_in_ras(tmp_path, sides):
    path = tmp_path / "t.x5"
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(foreign.MATRIX[:3, :3].ravel().tolist())
    affine.SetTranslation(foreign.MATRIX[:3, 3].tolist())
    write_content(affine, path, "x5", files_of(sides), [])
    with h5py.File(path) as file:
        stored = np.array(file["TransformGroup/0/Transform"])
    np.testing.assert_allclose(stored, foreign.FLIP @ foreign.MATRIX @ foreign.FLIP, atol=1e-9)
    points = np.random.default_rng(0).uniform(-20, 20, (9, 3))
    np.testing.assert_allclose(
        transform_points(read_itk_transform(path), points), foreign.linear(points), atol=1e-6
    )


@pytest.mark.parametrize("layout", ["+0,+1,+2,+3", "-0,+1,+2,+3", "+1,-2,+3,+0", "+2,+1,-0,+3"])
def test_a_warp_of_mrtrix_is_read_in_any_layout(tmp_path, sides, layout):
    fixed, _ = sides
    values = foreign.in_ras(foreign.bent(fixed.points()))
    path = tmp_path / "warp.mif"
    path.write_bytes(mif(values, fixed, layout))
    content, family = read_content(path)
    assert family == "mrtrix"
    ours = sitk.GetArrayFromImage(content).transpose(2, 1, 0, 3) + fixed.points()
    np.testing.assert_allclose(ours, foreign.bent(fixed.points()), atol=1e-3)


def mif(values: np.ndarray, side: foreign.Side, layout: str) -> bytes:
    """An image of MRtrix: `layout` has the rank of each axis in the file, and its sign."""
    ranks = [int(word[1:]) for word in layout.split(",")]
    signs = [-1 if word[0] == "-" else 1 for word in layout.split(",")]
    stored = values[tuple(slice(None, None, sign) for sign in signs)]
    stored = stored.transpose(np.argsort(ranks)).astype(">f4")
    rows = np.column_stack([side.affine[:3, :3] / side.spacing, side.affine[:3, 3]])
    lines = ["mrtrix image", f"dim: {','.join(map(str, values.shape))}",
             f"vox: {','.join(map(str, side.spacing))},1", f"layout: {layout}",
             "datatype: Float32BE",
             *(f"transform: {','.join(map(str, row))}" for row in rows),
             "file: . 512", "END", ""]  # fmt: skip
    return "\n".join(lines).encode().ljust(512, b"\0") + stored.tobytes(order="F")


def test_where_mrtrix_leads_outside_the_nearest_displacement_holds(tmp_path, sides):
    fixed, _ = sides
    values = foreign.in_ras(foreign.bent(fixed.points()))
    values[0] = np.nan
    foreign.save_vectors(values, fixed, tmp_path / "warp.nii")
    notes: list[str] = []
    content, _ = read_content(tmp_path / "warp.nii", source="mrtrix", notes=notes)
    assert "7.14 %" in notes[0]
    vectors = sitk.GetArrayFromImage(content).transpose(2, 1, 0, 3)
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_a_matrix_of_spm_beside_the_moving_image_took_it_to_the_fixed_one(tmp_path, sides):
    from scipy.io import savemat

    _, moving = sides
    from_one = np.eye(4)
    from_one[:3, 3] = -1  # SPM counts voxels from 1
    to_fixed = np.linalg.inv(foreign.FLIP @ foreign.MATRIX @ foreign.FLIP)
    savemat(tmp_path / "moving.mat", {"M": to_fixed @ moving.affine @ from_one})
    points = np.random.default_rng(0).uniform(-20, 20, (9, 3))
    transform = read_itk_transform(tmp_path / "moving.mat", files_of(sides))
    np.testing.assert_allclose(
        transform_points(transform, points), foreign.linear(points), atol=1e-4
    )
