"""Whether a node holds the same content at the same position as before."""

from __future__ import annotations

import vtk

from NeuralRegistrationLib.Scene import Geometry


def fingerprint(node) -> tuple:
    """Something that changes with a node's voxels or labels, and with their position.

    Looks, names and what else is shown do not count. Cheap: nothing is read.
    """
    return heldBy(node), _position(node)


def heldBy(node) -> tuple | None:
    """Something that changes with what a node holds in its own space; None for other kinds.

    Voxels, segments, transforms, surfaces and control points count. Cheap: nothing is read.
    """
    return next((look(node) for kind, look in _LOOKS.items() if node.IsA(kind)), None)


def _ofPoints(node) -> tuple:
    points = range(node.GetNumberOfControlPoints())
    return tuple(
        (node.GetNthControlPointLabel(n), *node.GetNthControlPointPosition(n)) for n in points
    )


def _ofTransform(node) -> tuple:
    """Of what it maps; None where it holds nothing yet."""
    fromParent = node.GetTransformFromParent()
    return (fromParent and fromParent.GetMTime(),)


def _ofVoxels(node) -> tuple:
    matrix, image = vtk.vtkMatrix4x4(), node.GetImageData()
    node.GetIJKToRASMatrix(matrix)
    return image and image.GetMTime(), Geometry.matrixToArray(matrix).tobytes()


def _ofSegments(node) -> tuple:
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetNthSegment(i) for i in range(segmentation.GetNumberOfSegments())]
    drawnAs = segmentation.GetSourceRepresentationName()
    return tuple(
        (segment.GetName(), segment.GetLabelValue(), drawn and drawn.GetMTime())
        for segment in segments
        for drawn in [segment.GetRepresentation(drawnAs)]
    )


def _ofSurface(node) -> tuple:
    mesh = node.GetMesh()
    return (mesh and mesh.GetMTime(),)


_LOOKS = {
    "vtkMRMLVolumeNode": _ofVoxels,
    "vtkMRMLSegmentationNode": _ofSegments,
    "vtkMRMLTransformNode": _ofTransform,
    "vtkMRMLMarkupsNode": _ofPoints,
    "vtkMRMLModelNode": _ofSurface,
}


def _position(node) -> object:
    """The matrix above the node, or when what bends it changed last."""
    parent = node.GetParentTransformNode()
    matrix = Geometry.linearBetween(parent, None)
    if matrix is not None:
        return matrix.tobytes()
    return parent.GetID(), parent.GetTransformToWorldMTime()
