"""How the Review panel shows images, deformation, maps and outlines."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.gui.review.parts import SHIFT, a_segmentation, nodes_in, pick


def test_a_place_that_is_chosen_is_where_all_views_cut(panel, review, views, a_scene):
    crosshair = a_scene.AddNode(slicer.vtkMRMLCrosshairNode())
    review()
    panel.ui.reviewPlacesTable.selectRow(0)
    assert np.array(crosshair.GetCrosshairRAS()) == pytest.approx([-10, -12, 8])
    offsets = [view.GetSliceToRAS().GetElement(2, 3) for view, _composite in views.values()]
    assert offsets == pytest.approx([8, 8, 8])
    assert panel.ui.reviewLineLabel.text == "Folded here."


def test_the_slider_fades_and_the_key_shows_before_and_after(panel, review, views, a_transform):
    from NeuralRegistrationLib.SliceViews import WarpPreview

    composite = views["Red"][1]
    panel.ui.reviewMixSlider.value = 30
    panel.look.touched()
    panel.ui.reviewMixSlider.value = 40
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    shown = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    assert isinstance(panel.look.views._preview, WarpPreview)

    def place():
        way = vtk.vtkGeneralTransform()
        shown.GetParentTransformNode().GetTransformFromWorld(way)
        return np.array(way.TransformPoint(20, 20, 20)) - 20

    assert place() == pytest.approx(SHIFT * [-1, -1, 1])
    panel.look.shortcut.activated.emit()
    assert panel.ui.reviewBeforeButton.checked
    assert place() == pytest.approx([0, 0, 0])
    panel.look.shortcut.activated.emit()
    panel.ui.reviewWarpSlider.value = 50
    assert place() == pytest.approx(SHIFT * [-1, -1, 1] / 2)


def test_each_overlay_shows_both_images_its_own_way(panel, review, views, wait_until):
    composite, ui = views["Red"][1], panel.ui
    review()
    pick(ui.reviewOverlaySelector, "Difference")
    assert composite.GetCompositing() == composite.Subtract
    pick(ui.reviewOverlaySelector, "Flicker")
    assert composite.GetCompositing() == composite.Alpha
    seen = set()
    wait_until(lambda: seen.add(composite.GetForegroundOpacity()) or seen == {0.0, 1.0})
    wait_until(lambda: panel.look.views.canMix)
    pick(ui.reviewOverlaySelector, "Curtain")
    ui.reviewMixSlider.value = 50
    mixed = slicer.util.arrayFromVolume(
        slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    )
    known = panel.look.views._mixed
    middle = mixed.shape[2] // 2
    for place in (50, 80, 10, 50):  # the curtain is drawn back and forth
        ui.reviewMixSlider.value = place
    assert np.array_equal(mixed[:, :, :middle], known._fixed[:, :, :middle])
    assert np.array_equal(mixed[:, :, middle:], known._warped[:, :, middle:])
    pick(ui.reviewOverlaySelector, "Checkerboard")
    ui.reviewMixSlider.value = 0
    assert np.array_equal(mixed[:4, :4, :4], known._fixed[:4, :4, :4])
    assert np.array_equal(mixed[:4, :4, 4:8], known._warped[:4, :4, 4:8])
    assert np.array_equal(mixed[4:8, :4, 4:8], known._fixed[4:8, :4, 4:8])


def test_the_layouts_show_one_image_above_the_other(panel, review, views, a_scene):
    layout = a_scene.AddNode(slicer.vtkMRMLLayoutNode())
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    ui, p = panel.ui, panel.parameters
    pick(ui.reviewLayoutSelector, "Fixed above, moving as brought below")
    upper, lower = (views[f"Review{side}Axial"][1] for side in ("Fixed", "Moving"))
    assert upper.GetBackgroundVolumeID() == p.fixedVolume.GetID()
    assert lower.GetBackgroundVolumeID() == panel.look.views.brought.GetID()
    assert upper.GetLinkedControl()
    description = layout.GetLayoutDescription(layout.GetViewArrangement())
    assert 'singletontag="ReviewMovingSagittal"' in description
    pick(ui.reviewLayoutSelector, "As they are: both on each other")
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView


def test_in_its_own_space_the_cursor_of_one_image_is_mapped_into_the_other(
    panel, review, views, a_scene
):
    a_scene.AddNode(slicer.vtkMRMLLayoutNode())
    pick(panel.ui.reviewLayoutSelector, "Fixed above, moving in its own space below")
    cursor = panel.look._cursor
    ras = SHIFT * [-1, -1, 1]
    cursor.at("ReviewFixedAxial", (10.0, 20.0, 6.0))
    lower, upper = views["ReviewMovingAxial"][0], views["ReviewFixedAxial"][0]
    assert lower.GetSliceToRAS().GetElement(2, 3) == pytest.approx(6 + ras[2])
    cursor.at("ReviewMovingAxial", np.array([10.0, 20.0, 6.0]) + ras)
    assert upper.GetSliceToRAS().GetElement(2, 3) == pytest.approx(6.0, abs=0.02)
    marker = cursor._markers["ReviewFixed"]
    place = np.zeros(3)
    marker.GetNthControlPointPositionWorld(0, place)
    assert place == pytest.approx([10, 20, 6], abs=0.02)
    review()
    panel.ui.reviewPlacesTable.selectRow(0)
    assert lower.GetSliceToRAS().GetElement(2, 3) == pytest.approx(8 + ras[2])
    pick(panel.ui.reviewLayoutSelector, "As they are: both on each other")
    assert marker.GetScene() is None


@pytest.mark.parametrize(
    ("text", "mode"),
    [("Bent grid", "GRID"), ("Arrows", "GLYPH"), ("Lines of equal length", "CONTOUR")],
)
def test_the_deformation_is_drawn(panel, a_transform, text, mode):
    pick(panel.ui.reviewArrowsSelector, text)
    display = a_transform.GetDisplayNode()
    assert display.GetVisibility2D()
    assert display.GetVisualizationMode() == getattr(display, f"VIS_MODE_{mode}")
    pick(panel.ui.reviewArrowsSelector, "Not drawn")
    assert not display.GetVisibility()


def test_maps_are_volumes_in_color_that_go_away_again(panel, review, views, a_scene):
    assert not panel.ui.reviewMapSelector.enabled
    review()
    before = nodes_in(a_scene)
    pick(panel.ui.reviewMapSelector, "Change of volume (Jacobian)")
    composite = views["Red"][1]
    shown = a_scene.GetNodeByID(composite.GetForegroundVolumeID())
    assert shown.GetName() == "moving to fixed: Change of volume (Jacobian)"
    display = shown.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 2)
    folded, least = np.zeros(4), np.zeros(4)
    display.GetColorNode().GetColor(0, folded)
    display.GetColorNode().GetColor(1, least)
    assert folded.tolist() != least.tolist()
    pick(panel.ui.reviewMapSelector, "Length of the deformation")
    assert shown.GetScene() is None
    pick(panel.ui.reviewMapSelector, "None")
    left = {n for n in nodes_in(a_scene) - before if "Color" not in n}
    assert all(a_scene.GetNodeByID(n).GetHideFromEditors() for n in left)


def test_registering_again_from_moved_starts_gives_a_map(panel, review, a_scene, wait_until, views):
    ui = panel.ui
    assert not ui.reviewSpreadButton.enabled
    review()
    ui.reviewSpreadButton.click()
    assert ui.reviewCancelButton.enabled
    wait_until(lambda: not panel._jobs)
    assert ui.reviewMapSelector.currentText == "Dependence on the start"
    shown = a_scene.GetNodeByID(views["Red"][1].GetForegroundVolumeID())
    assert np.unique(slicer.util.arrayFromVolume(shown)).tolist() == [4.0]


def test_outlines_of_both_sides_are_drawn_and_the_originals_come_back(
    panel, a_pair, views, a_scene
):
    ui = panel.ui
    fixed, moving = (a_segmentation(v, n) for v, n in zip(a_pair, ("one", "other"), strict=True))
    ui.reviewFixedSegmentsSelector.setCurrentNode(fixed)
    ui.reviewMovingSegmentsSelector.setCurrentNode(moving)
    before = nodes_in(a_scene)
    ui.reviewOutlinesCheckBox.checked = True
    assert not fixed.GetDisplayNode().GetVisibility()
    copies = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if node.GetHideFromEditors()
    ]
    assert {c.GetName() for c in copies} == {"one (outline)", "other (outline)"}
    brought = next(c for c in copies if c.GetName().startswith("other"))
    assert brought.GetSegmentation() is moving.GetSegmentation()
    assert brought.GetParentTransformNode() is not None
    assert not brought.GetDisplayNode().GetVisibility2DFill()
    ui.reviewOutlinesCheckBox.checked = False
    assert fixed.GetDisplayNode().GetVisibility()
    panel.close()
    assert nodes_in(a_scene) == before
