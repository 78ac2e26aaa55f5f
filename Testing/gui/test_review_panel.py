"""The Review panel: what it hands over, shows and keeps. The answers of the worker are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

SHIFT = np.array([3.0, -5.0, 7.0])  # LPS mm, fixed to moving


def a_grid_transform(scene, name="moving to fixed"):
    """A constant shift as a registration leaves it: from the parent, RAS, on a grid of its own."""
    image = vtk.vtkImageData()
    image.SetDimensions(6, 7, 8)
    image.SetSpacing(8, 8, 8)
    vectors = np.tile(SHIFT * [-1, -1, 1], (6 * 7 * 8, 1))
    image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=True))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    node.SetAndObserveTransformFromParent(grid)
    return node


def a_segmentation(volume, name, segments=("Liver", "Spleen")):
    scene = volume.GetScene()
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    for number in range(len(segments)):
        labels[2 + 4 * number : 5 + 4 * number, 3:8, 3:8] = number + 1
    node = slicer.util.addVolumeFromArray(labels, None, "l", "vtkMRMLLabelMapVolumeNode")
    node.CopyOrientation(volume)
    made = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    made.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(node, made)
    for number, title in enumerate(segments):
        made.GetSegmentation().GetNthSegment(number).SetName(title)
    scene.RemoveNode(node)
    return made


@pytest.fixture
def a_transform(a_pair, a_scene):
    node = a_grid_transform(a_scene)
    for role, volume in zip(
        (node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()), a_pair, strict=True
    ):
        node.SetNodeReferenceID(role, volume.GetID())
    return node


@pytest.fixture
def panel(known_reviewer, a_transform, a_panel):
    a_panel.openReview(a_transform)
    return a_panel.reviewPanel


@pytest.fixture
def review(panel, wait_until):
    """Presses Review and waits; the report."""

    def press():
        panel.ui.reviewButton.click()
        wait_until(lambda: not panel._jobs)
        return panel.result.report

    return press


@pytest.fixture
def views(a_scene):
    """Slice views as the application would make them for the layouts, and for the usual one."""
    made = {}
    for name in ("Red", "ReviewFixedAxial", "ReviewMovingAxial"):
        view = slicer.vtkMRMLSliceNode()
        view.SetSingletonTag(name)
        view.SetLayoutName(name)
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetSingletonTag(name)
        made[name] = a_scene.AddNode(view), a_scene.AddNode(composite)
    made["Red"][0].SetViewGroup(0)
    made["ReviewMovingAxial"][0].SetViewGroup(1)
    return made


def nodes_in(scene) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


def pick(selector, text: str) -> None:
    selector.currentIndex = selector.findText(text)
    selector.activated.emit(selector.currentIndex)


def test_the_volumes_that_a_transform_refers_to_are_chosen(panel, a_pair):
    p = panel.parameters
    assert (p.fixedVolume, p.movingVolume) == a_pair
    assert panel.ui.reviewButton.enabled


def test_first_numbers_come_before_all_numbers(panel, wait_until):
    told = []
    show = panel.result.show
    panel.result.show = lambda report, *more: (
        told.append(report and report.detail) or show(report, *more)
    )
    panel.ui.reviewButton.click()
    assert panel.ui.reviewCancelButton.enabled
    wait_until(lambda: not panel._jobs)
    assert told == [None, "quick", "full"]
    assert not panel.ui.reviewProgressBar.visible


def test_lines_are_shown_with_verdicts_in_words_what_is_wrong_first(panel, review):
    review()
    table = panel.ui.reviewLinesTable
    cells = [[table.item(row, c).text() for c in range(2)] for row in range(table.rowCount)]
    assert cells == [
        ["Folding\n1.5 %  (0)", "✕ fail"],
        ["Consistency\n0.4 mm  (3)", "✓ pass"],
        ["Similarity\n0.2 → 0.8", "· shown"],
        ["Landmarks\n-", "- not measured"],
    ]
    colors = {table.item(row, 1).foreground().color().name() for row in range(3)}
    assert len(colors) == 3
    assert "1 of 2 lines want a look: Folding" in panel.ui.reviewVerdictLabel.text
    assert "1 could not be measured" in panel.ui.reviewVerdictLabel.text
    table.selectRow(0)
    assert "1234 voxels, the body" in panel.ui.reviewLineLabel.text
    assert "known beforehand" in panel.ui.reviewLineLabel.text


def test_the_transform_is_handed_over_in_lps_from_fixed_to_moving(panel, review):
    (told, _points) = review().notes
    assert told == f"way {SHIFT.tolist()}"


def test_a_linear_transform_with_parents_is_handed_over_as_one_matrix(panel, review, a_scene):
    nodes = [a_scene.AddNewNodeByClass("vtkMRMLTransformNode", n) for n in ("inner", "outer")]
    for node, shift in zip(nodes, ((1, 0, 0), (0, 2, 0)), strict=True):
        matrix = np.eye(4)
        matrix[:3, 3] = shift
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    nodes[0].SetAndObserveTransformNodeID(nodes[1].GetID())
    panel.choose(nodes[0])
    told = review().notes[0]
    rows = np.array(eval(told.removeprefix("way "), {}))  # fixed to moving: the shift taken back
    assert rows[:3, 3].tolist() == [1.0, 2.0, 0.0]


def test_a_transform_of_another_kind_is_sampled_over_the_fixed_volume(panel, review, a_scene):
    inner = a_grid_transform(a_scene, "inner")
    outer = a_grid_transform(a_scene, "outer")
    inner.SetAndObserveTransformNodeID(outer.GetID())
    panel.choose(inner)
    found = np.array(eval(review().notes[0].removeprefix("way "), {}))
    assert found == pytest.approx(2 * SHIFT, abs=1e-5)


def test_a_moving_side_that_was_brought_along_is_taken_from_below_the_transform(
    panel, a_pair, a_transform
):
    from neuralreg.worker.parcel import at_once

    before = at_once(panel.subject.job("quick"))
    organs = a_segmentation(a_pair[1], "organs")
    a_pair[1].SetAndObserveTransformNodeID(a_transform.GetID())
    organs.SetAndObserveTransformNodeID(a_transform.GetID())
    panel.ui.reviewMovingSegmentsSelector.setCurrentNode(organs)
    after = at_once(panel.subject.job("quick"))
    assert after["moving"].bend is None
    assert after["moving"].grid == before["moving"].grid
    assert after["moving_labels"].grid.spacing == before["moving"].grid.spacing


def test_segments_of_one_name_get_one_number_on_both_sides(panel, a_pair):
    from neuralreg.worker.parcel import at_once

    ui = panel.ui
    fixed = a_segmentation(a_pair[0], "fixed organs", ("Liver", "Spleen"))
    moving = a_segmentation(a_pair[1], "moving organs", ("Spleen", "Kidney"))
    ui.reviewFixedSegmentsSelector.setCurrentNode(fixed)
    ui.reviewMovingSegmentsSelector.setCurrentNode(moving)
    job = at_once(panel.subject.job("quick"))
    assert job["names"] == {"1": "Liver", "2": "Spleen", "3": "Kidney"}
    sides = {}
    for side in ("fixed_labels", "moving_labels"):
        found = job[side]
        values, counts = np.unique(found.data, return_counts=True)
        sides[side] = dict(zip(values.tolist(), counts.tolist(), strict=True))
        sides[side].pop(0, None)
    assert sides == {"fixed_labels": {1: 75, 2: 75}, "moving_labels": {2: 75, 3: 75}}


def test_a_mask_and_limits_of_one_s_own_are_handed_over(panel, a_pair, monkeypatch):
    import qt
    from neuralreg.worker.parcel import at_once

    ui = panel.ui
    assert ui.reviewLimitsButton.text == "AAPM TG-132"
    ui.reviewMaskSelector.setCurrentNode(a_segmentation(a_pair[0], "bones"))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "/my/limits.json")
    ui.reviewLimitsButton.click()
    job = at_once(panel.subject.job("quick"))
    assert (np.unique(job["mask"].data).tolist(), job["mask"].data.sum()) == ([0, 1], 150)
    assert (job["profile"], ui.reviewLimitsButton.text) == ("/my/limits.json", "limits.json")


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


def test_a_point_on_the_fixed_image_proposes_its_partner(panel, a_scene, review):
    a_scene.AddNode(slicer.vtkMRMLInteractionNode()).SetSingletonTag("Singleton")
    a_scene.AddNode(slicer.vtkMRMLSelectionNode()).SetSingletonTag("Singleton")
    ui = panel.ui
    ui.reviewPlaceButton.checked = True
    fixed, moving = panel.parameters.fixedPoints, panel.parameters.movingPoints
    interaction = a_scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    fixed.AddControlPoint(vtk.vtkVector3d(10, 12, 14), "tip")
    place = np.zeros(3)
    moving.GetNthControlPointPositionWorld(0, place)
    assert place == pytest.approx(np.array([10, 12, 14]) + SHIFT * [-1, -1, 1])
    assert ui.reviewPointsTable.item(0, 2).text() == "0 mm"
    moving.SetNthControlPointPosition(0, *(place + [0, 3, 4]))
    assert ui.reviewPointsTable.item(0, 2).text() == "5 mm"
    assert "1 pairs" in ui.reviewPointsLabel.text
    assert "2.5 voxels" in ui.reviewPointsLabel.text
    ui.reviewPlaceButton.checked = False
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert "points [(-10.0, -12.0, 14.0)]" in review().notes[1]


def test_a_partner_is_proposed_where_the_points_lie_under_the_transform(
    panel, a_scene, a_transform
):
    from NeuralRegistrationLib.LandmarkPairs import errors

    fixed, moving = (a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", n) for n in ("f", "m"))
    moving.SetAndObserveTransformNodeID(a_transform.GetID())
    panel.ui.reviewFixedPointsSelector.setCurrentNode(fixed)
    panel.ui.reviewMovingPointsSelector.setCurrentNode(moving)
    fixed.AddControlPoint(vtk.vtkVector3d(10, 12, 14), "tip")
    local = np.zeros(3)
    moving.GetNthControlPointPosition(0, local)
    assert local == pytest.approx(np.array([10, 12, 14]) + SHIFT * [-1, -1, 1], abs=1e-3)
    (found,) = errors(panel.subject)
    assert found.after_mm == pytest.approx(0, abs=1e-3)
    assert found.before_mm == pytest.approx(np.linalg.norm(SHIFT), abs=1e-3)


def test_points_placed_twice_tell_how_repeatable_they_are(panel, a_scene):
    first, second, fixed = (
        a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", n) for n in "abc"
    )
    for node, shift in ((first, 0), (second, 2), (fixed, 0)):
        node.AddControlPoint(vtk.vtkVector3d(shift, 0, 0), "tip")
    ui = panel.ui
    ui.reviewFixedPointsSelector.setCurrentNode(fixed)
    ui.reviewMovingPointsSelector.setCurrentNode(first)
    ui.reviewRepeatSelector.setCurrentNode(second)
    assert "apart by 2.0 mm" in ui.reviewPointsLabel.text


def test_landmarks_are_saved_and_loaded(panel, a_scene, tmp_path, monkeypatch):
    import qt

    fixed, moving = (a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", n) for n in ("f", "m"))
    ui, path = panel.ui, str(tmp_path / "pairs.csv")
    ui.reviewFixedPointsSelector.setCurrentNode(fixed)
    ui.reviewMovingPointsSelector.setCurrentNode(moving)
    for n in range(3):
        fixed.AddControlPoint(vtk.vtkVector3d(n, 2 * n, 3), f"p{n}")
    shown = [ui.reviewPointsTable.item(n, 1).text() for n in range(3)]
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: path)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: path)
    ui.reviewSavePointsButton.click()
    fixed.RemoveAllControlPoints()
    moving.RemoveAllControlPoints()
    assert ui.reviewPointsTable.rowCount == 0
    ui.reviewLoadPointsButton.click()
    assert [ui.reviewPointsTable.item(n, 1).text() for n in range(3)] == shown
    assert [fixed.GetNthControlPointLabel(n) for n in range(3)] == ["p0", "p1", "p2"]


def test_a_file_of_landmarks_that_cannot_be_read_is_told(panel, tmp_path, monkeypatch):
    import qt

    (tmp_path / "bad.csv").write_text("nothing here")
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(tmp_path / "bad.csv"))
    panel.ui.reviewLoadPointsButton.click()
    assert "holds no pairs of landmarks" in panel.ui.reviewStatusLabel.text


def test_a_decision_is_kept_in_the_scene_and_beside_the_file(
    panel, review, a_transform, a_scene, tmp_path
):
    ui = panel.ui
    assert not ui.reviewDecideButton.enabled
    a_transform.SetDescription("made by hand")
    a_transform.AddDefaultStorageNode()
    a_transform.GetStorageNode().SetFileName(str(tmp_path / "t.h5"))
    review()
    ui.reviewDecisionSelector.currentIndex = 1
    ui.reviewerEdit.text, ui.reviewNoteEdit.text = "Dr. A", "good at the target"
    ui.reviewDecideButton.click()
    first, second = a_transform.GetDescription().splitlines()
    assert first.startswith("Review: Accepted (level 1")
    assert second == "made by hand"
    kept = json.loads((tmp_path / "t.decision.json").read_text())
    assert (kept["verdict"], kept["level"], kept["by"]) == ("accepted", 1, "Dr. A")
    assert "t.decision.json" in ui.reviewStatusLabel.text
    table = a_scene.GetFirstNodeByName("Review worklist")
    assert [table.GetCellText(0, n) for n in range(4)] == [
        "moving to fixed", "fail", "accepted", "Dr. A",
    ]  # fmt: skip


def test_a_structure_can_be_decided_on_by_itself(panel, review, a_pair):
    ui = panel.ui
    ui.reviewFixedSegmentsSelector.setCurrentNode(a_segmentation(a_pair[0], "one"))
    ui.reviewMovingSegmentsSelector.setCurrentNode(a_segmentation(a_pair[1], "other"))
    review()
    ui.reviewAboutSelector.currentIndex = ui.reviewAboutSelector.findText("Liver")
    ui.reviewDecisionSelector.currentIndex = 5
    ui.reviewDecideButton.click()
    assert panel.decision.decision.segments == {"Liver": "rejected"}
    assert panel.decision.decision.verdict == "needs work"
    assert "Liver: rejected" in ui.reviewDecisionLabel.text


def test_a_decision_is_void_when_the_transform_changes(panel, review, a_transform):
    review()
    panel.ui.reviewDecideButton.click()
    assert "Void" not in panel.ui.reviewDecisionLabel.text
    vectors = slicer.util.arrayFromGridTransform(a_transform)
    vectors[:] = 1
    a_transform.TransformModified()
    assert "Void" in panel.ui.reviewDecisionLabel.text
    assert "review it again" in panel.ui.reviewVerdictLabel.text
    assert a_transform.GetDescription().startswith("Review: void")
    review()
    assert "Void" in panel.ui.reviewDecisionLabel.text
    vectors = slicer.util.arrayFromGridTransform(a_transform)
    vectors[:] = SHIFT * [-1, -1, 1]
    a_transform.TransformModified()
    review()
    assert "Void" not in panel.ui.reviewDecisionLabel.text


def test_review_and_decision_come_back_with_the_scene(panel, review, a_scene, tmp_path, a_panel):
    review()
    panel.ui.reviewDecideButton.click()
    panel.ui.reviewOverlaySelector.currentIndex = 4
    a_scene.SetURL(str(tmp_path / "scene.mrml"))
    a_scene.SetRootDirectory(str(tmp_path))
    assert a_scene.Commit()
    text = (tmp_path / "scene.mrml").read_text()
    a_scene.Clear(False)
    assert panel.ui.reviewLinesTable.rowCount == 0
    a_scene.SetLoadFromXMLString(1)
    a_scene.SetSceneXMLString(text)
    a_scene.Import()
    assert panel.parameters.overlay.value == "difference"
    assert panel.ui.reviewTransformSelector.currentNode().GetName() == "moving to fixed"
    assert panel.ui.reviewLinesTable.rowCount == 4
    assert "saved scene" in panel.ui.reviewVerdictLabel.text
    assert "Accepted" in panel.ui.reviewDecisionLabel.text


def test_several_transforms_are_gone_through_those_at_risk_first(
    panel, review, a_transform, a_pair, a_scene
):
    others = [a_grid_transform(a_scene, f"case {n}") for n in (1, 2)]
    for node in others:
        for role in (node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()):
            node.SetNodeReferenceID(role, a_pair[0].GetID())
    review()
    table = panel.ui.reviewWorklistTable
    names = [table.item(row, 0).text() for row in range(table.rowCount)]
    assert names == ["moving to fixed", "case 1", "case 2"]
    assert table.item(0, 1).text() == "✕ fail"
    panel.ui.reviewDecideButton.click()
    assert all(key.isEnabled() for key in panel.worklist._keys)
    panel.worklist._keys[1].activated.emit()
    assert panel.parameters.transform is others[0]
    panel.ui.reviewNextButton.click()
    assert panel.parameters.transform is others[1]
    panel.ui.reviewNextButton.click()  # the first one is decided: it is passed over
    assert panel.parameters.transform is others[0]
    panel.ui.reviewPreviousButton.click()
    assert panel.parameters.transform is a_transform


def test_a_report_is_written_with_pictures_of_slicer_s_views(
    panel, review, a_scene, tmp_path, monkeypatch, wait_until, a_transform, views
):
    import qt

    review()
    panel.ui.reviewDecideButton.click()
    before = nodes_in(a_scene)
    path = tmp_path / "report.html"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
    panel.ui.reviewReportButton.click()
    wait_until(lambda: panel.report.job is None)
    assert panel.ui.reviewStatusLabel.text.startswith("Written: report.html")
    page = path.read_text("utf-8")
    assert page.count("data:image") >= 12 + 2  # four kinds in three planes, and the worst places
    kept = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert kept["provenance"]["nodes"]["transform"] == "moving to fixed"
    assert kept["decision"]["verdict"] == "accepted"
    (left,) = nodes_in(a_scene) - before
    assert a_scene.GetNodeByID(left).GetName().startswith("Change of volume")  # the colors
    assert a_transform.GetDisplayNode() is None


@pytest.fixture
def loaders(a_headless_scene, monkeypatch):
    """What `slicer.util` loads with in the application, by the logics that it asks."""
    logics = a_headless_scene.logics
    volumes, transforms = (logics[f"vtkSlicer{n}Logic"] for n in ("Volumes", "Transform"))
    monkeypatch.setattr(
        slicer.util, "loadVolume", lambda path: volumes.AddArchetypeVolume(path, "v"), raising=False
    )
    monkeypatch.setattr(
        slicer.util, "loadTransform", lambda p: transforms.AddTransform(p, slicer.mrmlScene)
    )


@pytest.fixture
def a_list(tmp_path, a_pair, a_transform):
    """A CSV of three cases with their files; the last one's transform is missing."""
    names = {}
    for role, node in (("fixed", a_pair[0]), ("moving", a_pair[1])):
        names[role] = f"{role}.nrrd"
        storage = node.CreateDefaultStorageNode()
        storage.SetFileName(str(tmp_path / names[role]))
        assert storage.WriteData(node)
    for case in ("one", "two"):
        storage = a_transform.CreateDefaultStorageNode()
        storage.SetFileName(str(tmp_path / f"{case}.h5"))
        assert storage.WriteData(a_transform)
    rows = ["case,transform,fixed,moving"]
    rows += [f"{c},{c}.h5,{names['fixed']},{names['moving']}" for c in ("one", "two", "three")]
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(rows))
    return path


def test_a_list_of_files_is_gone_through_and_goes_on_where_it_was_stopped(
    panel, review, a_list, loaders, a_scene, monkeypatch
):
    import csv

    import qt

    ui, before = panel.ui, nodes_in(a_scene)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(a_list))
    ui.reviewOpenListButton.click()
    table = ui.reviewWorklistTable
    assert [table.item(row, 0).text() for row in range(3)] == ["one", "three", "two"]
    table.selectRow(0)
    p = panel.parameters
    assert p.fixedVolume.GetImageData().GetDimensions() == (16, 15, 14)
    (told, _points) = review().notes
    assert np.array(eval(told.removeprefix("way "), {})) == pytest.approx(SHIFT, abs=1e-3)
    ui.reviewerEdit.text = "Dr. B"
    ui.reviewDecideButton.click()
    kept = {row["case"]: row for row in csv.DictReader(a_list.read_text().splitlines())}
    assert (kept["one"]["verdict"], kept["one"]["decision"]) == ("fail", "accepted")
    assert (kept["one"]["by"], kept["two"]["decision"]) == ("Dr. B", "")
    assert a_list.with_name("one.decision.json").is_file()
    ui.reviewOpenListButton.click()  # as if it was another day
    assert [table.item(row, 0).text() for row in range(3)] == ["three", "two", "one"]
    assert table.item(2, 2).text() == "accepted"
    table.selectRow(0)  # its transform is not there
    assert "a case cannot be loaded" in ui.reviewStatusLabel.text
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "")
    ui.reviewOpenListButton.click()
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == ["moving to fixed"]
    left = {a_scene.GetNodeByID(n).GetClassName() for n in nodes_in(a_scene) - before}
    assert left <= {"vtkMRMLTableNode"}


def test_cancel_ends_the_review_and_leaves_nothing(panel, wait_until, a_scene):
    before = nodes_in(a_scene)
    panel.ui.reviewButton.click()
    panel.ui.reviewCancelButton.click()
    assert panel._jobs == []
    assert panel.result.report is None
    assert nodes_in(a_scene) == before
    assert panel.ui.reviewButton.enabled


def test_a_transform_that_changes_meanwhile_gets_no_report(panel, a_transform, wait_until):
    panel.ui.reviewButton.click()
    a_transform.SetAndObserveTransformFromParent(vtk.vtkTransform())
    wait_until(lambda: not panel._jobs)
    assert panel.result.report is None
    assert "no longer fits" in panel.ui.reviewStatusLabel.text


def test_a_scene_that_is_closed_leaves_a_fresh_panel(panel, review, a_scene, views):
    review()
    panel.look.touched()
    panel.ui.reviewButton.click()
    a_scene.Clear(False)
    assert panel.ui.reviewLinesTable.rowCount == 0
    assert panel.ui.reviewDecisionLabel.text == "No decision yet."
    assert panel.look.views is None


@pytest.mark.parametrize("which", ["transform", "fixedVolume", "movingVolume", "fixedSegments"])
def test_nodes_that_are_deleted_while_they_are_looked_at_do_no_harm(
    panel, review, views, a_scene, a_pair, which
):
    panel.ui.reviewFixedSegmentsSelector.setCurrentNode(a_segmentation(a_pair[0], "one"))
    panel.ui.reviewMovingSegmentsSelector.setCurrentNode(a_segmentation(a_pair[1], "other"))
    review()
    panel.ui.reviewOutlinesCheckBox.checked = True
    pick(panel.ui.reviewArrowsSelector, "Arrows")
    pick(panel.ui.reviewMapSelector, "Forward-backward error")
    a_scene.RemoveNode(getattr(panel.parameters, which))
    panel.ui.reviewMixSlider.value = 20
    panel.ui.reviewBeforeButton.click()
    panel.ui.reviewWarpSlider.value = 30
    assert getattr(panel.parameters, which) is None
    panel.close()


def test_leaving_the_panel_gives_the_views_back(panel, review, views, a_panel, a_scene):
    composite = views["Red"][1]
    composite.SetBackgroundVolumeID(panel.parameters.movingVolume.GetID())
    review()
    before = nodes_in(a_scene)
    panel.look.touched()
    assert composite.GetBackgroundVolumeID() == panel.parameters.fixedVolume.GetID()
    pick(panel.ui.reviewOverlaySelector, "Difference")
    a_panel.tabs.currentIndex = 0
    assert composite.GetBackgroundVolumeID() == panel.parameters.movingVolume.GetID()
    assert composite.GetCompositing() == composite.Alpha
    assert nodes_in(a_scene) == before
    assert not panel.look.shortcut.isEnabled()


def test_a_result_of_the_register_panel_opens_its_review(
    known_reviewer, a_pair, a_panel, wait_until
):
    register = a_panel.registerPanel
    a_panel.enter()
    register.parameters.model = "convex"
    register.ui.applyButton.click()
    wait_until(lambda: not register._jobs)
    register.ui.openReviewButton.click()
    assert a_panel.tabs.tabText(a_panel.tabs.currentIndex) == "Review"
    p = a_panel.reviewPanel.parameters
    assert p.transform is register._done[-1].transformNode
    assert (p.fixedVolume, p.movingVolume) == a_pair


def test_the_examples_of_the_console_run(known_reviewer, a_transform, capsys):
    from textwrap import dedent

    from NeuralRegistrationLib import ReviewJobs

    blocks = ReviewJobs.__doc__.split("\n\n")
    code = "\n".join(dedent(block) for block in blocks if block.startswith("    "))
    exec(code, {"getNode": slicer.util.getNode})
    assert capsys.readouterr().out.startswith("fail ['folding is 1.5'")
