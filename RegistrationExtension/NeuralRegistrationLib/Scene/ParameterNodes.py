"""Nodes of the scene in which panels keep what they know, beside the module's own."""

from __future__ import annotations

import slicer


def singleNode(tag: str):
    """The one parameter node of a tag in the scene; made if there is none."""
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode(tag, "vtkMRMLScriptedModuleNode")
    if node is None:
        node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(tag)
        node.SetName(scene.GenerateUniqueName(tag))
        node = scene.AddNode(node)
    node.SetAttribute("ModuleName", tag)  # closing a scene removes it
    return node
