"""Undo of what a registration adds to a scene, moves in it and fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import slicer
import vtk

from NeuralRegistrationLib.Scene.Transforms import RECORD


@dataclass
class Changes:
    """Nodes made, put under a transform, or filled. Slicer's own undo is off by default."""

    scene: object
    _added: list[str] = field(default_factory=list)
    _moved: list[tuple[str, str | None, str]] = field(default_factory=list)
    _filled: list[tuple[object, Callable[[], None]]] = field(default_factory=list)

    def rememberNew(self, node):
        """Remember a new node; gives it back."""
        self._added.append(node.GetID())
        return node

    def rememberParent(self, node, formerTransformId: str | None) -> None:
        """Remember which transform a node observed before it observes the one it has now."""
        self._moved.append((node.GetID(), formerTransformId, node.GetTransformNodeID()))

    def rememberTransform(self, node):
        """Remember what a transform node holds before it is filled; gives it back."""
        former = slicer.vtkMRMLTransformNode()
        former.CopyContent(node, False)
        return self._remember(node, lambda: node.CopyContent(former, False), _transformRoles(node))

    def rememberVolume(self, node):
        """Remember what a volume node holds before it is filled; gives it back."""
        image, matrix = node.GetImageData(), vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)

        def refill() -> None:
            node.SetIJKToRASMatrix(matrix)
            node.SetAndObserveImageData(image)

        return self._remember(node, refill)

    def _remember(self, node, refill: Callable[[], None], roles: tuple[str, ...] = ()):
        parent = node.GetTransformNodeID()
        record = node.GetAttribute(RECORD)
        former = {role: node.GetNodeReferenceID(role) for role in roles}
        displays = node.GetNumberOfDisplayNodes()

        def undo() -> None:
            refill()
            node.SetAndObserveTransformNodeID(parent)
            node.SetAttribute(RECORD, record)
            for role, nodeId in former.items():
                node.SetNodeReferenceID(role, nodeId)
            while node.GetNumberOfDisplayNodes() > displays:
                self.scene.RemoveNode(node.GetNthDisplayNode(node.GetNumberOfDisplayNodes() - 1))

        self._filled.append((node, undo))
        return node

    def revert(self) -> None:
        """Bring the scene back; what the user changed or deleted since is left alone."""
        for nodeId, former, ours in reversed(self._moved):
            node = self.scene.GetNodeByID(nodeId)
            if node is not None and node.GetTransformNodeID() == ours:
                node.SetAndObserveTransformNodeID(former)
        self._moved.clear()
        for node, undo in reversed(self._filled):
            if node.GetScene() is self.scene:
                undo()
        self._filled.clear()
        for nodeId in reversed(self._added):
            node = self.scene.GetNodeByID(nodeId)
            if node is not None:
                _remove(self.scene, node)
        self._added.clear()


def _transformRoles(node) -> tuple[str, ...]:
    return node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()


def _remove(scene, node) -> None:
    """Take a node out with its display and storage nodes and its place in the subject hierarchy."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = tree.GetItemByDataNode(node) if tree else 0
    if item:
        tree.RemoveItem(item, False, False)
    displays = [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    storages = [node.GetNthStorageNode(i) for i in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for companion in filter(None, displays + storages):
        scene.RemoveNode(companion)
