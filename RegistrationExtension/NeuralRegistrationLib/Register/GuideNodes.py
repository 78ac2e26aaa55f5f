"""Nodes that steer a registration beside its two volumes, as what the core takes of them."""

from __future__ import annotations

from typing import Any

from neuralreg.errors import InvalidOption
from neuralreg.worker.serialization import Steps
from vtk.util.numpy_support import vtk_to_numpy

from NeuralRegistrationLib.Scene import Geometry, NodeChecks, Segmentations, Transforms, Volumes

PAIRS = {"channels": NodeChecks.VOLUME, "surfaces": NodeChecks.MODEL}
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
        for side, node in zip(_SIDES, pair, strict=True):
            NodeChecks.requireKind(node, f"one of the {name} ({side})", PAIRS[name])
    return tuple(map(tuple, pairs))


def guides(settings, movingVolume) -> Steps:
    """What steers, by the names of `RegisterJob`, in short steps.

    What an earlier result of the moving volume carries counts at its own place.
    """
    channels = []
    for pair in settings.channels:
        channels.append((yield from _both(pair, movingVolume)))
    labels = settings.fixedLabels, settings.movingLabels
    rigid = settings.rigidParts
    return {
        "channels": tuple(channels),
        "labels": (yield from _both(labels, movingVolume)),
        "rigid": None if rigid is None else (yield from Volumes.contentOf(rigid).record()),
        "sliding": (yield from Segmentations.maskLayers(settings.slidingMask)),
        "surfaces": tuple(_surfaces(pair, movingVolume) for pair in settings.surfaces),
    }


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
    sides = (_below(node, movingVolume, side) for side, node in enumerate(pair))
    return tuple(pointsOf(node, below) for node, below in zip(pair, sides, strict=True))


def _below(node, movingVolume, side: int):
    """The former result that has carried a node of the moving side away; or None."""
    return Transforms.carriedBy(node, movingVolume) if side and node is not movingVolume else None


def pointsOf(modelNode, below=None):
    """The points (n, 3) of a model, LPS mm, in the world or below a transform node."""
    data = modelNode.GetPolyData()
    if data is None or not data.GetNumberOfPoints():
        raise InvalidOption(
            "a surface has points",
            where=modelNode.GetName(),
            got="none",
            remedy="Choose another model.",
        )
    stored = Geometry.flip(vtk_to_numpy(data.GetPoints().GetData()).astype(float))
    return Geometry.throughVtk(Geometry.between(modelNode.GetParentTransformNode(), below), stored)
