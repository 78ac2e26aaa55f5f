"""Reviews of transform nodes, for the panel, scripts and the Python console.

    from NeuralRegistrationLib.Review.Jobs import review

    result = review(getNode("moving to fixed"))
    print(result.report.verdict, [finding.words for finding in result.report.lines])

The volumes are those that the transform node refers to, unless others are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from neuralreg.errors import InputsChanged, InvalidOption
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Scene import Transforms, Volumes
from NeuralRegistrationLib.Scene.Fingerprint import fingerprint
from NeuralRegistrationLib.Worker.RunJob import runJob

KIND = "review"
MAPS = ("jacobian", "forward_backward", "magnitude")
MAPS_OF_IMAGES = ("residual", "warped")
FIXED_ON_MOVING = "carried_back"  # the fixed image on the moving one's voxels: made on demand


@dataclass(frozen=True)
class ReviewResult:
    """report: the core's QualityReport. images: VTK images of the maps, with their grids."""

    report: Any
    images: dict[str, tuple[Any, Any]]


def review(
    transformNode,
    *,
    detail: str = "full",
    wait: bool = True,
    onDone: Callable | None = None,
    onProgress: Callable | None = None,
    **nodes,
):
    """Review a transform node. nodes: those of `Subject` by name.

    wait=True gives a `ReviewResult` or raises RegistrationError; wait=False, in Slicer only, gives
    a `Queue.Job` at once. onProgress, onDone: called with the job.
    """
    names = [part.name for part in fields(Subject)]
    if unknown := [name for name in nodes if name not in names]:
        raise InvalidOption("unknown nodes", got=", ".join(unknown), wanted=", ".join(names[1:]))
    Subject(transformNode).requireKinds()
    fixed, moving = Transforms.pairOf(transformNode)
    subject = Subject(transformNode, **{"fixedVolume": fixed, "movingVolume": moving, **nodes})
    subject.requireKinds()
    return submit(subject, detail, wait=wait, onDone=onDone, onProgress=onProgress)


def submit(subject: Subject, detail: str, *, wait: bool = False, onDone=None, onProgress=None):
    """The job of a review, or what it gives. detail: "quick" brings the first numbers, no maps."""
    check = changeCheck(subject)

    def deliver(output) -> Steps:
        result = yield from resultOf(output)
        check()
        return result

    return runJob(
        KIND,
        subject.job(detail, mapsOf(subject) if detail == "full" else ()),
        deliver,
        wait=wait,
        queue=queue,
        check=check,
        scene=subject.transform.GetScene(),
        onDone=onDone,
        onProgress=onProgress,
    )


def mapsOf(subject: Subject) -> tuple[str, ...]:
    """The maps that can be made."""
    both = subject.fixedVolume is not None and subject.movingVolume is not None
    return MAPS + (MAPS_OF_IMAGES if both else ())


def resultOf(output) -> Steps:
    """The output of the worker, ready to be shown."""
    from neuralreg.review.report_model import QualityReport

    images = {}
    for name, voxels in output.maps.items():
        images[name] = (yield from Volumes.imageData(voxels.data)), voxels.grid
    return ReviewResult(QualityReport.from_record(output.report), images)


def submitFixedOnMoving(subject: Subject, *, onDone: Callable):
    """The job that resamples the fixed image onto the moving one's voxels.

    Its result is as the images of `ReviewResult`.
    """
    check = changeCheck(subject)

    def deliver(output) -> Steps:
        result = yield from resultOf(output)
        return result.images

    bare = replace(subject, fixedSegments=None, movingSegments=None)
    return queue().submit(
        KIND,
        bare.job("quick", (FIXED_ON_MOVING,)),
        deliver=deliver,
        check=check,
        scene=subject.transform.GetScene(),
        onDone=onDone,
    )


def changeCheck(subject: Subject) -> Callable[[], None]:
    """A function that raises InputsChanged as soon as the nodes are not what they are now."""
    now = _state(subject)

    def check() -> None:
        if not subject.isThere or _state(subject) != now:
            raise InputsChanged(
                "the review was dropped: it no longer fits",
                where=subject.transform.GetName(),
                got="the transform, or what it is judged by, was changed or deleted",
                remedy="Review again.",
            )

    return check


def _state(subject: Subject) -> list:
    """Something that changes with the transform, the volumes and the segments."""
    watched = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode")
    nodes = [n for n in subject.nodes().values() if any(n.IsA(kind) for kind in watched)]
    return [subject.transform.GetTransformToWorldMTime(), *map(fingerprint, nodes)]


_queues: list = []


def queue():
    """The queue of reviews: a worker of its own, which needs no torch and starts at once."""
    from NeuralRegistrationLib.Worker.Queue import Queue

    if not _queues:
        _queues.append(Queue(warm=False))
    return _queues[0]
