"""Where results stand in the subject hierarchy, and what they are called."""

from __future__ import annotations

import slicer


def placeBeside(node, neighbor) -> None:
    """Put a node into the folder or study in which another one stands."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    beside = tree.GetItemByDataNode(neighbor)
    parent = tree.GetItemParent(beside) if beside else tree.GetSceneItemID()
    item = tree.GetItemByDataNode(node) or tree.CreateItem(parent, node)
    tree.SetItemParent(item, parent)


def freeName(scene, name: str) -> str:
    """The name, or the name with the first number that no node has yet."""
    return scene.GenerateUniqueName(name) if scene.GetFirstNodeByName(name) else name
