"""The way back: what a registration made and moved in a scene, and how to undo exactly that."""

from __future__ import annotations

from dataclasses import dataclass, field

import slicer


@dataclass
class Changes:
    """Nodes made and nodes put under a transform, in order. Slicer's own undo is off by default."""

    scene: object
    _made: list[str] = field(default_factory=list)
    _moved: list[tuple[str, str | None, str]] = field(default_factory=list)

    def made(self, node):
        """Remember a new node; gives it back."""
        self._made.append(node.GetID())
        return node

    def moved(self, node, formerTransformId: str | None) -> None:
        """Remember which transform a node observed before it observes the one it has now."""
        self._moved.append((node.GetID(), formerTransformId, node.GetTransformNodeID()))

    def revert(self) -> None:
        """Bring the scene back; what the user changed or deleted since is left alone."""
        for nodeId, former, ours in reversed(self._moved):
            node = self.scene.GetNodeByID(nodeId)
            if node is not None and node.GetTransformNodeID() == ours:
                node.SetAndObserveTransformNodeID(former)
        self._moved.clear()
        for nodeId in reversed(self._made):
            node = self.scene.GetNodeByID(nodeId)
            if node is not None:
                _remove(self.scene, node)
        self._made.clear()


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
