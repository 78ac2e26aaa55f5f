"""Correct here: a place, its partner, the circle, the correction, and how it is taken back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
import vtk

from Testing.support.review_scene import SHIFT, a_segmentation, pick
from Testing.support.shifted_body import a_body, a_transform

DRAG = np.array([0.0, 3.0, 2.0])
MIDDLE = np.array([39.0, 39.0, 39.0])


@pytest.fixture
def panel(real_worker, a_scene, a_panel):
    for name in ("Interaction", "Selection"):
        a_scene.AddNode(getattr(slicer, f"vtkMRML{name}Node")()).SetSingletonTag("Singleton")
    pair = [a_body(name, shift) for name, shift in (("fixed", 0.0), ("moving", 4.0))]
    a_panel.openReview(a_transform(a_scene, pair, folded=False))
    return a_panel.reviewPanel


def through(node, point):
    way = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(way)
    return np.array(way.TransformPoint(point))


def local(node, number=0):
    place = np.zeros(3)
    node.GetNthControlPointPosition(number, place)
    return place


def place(panel, point=MIDDLE):
    """What a click into a view does after the button was pressed."""
    panel.ui.reviewCorrectPlaceButton.click()
    points = panel.parameters.correctionPoints
    points.AddControlPoint(vtk.vtkVector3d(*point))
    return points, panel.parameters.correctionPartners


def correct(panel, wait_until, point=MIDDLE, drag=DRAG):
    partners = place(panel, point)[1]
    belongs = local(partners) + drag
    partners.SetNthControlPointPosition(0, *belongs)
    panel.ui.reviewCorrectButton.click()
    wait_until(lambda: not panel.jobs, 100)
    return belongs


def cells(table):
    return [
        [table.item(row, column).text() for column in range(table.columnCount)]
        for row in range(table.rowCount)
    ]


def test_a_click_shows_where_the_place_went_and_how_far_it_was_dragged(panel, a_scene):
    ui, node = panel.ui, panel.parameters.transform
    assert not ui.reviewCorrectButton.enabled
    ui.reviewCorrectSection.collapsed = False
    ui.reviewCorrectPlaceButton.click()
    interaction = a_scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert not interaction.GetPlaceModePersistence()  # the next movement drags
    points, partners = place(panel)
    went = through(node, MIDDLE)
    assert np.allclose(local(partners), went, atol=0.01)
    partners.SetNthControlPointPosition(0, *(went + DRAG))
    assert cells(ui.reviewCorrectPointsTable) == [["1", "3.61 mm"]]
    assert ui.reviewCorrectButton.enabled
    ui.reviewCorrectClearButton.click()
    assert points.GetScene() is partners.GetScene() is None
    assert cells(ui.reviewCorrectPointsTable) == []
    assert not ui.reviewCorrectButton.enabled


def test_the_partner_lies_where_the_views_show_the_moving_image(panel, a_scene):
    a_scene.AddNode(slicer.vtkMRMLLayoutNode())
    _points, partners = place(panel)
    world = np.zeros(3)
    partners.GetNthControlPointPositionWorld(0, world)
    assert np.allclose(world, MIDDLE, atol=0.02)  # on the warped image
    pick(panel.ui.reviewLayoutSelector, "Fixed above, moving below")
    partners.GetNthControlPointPositionWorld(0, world)
    assert np.allclose(world, through(panel.parameters.transform, MIDDLE), atol=0.02)


def test_a_circle_shows_the_radius_and_follows_the_slider(panel, a_scene):
    ui = panel.ui
    assert panel.parameters.correctionRadius == 16.0  # four samples of the field
    ui.reviewCorrectSection.collapsed = False
    place(panel)
    model = panel.corrections.circles.node
    ui.reviewCorrectRadiusSlider.value = 14.0
    bounds = np.array(model.GetPolyData().GetBounds()).reshape(3, 2)
    assert np.allclose(bounds.mean(1), MIDDLE, atol=0.1)
    assert np.allclose(np.diff(bounds, axis=1), 28, atol=0.5)
    assert model.GetDisplayNode().GetVisibility2D()
    assert not model.GetSaveWithScene()
    ui.reviewCorrectSection.collapsed = True
    assert model.GetScene() is None


def test_a_place_that_is_dragged_too_far_for_its_radius_is_said_before(panel):
    panel.ui.reviewCorrectRadiusSlider.value = 6.0
    partners = place(panel)[1]
    partners.SetNthControlPointPosition(0, *(local(partners) + [12, 0, 0]))
    assert "a radius of 8.0 mm or more is needed" in panel.ui.reviewCorrectLabel.text


def test_a_place_is_corrected_noted_and_taken_back(panel, a_panel, a_scene, wait_until, late_ticks):
    ui, node = panel.ui, panel.parameters.transform
    ui.reviewerEdit.text = "A. Reader"
    grid = slicer.util.arrayFromGridTransform(node).copy()
    belongs = correct(panel, wait_until)
    assert np.linalg.norm(through(node, MIDDLE) - belongs) < 0.1
    assert "up to 3.6 mm off before" in ui.reviewStatusLabel.text
    assert late_ticks.count() == 0
    assert cells(ui.reviewCorrectionsTable) == [["1", "A. Reader"]]
    assert "corrected by hand by A. Reader" in ui.reviewDecisionLabel.text
    assert panel.parameters.correctionPoints is None  # begin anew
    (correction,) = json.loads(node.GetAttribute("NeuralRegistration.Record"))["corrections"]
    assert correction["radius_mm"] == panel.parameters.correctionRadius
    assert np.allclose(correction["moving"][0], belongs * [-1, -1, 1])

    other = MIDDLE + [20, 0, 0]
    again = correct(panel, wait_until, other, -DRAG)
    assert np.linalg.norm(through(node, other) - again) < 0.1, ui.reviewStatusLabel.text
    assert ui.reviewCorrectionsTable.rowCount == 2
    ui.reviewCorrectionsTable.selectRow(1)
    ui.reviewTakeBackButton.click()
    wait_until(lambda: not panel.jobs, 100)
    assert ui.reviewCorrectionsTable.rowCount == 1
    assert np.linalg.norm(through(node, MIDDLE) - belongs) < 0.1

    for _ in range(3):  # Revert in the tab Register goes the same way back
        a_panel.registerPanel.ui.revertButton.click()
    assert np.array_equal(slicer.util.arrayFromGridTransform(node), grid)
    assert node.GetAttribute("NeuralRegistration.Record") is None
    panel.refresh()
    assert not ui.reviewCorrectionsTable.visible


def test_a_locked_segment_is_handed_over(panel, wait_until):
    ui, node = panel.ui, panel.parameters.transform
    labels = a_segmentation(panel.parameters.fixedVolume, "organs")
    assert not ui.reviewLockSegmentSelector.visible
    ui.reviewLockSelector.setCurrentNode(labels)
    ui.reviewLockSegmentSelector.currentIndex = 2
    assert panel.parameters.lockSegment == labels.GetSegmentation().GetNthSegmentID(1)
    spleen = np.array([10.0, 10.0, 14.0])  # in voxels 3..7, 3..7, 6..8 of 2 mm
    partners = place(panel, spleen)[1]
    belongs = local(partners) + DRAG
    partners.SetNthControlPointPosition(0, *belongs)
    ui.reviewCorrectButton.click()
    wait_until(lambda: not panel.jobs, 100)
    assert "begins where the image is locked" in ui.reviewStatusLabel.text
    ui.reviewLockSelector.setCurrentNode(None)
    ui.reviewCorrectButton.click()
    wait_until(lambda: not panel.jobs, 100)
    assert np.linalg.norm(through(node, spleen) - belongs) < 0.1, ui.reviewStatusLabel.text


def test_cancel_leaves_transform_and_places_as_they_were(panel, wait_until):
    node = panel.parameters.transform
    grid = slicer.util.arrayFromGridTransform(node).copy()
    partners = place(panel)[1]
    partners.SetNthControlPointPosition(0, *(local(partners) + DRAG))
    panel.ui.reviewCorrectButton.click()
    assert panel.ui.reviewCancelButton.enabled
    assert not panel.ui.reviewCorrectButton.enabled
    panel.ui.reviewCancelButton.click()
    wait_until(lambda: not panel.jobs)
    assert panel.ui.reviewStatusLabel.text == "Cancelled."
    assert np.array_equal(slicer.util.arrayFromGridTransform(node), grid)
    assert partners.GetNumberOfControlPoints() == 1


def test_a_contradiction_is_said_and_changes_nothing(panel, wait_until):
    node = panel.parameters.transform
    grid = slicer.util.arrayFromGridTransform(node).copy()
    points, partners = place(panel)
    points.AddControlPoint(vtk.vtkVector3d(*(MIDDLE + 1e-4)))
    partners.SetNthControlPointPosition(0, *(local(partners) + [6, 0, 0]))
    panel.ui.reviewCorrectButton.click()
    wait_until(lambda: not panel.jobs)
    assert "two landmarks are at one point" in panel.ui.reviewStatusLabel.text
    assert np.array_equal(slicer.util.arrayFromGridTransform(node), grid)


def test_a_worst_place_leads_to_a_correction_there(panel):
    from neuralreg.review.report_model import Location, QualityReport

    location = Location("residual", (-39.0, -41.0, 37.0), 4.0, "mm", "", "Edges are apart", 1.1)
    report = QualityReport(
        "attention", "full", (), (), None, (), (location,), (), (), "h", "known", "0", {}
    )
    panel.findings.show(report)
    ui = panel.ui
    assert not ui.reviewCorrectHereButton.visible
    ui.reviewPlacesTable.selectRow(0)
    ui.reviewCorrectHereButton.click()
    assert not ui.reviewCorrectSection.collapsed
    assert np.allclose(local(panel.parameters.correctionPoints), (39.0, 41.0, 37.0))
    assert panel.parameters.correctionPartners.GetNumberOfControlPoints() == 1


def test_the_lists_and_the_circle_go_with_the_panel(panel, a_panel, a_scene):
    panel.ui.reviewCorrectSection.collapsed = False
    place(panel)
    assert panel.corrections.circles.node is not None
    a_panel.tabs.currentIndex = 0
    assert panel.corrections.circles.node is None
    interaction = a_scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    a_panel.tabs.currentIndex = 1
    assert panel.corrections.circles.node is not None


@pytest.mark.usefixtures("known_worker")
def test_the_result_of_a_registration_leads_to_its_correction(a_pair, a_panel, wait_until):
    a_panel.enter()
    register = a_panel.registerPanel
    register.ui.modelSelector.currentIndex = register.ui.modelSelector.findData("convex")
    register.apply()
    wait_until(lambda: not register.jobs)
    register.ui.openCorrectButton.click()
    review = a_panel.reviewPanel
    assert a_panel.tabs.currentIndex == 1
    assert review.parameters.transform is register.history[-1].transformNode
    assert not review.ui.reviewCorrectSection.collapsed
    partners = place(review, (10, 10, 10))[1]
    assert np.allclose(local(partners), np.array([10, 10, 10]) + SHIFT * [-1, -1, 1], atol=0.01)
