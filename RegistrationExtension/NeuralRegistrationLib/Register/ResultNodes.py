"""Results on their way into the scene: first made ready in short steps, then shown all at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from neuralreg.worker.messages import Registration
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Register.Request import Request
from NeuralRegistrationLib.Scene import (
    Geometry,
    Revert,
    Segmentations,
    SubjectHierarchy,
    Transforms,
    Volumes,
)


@dataclass(frozen=True)
class Summary:
    """The facts of a registration, without its arrays; as in `neuralreg.RegistrationResult`."""

    model: str
    outcome: Any
    warnings: tuple[str, ...]
    timings: Any
    provenance: Any


@dataclass
class Registered:
    """What a registration left in the scene.

    result: its facts: model, outcome, warnings, timings, provenance; where it was computed in
    this process, the core's own RegistrationResult with its fields.
    transformNode: carries things from the moving image onto the fixed one.
    inverseTransformNode: carries things from the fixed image onto the moving one; None unless
    asked for. warpedVolumeNode: the moving volume on the fixed one's grid, in the world; None
    unless asked for. warpedVolumeNodes, warpedSegmentationNodes: copies of what was to come along,
    resampled onto that grid. seconds: from Apply to here.
    """

    result: Any
    transformNode: Any
    inverseTransformNode: Any
    warpedVolumeNode: Any
    warpedVolumeNodes: list
    warpedSegmentationNodes: list
    changes: Revert.Changes
    seconds: float = 0.0

    def carryAlong(self, node) -> None:
        """Show a volume, segmentation, markups or model of the moving side on the fixed image."""
        Transforms.requireTransformable(node)
        former = node.GetTransformNodeID()
        between = Transforms.carryAlong(node, self.transformNode)
        self.changes.rememberParent(node, former)
        if between is not None:
            self.changes.rememberNew(between)
            SubjectHierarchy.placeBeside(between, self.transformNode)

    def revert(self) -> None:
        """Bring the scene back to what it was before."""
        self.changes.revert()


@dataclass
class _Parts:
    """What will be shown, in VTK's terms; nothing of it is in the scene yet."""

    transform: Any
    inverse: Any = None
    volume: Any = None
    volumes: list = field(default_factory=list)
    segmentations: list[list] = field(default_factory=list)


def deliver(request: Request, registration: Registration) -> Steps:
    """Put the results of a request beside its fixed volume; the last step changes the scene.

    Gives a Registered. Raises InputsChanged when a volume was changed or deleted meanwhile; what
    else came along and was changed or deleted is left out, with a warning.
    """
    parts = yield from _parts(request, registration)
    request.requireInputs()
    return _Placement(request, registration, parts).add()


def _parts(request: Request, registration: Registration) -> Steps:
    grid, along = registration.grid, list(registration.along)
    parts = _Parts((yield from Geometry.gridTransformInSteps(registration.field)))
    if registration.inverse_field is not None:
        parts.inverse = yield from Geometry.gridTransformInSteps(registration.inverse_field)
    if registration.warped is not None:
        parts.volume = yield from Volumes.imageData(registration.warped)
    for _ in request.settings.volumes:
        parts.volumes.append((yield from Volumes.imageData(along.pop(0))))
    for layers in request.labelsOfLayers:
        images = yield from Segmentations.layerImages([along.pop(0) for _ in layers], grid)
        parts.segmentations.append(images)
    return parts


class _Placement:
    """The one moment in which the scene changes."""

    def __init__(self, request: Request, registration: Registration, parts: _Parts) -> None:
        self.request, self.facts, self.parts = request, registration, parts
        self.fixed, self.moving = request.fixed, request.moving
        self.changes = Revert.Changes(request.scene)
        self.leftOut: list[str] = []

    def add(self) -> Registered:
        try:
            return self._addNodes()
        except BaseException:
            self.changes.revert()
            raise

    def _addNodes(self) -> Registered:
        settings, parts = self.request.settings, self.parts
        done = Registered(
            result=None,
            transformNode=self.transform(
                parts.transform, self.fixed, self.moving, settings.outputTransform
            ),
            inverseTransformNode=parts.inverse
            and self.transform(parts.inverse, self.moving, self.fixed),
            warpedVolumeNode=parts.volume
            and self.volume(self.moving, parts.volume, settings.outputVolume),
            warpedVolumeNodes=[
                self.volume(source, image)
                for source, image in zip(settings.volumes, parts.volumes, strict=True)
                if self.stillFits(source)
            ],
            warpedSegmentationNodes=[
                self.segmentation(source, images, values)
                for source, images, values in zip(
                    settings.segmentations,
                    parts.segmentations,
                    self.request.labelsOfLayers,
                    strict=True,
                )
                if self.stillFits(source)
            ],
            changes=self.changes,
        )
        for node in settings.carried:
            if self.stillThere(node):
                done.carryAlong(node)
        done.result = self.summary()
        return done

    def summary(self) -> Summary:
        facts = self.facts
        warnings = (*facts.warnings, *self.leftOut)
        return Summary(facts.model, facts.outcome, warnings, facts.timings, facts.provenance)

    def stillFits(self, node) -> bool:
        fits = self.stillThere(node) and self.request.isAsBefore(node)
        if not fits and node.GetScene() is not None:
            self.leftOut.append(f"{node.GetName()} was changed meanwhile: it did not come along")
        return fits

    def stillThere(self, node) -> bool:
        isThere = node.GetScene() is self.request.scene
        if not isThere:
            self.leftOut.append(f"{node.GetName()} was deleted meanwhile: it did not come along")
        return isThere

    def transform(self, gridTransform, fixed, moving, chosen=None):
        if chosen is not None and chosen.GetScene() is self.request.scene:
            node = self.changes.rememberTransform(chosen)
        else:
            name = self.name(f"{moving.GetName()} to {fixed.GetName()}")
            node = self.new("vtkMRMLTransformNode", name)
        Transforms.fill(node, gridTransform, fixed=fixed, moving=moving)
        RegistrationRecord.write(node, self.request, self.facts)
        SubjectHierarchy.placeBeside(node, fixed)
        return node

    def volume(self, source, image, chosen=None):
        if chosen is not None and chosen.GetScene() is self.request.scene:
            node = self.changes.rememberVolume(chosen)
        else:
            name = self.name(f"{source.GetName()} on {self.fixed.GetName()}")
            node = self.new(source.GetClassName(), name)
        like = source if node.GetImageData() is None else None
        Volumes.fill(node, image, self.facts.grid, like)
        SubjectHierarchy.placeBeside(node, self.fixed)
        return node

    def segmentation(self, source, images, values):
        name = self.name(f"{source.GetName()} on {self.fixed.GetName()}")
        node = Segmentations.copyOnto(source, images, values, self.facts.grid, name, self.fixed)
        self.changes.rememberNew(node)
        SubjectHierarchy.placeBeside(node, self.fixed)
        return node

    def new(self, kind: str, name: str):
        return self.changes.rememberNew(self.request.scene.AddNewNodeByClass(kind, name))

    def name(self, text: str) -> str:
        return SubjectHierarchy.freeName(self.request.scene, text)
