"""Displacement fields as Slicer's transform nodes, and nodes put under them."""

from __future__ import annotations

import slicer
import vtk
from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid

from NeuralRegistrationLib.Scene import Geometry

RECORD = "NeuralRegistration.Record"  # attribute of a node: how its transform was made
OWN_ROLES = "NeuralRegistration."  # the beginning of the roles of our own references
OWN_PLACE = OWN_ROLES + "ownPlace"  # of what is carried along: the transform it observed before
WARPED = OWN_ROLES + "warped"  # of a result: the moving volume on the fixed one's grid
COPIES = OWN_ROLES + "copies"  # of a result: what else was resampled through it
_MOST_START_SAMPLES = 500_000


def fill(node, gridTransform, *, fixed=None, moving=None) -> None:
    """Let a transform node map what belongs to the moving image onto the fixed one.

    gridTransform: fixed to moving; the node holds it as its transform *from* the parent.
    fixed, moving: the volume nodes, referenced by the node as Slicer's DICOM export wants it.
    """
    node.SetAndObserveTransformNodeID(None)
    node.SetAndObserveTransformFromParent(gridTransform)
    for volume, role in (
        (fixed, node.GetFixedNodeReferenceRole()),
        (moving, node.GetMovingNodeReferenceRole()),
    ):
        node.SetNodeReferenceID(role, volume.GetID() if volume is not None else None)


def start(node, fixedGrid: Grid, *, inverse: bool = False):
    """A transform node as where a registration begins: a matrix, or steps that sample a field.

    Everything above the node counts: it maps points from the fixed image to the moving one, as the
    transform node of an earlier registration does. inverse: from the moving image to the fixed one;
    the grid is that of the moving side then.
    """
    fromParent = vtk.vtkGeneralTransform()
    (node.GetTransformToWorld if inverse else node.GetTransformFromWorld)(fromParent)
    linear = vtk.vtkTransform()
    if slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(fromParent, linear):
        return Geometry.matrixInLps(linear.GetMatrix())
    return Geometry.sample(fromParent, Geometry.coarse(fixedGrid, _MOST_START_SAMPLES))


def nodesAbove(node) -> list:
    """The transform nodes above a node, the nearest first."""
    above = []
    while (node := node.GetParentTransformNode()) is not None:
        above.append(node)
    return above


def requireTransformable(node) -> None:
    """Raises InvalidOption when a displacement field cannot move this node."""
    isNode = isinstance(node, slicer.vtkMRMLNode)
    if (
        not isNode
        or not node.IsA("vtkMRMLTransformableNode")
        or not node.CanApplyNonLinearTransforms()
    ):
        raise InvalidOption(
            "only volumes, segmentations, markups and models can be carried along",
            where=node.GetName() if isNode else "",
            got=node.GetClassName() if isNode else repr(node),
        )


def pairOf(transformNode) -> tuple:
    """The fixed and the moving volume that a transform node refers to; None where it does not."""
    roles = transformNode.GetFixedNodeReferenceRole(), transformNode.GetMovingNodeReferenceRole()
    fixed, moving = (transformNode.GetNodeReference(role) for role in roles)
    return fixed, moving


def nodesUnder(transformNode) -> list:
    """The nodes that directly observe a transform node, without those only made for display.

    Those are hidden and not saved; what is only hidden may be somebody's work.
    """
    scene = transformNode.GetScene()
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLTransformableNode", scene)
        if node.GetParentTransformNode() is transformNode
        and not (node.GetHideFromEditors() and not node.GetSaveWithScene())
    ]


def carriedBy(node, volume):
    """The transform above a node that already takes it from a volume's place to another; or None.

    That is a result of which the volume is the moving side, while the volume itself was left at its
    place. What belongs to the volume is meant without it: else a second result would move it twice.
    """
    aboveVolume = nodesAbove(volume) if volume is not None else []
    for transform in nodesAbove(node) if volume is not None else []:
        if pairOf(transform)[1] is volume and transform not in aboveVolume:
            return transform
    return None


def carryAlong(node, transformNode, instead=None):
    """Put a node under a transform without changing what it holds; None or a node made for it.

    A node that already observes transforms keeps them: a copy of them, placed below
    `transformNode`, comes between, because the originals may carry other nodes too.
    instead: a transform above the node whose effect the new one replaces, see `carriedBy`.
    Raises InvalidOption when the node cannot be transformed.
    """
    requireTransformable(node)
    parent = node.GetParentTransformNode()
    if instead is None:
        node.SetNodeReferenceID(OWN_PLACE, None if parent is None else parent.GetID())
    if parent is instead:
        node.SetAndObserveTransformNodeID(transformNode.GetID())
        return None
    below = node.GetNodeReference(OWN_PLACE) or parent
    name = f"{below.GetName()} below {transformNode.GetName()}"
    between = node.GetScene().AddNewNodeByClass("vtkMRMLTransformNode", name)
    between.SetAndObserveTransformToParent(_copy(Geometry.between(parent, instead)))
    between.SetAndObserveTransformNodeID(transformNode.GetID())
    node.SetAndObserveTransformNodeID(between.GetID())
    return between


def _copy(transform):
    """The same transform, no longer following the nodes it was read from."""
    if slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(
        transform, linear := vtk.vtkTransform()
    ):
        return linear
    copy = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.DeepCopyTransform(copy, transform)
    return copy
