"""How the Review panel shows images, deformation, maps and outlines."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.support.review_scene import SHIFT, a_segmentation, nodes_in, pick


def test_a_place_that_is_chosen_is_where_all_views_cut(panel, review, views, a_scene):
    crosshair = a_scene.AddNode(slicer.vtkMRMLCrosshairNode())
    review()
    panel.ui.reviewPlacesTable.selectRow(0)
    assert np.array(crosshair.GetCrosshairRAS()) == pytest.approx([-10, -12, 8])
    offsets = [view.GetSliceToRAS().GetElement(2, 3) for view, _composite in views.values()]
    assert offsets == pytest.approx([8, 8, 8])
    assert panel.ui.reviewPlaceLabel.text == "Folded here."


def test_the_slider_fades_and_the_key_shows_before_and_after(panel, review, views, a_transform):
    from NeuralRegistrationLib.Scene.SliceViews import WarpPreview

    composite = views["Red"][1]
    panel.ui.reviewMixSlider.value = 30
    panel.viewControls.begin()
    panel.ui.reviewMixSlider.value = 40
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    shown = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    assert isinstance(panel.viewControls.views.preview, WarpPreview)

    def place():
        way = vtk.vtkGeneralTransform()
        shown.GetParentTransformNode().GetTransformFromWorld(way)
        return np.array(way.TransformPoint(20, 20, 20)) - 20

    assert place() == pytest.approx(SHIFT * [-1, -1, 1])
    panel.viewControls.shortcut.activated.emit()
    assert panel.ui.reviewBeforeButton.checked
    assert place() == pytest.approx([0, 0, 0])
    panel.viewControls.shortcut.activated.emit()
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
    pick(ui.reviewOverlaySelector, "Curtain")
    wait_until(lambda: panel.viewControls.views.canMix)
    ui.reviewMixSlider.value = 50
    mixed = _shown(composite)
    known = panel.viewControls.views.checkerboards[0].grays()
    middle = mixed.shape[2] // 2
    for place in (50, 80, 10, 50):  # the curtain is drawn back and forth
        ui.reviewMixSlider.value = place
    assert np.array_equal(mixed[:, :, :middle], known.own[:, :, :middle])
    assert np.array_equal(mixed[:, :, middle:], known.other[:, :, middle:])
    pick(ui.reviewOverlaySelector, "Checkerboard")
    ui.reviewMixSlider.value = 0
    assert np.array_equal(mixed[:4, :4, :4], known.own[:4, :4, :4])
    assert np.array_equal(mixed[:4, :4, 4:8], known.other[:4, :4, 4:8])
    assert np.array_equal(mixed[4:8, :4, 4:8], known.own[4:8, :4, 4:8])


def _shown(composite):
    """The voxels that a view lays over its background."""
    return slicer.util.arrayFromVolume(
        slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    )


BROUGHT = "Fixed above, warped below"
OWN = "Fixed above, moving below"


@pytest.fixture
def rows(panel, views, a_scene, a_pair, wait_until):
    """Chooses a layout and an overlay; the composite nodes of both rows."""

    def choose(layout, overlay):
        pick(panel.ui.reviewLayoutSelector, layout)
        pick(panel.ui.reviewOverlaySelector, overlay)
        if overlay in ("Checkerboard", "Curtain"):
            wait_until(lambda: panel.viewControls.views.canMix)
        if layout.startswith("Both"):
            return [views["Red"][1]]
        return [views[f"Review{side}Axial"][1] for side in ("Fixed", "Moving")]

    return choose


@pytest.mark.parametrize("layout", [BROUGHT, OWN])
def test_each_row_shows_its_own_image_and_lets_the_other_one_in(panel, review, rows, layout):
    review()
    ui, scene = panel.ui, slicer.mrmlScene
    both = rows(layout, "Fade")
    assert ui.reviewMixSlider.value == 0  # side by side at first
    ui.reviewMixSlider.value = 30
    names = []
    for composite in both:
        assert composite.GetForegroundOpacity() == pytest.approx(0.3)
        assert composite.GetCompositing() == composite.Alpha
        ids = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
        images = [scene.GetNodeByID(one).GetImageData() for one in ids]
        known = (panel.parameters.fixedVolume, panel.parameters.movingVolume)
        names.append([next(n.GetName() for n in known if n.GetImageData() is i) for i in images])
    assert names == [["fixed", "moving"], ["moving", "fixed"]]
    rows(layout, "Difference")
    assert [one.GetCompositing() for one in both] == [both[0].Subtract] * 2


@pytest.mark.parametrize("layout", [BROUGHT, OWN])
def test_both_rows_flicker(panel, review, rows, layout, wait_until):
    review()
    both, seen = rows(layout, "Flicker"), set()
    wait_until(lambda: seen.add(tuple(c.GetForegroundOpacity() for c in both)) or len(seen) == 2)
    assert seen == {(0.0, 0.0), (1.0, 1.0)}


def test_the_rows_have_opposite_squares_and_curtains(panel, review, rows):
    review()
    upper, lower = rows(BROUGHT, "Curtain")
    panel.ui.reviewMixSlider.value = 50
    known = panel.viewControls.views.checkerboards[0].grays()
    left, right = np.s_[:, :, :7], np.s_[:, :, 8:]
    assert np.array_equal(_shown(upper)[left], known.own[left])
    assert np.array_equal(_shown(upper)[right], known.other[right])
    assert np.array_equal(_shown(lower)[left], known.other[left])
    assert np.array_equal(_shown(lower)[right], known.own[right])
    rows(BROUGHT, "Checkerboard")
    assert not np.array_equal(_shown(upper), _shown(lower))


def test_in_its_own_space_the_lower_row_mixes_on_the_moving_image_s_voxels(
    panel, review, rows, a_pair
):
    a_pair[1].SetOrigin(4.0, 0.0, 0.0)
    review()
    _upper, lower = rows(OWN, "Curtain")
    panel.ui.reviewMixSlider.value = 100
    mixed = slicer.mrmlScene.GetNodeByID(lower.GetForegroundVolumeID())
    assert mixed.GetOrigin() == (4.0, 0.0, 0.0)
    of_moving = panel.viewControls.views.checkerboards[1].grays()
    assert np.array_equal(_shown(lower), of_moving.own)
    before = panel.viewControls.views.checkerboards[1].grays(before=True)
    assert np.array_equal(
        before.other[:, :, :-2], panel.viewControls.views.checkerboards[0].grays().own[:, :, 2:]
    )


@pytest.mark.parametrize("layout", ["Both images in each view", BROUGHT, OWN])
def test_the_key_shows_squares_before_and_after(panel, review, rows, views, layout):
    review()
    both = rows(layout, "Checkerboard")
    if layout.startswith("Both"):
        both = [views["Red"][1]]
    panel.ui.reviewMixSlider.value = 0
    after = [_shown(one).copy() for one in both]
    panel.viewControls.shortcut.activated.emit()
    for number, one in enumerate(both):
        grays = panel.viewControls.views.checkerboards[number].grays(before=True)
        assert np.array_equal(_shown(one)[:4, :4, :4], grays.own[:4, :4, :4])
        assert np.array_equal(_shown(one)[:4, :4, 4:8], grays.other[:4, :4, 4:8])
    panel.viewControls.shortcut.activated.emit()
    assert all(np.array_equal(_shown(one), was) for one, was in zip(both, after, strict=True))


@pytest.mark.parametrize("layout", [BROUGHT, OWN])
def test_the_key_moves_the_other_image_in_each_row(panel, review, rows, layout):
    review()
    both = rows(layout, "Fade")
    panel.ui.reviewMixSlider.value = 50

    def moved(node):
        way = vtk.vtkGeneralTransform()
        if node.GetParentTransformNode() is not None:
            node.GetParentTransformNode().GetTransformFromWorld(way)
        return np.array(way.TransformPoint(20, 20, 20)) - 20

    def places():
        ids = [(c.GetBackgroundVolumeID(), c.GetForegroundVolumeID()) for c in both]
        return [[moved(slicer.mrmlScene.GetNodeByID(one)) for one in pair] for pair in ids]

    shift = SHIFT * [-1, -1, 1]
    lower = [0 * shift, -shift] if layout == OWN else [shift, 0 * shift]
    assert np.allclose(places(), [[0 * shift, shift], lower], atol=0.02)
    panel.viewControls.shortcut.activated.emit()
    assert np.allclose(places(), 0, atol=1e-6)


def test_what_cannot_be_shown_is_said(panel, rows, review, wait_until):
    ui = panel.ui
    pick(ui.reviewLayoutSelector, BROUGHT)
    pick(ui.reviewOverlaySelector, "Checkerboard")
    wait_until(lambda: "review first" in ui.reviewLookLabel.text)
    review()
    wait_until(lambda: panel.viewControls.views.canMix)
    assert not ui.reviewLookLabel.visible
    panel.viewControls.images["warped"] = panel.viewControls.images["jacobian"]
    panel.viewControls.images["jacobian"][0].SetDimensions(2, 2, 2)
    pick(ui.reviewLayoutSelector, OWN)
    wait_until(lambda: "more voxels" in ui.reviewLookLabel.text)
    pick(ui.reviewOverlaySelector, "Difference")
    assert not ui.reviewLookLabel.visible


def test_leaving_takes_all_that_was_made_for_showing_away(panel, review, rows, a_scene):
    review()
    rows(OWN, "Curtain")  # the views of the layouts stay, as in Slicer
    rows(BROUGHT, "Checkerboard")
    panel.close()
    before = nodes_in(a_scene)
    rows(OWN, "Curtain")
    rows(BROUGHT, "Checkerboard")
    panel.close()
    assert nodes_in(a_scene) == before


@pytest.mark.parametrize(
    ("text", "mode"),
    [("Deformed grid", "GRID"), ("Arrows", "GLYPH"), ("Contours of equal length", "CONTOUR")],
)
def test_the_deformation_is_drawn(panel, a_transform, text, mode):
    pick(panel.ui.reviewArrowsSelector, text)
    display = a_transform.GetDisplayNode()
    assert display.GetVisibility2D()
    assert display.GetVisualizationMode() == getattr(display, f"VIS_MODE_{mode}")
    pick(panel.ui.reviewArrowsSelector, "None")
    assert not display.GetVisibility()


def test_maps_are_volumes_in_color_that_go_away_again(panel, review, views, a_scene):
    assert not panel.ui.reviewMapSelector.enabled
    review()
    before = nodes_in(a_scene)
    pick(panel.ui.reviewMapSelector, "Volume change (Jacobian)")
    composite = views["Red"][1]
    shown = a_scene.GetNodeByID(composite.GetForegroundVolumeID())
    assert shown.GetName() == "moving to fixed: Volume change (Jacobian)"
    display = shown.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 2)
    folded, least = np.zeros(4), np.zeros(4)
    display.GetColorNode().GetColor(0, folded)
    display.GetColorNode().GetColor(1, least)
    assert folded.tolist() != least.tolist()
    pick(panel.ui.reviewMapSelector, "Displacement")
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
    wait_until(lambda: not panel.jobs)
    assert ui.reviewMapSelector.currentText == "Dependence on the start", ui.reviewStatusLabel.text
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


def test_a_chosen_location_makes_room_for_look_and_decision_on_a_small_screen(
    panel, review, the_application
):
    ui = panel.ui
    review()
    assert not ui.reviewResultSection.collapsed
    assert ui.reviewResultSection.text.startswith("Result: ")
    panel.widget.show()
    ui.reviewPlacesTable.selectRow(0)
    the_application.processEvents()
    assert ui.reviewSection.collapsed
    assert ui.reviewResultSection.collapsed
    assert ui.reviewPlaceLabel.text
    assert panel.widget.sizeHint().height() < 900 - 40  # the tabs above it
    ui.reviewSection.collapsed = False  # opened again by hand, it stays open
    ui.reviewPlacesTable.selectRow(1)
    assert not ui.reviewSection.collapsed
    ui.reviewButton.click()
    assert not ui.reviewResultSection.collapsed  # progress and Cancel are seen
    panel.cancel()
