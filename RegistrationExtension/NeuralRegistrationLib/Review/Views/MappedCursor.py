"""The cursor of one image in the other one, mapped by the transform between their spaces."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Review.Views.ViewLayouts import LOWER, UPPER, inRow


class MappedCursor:
    """While it lives, a point follows the mouse in the other row of the layout, both ways."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._points: list = []
        self.markers = {row: self._marker(row) for row in (UPPER, LOWER)}
        self._crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        self._tag = None
        if self._crosshair is not None:
            event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
            self._tag = self._crosshair.AddObserver(event, self._followMouse)

    def _marker(self, row: str):
        scene = slicer.mrmlScene
        node = scene.CreateNodeByClass("vtkMRMLMarkupsFiducialNode")
        node.UnRegister(None)
        node.SetName("Cursor of the other image")
        self._hide(scene.AddNode(node))
        node.CreateDefaultDisplayNodes()
        display = self._hide(node.GetDisplayNode())
        display.SetPointLabelsVisibility(False)
        display.SetGlyphTypeFromString("Cross2D")
        for view in inRow(row):
            display.AddViewNodeID(view.GetID())
        return node

    def _hide(self, node):
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        self._points.append(node)
        return node

    def _followMouse(self, caller, event) -> None:
        xyz, ras = np.zeros(3), np.zeros(3)
        view = caller.GetCursorPositionXYZ(xyz)
        if view is not None and caller.GetCursorPositionRAS(ras):
            self.at(view.GetLayoutName() or "", ras)

    def at(self, viewName: str, ras) -> None:
        """Put the point of the other row where this one is, seen through the transform."""
        if not viewName.startswith((UPPER, LOWER)):
            return
        row = LOWER if viewName.startswith(UPPER) else UPPER
        point = self.mapPoint(ras, toMoving=row == LOWER)
        marker = self.markers[row]
        if marker.GetNumberOfControlPoints() == 0:
            marker.AddControlPoint(vtk.vtkVector3d(*point))
        marker.SetNthControlPointPosition(0, *point)
        for view in inRow(row):
            view.JumpSliceByOffsetting(*point)

    def mapPoint(self, ras, toMoving: bool) -> np.ndarray:
        """The corresponding point in the other image."""
        transform = self._subject.fromWorld()
        if not toMoving:
            transform.Inverse()
        return np.array(transform.TransformPoint(ras))

    def remove(self) -> None:
        """Let go of the cursor."""
        if self._tag is not None:
            self._crosshair.RemoveObserver(self._tag)
            self._tag = None
        for node in reversed(self._points):
            if node.GetScene() is not None:
                node.GetScene().RemoveNode(node)
        self._points.clear()
