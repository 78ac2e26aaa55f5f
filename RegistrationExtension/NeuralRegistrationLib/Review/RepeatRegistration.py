"""The same pair registered again: from moved starts, and the other way round.

Both take the model and the options with which the transform was made.
"""

from __future__ import annotations

import json

from neuralreg.errors import InvalidOption
from neuralreg.registration.options import RegistrationOptions
from neuralreg.worker.messages import RegisterJob, rows_of
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Review import Jobs
from NeuralRegistrationLib.Review.Request import Subject, opposite
from NeuralRegistrationLib.Scene import (
    Geometry,
    Segmentations,
    SubjectHierarchy,
    Transforms,
    Volumes,
)

STARTS = 4  # of the registrations whose answers are compared


def spread(subject: Subject, *, onDone=None, onProgress=None):
    """The job that registers again from moved starts: where the answers differ, in mm.

    Its result has the VTK image and where it lies. Without a record it takes the default engine.
    """
    made = RegistrationRecord.read(subject.transform)
    options = made.options if made is not None else RegistrationOptions(model="convex")

    def arguments() -> Steps:
        fixed, moving = yield from subject.sides()
        return {"fixed": fixed, "moving": moving, "options": options, "starts": STARTS}

    def deliver(answer) -> Steps:
        voxels = answer["spread"]
        image = yield from Volumes.imageData(voxels.data)
        return image, voxels.grid

    check = Jobs.unchanged(subject)
    return _submitted(subject, "robustness", arguments(), deliver, onDone, onProgress, check)


def otherWay(subject: Subject, *, onDone=None, onProgress=None):
    """The job that registers the fixed onto the moving image; its result is a transform node.

    The node refers to both volumes, so that the next review measures consistency with it; asked
    for again, it is filled anew. Raises InvalidOption when nothing says how the transform was made.
    """
    made = RegistrationRecord.read(subject.transform)
    if made is None:
        raise InvalidOption(
            "consistency asks for a registration the other way, made in the same way",
            where=subject.transform.GetName(),
            got="a transform that does not say how it was made",
            remedy="Register the other way with the program that made it, and load that.",
        )

    def deliver(registration) -> Steps:
        grid = yield from Geometry.gridTransformInSteps(registration.field)
        check()
        return _placed(subject, registration, grid)

    check = Jobs.unchanged(subject)
    arguments = _turnedRound(subject, made)
    return _submitted(subject, "register", arguments, deliver, onDone, onProgress, check)


def _submitted(subject, kind, arguments, deliver, onDone, onProgress, check):
    from NeuralRegistrationLib.Worker import Queue as Registrations

    return Registrations.queue().submit(
        kind,
        arguments,
        deliver=deliver,
        check=check,
        scene=subject.transform.GetScene(),
        onDone=onDone,
        onProgress=onProgress,
    )


def _turnedRound(subject: Subject, made) -> Steps:
    """The job of the registration with both sides exchanged."""
    fixed, moving = yield from subject.sides()
    masks = []
    for side in ("moving", "fixed"):
        node, segments = made.nodes.get(f"{side}Mask"), made.segments.get(f"{side}MaskSegments")
        masks.append((yield from Segmentations.maskLayers(node, segments)))
    start = made.nodes.get("initialTransform")
    if start is not None:
        start = Transforms.start(start, moving.place, otherWay=True)
        start = (yield from start) if hasattr(start, "send") else rows_of(start)
    return RegisterJob(
        fixed=moving,
        moving=fixed,
        fixed_mask=masks[0],
        moving_mask=masks[1],
        initial=start,
        options=made.options,
        warped=False,
        inverse=False,
        cubic_readers=True,
    )


def _placed(subject: Subject, registration, grid):
    """The transform node, beside the moving volume."""
    fixed, moving = subject.fixedVolume, subject.movingVolume
    scene, node = subject.transform.GetScene(), opposite(subject.transform)
    if node is None or not RegistrationRecord.isForComparison(node):
        name = SubjectHierarchy.freeName(scene, f"{fixed.GetName()} to {moving.GetName()}")
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    Transforms.fill(node, grid, fixed=moving, moving=fixed)
    record = {
        "model": registration.model,
        "inputs": [moving.GetName(), fixed.GetName()],
        "warnings": list(registration.warnings),
        RegistrationRecord.OTHER_WAY: subject.transform.GetName(),
        **dict(registration.provenance),
    }
    node.SetAttribute(Transforms.RECORD, json.dumps(record, default=str))
    SubjectHierarchy.placeBeside(node, moving)
    return node
