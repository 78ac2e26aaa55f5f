"""Whether a node holds the same content at the same position as before."""

from __future__ import annotations

import vtk

from NeuralRegistrationLib.Scene import Geometry

_LABELS = "Binary labelmap"


def fingerprint(node) -> tuple:
    """Something that changes with a node's voxels or labels, and with their position.

    Looks, names and what else is shown do not count. Cheap: nothing is read.
    """
    content = _ofSegments(node) if node.IsA("vtkMRMLSegmentationNode") else _ofVoxels(node)
    return content, _position(node)


def _ofVoxels(node) -> tuple:
    matrix, image = vtk.vtkMatrix4x4(), node.GetImageData()
    node.GetIJKToRASMatrix(matrix)
    return image and image.GetMTime(), Geometry.matrixToArray(matrix).tobytes()


def _ofSegments(node) -> tuple:
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetNthSegment(i) for i in range(segmentation.GetNumberOfSegments())]
    return tuple(
        (segment.GetName(), segment.GetLabelValue(), image and image.GetMTime())
        for segment in segments
        for image in [segment.GetRepresentation(_LABELS)]
    )


def _position(node) -> object:
    """The matrix above the node, or when what bends it changed last."""
    matrix = Geometry.parentToWorld(node)
    if matrix is not None:
        return matrix.tobytes()
    parent = node.GetParentTransformNode()
    return parent.GetID(), parent.GetTransformToWorldMTime()
