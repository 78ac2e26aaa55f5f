"""Pairs of points in the Review panel."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.support.review_scene import SHIFT


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


def test_escape_ends_placing_and_belongs_to_others_else(panel, a_scene, the_application):
    from PySide6 import QtCore, QtTest

    a_scene.AddNode(slicer.vtkMRMLInteractionNode()).SetSingletonTag("Singleton")
    a_scene.AddNode(slicer.vtkMRMLSelectionNode()).SetSingletonTag("Singleton")
    ui = panel.ui
    window = ui.reviewPlaceButton.window()
    window.show()
    window.activateWindow()
    the_application.processEvents()
    ui.reviewPlaceButton.checked = True
    QtTest.QTest.keyClick(ui.reviewButton, QtCore.Qt.Key_Escape)
    interaction = a_scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert not ui.reviewPlaceButton.checked
    others = QtTest.QSignalSpy(panel.landmarks.placing.escape, QtCore.SIGNAL("activated()"))
    QtTest.QTest.keyClick(ui.reviewButton, QtCore.Qt.Key_Escape)
    assert others.count() == 0


def test_a_partner_is_proposed_where_the_points_lie_under_the_transform(
    panel, a_scene, a_transform
):
    from NeuralRegistrationLib.Review.Landmarks.LandmarkPairs import errors

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


def test_the_first_point_of_another_list_gets_its_partner_too(panel, a_scene):
    for name in "ab":  # points of both have the same ids
        fixed, moving = (
            a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name + side) for side in "fm"
        )
        panel.ui.reviewFixedPointsSelector.setCurrentNode(fixed)
        panel.ui.reviewMovingPointsSelector.setCurrentNode(moving)
        fixed.AddControlPoint(vtk.vtkVector3d(10, 12, 14), "tip")
        assert moving.GetNumberOfControlPoints() == 1


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


def test_landmarks_without_a_partner_are_named(panel, a_scene):
    fixed, moving = (a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", n) for n in ("f", "m"))
    for n, name in enumerate("ABC"):
        fixed.AddControlPoint(vtk.vtkVector3d(n, 2 * n, 3), name)
    moving.AddControlPoint(vtk.vtkVector3d(1, 2, 3), "B")
    panel.ui.reviewFixedPointsSelector.setCurrentNode(fixed)
    panel.ui.reviewMovingPointsSelector.setCurrentNode(moving)
    assert panel.ui.reviewPointsLabel.text.endswith("Without a partner: A, C")


def test_a_list_that_keeps_its_points_is_not_half_replaced(panel, a_scene, tmp_path, monkeypatch):
    import qt

    fixed, moving = (a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", n) for n in ("f", "m"))
    for node in (fixed, moving):
        node.AddControlPoint(vtk.vtkVector3d(1, 2, 3), "own")
    moving.SetFixedNumberOfControlPoints(True)
    panel.ui.reviewFixedPointsSelector.setCurrentNode(fixed)
    panel.ui.reviewMovingPointsSelector.setCurrentNode(moving)
    table = tmp_path / "pairs.csv"
    table.write_text("name,fx,fy,fz,mx,my,mz\nA,1,2,3,4,5,6\nB,2,2,3,4,5,7\n")
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(table))
    panel.ui.reviewLoadPointsButton.click()
    assert "number of points is free (m)" in panel.ui.reviewStatusLabel.text
    labels = [n.GetNthControlPointLabel(0) for n in (fixed, moving)]
    assert labels == ["own", "own"]


def test_a_file_of_landmarks_that_cannot_be_read_is_told(panel, tmp_path, monkeypatch):
    import qt

    (tmp_path / "bad.csv").write_text("nothing here")
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(tmp_path / "bad.csv"))
    panel.ui.reviewLoadPointsButton.click()
    assert "holds no pairs of landmarks" in panel.ui.reviewStatusLabel.text


def test_the_place_button_follows_slicer_where_a_right_click_ends_placing(panel, a_scene):
    node = a_scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    node = node or a_scene.AddNewNodeByClass("vtkMRMLInteractionNode")
    panel.ui.reviewPlaceButton.click()
    node.SetCurrentInteractionMode(node.Place)
    assert panel.ui.reviewPlaceButton.checked
    node.SetCurrentInteractionMode(node.ViewTransform)
    assert not panel.ui.reviewPlaceButton.checked
    panel.ui.reviewPlaceButton.click()
    assert panel.ui.reviewPlaceButton.checked
