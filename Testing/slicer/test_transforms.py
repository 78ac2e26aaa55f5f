"""A displacement field as a transform node: the same place in Slicer and in ITK, to the digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import torch
import vtk
from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry import finer_grid
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.slicer_interpolation import (
    TOLERANCE_MM,
    interpolation_difference,
    resample_for_cubic_readers,
)
from neuralreg.io.itk import to_itk
from neuralreg.worker.messages import Field
from neuralreg.worker.serialization import SLAB_BYTES
from NeuralRegistrationLib.Scene import Geometry, Scripting, Transforms
from NeuralRegistrationLib.Scene.Headless import HeadlessScene
from vtk.util.numpy_support import vtk_to_numpy

FLIP = np.diag([-1.0, -1.0, 1.0])


def through_itk(field, points):
    transform = to_itk(field)
    return np.array([transform.TransformPoint(p) for p in points.tolist()])


def through_slicer(transform, points):
    return np.array([transform.TransformPoint(p) for p in (points @ FLIP).tolist()]) @ FLIP


def largest(difference):
    return np.abs(difference).max()


def test_slicer_and_itk_send_a_point_to_the_same_place(a_scene, a_field, points_inside):
    node = Scripting.transformNodeFromField(a_field, "t")
    points = points_inside(a_field.grid)
    found = through_slicer(node.GetTransformFromParent(), points)
    assert largest(found - through_itk(a_field, points)) < 1e-4


def test_outside_of_its_grid_the_node_keeps_the_border_value_as_the_core_does(
    a_scene, a_field, points_inside
):
    node = Scripting.transformNodeFromField(a_field, "t")
    points = points_inside(a_field.grid.pad(5), margin=0.0)
    found = through_slicer(node.GetTransformFromParent(), points)
    assert largest(found - a_field(points)) < 1e-4


@pytest.mark.parametrize("mistake", ["vectors", "voxel order", "direction", "lps components"])
def test_each_silent_mistake_would_be_seen(
    a_scene, an_oblique_grid, wavy_field, points_inside, mistake
):
    """What others got wrong: here each of them is far off, so the test above would fail."""
    field = wavy_field(an_oblique_grid)
    points = points_inside(field.grid)
    right = Scripting.gridTransformFromField(field)
    wrong = slicer.vtkOrientedGridTransform()
    wrong.DeepCopy(right)
    image = vtk.vtkImageData()
    image.DeepCopy(right.GetDisplacementGrid())
    data = image.GetPointData()
    scalars = vtk_to_numpy(data.GetScalars())
    node = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", mistake)
    if mistake == "vectors":
        data.SetVectors(data.GetScalars())
        data.SetScalars(None)
        vtk.vtkObject.GlobalWarningDisplayOff()
    if mistake == "voxel order":
        scalars[:] = scalars.reshape(*field.grid.shape, 3).transpose(2, 1, 0, 3).reshape(-1, 3)
    if mistake == "lps components":
        scalars[:] = scalars @ FLIP
    wrong.SetDisplacementGridData(image)
    if mistake == "direction":
        node.SetAndObserveTransformToParent(wrong)
    else:
        node.SetAndObserveTransformFromParent(wrong)
    found = through_slicer(node.GetTransformFromParent(), points)
    vtk.vtkObject.GlobalWarningDisplayOn()
    assert largest(found - through_itk(field, points)) > 2.0


def test_a_shift_of_the_field_by_plus_ten_mm_pulls_things_back_by_ten(a_scene, an_oblique_grid):
    """p_moving = p_fixed + 10: what lies at 10 on the moving image belongs at 0 on the fixed."""
    vectors = torch.zeros(3, *an_oblique_grid.shape)
    vectors[2] = 10.0
    node = Scripting.transformNodeFromField(DisplacementField(vectors, an_oblique_grid), "t")
    point = an_oblique_grid.center
    landmark = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "f")
    landmark.AddControlPoint(*(point @ FLIP))
    landmark.SetAndObserveTransformNodeID(node.GetID())
    landmark.HardenTransform()
    assert np.array(landmark.GetNthControlPointPosition(0))[2] == pytest.approx(
        point[2] - 10, abs=0.01
    )


def test_a_large_field_is_copied_in_steps_of_a_few_megabytes(a_scene):
    grid = Grid((128, 128, 96), (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    field = Field(np.zeros((*grid.shape, 3), np.float32), grid)
    steps = sum(1 for _ in Geometry.gridTransformInSteps(field))
    assert steps >= grid.count * 3 * 4 / SLAB_BYTES


def test_a_field_comes_back_from_its_node(a_scene, a_field):
    node = Scripting.transformNodeFromField(a_field, "t")
    back = Scripting.fieldFromTransform(node.GetTransformFromParent()).resample(a_field.grid)
    assert largest((back.vectors - a_field.vectors).numpy()) < 1e-9


def test_a_linear_transform_is_refused_where_a_field_is_wanted():
    with pytest.raises(InvalidTransform, match="grid transform"):
        Scripting.fieldFromTransform(vtk.vtkTransform())


def test_the_node_references_both_volumes(a_scene, a_fixed_node, a_volume_node, a_field):
    node = Scripting.transformNodeFromField(a_field, "t", fixed=a_fixed_node, moving=a_volume_node)
    assert node.GetNodeReference("spatialRegistrationFixed") is a_fixed_node
    assert node.GetNodeReference("spatialRegistrationMoving") is a_volume_node


def realistic_field(spacing_mm):
    """A field as registration makes it: random, smooth over about 12 mm, up to 8 mm."""
    size = [round(72 / spacing_mm)] * 3
    rng = np.random.default_rng(3)
    noise = sitk.GetImageFromArray(rng.standard_normal((*size, 3)), isVector=True)
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(noise, 12.0 / spacing_mm))
    smooth *= 8.0 / np.linalg.norm(smooth, axis=-1).max()
    grid = Grid(tuple(size), (spacing_mm,) * 3, (-70.0, -80.0, -60.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return DisplacementField(torch.from_numpy(smooth).movedim(-1, 0).contiguous(), grid)


def test_a_scene_is_saved_under_a_path_from_the_current_folder(
    a_headless_scene, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    a_headless_scene.save(Path("scene.mrb"))
    assert (tmp_path / "scene.mrb").is_file()


@pytest.mark.parametrize("spacing_mm", [3.0, 6.0])
def test_a_saved_scene_sends_points_to_the_same_place(tmp_path, points_inside, spacing_mm):
    field = realistic_field(spacing_mm)
    here = HeadlessScene()
    Scripting.transformNodeFromField(field, "moving to fixed")
    here.save(tmp_path / "scene.mrb")
    again = HeadlessScene()
    again.load(tmp_path / "scene.mrb", tmp_path)
    loaded = again.scene.GetFirstNodeByName("moving to fixed").GetTransformFromParent()
    points = points_inside(field.grid, 3000, margin=0.0)
    assert loaded.GetInterpolationModeAsString() == "Cubic"  # what Slicer makes of every field
    assert np.linalg.norm(through_slicer(loaded, points) - field(points), axis=1).max() < 0.1
    loaded.SetInterpolationModeToLinear()
    assert np.linalg.norm(through_slicer(loaded, points) - field(points), axis=1).max() < 1e-3


def test_the_stated_gap_between_cubic_and_linear_holds_and_is_not_idle(a_scene, points_inside):
    field = realistic_field(6.0)
    transform = Scripting.gridTransformFromField(field)
    points = points_inside(field.grid, 5000, margin=0.0)
    transform.SetInterpolationModeToCubic()
    gap = np.linalg.norm(through_slicer(transform, points) - field(points), axis=1).max()
    assert 0.1 < gap <= interpolation_difference(field)


def test_a_rough_field_is_never_further_off_than_stated(a_scene, points_inside):
    """Noise is the worst that cubic interpolation can meet."""
    grid = Grid((12, 11, 10), (2.0, 3.0, 2.5), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    noise = torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(1))
    points = points_inside(grid, 20000, margin=0.0)

    def apart(field):
        transform = Scripting.gridTransformFromField(field)
        transform.SetInterpolationModeToCubic()
        return np.linalg.norm(through_slicer(transform, points) - field(points), axis=1).max()

    field = DisplacementField(noise, grid)
    assert 0.4 * interpolation_difference(field) < apart(field) <= interpolation_difference(field)
    assert apart(resample_for_cubic_readers(field)) <= TOLERANCE_MM


@pytest.mark.parametrize("times", [(1, 1, 1), (2, 1, 3), (0, 2, 0)])
def test_what_a_cubic_reader_sees_is_what_vtk_reads(a_scene, times, monkeypatch):
    monkeypatch.setattr(finer_grid, "_SLAB_BYTES", 3000)  # so that seams between steps are seen
    grid = Grid((7, 6, 5), (2.0, 3.0, 2.5), (4.0, 5.0, 6.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    noise = torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(1))
    transform = Scripting.gridTransformFromField(DisplacementField(noise, grid))
    transform.SetInterpolationModeToCubic()
    finer = finer_grid.halve_steps(grid, times)
    vectors = np.full((*finer.shape, 3), np.nan, np.float32)
    steps = list(finer_grid.sample_cubic(noise.movedim(0, -1).numpy(), times, vectors))
    assert len(steps) > 1
    points = finer.points_at(np.indices(finer.shape)[::-1].reshape(3, -1).T)
    assert largest(through_slicer(transform, points) - points - vectors.reshape(-1, 3)) < 1e-5


def test_a_field_of_slicer_is_the_same_to_programs_that_read_it_linearly(a_scene, points_inside):
    node = Scripting.transformNodeFromField(realistic_field(6.0), "t")
    transform = Scripting.gridTransformFromField(realistic_field(6.0))
    transform.SetInterpolationModeToCubic()
    node.SetAndObserveTransformFromParent(transform)
    points = points_inside(realistic_field(6.0).grid, 3000, margin=0.0)
    field = Scripting.fieldFromTransform(node.GetTransformFromParent())
    gap = np.linalg.norm(through_slicer(transform, points) - through_itk(field, points), axis=1)
    assert gap.max() < 0.1
    rough = np.linalg.norm(through_slicer(transform, points) - realistic_field(6.0)(points), axis=1)
    assert rough.max() > 0.1


def test_a_fine_field_is_stored_as_it_is(a_scene):
    rough = realistic_field(3.0)
    field = DisplacementField(0.1 * rough.vectors, rough.grid)
    node = Scripting.transformNodeFromField(field, "t")
    assert Scripting.fieldFromTransform(node.GetTransformFromParent()).grid.is_close(field.grid)


def test_a_field_with_holes_is_refused(a_scene, an_oblique_grid, wavy_field):
    field = wavy_field(an_oblique_grid)
    field.vectors[0, 3, 4, 5] = torch.nan
    with pytest.raises(InvalidTransform, match="finite"):
        Scripting.transformNodeFromField(field, "t")
    assert a_scene.GetFirstNodeByName("t") is None


def test_a_turn_over_a_margin_needs_no_finer_grid(an_oblique_grid, a_scene, points_inside):
    """At its border a field is bent by nothing but its end, and that lies beyond the image."""
    turn = LinearTransform.from_parts(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]), np.zeros(3))
    field = DisplacementField.from_linear(turn, an_oblique_grid.pad(2))
    assert interpolation_difference(field) > TOLERANCE_MM
    assert resample_for_cubic_readers(field, an_oblique_grid) is field
    transform = Scripting.gridTransformFromField(field)
    transform.SetInterpolationModeToCubic()
    points = points_inside(an_oblique_grid, margin=0.0)
    assert largest(through_slicer(transform, points) - turn(points)) < 1e-3


def test_slicer_writes_a_field_that_itk_reads(a_scene, a_field, points_inside, tmp_path):
    node = Scripting.transformNodeFromField(a_field, "t")
    storage = slicer.vtkMRMLTransformStorageNode()
    a_scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "t.h5"))
    assert storage.WriteData(node)
    read = sitk.ReadTransform(str(tmp_path / "t.h5"))
    points = points_inside(a_field.grid)
    found = np.array([read.TransformPoint(p) for p in points.tolist()])
    assert largest(found - a_field(points)) < 1e-4


def test_a_node_that_cannot_be_transformed_is_refused(a_scene, a_field):
    node = Scripting.transformNodeFromField(a_field, "t")
    table = a_scene.AddNewNodeByClass("vtkMRMLTableNode", "table")
    with pytest.raises(InvalidOption, match="carried along"):
        Transforms.carryAlong(table, node)
