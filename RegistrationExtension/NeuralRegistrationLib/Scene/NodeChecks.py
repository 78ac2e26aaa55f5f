"""Whether an argument is the node that was asked for: said before anything is computed."""

from __future__ import annotations

from typing import Any

import slicer
from neuralreg.errors import InvalidImage, InvalidOption

_VOLUMES = ("vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode")
_KINDS = {
    "a scalar, color or label volume": _VOLUMES,
    "a segmentation": ("vtkMRMLSegmentationNode",),
    "a segmentation or a label map": ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"),
    "a segmentation, or a volume of labels": (
        "vtkMRMLSegmentationNode",
        "vtkMRMLLabelMapVolumeNode",
        "vtkMRMLScalarVolumeNode",
    ),
    "a transform": ("vtkMRMLTransformNode",),
    "a list of points": ("vtkMRMLMarkupsNode",),
    "a model or a segmentation": ("vtkMRMLModelNode", "vtkMRMLSegmentationNode"),
}
VOLUME, SEGMENTATION, STRUCTURES, MASK, TRANSFORM, POINTS, SURFACE = _KINDS
_REMEDIES = {
    "vtkMRMLSequenceNode": "Take the proxy volume that the sequence browser shows.",
    "vtkMRMLScalarVolumeNode": "Convert it to a label map first, or choose another node.",
    "vtkMRMLLabelMapVolumeNode": "A label map comes along among the volumes.",
    "vtkMRMLSegmentationNode": "A segmentation comes along among the segmentations.",
    "vtkMRMLDiffusionTensorVolumeNode": "Take a scalar volume made from it, such as a baseline.",
}


def requireKind(node: Any, argument: str, kind: str) -> None:
    """Raises InvalidImage or InvalidOption unless an argument is a node of a kind in the scene.

    kind: one of this module's names, such as `VOLUME`.
    """
    what, refusal = f"{argument} is {kind}", InvalidImage if kind == VOLUME else InvalidOption
    if not isinstance(node, slicer.vtkMRMLNode):
        isText = isinstance(node, str)
        got = repr(node) if isText else "nothing" if node is None else type(node).__name__
        remedy = f"Give the node itself: getNode({node!r})." if isText else "Give a node."
        raise refusal(what, got=got, remedy=remedy)
    className = node.GetClassName()
    if className not in _KINDS[kind] and not (kind in (TRANSFORM, POINTS) and _isA(node, kind)):
        remedy = _REMEDIES.get(className, "")
        raise refusal(what, where=node.GetName(), got=className, remedy=remedy)
    if node.GetScene() is None:
        raise refusal(
            f"{argument} is in a scene",
            where=node.GetName(),
            got="a node that is in none",
            remedy="Add it to slicer.mrmlScene, or choose one that was not deleted.",
        )


def _isA(node, kind: str) -> bool:
    return any(node.IsA(name) for name in _KINDS[kind])


def asNodes(value: Any) -> tuple:
    """Several nodes, each once; one node is a list of one."""
    if isinstance(value, slicer.vtkMRMLNode | str) or not hasattr(value, "__iter__"):
        return (value,)
    return tuple(dict.fromkeys(value))
