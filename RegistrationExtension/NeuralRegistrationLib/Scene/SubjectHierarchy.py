"""The position of results in the subject hierarchy, and their names."""

from __future__ import annotations

import slicer


def placeBeside(node, neighbor) -> None:
    """Put a node into the folder or study of another one."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    beside = tree.GetItemByDataNode(neighbor)
    parent = tree.GetItemParent(beside) if beside else tree.GetSceneItemID()
    item = tree.GetItemByDataNode(node) or tree.CreateItem(parent, node)
    tree.SetItemParent(item, parent)


def freeName(scene, name: str) -> str:
    """The name, or the name with the first number that no node has yet."""
    return scene.GenerateUniqueName(name) if scene.GetFirstNodeByName(name) else name
