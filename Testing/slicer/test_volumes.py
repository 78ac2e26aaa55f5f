"""Volume nodes and images: the same voxels at the same places, also under transforms."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import torch
import vtk
from neuralreg.errors import InvalidImage
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_to_itk, to_itk
from neuralreg.worker.serialization import SLAB_BYTES, at_once
from neuralreg.worker.shared_images import warp_voxels
from NeuralRegistrationLib.Scene import Geometry, Scripting, Volumes

from Testing.support.warped_nodes import warped_volume

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
TYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]


def put_under(node, matrix):
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "parent")
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(parent.GetID())
    return parent


def turn_and_shift():
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(
        sitk.Euler3DTransform((0, 0, 0), -0.2, 0.4, 0.1).GetMatrix(), (3, 3)
    )
    matrix[:3, 3] = [12, -7, 30]
    return matrix


def test_an_image_survives_the_way_through_a_node(a_scene, a_grid, blobs):
    image = blobs(a_grid)
    back = Scripting.imageFromVolumeNode(Scripting.volumeNodeFromImage(image, "v"))
    assert back.grid.is_close(a_grid, 1e-9)
    assert torch.equal(back.data, image.data)


def test_slicer_sees_a_voxel_where_itk_does(a_scene, a_grid, blobs):
    image = blobs(a_grid)
    node = Scripting.volumeNodeFromImage(image, "v")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    seen = (slicer.util.arrayFromVTKMatrix(matrix) @ [3, 7, 2, 1])[:3]
    expected = image_to_itk(image).TransformIndexToPhysicalPoint((3, 7, 2))
    assert seen @ FLIP[:3, :3] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_warped_volume_keeps_its_number_type(a_scene, dtype):
    array = np.arange(5 * 6 * 7).reshape(5, 6, 7).astype(dtype)
    node = slicer.util.addVolumeFromArray(array, None, "v")
    grid = Scripting.imageFromVolumeNode(node).grid
    warped = warped_volume(node, DisplacementField.identity(grid), grid, "w")
    found = slicer.util.arrayFromVolume(warped)
    assert found.dtype == array.dtype
    assert np.allclose(found, array, rtol=1e-6, atol=0)


def test_a_color_volume_keeps_its_channels(a_scene):
    array = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3)).astype(np.uint8)
    node = slicer.util.addVolumeFromArray(array, None, "v", "vtkMRMLVectorVolumeNode")
    image = Scripting.imageFromVolumeNode(node)
    assert tuple(image.data.shape) == (3, 4, 5, 6)
    again = Scripting.volumeNodeFromImage(image, "again")
    assert np.array_equal(slicer.util.arrayFromVolume(again), array)


def test_reading_a_node_copies_it(a_scene, a_volume_node):
    before = slicer.util.arrayFromVolume(a_volume_node).copy()
    Scripting.imageFromVolumeNode(a_volume_node).data.add_(5)
    assert np.array_equal(slicer.util.arrayFromVolume(a_volume_node), before)


def test_a_transform_above_the_volume_counts(a_scene, a_volume_node):
    alone = Scripting.imageFromVolumeNode(a_volume_node)
    put_under(a_volume_node, turn_and_shift())
    moved = Scripting.imageFromVolumeNode(a_volume_node)
    assert torch.equal(moved.data, alone.data)
    corners = np.c_[alone.grid.corners(), np.ones(8)] @ (FLIP @ turn_and_shift() @ FLIP).T
    assert np.allclose(moved.grid.corners(), corners[:, :3], atol=1e-9)


def test_two_transforms_one_above_the_other_count_both(a_scene, a_volume_node):
    parent = put_under(a_volume_node, turn_and_shift())
    put_under(parent, turn_and_shift())
    grid = Scripting.imageFromVolumeNode(a_volume_node).grid
    bounds = np.zeros(6)
    a_volume_node.GetRASBounds(bounds)  # Slicer's own, of the voxels' outer edges
    ras = grid.corners() @ FLIP[:3, :3]
    assert np.allclose(np.stack([ras.min(0), ras.max(0)]).T.ravel(), bounds, atol=1e-6)


def test_a_shearing_parent_gives_a_straight_image_of_the_same_scene(
    a_scene, a_volume_node, blobs, caplog
):
    shear = np.eye(4)
    shear[0, 1] = 0.3
    local = Scripting.imageFromVolumeNode(a_volume_node)
    put_under(a_volume_node, shear)
    image = Scripting.imageFromVolumeNode(a_volume_node)
    assert "bends or shears" in caplog.text
    toLocal = sitk.AffineTransform(3)
    toLocal.SetMatrix((FLIP @ np.linalg.inv(shear) @ FLIP)[:3, :3].ravel())
    itk = sitk.Cast(image_to_itk(local), sitk.sitkFloat32)
    expected = sitk.Resample(
        itk, image_to_itk(image), toLocal, sitk.sitkLinear, float(local.data.min())
    )
    difference = np.abs(sitk.GetArrayFromImage(expected) - image.data[0].numpy())
    assert np.quantile(difference, 0.99) <= 0.5 + 1e-3  # rounded to whole numbers
    assert image.grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_below_a_bending_parent_a_landmark_keeps_its_gray_value(a_scene, a_volume_node, wavy_field):
    local = Scripting.imageFromVolumeNode(a_volume_node)
    field = wavy_field(local.grid.pad(6))
    parent = Scripting.transformNodeFromField(field, "bending")
    a_volume_node.SetAndObserveTransformNodeID(parent.GetID())
    image = Scripting.imageFromVolumeNode(a_volume_node)
    grid = Grid(
        (9, 8, 7), (2.0,) * 3, tuple(local.grid.center - [8, 7, 6]), tuple(np.eye(3).ravel())
    )
    record = at_once(Volumes.contentOf(a_volume_node).record())
    seen = warp_voxels(record, DisplacementField.identity(grid.pad(1)), grid)
    itk = sitk.Cast(image_to_itk(local), sitk.sitkFloat32)
    expected = sitk.GetArrayFromImage(sitk.Resample(itk, grid_image(grid), to_itk(field)))
    assert np.abs(seen - expected).max() < 3
    middle = image.grid.covers(grid.corners())
    assert middle.all()


def grid_image(grid):
    return image_to_itk(Image(torch.zeros(1, *grid.shape), grid))


def test_a_warped_volume_is_what_itk_resamples(a_scene, a_volume_node, a_fixed_node, wavy_field):
    image, grid = map(Scripting.imageFromVolumeNode, (a_volume_node, a_fixed_node))
    grid = grid.grid
    field = wavy_field(grid.pad(3))
    node = warped_volume(a_volume_node, field, grid, "warped")
    itk = sitk.Cast(image_to_itk(image), sitk.sitkFloat32)
    lowest = float(image.data.min())
    expected = sitk.Resample(itk, grid_image(grid), to_itk(field), sitk.sitkLinear, lowest)
    difference = slicer.util.arrayFromVolume(node) - sitk.GetArrayFromImage(expected)
    assert np.abs(difference).max() <= 0.51
    assert Scripting.imageFromVolumeNode(node).grid.is_close(grid)


def test_a_warped_volume_looks_like_the_moving_one(a_scene, a_volume_node, wavy_field):
    display = a_volume_node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(77, 33)
    display.SetThreshold(10, 90)
    display.SetApplyThreshold(True)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
    grid = Scripting.imageFromVolumeNode(a_volume_node).grid
    warped = warped_volume(a_volume_node, wavy_field(grid), grid, "w").GetDisplayNode()
    assert warped is not display
    assert (warped.GetWindow(), warped.GetLevel()) == (77, 33)
    assert (warped.GetLowerThreshold(), warped.GetApplyThreshold()) == (10, 1)
    assert warped.GetColorNodeID() == "vtkMRMLColorTableNodeIron"


def test_a_warped_volume_keeps_the_window_that_slicer_chose_for_the_moving_one(
    a_scene, a_volume_node, wavy_field
):
    display = a_volume_node.GetDisplayNode()
    assert display.GetAutoWindowLevel()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
    display.SetThreshold(10, 90)
    display.SetApplyThreshold(True)
    display.SetInterpolate(False)
    grid = Scripting.imageFromVolumeNode(a_volume_node).grid
    warped = warped_volume(a_volume_node, wavy_field(grid), grid, "w").GetDisplayNode()
    assert not warped.GetAutoWindowLevel()
    for name in ("Window", "Level", "ColorNodeID", "LowerThreshold", "ApplyThreshold"):
        assert getattr(warped, f"Get{name}")() == getattr(display, f"Get{name}")()
    assert not warped.GetInterpolate()


def test_a_label_map_keeps_its_labels_and_its_class(a_scene, an_oblique_grid, wavy_field):
    labels = np.random.default_rng(1).choice([0, 3, 250], an_oblique_grid.shape).astype(np.uint8)
    node = slicer.util.addVolumeFromArray(
        labels, Geometry.indexToRas(an_oblique_grid), "l", "vtkMRMLLabelMapVolumeNode"
    )
    warped = warped_volume(node, wavy_field(an_oblique_grid), an_oblique_grid, "w")
    assert warped.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert set(np.unique(slicer.util.arrayFromVolume(warped))) <= {0, 3, 250}
    assert warped.GetDisplayNode().GetColorNodeID() == node.GetDisplayNode().GetColorNodeID()


def test_a_large_volume_is_copied_in_steps_of_a_few_megabytes(a_scene):
    array = np.zeros((64, 256, 256), np.float32)
    assert sum(1 for _ in Volumes.imageData(array)) >= array.nbytes / SLAB_BYTES


def test_an_empty_volume_is_refused_by_its_name(a_scene):
    node = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing yet")
    with pytest.raises(InvalidImage, match="nothing yet"):
        Scripting.imageFromVolumeNode(node)


def test_no_volume_is_refused(a_scene):
    with pytest.raises(InvalidImage, match="no volume is chosen"):
        Scripting.imageFromVolumeNode(None)


def test_a_ct_without_values_outside_of_its_circle_is_what_its_file_is(
    a_scene, a_fixed_node, an_oblique_grid, blobs, a_known_engine, tmp_path
):
    import neuralreg
    from neuralreg.io.image_files import read_image, write_image
    from NeuralRegistrationLib.Register.Logic import register

    image = blobs(an_oblique_grid)
    image.data[0, :, :4] = torch.nan
    image.data[0, :, 4:6] -= 1000
    write_image(image, tmp_path / "ct.nii")
    node = Scripting.volumeNodeFromImage(image, "ct")
    seen = []

    def watching(fixed, moving, *args, **options):
        seen.append(moving)
        return a_known_engine(fixed, moving)

    done = register(a_fixed_node, node, engine=watching)
    file = read_image(tmp_path / "ct.nii")
    assert torch.equal(seen[0].data.nan_to_num(7), file.data.nan_to_num(7))
    warped = slicer.util.arrayFromVolume(done.warpedVolumeNode)
    grid = Scripting.imageFromVolumeNode(a_fixed_node).grid
    expected = neuralreg.warp(
        file.fill_not_finite(), done.result.field, grid, outside=file.lowest()
    )
    assert np.isfinite(warped).all()
    assert np.abs(warped - expected.data[0].numpy()).max() < 1e-3
    remarks = [
        (each.kind, dict(each.values)) for each in Scripting.imageFromVolumeNode(node).remarks
    ]
    assert remarks == [(each.kind, dict(each.values)) for each in file.remarks]


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, float("nan"), 1)])
def test_a_volume_whose_voxels_have_no_size_is_refused_by_its_name(a_volume_node, spacing):
    matrix = vtk.vtkMatrix4x4()
    for axis, step in enumerate(spacing):
        matrix.SetElement(axis, axis, step)
    a_volume_node.SetIJKToRASMatrix(matrix)
    with pytest.raises(InvalidImage, match="moving"):
        Scripting.imageFromVolumeNode(a_volume_node)
