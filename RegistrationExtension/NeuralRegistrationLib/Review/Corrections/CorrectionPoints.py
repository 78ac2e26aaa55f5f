"""The points of a correction in the views: places, their partners, and how far the change reaches.

In views of the fixed image a partner lies where the transform shows the moving image; in views of
the moving image's own space, where it is.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from NeuralRegistrationLib.Review.Request import Subject, definedPoints
from NeuralRegistrationLib.Review.Views.ViewLayouts import LOWER, UPPER, inRow
from NeuralRegistrationLib.Scene import Geometry, SubjectHierarchy

_FIXED, _PARTNER, _CIRCLE = (0.2, 0.9, 0.4), (1.0, 0.6, 0.1), (1.0, 0.95, 0.3)
_SIDES = 48  # of a circle


def newList(scene, name: str, isPartner: bool):
    """A list of points that the panel owns."""
    node = scene.AddNewNodeByClass(
        "vtkMRMLMarkupsFiducialNode", SubjectHierarchy.freeName(scene, name)
    )
    node.SetControlPointLabelFormat("%d")
    node.CreateDefaultDisplayNodes()
    color = _PARTNER if isPartner else _FIXED
    node.GetDisplayNode().SetColor(*color)
    node.GetDisplayNode().SetSelectedColor(*color)
    return node


def arrange(subject: Subject, ownSpace: bool) -> None:
    """Show both lists where they belong. ownSpace: the lower row shows the moving image's space."""
    transform = None if ownSpace else subject.transform.GetID()
    partners = subject.movingPoints
    if partners is not None and partners.GetTransformNodeID() != transform:
        partners.SetAndObserveTransformNodeID(transform)
    for node, row in ((subject.fixedPoints, UPPER), (partners, LOWER)):
        if node is not None:
            _showIn(node.GetDisplayNode(), inRow(row) if ownSpace else [])


def _showIn(display, views) -> None:
    """Show something in these views; in all of them if there are none."""
    ids = [view.GetID() for view in views]
    if list(display.GetViewNodeIDs()) != ids:
        display.RemoveAllViewNodeIDs()
        for viewId in ids:
            display.AddViewNodeID(viewId)


def places(node) -> np.ndarray:
    """The defined points of a list in the world (n, 3), RAS mm."""
    points = np.zeros((len(definedPoints(node)), 3)) if node is not None else np.zeros((0, 3))
    for row, (n, _name) in enumerate(definedPoints(node) if len(points) else ()):
        node.GetNthControlPointPositionWorld(n, points[row])
    return points


def shifts(subject: Subject) -> list[tuple[str, float]]:
    """Name of each pair, and how far its partner was dragged, mm in the moving image."""
    way = subject.fromWorld()
    return [
        (
            name,
            float(np.linalg.norm(way.TransformPoint(Geometry.flip(fixed)) - Geometry.flip(moving))),
        )
        for name, fixed, moving in subject.pairs()
    ]


class RadiusCircles:
    """A hidden sphere around each place, which slice views show as a circle."""

    def __init__(self) -> None:
        self._node = self._shown = None

    @property
    def node(self):
        """The model, or None while there is nothing to show."""
        return self._node if self._node is not None and self._node.GetScene() is not None else None

    def show(self, scene, centers: np.ndarray, radius_mm: float, ownSpace: bool) -> None:
        """Show spheres around these points (n, 3), RAS mm."""
        if not len(centers):
            self.remove()
            return
        now = (centers.tobytes(), radius_mm)
        if self.node is None:
            self._node, self._shown = _newModel(scene), None
        if now != self._shown:
            self._node.SetAndObservePolyData(_spheres(centers, radius_mm))
            self._shown = now
        _showIn(self._node.GetDisplayNode(), inRow(UPPER) if ownSpace else [])

    def remove(self) -> None:
        """Remove what was made for display."""
        node, self._node = self.node, None
        if node is not None:
            scene, display = node.GetScene(), node.GetDisplayNode()
            scene.RemoveNode(node)
            scene.RemoveNode(display)


def _newModel(scene):
    node = scene.CreateNodeByClass("vtkMRMLModelNode")
    node.UnRegister(None)
    node.SetName("Reach of the correction")
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetSelectable(False)
    node = scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetHideFromEditors(True)
    display.SetSaveWithScene(False)
    display.SetColor(*_CIRCLE)
    display.SetOpacity(0.2)
    display.SetVisibility2D(True)
    return node


def _spheres(centers: np.ndarray, radius_mm: float) -> vtk.vtkPolyData:
    append = vtk.vtkAppendPolyData()
    for center in centers:
        sphere = vtk.vtkSphereSource()
        sphere.SetCenter(*center)
        sphere.SetRadius(radius_mm)
        sphere.SetThetaResolution(_SIDES)
        sphere.SetPhiResolution(_SIDES // 2)
        sphere.Update()
        append.AddInputData(sphere.GetOutput())
    append.Update()
    return append.GetOutput()


def clear(*nodes) -> None:
    """Remove all points of some lists, and the lists themselves."""
    for node in nodes:
        if node is not None and node.GetScene() is not None:
            scene = node.GetScene()
            display = node.GetDisplayNode()
            scene.RemoveNode(node)
            if display is not None:
                scene.RemoveNode(display)


def addPlace(node, ras) -> None:
    """One more place; whoever follows the list proposes its partner."""
    node.AddControlPointWorld(vtk.vtkVector3d(*ras))


def smallestExtent(volume) -> float:
    """Of a volume along its axes, mm."""
    size = np.array(volume.GetImageData().GetDimensions(), float)
    extent = size * np.array(volume.GetSpacing())
    return float(extent[size > 1].min()) if (size > 1).any() else float(extent.max())


def largestStep(transformNode) -> float:
    """Between the samples of a field, mm; 0 for a transform of another kind."""
    held = transformNode.GetTransformFromParent()
    isGrid = isinstance(held, slicer.vtkOrientedGridTransform) and held.GetDisplacementGrid()
    return max(held.GetDisplacementGrid().GetSpacing()) if isGrid else 0.0
