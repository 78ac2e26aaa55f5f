"""Transform files: what SimpleITK reads of ours, and what we read of SimpleITK's and Slicer's."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from neuralreg.errors import InvalidTransform, UnreadableFile, UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.io.itk import from_itk, linear_from_itk, linear_to_itk, to_itk
from neuralreg.io.transform_files import (
    TRANSFORM_SUFFIXES,
    read_itk_transform,
    read_transform,
    write_transform,
)

from Testing.support.command_line import neuralreg
from Testing.support.itk_points import transform_points

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
FIELD_SUFFIXES = (*IMAGE_SUFFIXES, ".h5", ".tfm")


def euler(*degrees: float, shift: tuple[float, ...] = (0, 0, 0)) -> sitk.Euler3DTransform:
    return sitk.Euler3DTransform([5.0, 6.0, 7.0], *np.deg2rad(degrees).tolist(), shift)


OBLIQUE = Grid((9, 7, 6), (0.9, 1.7, 2.6), (11.0, -23.0, 37.0), euler(20, -30, 40).GetMatrix())
PLANE = Grid((9, 7), (0.9, 1.7), (11.0, -23.0), (0.6, -0.8, 0.8, 0.6))
SLICE = Grid((9, 7, 1), (0.9, 1.7, 2.6), (11.0, -23.0, 37.0), OBLIQUE.direction)


def a_field(grid: Grid) -> DisplacementField:
    """Another size, sign and shape per component, so that no mix-up goes unseen."""
    noise = np.random.default_rng(0).normal(0, 1, (grid.dimension, *grid.shape))
    scale = np.array([3.0, -1.0, 0.4])[: grid.dimension]
    shift = np.array([1.0, 2.0, -4.0])[: grid.dimension]
    spread = (grid.dimension, *[1] * grid.dimension)
    vectors = noise * scale.reshape(spread) + shift.reshape(spread)
    return DisplacementField(torch.from_numpy(vectors).float(), grid)


def points_in(grid: Grid, count: int = 100) -> np.ndarray:
    index = np.random.default_rng(1).uniform(0.01, 0.99, (count, grid.dimension))
    return grid.points_at(index * np.subtract(grid.size, 1))


def moved_by_itk(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    return transform_points(transform, points)


def read_by_itk(path) -> sitk.Transform:
    if path.suffix in TRANSFORM_SUFFIXES:
        return sitk.ReadTransform(str(path))
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkVectorFloat64)
    return sitk.DisplacementFieldTransform(image)


@pytest.mark.parametrize("grid", [OBLIQUE, PLANE, SLICE], ids=["3D", "2D", "slice"])
@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_itk_moves_points_by_the_field_that_we_wrote(tmp_path, suffix, grid):
    path = tmp_path / f"field{suffix}"
    write_transform(a_field(grid), path)
    points = points_in(grid)
    np.testing.assert_allclose(
        moved_by_itk(read_by_itk(path), points), a_field(grid)(points), atol=2e-5
    )


@pytest.mark.parametrize("grid", [OBLIQUE, PLANE, SLICE], ids=["3D", "2D", "slice"])
@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_we_move_points_by_the_field_that_itk_wrote(tmp_path, suffix, grid):
    path, transform = tmp_path / f"field{suffix}", to_itk(a_field(grid))
    if suffix in TRANSFORM_SUFFIXES:
        sitk.WriteTransform(transform, str(path))
    else:
        sitk.WriteImage(transform.GetDisplacementField(), str(path))
    field = read_transform(path)
    points = points_in(grid)
    np.testing.assert_allclose(field(points), moved_by_itk(transform, points), atol=2e-5)
    assert field.grid.is_close(grid)


@pytest.mark.parametrize("suffix", TRANSFORM_SUFFIXES)
def test_a_linear_transform_comes_back_as_one(tmp_path, suffix):
    path, transform = tmp_path / f"affine{suffix}", euler(10, 20, 30, shift=(4, 5, 6))
    affine = linear_to_itk(linear_from_itk(transform))
    write_transform(affine, path)
    back = read_transform(path)
    assert isinstance(back, LinearTransform)
    np.testing.assert_allclose(
        back(points_in(OBLIQUE)), moved_by_itk(transform, points_in(OBLIQUE)), atol=1e-5
    )


def test_our_linear_transform_is_read_by_itk(tmp_path):
    linear = linear_from_itk(euler(10, 20, 30, shift=(4, 5, 6)))
    write_transform(linear, tmp_path / "affine.tfm")
    theirs = sitk.ReadTransform(str(tmp_path / "affine.tfm"))
    points = points_in(OBLIQUE)
    np.testing.assert_allclose(moved_by_itk(theirs, points), linear(points), atol=1e-9)


@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
def test_a_chain_that_begins_with_a_field_is_read_on_that_fields_grid(tmp_path, suffix):
    path = tmp_path / f"chain{suffix}"
    # ITK applies the last one first.
    chain = sitk.CompositeTransform([euler(5, 9, -8, shift=(40, 0, 0)), to_itk(a_field(OBLIQUE))])
    sitk.WriteTransform(chain, str(path))
    field = read_transform(path)
    points = points_in(OBLIQUE)
    assert field.grid.is_close(OBLIQUE)
    np.testing.assert_allclose(field(points), moved_by_itk(chain, points), atol=1e-4)


def test_a_chain_that_begins_with_a_linear_transform_needs_a_grid(tmp_path):
    path = tmp_path / "chain.h5"
    chain = sitk.CompositeTransform([to_itk(a_field(OBLIQUE)), euler(1, 0, 0)])
    sitk.WriteTransform(chain, str(path))
    with pytest.raises(InvalidTransform, match=r"chain\.h5.*image whose grid"):
        read_transform(path)
    field = read_transform(path, OBLIQUE)
    samples = OBLIQUE.points_at([(2, 3, 1), (4, 0, 5)])
    np.testing.assert_allclose(field(samples), moved_by_itk(chain, samples), atol=1e-5)


def test_a_spline_is_sampled_on_the_grid_asked_for(tmp_path):
    image = sitk.Image(OBLIQUE.size, sitk.sitkUInt8)
    image.SetSpacing(OBLIQUE.spacing)
    image.SetOrigin(OBLIQUE.origin)
    image.SetDirection(OBLIQUE.direction)
    spline = sitk.BSplineTransformInitializer(image, [3, 3, 3])
    count = len(spline.GetParameters())
    spline.SetParameters(np.random.default_rng(0).normal(0, 1, count).tolist())
    sitk.WriteTransform(spline, str(tmp_path / "spline.tfm"))
    read = read_transform(tmp_path / "spline.tfm", OBLIQUE)
    np.testing.assert_allclose(
        read.vectors.numpy(), from_itk(spline, OBLIQUE).vectors.numpy(), atol=1e-9
    )


def test_a_chain_is_kept_whole_for_itk(tmp_path):
    chain = sitk.CompositeTransform([euler(5, 9, -8), to_itk(a_field(OBLIQUE))])
    write_transform(chain, tmp_path / "chain.h5")
    points = points_in(OBLIQUE)
    np.testing.assert_allclose(
        moved_by_itk(read_itk_transform(tmp_path / "chain.h5"), points),
        moved_by_itk(chain, points),
        atol=1e-6,
    )


def test_a_linear_transform_does_not_fit_into_an_image_file(tmp_path):
    with pytest.raises(InvalidTransform, match=r"only hold a displacement field.*\.h5"):
        write_transform(euler(5, 9, -8), tmp_path / "affine.nii.gz")


def test_nifti_fields_carry_the_vector_intent_in_lps(tmp_path):
    write_transform(a_field(OBLIQUE), tmp_path / "field.nii")
    header = (tmp_path / "field.nii").read_bytes()[:352]
    assert struct.unpack_from("<h", header, 68) == (1007,)
    assert struct.unpack_from("<8h", header, 40) == (5, 9, 7, 6, 1, 3, 1, 1)


def test_nrrd_fields_are_marked_as_slicer_marks_them(tmp_path):
    write_transform(a_field(OBLIQUE), tmp_path / "field.nrrd")
    header = (tmp_path / "field.nrrd").read_bytes().split(b"\n\n")[0].decode()
    assert "intent_code:=1006" in header
    assert "displacement field type:=resampling" in header
    assert "kinds: vector domain domain domain" in header


def test_nifti_displacements_of_intent_1006_are_taken_as_ras(tmp_path):
    path, field = tmp_path / "field.nii", a_field(OBLIQUE)
    write_transform(field, path)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<h", raw, 68, 1006)
    values = np.frombuffer(raw, "<f4", offset=352).reshape(3, -1).copy()
    values[:2] *= -1
    path.write_bytes(raw[:352] + values.tobytes())
    points = points_in(OBLIQUE)
    np.testing.assert_allclose(read_transform(path)(points), field(points), atol=2e-5)


def slicer_grid_transform(slicer, vtk):
    """Slicer's way to say `a_field(OBLIQUE)`: RAS, vectors in the point scalars."""
    from vtk.util.numpy_support import numpy_to_vtk

    flip = np.array([-1.0, -1.0, 1.0])
    image = vtk.vtkImageData()
    image.SetDimensions(OBLIQUE.size)
    image.SetSpacing(OBLIQUE.spacing)
    image.SetOrigin(*(flip * OBLIQUE.origin))
    vectors = a_field(OBLIQUE).vectors.movedim(0, -1).reshape(-1, 3).double().numpy() * flip
    image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=True))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(
        np.block([[flip[:, None] * np.reshape(OBLIQUE.direction, (3, 3)), np.zeros((3, 1))],
                  [0, 0, 0, 1]]).ravel().tolist()
    )  # fmt: skip
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    grid.SetGridDirectionMatrix(matrix)
    return grid


def written_by_slicer(path, *, to_parent: bool) -> None:
    slicer, vtk = pytest.importorskip("slicer"), pytest.importorskip("vtk")
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    grid = slicer_grid_transform(slicer, vtk)
    place = node.SetAndObserveTransformToParent if to_parent else (
        node.SetAndObserveTransformFromParent
    )  # fmt: skip
    place(grid)
    storage = slicer.vtkMRMLTransformStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.WriteData(node)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha", ".h5", ".tfm"])
def test_we_move_points_by_the_field_that_slicer_wrote(tmp_path, suffix):
    path = tmp_path / f"field{suffix}"
    written_by_slicer(path, to_parent=False)
    points = points_in(OBLIQUE)
    np.testing.assert_allclose(read_transform(path)(points), a_field(OBLIQUE)(points), atol=5e-5)


@pytest.mark.parametrize("suffix", [".nrrd", ".h5", ".tfm"])
def test_a_field_that_slicer_wrote_in_the_other_direction_is_refused(tmp_path, suffix):
    path = tmp_path / f"field{suffix}"
    written_by_slicer(path, to_parent=True)
    with pytest.raises(InvalidTransform, match="Invert the transform in 3D Slicer"):
        read_transform(path)


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".h5"])
def test_a_field_with_nan_is_refused(tmp_path, suffix):
    field = a_field(OBLIQUE)
    field.vectors[1, 2, 3, 4] = float("nan")
    write_transform(field, tmp_path / f"nan{suffix}")
    with pytest.raises(InvalidTransform, match="finite"):
        read_transform(tmp_path / f"nan{suffix}")


def test_nan_in_a_text_file_is_refused_by_itk_already(tmp_path):
    field = a_field(OBLIQUE)
    field.vectors[1, 2, 3, 4] = float("nan")
    write_transform(field, tmp_path / "nan.tfm")
    with pytest.raises(UnreadableFile):
        read_transform(tmp_path / "nan.tfm")


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_a_truncated_transform_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"field{suffix}"
    write_transform(a_field(OBLIQUE), path)
    data = next((p for p in tmp_path.iterdir() if "raw" in p.name), path)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises((UnreadableFile, InvalidTransform)):
        read_transform(path)


@pytest.mark.parametrize("name", ["absent.h5", "absent.nii.gz"])
def test_a_missing_transform_file_is_named(tmp_path, name):
    with pytest.raises(UnreadableFile, match=name):
        read_transform(tmp_path / name)


@pytest.mark.parametrize("suffix", [".h5", ".tfm", ".nrrd", ".docx"])
def test_a_file_that_is_no_transform_is_refused(tmp_path, suffix):
    (tmp_path / f"text{suffix}").write_text("no transform")
    with pytest.raises(UnreadableFile):
        read_transform(tmp_path / f"text{suffix}")


def test_a_gray_image_is_no_transform(tmp_path):
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkFloat32), str(tmp_path / "gray.nii.gz"))
    with pytest.raises(InvalidTransform, match="one vector per voxel"):
        read_transform(tmp_path / "gray.nii.gz")


def test_an_unknown_ending_is_refused_before_writing(tmp_path):
    with pytest.raises(UnwritableOutput, match="ending of a transform format"):
        write_transform(a_field(OBLIQUE), tmp_path / "field.doc")
    assert not list(tmp_path.iterdir())


def coordinate_map(path, name: bytes, kind: float, vectors: np.ndarray, like: sitk.Image) -> None:
    """Vectors in RAS mm as SPM and NiftyReg mark them: by the name and a number of the intent."""
    image = sitk.GetImageFromArray(vectors.astype(np.float32), isVector=True)
    image.CopyInformation(like)
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 56, kind)
    struct.pack_into("<h", content, 68, 1007)
    struct.pack_into("16s", content, 328, name)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "kind"), [(b"Mapping", 0), (b"NREG_TRANS", 0), (b"NREG_TRANS", 1)]
)
def test_maps_of_spm_and_niftyreg_are_read_as_the_displacements_that_they_mean(
    tmp_path, name, kind
):
    like = sitk.Image(9, 8, 7, sitk.sitkFloat32)
    like.SetSpacing((2.0, 3.0, 4.0))
    like.SetOrigin((-5.0, 6.0, 7.0))
    like.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    positions = [
        like.TransformIndexToPhysicalPoint(index[::-1])
        for index in np.ndindex(like.GetSize()[::-1])
    ]
    moves = np.array([5.0, -2.0, 1.0])  # RAS mm
    ras = np.array(positions) * [-1, -1, 1] * (kind == 0) + moves
    coordinate_map(tmp_path / "y.nii", name, kind, ras.reshape(7, 8, 9, 3), like)
    transform = read_itk_transform(tmp_path / "y.nii")
    point = like.TransformIndexToPhysicalPoint((4, 4, 3))
    expected = np.add(point, [-5.0, 2.0, 1.0])
    assert transform.TransformPoint(point) == pytest.approx(expected, abs=1e-4)
    field = read_transform(tmp_path / "y.nii")
    assert field.vectors[:, 3, 4, 4].tolist() == pytest.approx([-5.0, 2.0, 1.0], abs=1e-4)


def test_a_kind_of_niftyreg_that_nobody_knows_is_refused(tmp_path):
    like = sitk.Image(9, 8, 7, sitk.sitkFloat32)
    coordinate_map(tmp_path / "v.nii", b"NREG_TRANS", 9, np.zeros((7, 8, 9, 3)), like)
    with pytest.raises(InvalidTransform, match=r"NiftyReg.*kind 9"):
        read_transform(tmp_path / "v.nii")


MINC = """MNI Transform File
% written by a register
Transform_Type = Linear;
Linear_Transform =
 0.99 0.05 0 4
 -0.05 0.98 0.1 -6
 0 -0.1 1.02 8.5;
"""


def test_a_transform_of_minc_takes_ras_of_the_moving_image_to_the_fixed_one(tmp_path):
    """ITK's own reader gives the numbers of the file; what they mean is MINC's."""
    path = tmp_path / "t.xfm"
    path.write_text(MINC)
    ours, numbers = read_itk_transform(path), sitk.ReadTransform(str(path))
    flip = np.array([-1.0, -1.0, 1.0])
    for point in np.random.default_rng(0).uniform(-80, 80, (10, 3)):
        fixed = flip * numbers.TransformPoint((flip * point).tolist())
        assert ours.TransformPoint(fixed.tolist()) == pytest.approx(point, abs=1e-6)


def test_transforms_of_minc_in_a_row_and_inverted_are_joined(tmp_path):
    path = tmp_path / "t.xfm"
    path.write_text(MINC)
    one = read_itk_transform(path)
    second = MINC.split("\n", 2)[2].replace("= Linear;", "= Linear;\nInvert_Flag = True;")
    path.write_text(MINC + second)
    assert read_itk_transform(path).TransformPoint((5, 6, 7)) == pytest.approx((5, 6, 7), abs=1e-9)
    done = neuralreg("convert", path, "-o", tmp_path / "again.xfm")
    assert done.exit_code == 0, done.stderr
    path.write_text(MINC)
    assert neuralreg("convert", path, "-o", tmp_path / "b.xfm").exit_code == 0
    again = read_itk_transform(tmp_path / "b.xfm")
    assert again.TransformPoint((5, 6, 7)) == pytest.approx(one.TransformPoint((5, 6, 7)))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (("= Linear;", "= Thin_Plate_Spline;"), InvalidTransform, "matrices and grids are read"),
        ((" 8.5;", ";"), UnreadableFile, "incomplete file of MINC"),
        (("Transform_Type", "Something"), UnreadableFile, "incomplete file of MINC"),
    ],
)
def test_what_is_no_transform_of_minc_is_refused(tmp_path, change, kind, words):
    path = tmp_path / "t.xfm"
    path.write_text(MINC.replace(*change))
    with pytest.raises(kind, match=words):
        read_itk_transform(path)


@pytest.mark.parametrize("kind", ["linear", "field", "chain"])
def test_a_transform_of_other_axes_than_the_images_is_refused(tmp_path, kind):
    linear = sitk.TranslationTransform(3, (3.0, 0.0, 0.0))
    zeros = sitk.Image([6, 6, 6], sitk.sitkVectorFloat64, 3)
    field = sitk.DisplacementFieldTransform(zeros)
    chain = sitk.CompositeTransform([linear, field])
    path = tmp_path / "t.tfm"
    transforms = {"linear": linear, "field": field, "chain": chain}
    sitk.WriteTransform(transforms[kind], str(path))
    with pytest.raises(InvalidTransform, match="same number of axes"):
        read_transform(path, Grid((32, 32), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)))
