"""Displacement fields as Slicer's transform nodes, and nodes put under them."""

from __future__ import annotations

import slicer
import vtk
from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid

from NeuralRegistrationLib.Scene import Geometry

RECORD = "NeuralRegistration.Record"  # attribute of a node: how its transform was made
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
    if not (node.IsA("vtkMRMLTransformableNode") and node.CanApplyNonLinearTransforms()):
        raise InvalidOption(
            "only volumes, segmentations, markups and models can be carried along",
            where=node.GetName(),
            got=node.GetClassName(),
        )


def carryAlong(node, transformNode):
    """Put a node under a transform without changing what it holds; None or a node made for it.

    A node that already observes transforms keeps them: a copy of them, placed below
    `transformNode`, comes between, because the originals may carry other nodes too.
    Raises InvalidOption when the node cannot be transformed.
    """
    requireTransformable(node)
    parent = node.GetParentTransformNode()
    if parent is None:
        node.SetAndObserveTransformNodeID(transformNode.GetID())
        return None
    toWorld = vtk.vtkGeneralTransform()
    parent.GetTransformToWorld(toWorld)
    name = f"{parent.GetName()} below {transformNode.GetName()}"
    between = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    between.SetAndObserveTransformToParent(_copy(toWorld))
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
