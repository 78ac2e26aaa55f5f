"""The same pair registered again: from perturbed starts, and in the other direction.

Both take the model and the options with which the transform was made.
"""

from __future__ import annotations

import json

from neuralreg.errors import InvalidOption
from neuralreg.registration.options import RegistrationOptions
from neuralreg.worker.messages import RegisterJob, rows_of
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Register.Guides import GuideNodes
from NeuralRegistrationLib.Register.Request import Settings
from NeuralRegistrationLib.Review import Jobs
from NeuralRegistrationLib.Review.Request import Subject, opposite
from NeuralRegistrationLib.Scene import (
    Geometry,
    Segmentations,
    SubjectHierarchy,
    Transforms,
    Volumes,
)

STARTS = 4  # registrations whose results are compared


def submitRobustness(subject: Subject, *, onDone=None, onProgress=None):
    """The job that registers again from perturbed starts: where the results differ, in mm.

    Its result is a VTK image and its grid. Without a record it takes the default engine.
    """
    record = RegistrationRecord.read(subject.transform)
    options = record.options if record is not None else RegistrationOptions(model="convex")

    def arguments() -> Steps:
        fixed, moving = yield from subject.sides()
        return {"fixed": fixed, "moving": moving, "options": options, "starts": STARTS}

    def deliver(output) -> Steps:
        voxels = output["spread"]
        image = yield from Volumes.imageData(voxels.data)
        return image, voxels.grid

    check = Jobs.changeCheck(subject)
    return _submit(subject, "robustness", arguments(), deliver, onDone, onProgress, check)


def submitReverse(subject: Subject, *, onDone=None, onProgress=None):
    """The job that registers the fixed onto the moving image; its result is a transform node.

    The node refers to both volumes, so that the next review measures consistency with it; when
    asked for again, it is filled anew. Raises InvalidOption when the transform has no record.
    """
    record = RegistrationRecord.read(subject.transform)
    if record is None:
        raise InvalidOption(
            "consistency asks for a registration the other way, made in the same way",
            where=subject.transform.GetName(),
            got="a transform without a record of how it was made",
            remedy="Register the other way with the program that made it, and load that.",
        )

    def deliver(registration) -> Steps:
        grid = yield from Geometry.gridTransformInSteps(registration.field)
        check()
        return _reverseNode(subject, registration, grid)

    check = Jobs.changeCheck(subject)
    arguments = _reverseJob(subject, record)
    return _submit(subject, "register", arguments, deliver, onDone, onProgress, check)


def _submit(subject, kind, arguments, deliver, onDone, onProgress, check):
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


def _reverseJob(subject: Subject, record) -> Steps:
    """The job of the registration with both sides exchanged."""
    fixed, moving = yield from subject.sides()
    masks = []
    for side in ("moving", "fixed"):
        node = record.nodes.get(f"{side}Mask")
        segments = record.segments.get(f"{side}MaskSegments")
        masks.append((yield from Segmentations.maskLayers(node, segments)))
    start = record.nodes.get("initialTransform")
    if start is not None:
        start = Transforms.start(start, moving.world_grid, inverse=True)
        start = (yield from start) if hasattr(start, "send") else rows_of(start)
    settings = _otherWay(record.nodes)
    guides = yield from GuideNodes.guides(settings, subject.fixedVolume, [])
    return RegisterJob(
        fixed=moving,
        moving=fixed,
        fixed_mask=masks[0],
        moving_mask=masks[1],
        initial=start,
        options=record.options.exchange_sides(),
        warped=False,
        inverse=False,
        **guides,
    )


def _otherWay(nodes) -> Settings:
    """What steers, for the registration of the fixed onto the moving volume."""
    pairs = {name: tuple(pair[::-1] for pair in nodes.get(name, ())) for name in GuideNodes.PAIRS}
    sides = nodes.get("fixedLabels"), nodes.get("movingLabels")
    return Settings(fixedLabels=sides[1], movingLabels=sides[0], **pairs)


def _reverseNode(subject: Subject, registration, grid):
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
