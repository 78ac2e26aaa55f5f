"""Structures of both sides as outlines in the slice views, each mapped to the other one."""

from __future__ import annotations

import slicer
import vtk

from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Review.Views.ViewLayouts import LOWER, UPPER, inRow
from NeuralRegistrationLib.Scene import Structures, Volumes

_FIXED, _MOVING = (0.2, 0.9, 0.4), (1.0, 0.6, 0.1)
_WIDTH = 2  # pixels


class Outlines:
    """Hidden copies that share the voxels of the originals, which are hidden meanwhile.

    ownSpace: whether the lower row of views shows the moving image in its own space.
    """

    def __init__(self, subject: Subject, ownSpace: bool) -> None:
        self._nodes: list = []
        self._formerly: list[tuple] = []
        self._layers: list[tuple] = []
        scene = subject.transform.GetScene()
        forward = self._transform(scene, subject.fromWorld())
        inverse = subject.fromWorld()
        inverse.Inverse()
        backward = self._transform(scene, inverse)
        lower = inRow(LOWER) if ownSpace else []
        upper = inRow(UPPER) if ownSpace else []
        for node, color in ((subject.fixedSegments, _FIXED), (subject.movingSegments, _MOVING)):
            if node is None:
                continue
            self._hideOriginal(node)
            isMoving = node is subject.movingSegments
            segments = Structures.segmentation(node)
            below = node.GetTransformNodeID()
            if isMoving and node.GetParentTransformNode() is subject.transform:
                below = None
            inFixed = forward.GetID() if isMoving else below
            self._copy(node, segments, inFixed, color, upper)
            if ownSpace:
                inMoving = below if isMoving else backward.GetID()
                self._copy(node, segments, inMoving, color, lower)

    def _transform(self, scene, fromParent: vtk.vtkGeneralTransform):
        node = scene.CreateNodeByClass("vtkMRMLTransformNode")
        node.UnRegister(None)
        node.SetName("For outlines")
        self._hide(scene.AddNode(node))
        node.SetAndObserveTransformFromParent(fromParent)
        return node

    def _copy(self, original, segments, transformId, color, views) -> None:
        """segments: what is drawn. views: where it is shown; everywhere if there are none."""
        scene = original.GetScene()
        node = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
        node.UnRegister(None)
        node.SetName(f"{original.GetName()} (outline)")
        self._hide(scene.AddNode(node))
        node.SetAndObserveSegmentation(segments)
        node.CreateDefaultDisplayNodes()
        display = self._hide(node.GetDisplayNode())
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)
        display.SetVisibility3D(False)
        display.SetSliceIntersectionThickness(_WIDTH)
        for segmentId in segments.GetSegmentIDs():
            display.SetSegmentOverrideColor(segmentId, *color)
        for view in views:
            display.AddViewNodeID(view.GetID())
        node.SetAndObserveTransformNodeID(transformId)

    def _hideOriginal(self, node) -> None:
        if Volumes.isLabelMap(node):
            self._hideLabelMap(node)
            return
        display = node.GetDisplayNode()
        if display is not None:
            self._formerly.append((display, display.GetVisibility()))
            display.SetVisibility(False)

    def _hideLabelMap(self, labelMap) -> None:
        """Take it out of the layers of the slice views; it has no visibility of its own."""
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetLabelVolumeID() == labelMap.GetID():
                self._layers.append((composite, labelMap))
                composite.SetLabelVolumeID(None)

    def _hide(self, node):
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        self._nodes.append(node)
        return node

    def remove(self) -> None:
        """Show the originals as they were shown before."""
        for display, visible in self._formerly:
            display.SetVisibility(visible)
        for composite, labelMap in self._layers:
            if labelMap.GetScene() is not None:
                composite.SetLabelVolumeID(labelMap.GetID())
        for node in reversed(self._nodes):
            if node.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(node)
        self._nodes.clear()
        self._formerly.clear()
        self._layers.clear()
