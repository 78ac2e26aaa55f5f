"""Lists of points in the scene as landmarks that steer."""

from __future__ import annotations

import numpy as np
from neuralreg.errors import InvalidOption
from neuralreg.io.landmark_files import Landmarks, Pairs
from neuralreg.registration.guides.landmark_guide import LandmarkGuide

from NeuralRegistrationLib.Scene import Geometry, Transforms


def landmarkGuide(
    fixedNode, movingNode, fixedVolume, movingVolume, weight=None, toleranceMm=None
) -> LandmarkGuide | None:
    """The points of two nodes as pairs in LPS mm; None without nodes.

    weight, toleranceMm: as in `LandmarkGuide`, whose own are taken for None. What an earlier result
    carries counts at its own place. Raises InvalidOption for one node alone, for points without a
    partner, and for a weight or a tolerance without points, or out of range.
    """
    pull = {"weight": weight, "tolerance_mm": toleranceMm}
    pull = {name: value for name, value in pull.items() if value is not None}
    if fixedNode is None and movingNode is None:
        if pull:
            raise InvalidOption(
                "a weight or a tolerance of landmarks comes with landmarks",
                got="no lists of points",
                remedy="Give fixedLandmarks and movingLandmarks, too.",
            )
        return None
    if fixedNode is None or movingNode is None:
        raise InvalidOption(
            "landmarks that steer are on both images",
            got=f"only {(fixedNode or movingNode).GetName()}",
            remedy="Choose the list of points of the other image, too.",
        )
    sides = (fixedNode, fixedVolume), (movingNode, movingVolume)
    try:
        pairs = Pairs.of(*(_landmarks(node, volume) for node, volume in sides))
        return LandmarkGuide.of(pairs, **pull)
    except InvalidOption as error:
        raise error.at(f"{fixedNode.GetName()}, {movingNode.GetName()}") from error


def _landmarks(node, volume) -> Landmarks:
    moves = Geometry.between(node.GetParentTransformNode(), Transforms.carriedBy(node, volume))
    names, points = [], []
    for n in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(n) == node.PositionPreview:
            continue  # it hangs on the mouse, and is no point before the click
        names.append(node.GetNthControlPointLabel(n))
        isDefined = node.GetNthControlPointPositionStatus(n) == node.PositionDefined
        point = np.zeros(3)
        node.GetNthControlPointPosition(n, point)
        lps = Geometry.flip(np.array(moves.TransformPoint(point)))
        points.append(tuple(lps.tolist()) if isDefined else None)
    return Landmarks(tuple(names), tuple(points))
