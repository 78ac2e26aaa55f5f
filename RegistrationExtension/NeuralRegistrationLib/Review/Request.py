"""What is to be reviewed, and how the core gets it: a transform node and its images.

The transform counts with everything above it, as it maps points from the fixed image in the world
to the moving one. Nodes that are under the transform already are taken as they are without it: the
review compares both sides as they were before the registration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import slicer
import vtk
from neuralreg.errors import InvalidImage
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Register.RegistrationRecord import (
    areOfOne,
    corrections,
    slidingMask,
    steeringKinds,
    steeringPoints,
)
from NeuralRegistrationLib.Scene import (
    Geometry,
    NodeChecks,
    Structures,
    TransformRecords,
    Transforms,
    Volumes,
)

_KINDS = {
    "transform": NodeChecks.TRANSFORM,
    "fixedVolume": NodeChecks.VOLUME,
    "movingVolume": NodeChecks.VOLUME,
    "fixedSegments": NodeChecks.STRUCTURES,
    "movingSegments": NodeChecks.STRUCTURES,
    "fixedPoints": NodeChecks.POINTS,
    "movingPoints": NodeChecks.POINTS,
    "mask": NodeChecks.STRUCTURES,
}


@dataclass(frozen=True)
class Subject:
    """The nodes of a review: volumes, structures and markups of both sides.

    fixedSegments, movingSegments: segmentations or label maps. mask: either, on the fixed side;
    only what is inside counts. profile: a file of limits, those of TG-132 if empty. All but the
    transform may be missing.
    """

    transform: Any
    fixedVolume: Any = None
    movingVolume: Any = None
    fixedSegments: Any = None
    movingSegments: Any = None
    fixedPoints: Any = None
    movingPoints: Any = None
    mask: Any = None
    profile: str = ""

    @classmethod
    def of(cls, parameters) -> Subject:
        """Those that the panel's parameters name."""
        return cls(**{part.name: getattr(parameters, part.name) for part in fields(cls)})

    def requireKinds(self) -> None:
        """Raises InvalidOption or InvalidImage where a node is of another kind than its role."""
        for role, kind in _KINDS.items():
            if (node := getattr(self, role)) is not None or role == "transform":
                NodeChecks.requireKind(node, role, kind)

    @property
    def isThere(self) -> bool:
        """Whether all of its nodes are in a scene."""
        return all(node.GetScene() is not None for node in self.nodes().values())

    def nodes(self) -> dict[str, Any]:
        """The nodes that are there, by their roles."""
        named = {part.name: getattr(self, part.name) for part in fields(self)}
        return {role: node for role, node in named.items() if hasattr(node, "GetScene")}

    def job(self, detail: str, maps: tuple[str, ...] = ()) -> Steps:
        """The arguments of the worker's job `review`, in short steps."""
        sides = self.fixedSegments, self.movingSegments
        numbers, (ofFixed, ofMoving) = yield from Structures.numberNames(*sides)
        pairs = list(self.pairs())
        return {
            "transform": (yield from self.record()),
            "content": (yield from TransformRecords.contentOf(self.transform)),
            "fixed": (yield from self._volume(self.fixedVolume)),
            "moving": (yield from self._volume(self.movingVolume)),
            "fixed_labels": (yield from self._labels(self.fixedSegments, numbers, ofFixed)),
            "moving_labels": (yield from self._labels(self.movingSegments, numbers, ofMoving)),
            "names": {str(number): name for name, number in numbers.items()},
            "fixed_points": [tuple(fixed) for _name, fixed, _moving in pairs],
            "moving_points": [tuple(moving) for _name, _fixed, moving in pairs],
            "point_names": [name for name, _fixed, _moving in pairs],
            "steering_points": steeringPoints(self.transform),
            "corrections": corrections(self.transform),
            "mask": (yield from self._mask()),
            "sliding": (yield from self._sliding()),
            "steering": steeringKinds(self.transform),
            **(yield from self._inverse()),
            "profile": self.profile or None,
            "detail": detail,
            "maps": maps,
        }

    # The transform

    def fromWorld(self) -> vtk.vtkGeneralTransform:
        """The transform of RAS points from the fixed image to the moving one."""
        transform = vtk.vtkGeneralTransform()
        self.transform.GetTransformFromWorld(transform)
        return transform

    def record(self) -> Steps:
        """The transform as a matrix, as its own grid, or sampled over the fixed image."""
        return (yield from TransformRecords.recordOf(self.transform, self.fixedVolume))

    def _inverse(self) -> Steps:
        """The opposite transform, where a node of the scene holds it, and where it comes from."""
        node = opposite(self.transform)
        record = (
            None
            if node is None
            else (yield from TransformRecords.recordOf(node, self.movingVolume))
        )
        isOwn = node is not None and areOfOne(self.transform, node)
        return {"inverse": record, "own_inverse": isOwn}

    def sides(self) -> Steps:
        """Both volumes without the effect of the transform: fixed and moving."""
        fixed = yield from self._volume(self.fixedVolume)
        return fixed, (yield from self._volume(self.movingVolume))

    # Volumes and segments

    def _volume(self, node) -> Steps:
        return None if node is None else (yield from self._voxels(Volumes.contentOf(node)))

    def _voxels(self, stored) -> Steps:
        """The record of a node's voxels, without the effect of the transform itself."""
        return (yield from stored.within(self._without(stored.node)).record())

    def _without(self, node):
        """The transform whose effect on a node does not count: the reviewed one, or that of another
        result which carries what belongs to one of the images; None where there is none."""
        if self.transform in Transforms.nodesAbove(node):
            return self.transform
        if node in (self.movingSegments, self.movingPoints):
            return Transforms.carriedBy(node, self.movingVolume)
        isOfFixed = node in (self.fixedSegments, self.mask, slidingMask(self.transform)[0])
        return Transforms.carriedBy(node, self.fixedVolume) if isOfFixed else None

    def _labels(self, node, numbers: dict[str, int], names: dict[int, str]) -> Steps:
        """A label map of the structures with these numbers; None without any."""
        labels = None if node is None else (yield from Structures.labelMap(node, numbers, names))
        return None if labels is None else (yield from self._voxels(labels))

    def _mask(self) -> Steps:
        """All structures of the mask as one; None without a mask."""
        if self.mask is None:
            return None
        mask = yield from Structures.asMask(self.mask)
        if mask is None:
            raise InvalidImage(
                "a mask has a segment that is not empty",
                where=self.mask.GetName(),
                remedy="Draw the region that counts, or choose another mask.",
            )
        return (yield from self._voxels(mask))

    def _sliding(self) -> Steps:
        """What slid as one mask; None where nothing did, or where its outline is gone."""
        node, segments = slidingMask(self.transform)
        mask = None if node is None else (yield from Structures.asMask(node, segments))
        return None if mask is None else (yield from self._voxels(mask))

    # Landmarks

    def pairs(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name and both points, LPS mm, of each landmark that is defined on both sides.

        Partners have the same name, where names are unique; else the same position in the lists.
        """
        if self.fixedPoints is None or self.movingPoints is None:
            return
        partners = _partners(self.fixedPoints, self.movingPoints)
        for n, name in definedPoints(self.fixedPoints):
            if n in partners:
                fixed = np.zeros(3)
                self.fixedPoints.GetNthControlPointPositionWorld(n, fixed)
                moving = self.movingPoint(self.movingPoints, partners[n])
                yield name, Geometry.flip(fixed), moving

    def unpaired(self) -> list[str]:
        """The names of landmarks that have no partner, of either side; none without both lists."""
        if self.fixedPoints is None or self.movingPoints is None:
            return []
        partners = _partners(self.fixedPoints, self.movingPoints)
        alone = [name for n, name in definedPoints(self.fixedPoints) if n not in partners]
        taken = set(partners.values())
        return alone + [name for n, name in definedPoints(self.movingPoints) if n not in taken]

    def movingPoint(self, node, n: int) -> np.ndarray:
        """A point of the moving side without the transform, LPS mm."""
        point = np.zeros(3)
        node.GetNthControlPointPosition(n, point)
        return Geometry.flip(np.array(self.toMovingSide(node).TransformPoint(point)))

    def toMovingSide(self, node) -> vtk.vtkGeneralTransform:
        """From the space in which a node is stored to that of the moving image, RAS."""
        return Geometry.between(node.GetParentTransformNode(), self._without(node))


def definedPoints(markups) -> list[tuple[int, str]]:
    """Number and name of each control point whose position is defined."""
    return [
        (n, markups.GetNthControlPointLabel(n))
        for n in range(markups.GetNumberOfControlPoints())
        if markups.GetNthControlPointPositionStatus(n) == markups.PositionDefined
    ]


def _partners(fixed, moving) -> dict[int, int]:
    """Which point of the one side belongs to which of the other."""
    ours, theirs = definedPoints(fixed), definedPoints(moving)
    names = {name: n for n, name in theirs}
    unique = len(names) == len(theirs) and len({name for _n, name in ours}) == len(ours)
    if unique and any(name in names for _n, name in ours):
        return {n: names[name] for n, name in ours if name in names}
    defined = {n for n, _name in theirs}
    return {n: n for n, _name in ours if n in defined}


def opposite(transformNode):
    """The transform node of the same pair in the other direction, or None.

    One that was registered on its own comes before one that was computed as the inverse.
    """
    pair = Transforms.pairOf(transformNode)
    if None in pair or transformNode.GetParentTransformNode() is not None:
        return None
    nodes = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLTransformNode", transformNode.GetScene())
        if Transforms.pairOf(node) == pair[::-1] and node.GetParentTransformNode() is None
    ]
    return min(nodes, key=lambda node: areOfOne(transformNode, node), default=None)
