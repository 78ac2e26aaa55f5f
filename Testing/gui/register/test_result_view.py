"""After a run: fading, the way of the moving volume, the grid."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk


@pytest.fixture
def a_bent_pair(a_pair, a_scene):
    """A moving volume, and a transform node that holds a field as a registration leaves it."""
    fixed, moving = a_pair
    vectors = np.random.default_rng(0).normal(0, 3, (6 * 6 * 6, 3))
    image = vtk.vtkImageData()
    image.SetDimensions(6, 6, 6)
    image.SetSpacing(8, 8, 8)
    image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=True))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    node = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "moving to fixed")
    node.SetAndObserveTransformFromParent(grid)
    return fixed, moving, node


def from_world(node, point) -> np.ndarray:
    """Where a point of the world lies in the space of a node's voxels."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        None, node.GetParentTransformNode(), transform
    )
    return np.array(transform.TransformPoint(point))


@pytest.fixture
def a_preview(the_application, a_bent_pair):
    from NeuralRegistrationLib.Scene.SliceViews import WarpPreview

    preview = WarpPreview(*a_bent_pair[1:])
    yield preview
    preview.remove()


def test_the_volume_on_its_way_goes_a_part_of_the_displacement(a_preview, a_bent_pair):
    point = np.array([11.0, 17.0, 23.0])
    whole = np.array(a_bent_pair[2].GetTransformFromParent().TransformPoint(point)) - point
    assert np.linalg.norm(whole) > 0.5
    for fraction in (0.0, 0.25, 1.0):
        a_preview.warp(fraction)
        assert from_world(a_preview.volume, point) - point == pytest.approx(fraction * whole)


def test_a_transform_above_the_moving_volume_stays_between(the_application, a_bent_pair, a_scene):
    from NeuralRegistrationLib.Scene.SliceViews import WarpPreview

    _fixed, moving, node = a_bent_pair
    couch = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "couch")
    matrix = np.eye(4)
    matrix[:3, 3] = [5, -6, 7]
    couch.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    moving.SetAndObserveTransformNodeID(couch.GetID())
    preview = WarpPreview(moving, node)
    preview.warp(1.0)
    point = np.array([11.0, 17.0, 23.0])
    expected = np.array(node.GetTransformFromParent().TransformPoint(point)) - matrix[:3, 3]
    assert from_world(preview.volume, point) == pytest.approx(expected)
    preview.remove()


def test_the_volume_on_its_way_shares_its_voxels_and_is_never_saved(a_preview, a_bent_pair):
    volume = a_preview.volume
    assert volume.GetImageData() is a_bent_pair[1].GetImageData()
    assert not volume.GetSaveWithScene()
    assert volume.GetHideFromEditors()
    look, own = volume.GetDisplayNode(), a_bent_pair[1].GetDisplayNode()
    assert look is not own
    assert look.GetWindow() == own.GetWindow()


def test_what_was_made_for_showing_goes_away_again(the_application, a_bent_pair, a_scene):
    from NeuralRegistrationLib.Scene.SliceViews import WarpPreview

    before = a_scene.GetNumberOfNodes()
    WarpPreview(*a_bent_pair[1:]).remove()
    assert a_scene.GetNumberOfNodes() == before


def test_a_transform_without_a_grid_is_shown_at_its_beginning_and_end(
    the_application, a_pair, a_scene
):
    from NeuralRegistrationLib.Scene.SliceViews import WarpPreview

    linear = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "linear")
    matrix = np.eye(4)
    matrix[:3, 3] = [5, -6, 7]
    linear.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    a_pair[1].SetAndObserveTransformNodeID(linear.GetID())  # brought along already
    preview = WarpPreview(a_pair[1], linear)
    assert not preview.gradual
    for fraction, shift in ((0.0, [0, 0, 0]), (0.4, [-5, 6, -7]), (1.0, [-5, 6, -7])):
        preview.warp(fraction)
        assert from_world(preview.volume, (1.0, 2.0, 3.0)) == pytest.approx(
            np.array([1.0, 2.0, 3.0]) + shift
        )
    preview.remove()


def test_the_grid_is_drawn_and_taken_away(the_application, a_bent_pair):
    from NeuralRegistrationLib.Scene import SliceViews

    node = a_bent_pair[2]
    SliceViews.showGrid(node, True)
    display = node.GetDisplayNode()
    assert display.GetVisibility2D()
    assert display.GetVisualizationMode() == display.VIS_MODE_GRID
    SliceViews.showGrid(node, False)
    assert not display.GetVisibility2D()


def test_the_sliders_reach_the_slice_views(known_worker, a_panel, a_pair, a_scene, wait_until):
    composite = a_scene.AddNode(slicer.vtkMRMLSliceCompositeNode())
    composite.SetBackgroundVolumeID(a_pair[1].GetID())
    panel = a_panel.registerPanel
    a_panel.enter()
    panel.parameters.model = "convex"
    panel.ui.applyButton.click()
    wait_until(lambda: not panel.jobs)
    done, ui = panel.history[-1], panel.ui
    assert composite.GetBackgroundVolumeID() == a_pair[0].GetID()
    assert composite.GetForegroundVolumeID() == done.warpedVolumeNode.GetID()
    assert composite.GetForegroundOpacity() == 0.5
    ui.fadeSlider.value = 80
    assert composite.GetForegroundOpacity() == pytest.approx(0.8)
    ui.warpSlider.value = 40
    onItsWay = a_scene.GetNodeByID(composite.GetForegroundVolumeID())
    assert onItsWay.GetImageData() is a_pair[1].GetImageData()
    ui.warpSlider.value = 100
    assert composite.GetForegroundVolumeID() == done.warpedVolumeNode.GetID()
    assert onItsWay.GetScene() is None
    ui.gridCheckBox.checked = True
    assert done.transformNode.GetDisplayNode().GetVisibility2D()
    ui.warpSlider.value = 70
    ui.revertButton.click()
    assert composite.GetBackgroundVolumeID() == a_pair[1].GetID()
    assert composite.GetForegroundVolumeID() is None
    assert composite.GetForegroundOpacity() == 0.0
