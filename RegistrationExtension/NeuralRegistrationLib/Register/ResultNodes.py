"""Results on their way into the scene: first made ready in short steps, then shown all at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
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

_log = logging.getLogger(__name__)


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
        """Show a volume, segmentation, markups or model of the moving side on the fixed image.

        Where another result of the moving image carries it already, this one takes its place.
        """
        Transforms.requireTransformable(node)
        if self.transformNode in Transforms.nodesAbove(node):
            return
        former = node.GetParentTransformNode()
        instead = Transforms.carriedBy(node, Transforms.pairOf(self.transformNode)[1])
        between = Transforms.carryAlong(node, self.transformNode, instead)
        self.changes.rememberParent(node, former)
        if between is not None:
            self.changes.rememberNew(between)
            SubjectHierarchy.placeBeside(between, self.transformNode)
        self.changes.complete()

    def revert(self) -> tuple[str, ...]:
        """Bring the scene back to what it was before; sentences on what was left alone.

        What the person changed since, and what other results did, stays.
        """
        return self.changes.revert()


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
        parts.volumes.append((yield from _attempt(along.pop(0), Volumes.imageData)))
    for labels in request.labelsOfLayers:
        layers = [along.pop(0) for _ in labels]
        failed = next((layer for layer in layers if isinstance(layer, str)), layers)
        make = partial(Segmentations.layerImages, grid=grid)
        parts.segmentations.append((yield from _attempt(failed, make)))
    return parts


def _attempt(values, make) -> Steps:
    """What is made of the values of something that came along, or why there is nothing."""
    if isinstance(values, str):
        return values
    try:
        return (yield from make(values))
    except Exception as error:  # noqa: BLE001, one that comes along never costs the result
        _log.exception("something could not come along")
        return str(error) or type(error).__name__


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
        # Before a chosen transform is filled: it may be above what comes along.
        fitting = list(filter(self.stillFits, (*settings.volumes, *settings.segmentations)))
        done = Registered(
            result=None,
            transformNode=self.transform(
                parts.transform, self.fixed, self.moving, settings.outputTransform
            ),
            inverseTransformNode=parts.inverse
            and self.transform(parts.inverse, self.moving, self.fixed),
            warpedVolumeNode=parts.volume
            and self.volume(self.moving, parts.volume, settings.outputVolume),
            warpedVolumeNodes=self.copies(settings.volumes, parts.volumes, self.volume, fitting),
            warpedSegmentationNodes=self.copies(
                settings.segmentations, parts.segmentations, self.segmentation, fitting
            ),
            changes=self.changes,
        )
        self.refer(done)
        self.changes.complete()
        for node in filter(self.stillThere, settings.carried):
            self.bringAlong(node, lambda node=node: done.carryAlong(node))
        done.result = self.summary()
        return done

    def refer(self, done: Registered) -> None:
        """Let the transform know what was made through it, for when it is corrected."""
        node, warped = done.transformNode, done.warpedVolumeNode
        node.SetNodeReferenceID(Transforms.WARPED, warped.GetID() if warped else None)
        node.RemoveNodeReferenceIDs(Transforms.COPIES)
        for copy in (*done.warpedVolumeNodes, *done.warpedSegmentationNodes):
            node.AddNodeReferenceID(Transforms.COPIES, copy.GetID())

    def copies(self, sources, parts, make, fitting) -> list:
        """The copies of those that came along and still fit."""
        made = []
        for source, part in zip(sources, parts, strict=True):
            if isinstance(part, str):
                self.leftOut.append(f"{source.GetName()} did not come along: {part}")
            elif source in fitting:
                made.append(self.bringAlong(source, partial(make, source, part)))
        return [node for node in made if node is not None]

    def bringAlong(self, source, action):
        """What an action gives; None and a warning where it fails, as the result must not be lost
        for one thing that comes along."""
        count = self.changes.count
        try:
            return action()
        except Exception as error:  # noqa: BLE001, see above
            _log.exception("%s could not come along", source.GetName())
            self.changes.removeSince(count)
            self.leftOut.append(f"{source.GetName()} did not come along: {error}")
            return None

    def summary(self) -> Summary:
        facts = self.facts
        warnings = (*facts.warnings, *self.request.notes, *self.leftOut)
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
        self.placeNew(node, fixed)
        return node

    def volume(self, source, image, chosen=None):
        if chosen is not None and chosen.GetScene() is self.request.scene:
            node = self.changes.rememberVolume(chosen)
        else:
            name = self.name(f"{source.GetName()} on {self.fixed.GetName()}")
            node = self.new(source.GetClassName(), name)
        like = source if node.GetImageData() is None else None
        Volumes.fill(node, image, self.facts.grid, like)
        self.placeNew(node, self.fixed)
        return node

    def segmentation(self, source, images):
        values = self.request.labelsOfLayers[self.request.settings.segmentations.index(source)]
        name = self.name(f"{source.GetName()} on {self.fixed.GetName()}")
        node = Segmentations.copyOnto(source, images, values, self.facts.grid, name, self.fixed)
        self.changes.rememberNew(node)
        SubjectHierarchy.placeBeside(node, self.fixed)
        return node

    def placeNew(self, node, neighbor) -> None:
        """Beside another node; a chosen output stays in the folder where its owner put it."""
        settings = self.request.settings
        if node not in (settings.outputTransform, settings.outputVolume):
            SubjectHierarchy.placeBeside(node, neighbor)

    def new(self, kind: str, name: str):
        return self.changes.rememberNew(self.request.scene.AddNewNodeByClass(kind, name))

    def name(self, text: str) -> str:
        return SubjectHierarchy.freeName(self.request.scene, text)
