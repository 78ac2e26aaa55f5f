"""Nodes that steer a registration beside its two volumes, as what the core takes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.worker.serialization import Steps
from vtk.util.numpy_support import vtk_to_numpy

from NeuralRegistrationLib.Scene import (
    Geometry,
    NodeChecks,
    Segmentations,
    Structures,
    Transforms,
    Volumes,
)

PAIRS = {"channels": NodeChecks.VOLUME, "surfaces": NodeChecks.SURFACE}
_SIDES = ("fixed", "moving")


def checkPairs(pairs: Any, name: str) -> tuple:
    """Pairs of nodes of one kind. Raises InvalidOption or InvalidImage."""
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InvalidOption(
                f"{name} are pairs of a node of the fixed and one of the moving side",
                got=repr(pair)[:80],
                wanted=f"{name}=[(fixedNode, movingNode)]",
            )
    sides = [
        [_side(one, name, side) for side, one in zip(_SIDES, pair, strict=True)] for pair in pairs
    ]
    return tuple(map(tuple, sides))


def _side(given: Any, name: str, side: str):
    """A node, or a segmentation with the id of the segment that is meant."""
    hasSegment = name == "surfaces" and isinstance(given, tuple | list) and len(given) == 2
    node, segment = given if hasSegment else (given, None)
    NodeChecks.requireKind(node, f"one of the {name} ({side})", PAIRS[name])
    return node if segment is None else (node, *Segmentations.chosenSegments(node, segment))


def guides(settings, movingVolume, notes: list[str]) -> Steps:
    """What steers, by the names of `RegisterJob`, in short steps.

    What an earlier result of the moving volume carries counts at its own place. notes: what the
    numbers of segments mean is appended.
    """
    channels = []
    for pair in settings.channels:
        channels.append((yield from _both(pair, movingVolume)))
    mask = settings.slidingMask, settings.slidingMaskSegments
    return {
        "channels": tuple(channels),
        "labels": (yield from _labels(settings, movingVolume, notes)),
        "rigid": (yield from _rigidParts(settings)),
        "sliding": (yield from Segmentations.maskLayers(*mask)),
        "surfaces": tuple(_surfaces(pair, movingVolume) for pair in settings.surfaces),
    }


def _labels(settings, movingVolume, notes: list[str]) -> Steps:
    """Both label maps; where one is a segmentation, with numbers by the names of structures."""
    pair = settings.fixedLabels, settings.movingLabels
    if not any(map(_isSegmentation, pair)):
        return (yield from _both(pair, movingVolume))
    numbers, names = yield from Structures.numberNames(*pair)
    records = []
    for side, node in enumerate(pair):
        labels = None
        if node is not None:
            labels = yield from Structures.labelChannels(node, numbers, names[side])
            labels = _requireLabels(labels, node).within(_below(node, movingVolume, side))
            labels = yield from labels.record()
        records.append(labels)
    words = ", ".join(f"{number} {name}" for name, number in numbers.items())
    notes.append(f"structures that drive belong together by their names: {words}")
    return tuple(records)


def _rigidParts(settings) -> Steps:
    node = settings.rigidParts
    if node is None:
        return None
    if not _isSegmentation(node):
        return (yield from Volumes.contentOf(node).record())
    labels = yield from Structures.segmentLabels(node, settings.rigidPartsSegments)
    return (yield from _requireLabels(labels, node).record())


def _requireLabels(labels, node):
    if labels is None:
        raise InvalidImage(
            "what steers has a segment that is not empty",
            where=node.GetName(),
            got="nothing that is drawn",
            remedy="Draw the structures, or choose another segmentation.",
        )
    return labels


def _surfaceOf(modelNode):
    """What a model shows as a surface: without points that belong to no cell of it."""
    mesh = modelNode.GetMesh()
    if mesh is None or not mesh.GetNumberOfCells():
        return mesh
    if not isinstance(mesh, vtk.vtkPolyData):  # a volumetric one: its outside
        outside = vtk.vtkDataSetSurfaceFilter()
        outside.SetInputData(mesh)
        outside.Update()
        mesh = outside.GetOutput()
    bare = vtk.vtkPolyData()
    bare.CopyStructure(mesh)
    clean = vtk.vtkCleanPolyData()
    clean.PointMergingOff()
    clean.SetInputData(bare)
    clean.Update()
    return clean.GetOutput()


def _isSegmentation(node) -> bool:
    return node is not None and node.IsA("vtkMRMLSegmentationNode")


def _both(pair: tuple, movingVolume) -> Steps:
    """The voxels of a volume of each side; None where there is none."""
    records = []
    for side, node in enumerate(pair):
        if node is None:
            records.append(None)
            continue
        content = Volumes.contentOf(node).within(_below(node, movingVolume, side))
        records.append((yield from content.record()))
    return tuple(records)


def _surfaces(pair: tuple, movingVolume) -> tuple:
    points = []
    for side, given in enumerate(pair):
        node, segment = given if isinstance(given, tuple) else (given, None)
        points.append(pointsOf(node, segment, _below(node, movingVolume, side)))
    return tuple(points)


def _below(node, movingVolume, side: int):
    """The former result that has carried a node of the moving side away; or None."""
    return Transforms.carriedBy(node, movingVolume) if side and node is not movingVolume else None


def pointsOf(node, segment: str | None = None, below=None):
    """The points (n, 3) of a model or of segments, LPS mm, in the world or below a transform node.

    segment: the id of the one that counts; all unless given. Raises InvalidOption without points.
    """
    if node is None:
        raise InvalidOption(
            "surfaces that steered are in the scene",
            got="one that was deleted",
            remedy="Undo that, or register without surfaces.",
        )
    if _isSegmentation(node):
        surfaces = Segmentations.surfacesOf(node, None if segment is None else [segment])
    else:
        surfaces = [_surfaceOf(node)]
    parts = [vtk_to_numpy(s.GetPoints().GetData()) for s in surfaces if s and s.GetNumberOfPoints()]
    if not parts:
        raise InvalidOption(
            "a surface has points",
            where=node.GetName(),
            got="none",
            remedy="Choose another model or segment.",
        )
    stored = Geometry.flip(np.concatenate(parts).astype(float))
    return Geometry.throughVtk(Geometry.between(node.GetParentTransformNode(), below), stored)
