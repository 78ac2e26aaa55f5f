"""Undo of what a registration adds to a scene, moves in it and fills.

Nodes are known by themselves and by what they hold, never by ids, names or their order: ids begin
anew when a scene is closed, and the person goes on working between a result and its Revert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import slicer
import vtk

from NeuralRegistrationLib.Scene.Fingerprint import heldBy
from NeuralRegistrationLib.Scene.Transforms import OWN_PLACE, OWN_ROLES, RECORD, nodesUnder


@dataclass
class Changes:
    """Nodes made, put under a transform, or filled. Slicer's own undo is off by default."""

    scene: object
    _added: list[object] = field(default_factory=list)
    _moved: list[tuple[object, object, object]] = field(default_factory=list)
    _filled: list[tuple[object, Callable[[], None]]] = field(default_factory=list)
    _held: dict[object, object] = field(default_factory=dict)

    def rememberNew(self, node):
        """Remember a new node; gives it back."""
        self._added.append(node)
        return node

    def rememberParent(self, node, former) -> None:
        """Remember which transform node a node observed before the one that it observes now."""
        self._moved.append((node, former, node.GetParentTransformNode()))

    def rememberTransform(self, node):
        """Remember what a transform node holds before it is filled; gives it back."""
        former = slicer.vtkMRMLTransformNode()
        former.CopyContent(node, False)
        return self._remember(node, lambda: node.CopyContent(former, False))

    def rememberVolume(self, node):
        """Remember what a volume node holds before it is filled; gives it back."""
        image, matrix = node.GetImageData(), vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)

        def refill() -> None:
            node.SetIJKToRASMatrix(matrix)
            node.SetAndObserveImageData(image)

        return self._remember(node, refill)

    def _remember(self, node, refill: Callable[[], None]):
        parent, record = node.GetParentTransformNode(), node.GetAttribute(RECORD)
        displays = node.GetNumberOfDisplayNodes()
        former = {role: node.GetNodeReference(role) for role in _roles(node)}

        def undo() -> None:
            refill()
            _observe(node, parent)
            node.SetAttribute(RECORD, record)
            for role in {*former, *_roles(node)}:
                node.SetNodeReferenceID(role, _idIn(self.scene, former.get(role)))
            while node.GetNumberOfDisplayNodes() > displays:
                self.scene.RemoveNode(node.GetNthDisplayNode(node.GetNumberOfDisplayNodes() - 1))

        self._filled.append((node, undo))
        return node

    def complete(self) -> None:
        """All is as it was meant to be: what changes from now on is the person's own work."""
        for node in (*self._added, *(node for node, _undo in self._filled)):
            self._held.setdefault(node, heldBy(node))

    def revert(self) -> tuple[str, ...]:
        """Bring the scene back; sentences on what was left alone, as others changed it since."""
        left = [*self._moveBack(), *self._emptyFilled(), *self._removeAdded()]
        for remembered in (self._moved, self._filled, self._added, self._held):
            remembered.clear()
        return tuple(left)

    def _moveBack(self) -> list[str]:
        left = []
        for node, former, ours in reversed(self._moved):
            if node.GetScene() is not self.scene:
                continue
            if node.GetParentTransformNode() is ours:
                own = node.GetNodeReference(OWN_PLACE)
                isThere = former is None or former.GetScene() is self.scene
                _observe(node, former if isThere else own)
                if node.GetParentTransformNode() is own:
                    node.SetNodeReferenceID(OWN_PLACE, None)
            else:
                left.append(f"“{node.GetName()}” was put elsewhere since: it stays there")
        return left

    def _emptyFilled(self) -> list[str]:
        left = []
        for node, undo in reversed(self._filled):
            if node.GetScene() is self.scene and self._isAsMade(node):
                undo()
            elif node.GetScene() is self.scene:
                left.append(f"“{node.GetName()}” was changed since: it stays as it is")
        return left

    def _removeAdded(self) -> list[str]:
        left = []
        for node in reversed(self._added):
            if node.GetScene() is not self.scene:
                continue
            others = [] if not self._held else nodesUnder(node)
            if not self._isAsMade(node):
                left.append(f"“{node.GetName()}” was changed since: it was not removed")
            elif others:
                names = ", ".join(f"“{other.GetName()}”" for other in others)
                left.append(f"{names} was put under “{node.GetName()}” since: that was not removed")
            else:
                _remove(self.scene, node)
        return left

    def _isAsMade(self, node) -> bool:
        return node not in self._held or heldBy(node) == self._held[node]

    def removeSince(self, count: int) -> None:
        """Take the nodes away that were made after the first so many."""
        for node in reversed(self._added[count:]):
            if node.GetScene() is self.scene:
                _remove(self.scene, node)
        del self._added[count:]

    @property
    def count(self) -> int:
        """How many nodes were made."""
        return len(self._added)


def _roles(node) -> tuple[str, ...]:
    """The roles of what a transform node of ours refers to, or none."""
    if not node.IsA("vtkMRMLTransformNode"):
        return ()
    names = (node.GetNthNodeReferenceRole(n) for n in range(node.GetNumberOfNodeReferenceRoles()))
    pair = node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()
    return (*pair, *(name for name in names if name.startswith(OWN_ROLES)))


def _idIn(scene, node) -> str | None:
    return node.GetID() if node is not None and node.GetScene() is scene else None


def _observe(node, transformNode) -> None:
    node.SetAndObserveTransformNodeID(_idIn(node.GetScene(), transformNode))


def _remove(scene, node) -> None:
    """Take a node out with its display and storage nodes and its place in the subject hierarchy."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = tree.GetItemByDataNode(node) if tree else 0
    if item:
        tree.RemoveItem(item, False, False)
    displays, storages = [], []
    if node.IsA("vtkMRMLDisplayableNode"):
        displays = [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        storages = [node.GetNthStorageNode(i) for i in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for companion in filter(None, displays + storages):
        scene.RemoveNode(companion)
