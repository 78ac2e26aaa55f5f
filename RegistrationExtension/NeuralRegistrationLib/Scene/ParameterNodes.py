"""Nodes of the scene in which panels keep what they know, beside the module's own."""

from __future__ import annotations

import logging
from enum import Enum
from typing import get_type_hints

import slicer

_log = logging.getLogger(__name__)


def wrap(kind, node):
    """The parameters of a node, of a class made by `parameterNodeWrapper`.

    A value that this version does not know, as of a scene of a later one, is taken out with a
    warning, and the usual one is written: else no panel would open with that scene.
    """
    for name, hint in get_type_hints(kind).items():
        text = node.GetParameter(name) if node.HasParameter(name) else ""
        if text and not _isKnown(text, hint):
            _log.warning("the scene has %s = “%s”, which is unknown here: now as usual", name, text)
            node.UnsetParameter(name)
    return kind(node)


def _isKnown(text: str, hint) -> bool:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return text in hint.__members__
    try:
        return hint not in (int, float) or hint(text) is not None
    except ValueError:
        return False


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
