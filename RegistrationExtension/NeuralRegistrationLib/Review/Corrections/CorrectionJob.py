"""Results corrected by hand, for the panel, scripts and the Python console.

    from NeuralRegistrationLib import correct

    transform = getNode("moving to fixed")
    done = correct(transform, getNode("places"), getNode("partners"), by="A. Reader")
    print(done.before_mm, done.after_mm)
    correct(transform, takeBack=[1])

Only the neighborhood of the points moves. The transform node, the one of the other direction and
the warped volume are filled anew; `done.revert()` restores them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer
from neuralreg.errors import InvalidOption
from neuralreg.worker.messages import Field
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Review import Jobs
from NeuralRegistrationLib.Review.Request import Subject, opposite
from NeuralRegistrationLib.Scene import (
    Geometry,
    NodeChecks,
    Revert,
    Segmentations,
    SubjectHierarchy,
    TransformRecords,
    Transforms,
    Volumes,
)
from NeuralRegistrationLib.Worker.RunJob import runJob

KIND = "correction"
UNCORRECTED = Transforms.OWN_ROLES + "uncorrected"  # the transform as it was registered
_MOST_SAMPLES = 500_000  # of a matrix that becomes a field


@dataclass(frozen=True)
class Corrected:
    """What a correction left in the scene.

    transformNode: the corrected one. inverseTransformNode: of the other direction, corrected too;
    None where the scene has none. warpedVolumeNode: the moving volume, warped anew; None where the
    result has none. before_mm, after_mm: how far each point of all corrections is from its partner.
    largest_change_mm: of the whole transform. warnings: what to look at.
    """

    transformNode: Any
    inverseTransformNode: Any
    warpedVolumeNode: Any
    before_mm: tuple[float, ...]
    after_mm: tuple[float, ...]
    largest_change_mm: float
    warnings: tuple[str, ...]
    changes: Revert.Changes

    def revert(self) -> tuple[str, ...]:
        """Restore what was there before; sentences on what was left alone."""
        return self.changes.revert()


def correct(
    result,
    fixedPoints=None,
    movingPoints=None,
    *,
    radius_mm: float | None = None,
    lock=None,
    lockSegments=None,
    takeBack: Sequence[int] = (),
    by: str = "",
    wait: bool = True,
    onDone: Callable | None = None,
    onProgress: Callable | None = None,
):
    """Correct a result around some points, in both directions, and leave the rest as it is.

    result: a `Registered`, or its transform node. fixedPoints: a list of points in the fixed image;
    movingPoints: where they belong in the moving one, paired by name; both are markups nodes or
    (n, 3) RAS mm. radius_mm: within which the neighborhood moves along; nothing changes beyond
    twice of it; 2.5 times the largest shift unless given. lock: a segmentation or label map on the
    fixed side, where nothing moves. lockSegments: those that count, by name or id. takeBack:
    numbers of earlier corrections, from 1 on. by: who corrects, for the record.

    wait=True gives a `Corrected` or raises RegistrationError and leaves the scene as it was;
    wait=False, in Slicer only, gives a `Queue.Job` at once. onProgress, onDone: called with it.
    """
    node = getattr(result, "transformNode", result)
    NodeChecks.requireKind(node, "what is corrected", NodeChecks.TRANSFORM)
    fixed, moving = Transforms.pairOf(node)
    subject = Subject(node, fixed, moving)
    points = None
    if fixedPoints is not None or movingPoints is not None:
        points = {**_points(subject, fixedPoints, movingPoints), "radius_mm": radius_mm, "by": by}
    return submit(
        subject,
        points,
        lock=lock,
        lockSegments=lockSegments,
        takeBack=takeBack,
        wait=wait,
        onDone=onDone,
        onProgress=onProgress,
    )


def submit(
    subject: Subject,
    points: Mapping[str, Any] | None,
    *,
    lock=None,
    lockSegments=None,
    takeBack: Sequence[int] = (),
    wait: bool = False,
    onDone: Callable | None = None,
    onProgress: Callable | None = None,
):
    """The job of a correction, or what it gives. points: as the worker's job takes them."""
    request = _Request(subject, points, lock, lockSegments, takeBack)
    return runJob(
        KIND,
        request.job(),
        request.deliver,
        wait=wait,
        check=request.check,
        scene=subject.transform.GetScene(),
        onDone=onDone,
        onProgress=onProgress,
    )


def pointsOf(subject: Subject) -> dict[str, Any]:
    """The pairs of a subject as the worker's job takes them, LPS mm. Raises InvalidOption."""
    pairs = list(subject.pairs())
    if not pairs:
        raise InvalidOption(
            "a correction has a point, and where it belongs",
            got="no pair",
            remedy="Click a place in the fixed image, and drag its partner to where it belongs.",
        )
    names, fixed, moving = zip(*pairs, strict=True)
    return {"names": names, "fixed": np.array(fixed).tolist(), "moving": np.array(moving).tolist()}


def _points(subject: Subject, fixedPoints, movingPoints) -> dict[str, Any]:
    if not (hasattr(fixedPoints, "IsA") or hasattr(movingPoints, "IsA")):
        sides = [np.asarray(side, float) for side in (fixedPoints, movingPoints)]
        if any(side.ndim != 2 or side.shape[1] != 3 for side in sides):
            raise InvalidOption(
                "points are markups nodes, or lists of x y z in RAS mm",
                got=" and ".join(f"an array {side.shape}" for side in sides),
            )
        fixed, moving = (Geometry.flip(side).tolist() for side in sides)
        return {"names": (), "fixed": fixed, "moving": moving}
    subject = replace(subject, fixedPoints=fixedPoints, movingPoints=movingPoints)
    for role in ("fixedPoints", "movingPoints"):
        NodeChecks.requireKind(getattr(subject, role), role, NodeChecks.POINTS)
    return pointsOf(subject)


class _Request:
    """One correction, from the button until the nodes are filled. Raises RegistrationError."""

    def __init__(self, subject: Subject, points, lock, lockSegments, takeBack) -> None:
        self.subject, self.node, self.points = subject, subject.transform, points
        self.corrections = RegistrationRecord.corrections(self.node)
        self._require(takeBack)
        self._kept = [
            each for n, each in enumerate(self.corrections, 1) if n not in tuple(takeBack)
        ]
        self._lock, self._segments = lock, lockSegments
        if lock is not None:
            NodeChecks.requireKind(lock, "what is locked", NodeChecks.STRUCTURES)
        other = opposite(self.node)
        isOwn = other is not None and RegistrationRecord.areOfOne(self.node, other)
        self.inverse = other if isOwn else None
        warped = self.node.GetNodeReference(Transforms.WARPED)
        self.warped = warped if warped is not None and warped.GetImageData() is not None else None
        self.check = Jobs.changeCheck(subject)

    def _require(self, takeBack) -> None:
        name = self.node.GetName()
        if None in (self.subject.fixedVolume, self.subject.movingVolume):
            raise InvalidOption(
                "a correction needs the fixed and the moving volume",
                where=name,
                remedy="Choose both in the Review panel.",
            )
        if self.node.GetParentTransformNode() is not None:
            raise InvalidOption(
                "what is corrected is a transform of its own",
                where=name,
                got=f"it is under “{self.node.GetParentTransformNode().GetName()}”",
                remedy="Take it out from there first.",
            )
        if RegistrationRecord.repairOf(self.node).get("reversed"):
            raise InvalidOption(
                "a result is corrected in one direction, the other one follows",
                where=name,
                got="the direction that follows",
                remedy="Correct the transform of the other direction.",
            )
        numbers = range(1, len(self.corrections) + 1)
        if unknown := [n for n in takeBack if n not in numbers]:
            raise InvalidOption(
                "there is no such correction to take back",
                where=name,
                got=", ".join(map(str, unknown)),
                wanted=f"1 to {len(numbers)}" if numbers else "a result that was corrected",
            )
        if self.points is None and not takeBack:
            raise InvalidOption("a correction needs points, or one to take back", where=name)

    def base(self, node):
        """The node that holds a direction as it was registered."""
        base = node.GetNodeReference(UNCORRECTED) if self.corrections else None
        return node if base is None else base

    def job(self) -> Steps:
        """The arguments of the worker, in short steps."""
        fixed, moving = yield from self.subject.sides()
        content = None
        if self.corrections:
            (part,) = yield from TransformRecords.contentOf(self.node)
            content = part.moves
        inverse = self.inverse
        if inverse is not None:
            inverse = yield from _field(self.base(inverse), self.subject.movingVolume)
        return {
            "field": (yield from _field(self.base(self.node), self.subject.fixedVolume)),
            "inverse": inverse,
            "fixed": fixed,
            "moving": moving,
            "corrections": self._kept,
            "points": self.points,
            "lock": (yield from Segmentations.maskLayers(self._lock, self._segments)),
            "former": self.corrections,
            "warped": self._extentToWarp(fixed.world_grid),
            "content": content,
            "sha256": RegistrationRecord.repairOf(self.node).get("sha256", ""),
        }

    def _extentToWarp(self, grid) -> str:
        """How much of the warped volume is made anew: no more than changes, where it is as it was
        made."""
        if self.warped is None:
            return ""
        own = Volumes.contentOf(self.warped).grid
        return "part" if own is not None and own.is_close(grid) else "whole"

    def _image(self, output) -> Steps:
        """The warped volume, in VTK's terms; None if there is none."""
        values = output["warped"]
        if values is None:
            return None
        if values.shape[:3] != output["grid"].shape:
            part = tuple(
                slice(first, first + n)
                for first, n in zip(output["first"], values.shape, strict=False)
            )
            whole = slicer.util.arrayFromVolume(self.warped).copy()
            whole[part] = values
            values = whole
        return (yield from Volumes.imageData(values))

    def deliver(self, output: Mapping[str, Any]) -> Steps:
        """Fill the nodes; gives a Corrected."""
        parts = [(yield from Geometry.gridTransformInSteps(output["field"])), None]
        if output["inverse"] is not None:
            parts[1] = yield from Geometry.gridTransformInSteps(output["inverse"])
        image = yield from self._image(output)
        self.check()
        changes = Revert.Changes(self.node.GetScene())
        try:
            self._fill(changes, parts, image, output)
        except BaseException:
            changes.revert()
            raise
        changes.complete()
        return Corrected(
            self.node,
            self.inverse,
            self.warped,
            tuple(output["before_mm"]),
            tuple(output["after_mm"]),
            output["largest_change_mm"],
            (*output["notes"], *self._stale()),
            changes,
        )

    def _fill(self, changes: Revert.Changes, parts, image, output) -> None:
        corrections = list(output["corrections"])
        for node, part in zip((self.node, self.inverse), parts, strict=True):
            if node is None:
                continue
            base = self._keepBase(changes, node)
            pair = dict(zip(("fixed", "moving"), Transforms.pairOf(node), strict=True))
            changes.rememberTransform(node)
            node.SetNodeReferenceID(UNCORRECTED, base.GetID())
            registered = base.GetTransformFromParent()
            Transforms.fill(node, part if corrections else registered, **pair)
            RegistrationRecord.writeCorrections(node, corrections, output, node is self.inverse)
        if image is not None:
            changes.rememberVolume(self.warped)
            Volumes.fill(self.warped, image, output["grid"])

    def _keepBase(self, changes: Revert.Changes, node):
        """A hidden node that holds a direction as it was registered; it is saved with the scene."""
        base = node.GetNodeReference(UNCORRECTED)
        if base is not None and self.corrections:
            return base
        if base is None:
            scene = node.GetScene()
            name = SubjectHierarchy.freeName(scene, f"{node.GetName()} (uncorrected)")
            base = changes.rememberNew(scene.AddNewNodeByClass("vtkMRMLTransformNode", name))
            base.SetHideFromEditors(True)
        else:
            changes.rememberTransform(base)
        base.SetAndObserveTransformFromParent(node.GetTransformFromParent())
        return base

    def _stale(self) -> list[str]:
        """Copies that were made of the result before."""
        role = Transforms.COPIES
        names = [
            self.node.GetNthNodeReference(role, n).GetName()
            for n in range(self.node.GetNumberOfNodeReferences(role))
            if self.node.GetNthNodeReference(role, n) is not None
        ]
        return [f"“{name}” was made before the correction: it stays as it was" for name in names]


def _field(node, volume) -> Steps:
    """A transform node as a field of the core: its own samples, so that those which no correction
    reaches stay what they are. What is no field is sampled over the volume."""
    parts = yield from TransformRecords.contentOf(node)
    if len(parts) == 1 and parts[0].kind == "field" and not parts[0].inverse:
        return parts[0].moves
    record = yield from TransformRecords.recordOf(node, volume)
    if isinstance(record, Field):
        return record
    grid = Geometry.coarse(Volumes.contentOf(volume).straightGrid, _MOST_SAMPLES)
    return (yield from Geometry.sample(Geometry.between(None, node), grid))
