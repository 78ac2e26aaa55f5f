"""Landmarks on both sides: a point on the fixed image proposes its partner, which is corrected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import vtk

from NeuralRegistrationLib.Review.Request import Subject, definedPoints
from NeuralRegistrationLib.Scene import Geometry

_CHANGES = (
    "PointAddedEvent",
    "PointModifiedEvent",
    "PointRemovedEvent",
    "PointPositionDefinedEvent",
    "PointPositionUndefinedEvent",
)


@dataclass(frozen=True)
class LandmarkError:
    """How far a landmark is from its partner. fixed: RAS mm. after_voxels: of the moving image."""

    name: str
    fixed: tuple[float, float, float]
    before_mm: float
    after_mm: float
    after_voxels: float | None


class LandmarkPairs:
    """Watches both lists of points. onChanged: called when a point came, went or was moved."""

    def __init__(self, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self._subject: Subject | None = None
        self._observed: list[tuple] = []
        self._fixed = None
        self._proposed: set[str] = set()  # ids of its points that once had a partner
        self._proposing = False

    def follow(self, subject: Subject | None) -> None:
        """Watch the points of this subject from now on; None to let go."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        self._subject = subject
        if subject is None:
            return
        for node in filter(None, (subject.fixedPoints, subject.movingPoints)):
            for event in _CHANGES:
                tag = node.AddObserver(getattr(node, event), self._update)
                self._observed.append((node, tag))
        if subject.fixedPoints is not None:
            fixed = subject.fixedPoints
            if fixed is not self._fixed:  # ids begin anew in each list
                self._fixed, self._proposed = fixed, set()
            ids = [fixed.GetNthControlPointID(n) for n, _name in definedPoints(fixed)]
            self._proposed |= set(ids)  # points that exist already are left as they are

    def _update(self, caller, event) -> None:
        if self._proposing:
            return
        if caller is self._subject.fixedPoints and self._subject.transform is not None:
            self._propose()
        self._onChanged()

    def _propose(self) -> None:
        """Put a partner of each new fixed point where the transform maps it."""
        subject = self._subject
        if subject.movingPoints is None:
            return
        self._proposing = True
        try:
            for n, name in definedPoints(subject.fixedPoints):
                pointId = subject.fixedPoints.GetNthControlPointID(n)
                if pointId not in self._proposed:
                    self._proposed.add(pointId)
                    point = np.zeros(3)
                    subject.fixedPoints.GetNthControlPointPositionWorld(n, point)
                    _putPartner(subject, name, partnerOf(subject, point))
        finally:
            self._proposing = False


def _putPartner(subject: Subject, name: str, partner: np.ndarray) -> None:
    """A partner of a new point: one that waits for its place under this name, or a new one.

    Where as many partners of the name are there as points, they were placed before, and stay.
    """
    node = subject.movingPoints
    points, partners = (
        [label for _n, label in definedPoints(side)] for side in (subject.fixedPoints, node)
    )
    if partners.count(name) >= points.count(name):
        return
    for n in range(node.GetNumberOfControlPoints()):
        isWaiting = node.GetNthControlPointPositionStatus(n) == node.PositionUndefined
        if isWaiting and node.GetNthControlPointLabel(n) == name:
            node.SetNthControlPointPosition(n, *partner)
            return
    node.AddControlPoint(vtk.vtkVector3d(*partner), name)


def partnerOf(subject: Subject, fixedRas) -> np.ndarray:
    """Where the transform maps a point, in the space of the moving points' node."""
    inMoving = subject.fromWorld().TransformPoint(fixedRas)
    toNode = subject.toMovingSide(subject.movingPoints)
    toNode.Inverse()
    return np.array(toNode.TransformPoint(inMoving))


def errors(subject: Subject) -> list[LandmarkError]:
    """The distance of each pair, without and with the transform."""
    pairs = list(subject.pairs())
    if not pairs:
        return []
    fixed = np.array([point for _name, point, _partner in pairs])
    partner = np.array([partner for _name, _point, partner in pairs])
    mapped = Geometry.throughVtk(subject.fromWorld(), fixed)
    after = np.linalg.norm(mapped - partner, axis=1)
    before = np.linalg.norm(fixed - partner, axis=1)
    voxels = _inVoxels(subject, mapped, partner)
    return [
        LandmarkError(name, tuple(Geometry.flip(point)), float(b), float(a), v)
        for (name, point, _partner), b, a, v in zip(pairs, before, after, voxels, strict=True)
    ]


def _inVoxels(subject: Subject, points: np.ndarray, others: np.ndarray) -> list[float | None]:
    """How many voxels of the moving volume lie between points; what is above the volume counts."""
    volume = subject.movingVolume
    if volume is None:
        return [None] * len(points)
    toNode, matrix = subject.toMovingSide(volume), vtk.vtkMatrix4x4()
    toNode.Inverse()
    volume.GetIJKToRASMatrix(matrix)
    axes = Geometry.matrixInLps(matrix)[:3, :3]
    gap = Geometry.throughVtk(toNode, points) - Geometry.throughVtk(toNode, others)
    return np.linalg.norm(gap @ np.linalg.inv(axes).T, axis=1).tolist()


def repeatability(first, second) -> list[float]:
    """How far two lists of the same points are apart, in mm, where both define a point."""
    names = {name: n for n, name in definedPoints(second)}
    gaps = []
    for n, name in definedPoints(first):
        if name in names:
            one, other = np.zeros(3), np.zeros(3)
            first.GetNthControlPointPositionWorld(n, one)
            second.GetNthControlPointPositionWorld(names[name], other)
            gaps.append(float(np.linalg.norm(one - other)))
    return gaps
