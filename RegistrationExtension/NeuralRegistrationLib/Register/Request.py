"""What a person asked for: nodes and settings, and how they are handed to the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from neuralreg.errors import InputsChanged, InvalidOption
from neuralreg.registration.options import USUAL, RegistrationOptions
from neuralreg.worker.messages import RegisterJob, rows_of
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Register.Guides import GuideNodes
from NeuralRegistrationLib.Register.Guides.LandmarkPull import landmarkGuide
from NeuralRegistrationLib.Scene import NodeChecks, Segmentations, Transforms, Volumes
from NeuralRegistrationLib.Scene.Fingerprint import fingerprint


@dataclass(frozen=True)
class Settings:
    """What a registration takes from the scene and leaves there.

    segmentations, volumes: of the moving side; each gets a warped copy. carried: nodes of the
    moving side that are to observe the transform. fixedMask, movingMask: label map or segmentation
    nodes; ...Segments: ids or names of the segments that count, all unless given.
    initialTransform: a transform node that would carry the moving volume about onto the fixed one.
    fixedLandmarks, movingLandmarks: lists of points that steer, paired by name, else by order.
    landmarkWeight, landmarkToleranceMm: how much they count beside the images, and how exactly they
    were placed; see `LandmarkGuide`, whose own are taken unless given.
    channels: pairs of volumes, one of each side, that are registered together with the others;
    their weights are the option channel_weights. surfaces: pairs of models that pull each other.
    A segmentation, or one segment of it as (node, name), stands for its surfaces.
    fixedLabels, movingLabels: label maps whose equal labels pull, or segmentations whose segments
    of the same name do, with an option label_weight. rigidParts: a label map on the fixed side
    whose labels, or those in the option rigid_labels, move as one piece each; or a segmentation,
    whose segments count from 1 then. slidingMask: a label map or segmentation of the part of the
    fixed image that may slide along the rest.
    outputTransform, outputVolume: nodes to fill instead of making new ones. inverse: also make a
    transform node for the other direction. warpedVolume: whether the moving volume is wanted on the
    fixed grid.

    What an earlier result of the moving image carries already counts at its own place, without it.
    """

    segmentations: tuple = ()
    volumes: tuple = ()
    carried: tuple = ()
    fixedMask: object | None = None
    fixedMaskSegments: tuple[str, ...] | None = None
    movingMask: object | None = None
    movingMaskSegments: tuple[str, ...] | None = None
    initialTransform: object | None = None
    fixedLandmarks: object | None = None
    movingLandmarks: object | None = None
    landmarkWeight: float | None = None
    landmarkToleranceMm: float | None = None
    channels: tuple = ()
    surfaces: tuple = ()
    fixedLabels: object | None = None
    movingLabels: object | None = None
    rigidParts: object | None = None
    rigidPartsSegments: tuple[str, ...] | None = None
    slidingMask: object | None = None
    slidingMaskSegments: tuple[str, ...] | None = None
    outputTransform: object | None = None
    outputVolume: object | None = None
    inverse: bool = False
    warpedVolume: bool = True


NAMES = tuple(field.name for field in fields(Settings))
_LISTS = ("segmentations", "volumes", "carried")
_MASKS = ("fixedMask", "movingMask", "rigidParts", "slidingMask")
_READ_LATER = (*_MASKS, "fixedLabels", "movingLabels", "initialTransform")
_WANTED = {
    "segmentations": NodeChecks.SEGMENTATION,
    "volumes": NodeChecks.VOLUME,
    "fixedMask": NodeChecks.MASK,
    "movingMask": NodeChecks.MASK,
    "initialTransform": NodeChecks.TRANSFORM,
    "fixedLandmarks": NodeChecks.POINTS,
    "movingLandmarks": NodeChecks.POINTS,
    "fixedLabels": NodeChecks.MASK,
    "movingLabels": NodeChecks.MASK,
    "rigidParts": NodeChecks.MASK,
    "slidingMask": NodeChecks.MASK,
    "outputTransform": NodeChecks.TRANSFORM,
    "outputVolume": NodeChecks.VOLUME,
}


class Request:
    """One registration of nodes, from Apply until its results are in the scene.

    named: settings by name; what is none of them changes one of the options.
    Raises RegistrationError at once when it cannot work.
    """

    def __init__(
        self,
        fixedNode,
        movingNode,
        options: RegistrationOptions | str,
        named: Mapping[str, Any],
    ) -> None:
        self.fixed, self.moving = fixedNode, movingNode
        for argument, node in (("the fixed image", fixedNode), ("the moving image", movingNode)):
            NodeChecks.requireKind(node, argument, NodeChecks.VOLUME)
        self.settings = _settings({name: named[name] for name in NAMES if name in named})
        changes = {name: value for name, value in named.items() if name not in NAMES}
        self.options = _applyChanges(options, changes)
        lists = self.settings.fixedLandmarks, self.settings.movingLandmarks
        pull = self.settings.landmarkWeight, self.settings.landmarkToleranceMm
        if guide := landmarkGuide(*lists, fixedNode, movingNode, *pull):
            self.options = self.options.replace(landmarks=guide)
        more = [node for pair in self.settings.channels for node in pair]
        for node in (fixedNode, movingNode, *self.settings.volumes, *more):
            Volumes.contentOf(node)
        self._requireMovingSide()
        self._requireOtherOutputs()
        self.scene = fixedNode.GetScene()
        self._requireOneScene()
        self._requireOtherStart()
        self._seen = {node: fingerprint(node) for node in (*self._inputs(), *self._guides())}
        self.labelsOfLayers: list[list[dict[str, int]]] = []
        self.notes: list[str] = []

    def _inputs(self) -> tuple:
        return (self.fixed, self.moving, *self.settings.segmentations, *self.settings.volumes)

    def _guides(self) -> tuple:
        """Nodes that are read when the job's turn has come: masks, the start, and what steers."""
        settings = self.settings
        pairs = [side for pair in (*settings.channels, *settings.surfaces) for side in pair]
        nodes = [side[0] if isinstance(side, tuple) else side for side in pairs]
        nodes += [getattr(settings, name) for name in _READ_LATER]
        return tuple(dict.fromkeys(filter(None, nodes)))

    def _requireOneScene(self) -> None:
        for node in (*self._inputs(), *self._guides(), *self.settings.carried):
            if node.GetScene() is not self.scene:
                raise InvalidOption(
                    "what is registered is in one scene",
                    where=node.GetName(),
                    got=f"one that {self.fixed.GetName()} is not in",
                    remedy="Load both into the same scene.",
                )

    def _requireOtherStart(self) -> None:
        start = self.settings.initialTransform
        if start is not None and start in Transforms.nodesAbove(self.moving):
            raise InvalidOption(
                "the start is not above the moving image already, where it would count twice",
                where=start.GetName(),
                got=f"it is above {self.moving.GetName()}",
                remedy="Register without a start, or take the moving image out of it.",
            )

    def _requireMovingSide(self) -> None:
        settings = self.settings
        for node in settings.carried:
            Transforms.requireTransformable(node)
            if node in (self.fixed, settings.outputVolume, settings.outputTransform):
                raise InvalidOption(
                    "what is carried along belongs to the moving image",
                    where=node.GetName(),
                    got="the fixed image" if node is self.fixed else "an output",
                    remedy="Leave it out.",
                )

    def _requireOtherOutputs(self) -> None:
        volume, transform = self.settings.outputVolume, self.settings.outputTransform
        if volume in self._inputs():
            raise InvalidOption(
                "the warped volume is another one than the inputs",
                where=volume.GetName(),
                remedy="Choose another output volume, or let a new one be made.",
            )
        if volume is not None and volume.GetClassName() != self.moving.GetClassName():
            raise InvalidOption(
                "the warped volume is of the kind of the moving one",
                where=volume.GetName(),
                got=volume.GetClassName(),
                wanted=self.moving.GetClassName(),
                remedy="Choose another output volume, or let a new one be made.",
            )
        for node in self._inputs():
            isAbove = transform is not None and transform in Transforms.nodesAbove(node)
            if isAbove and (node is self.fixed or self._without(node) is not transform):
                raise InvalidOption(
                    "the resulting transform does not move the inputs",
                    where=transform.GetName(),
                    got=f"it is above {node.GetName()}",
                    remedy="Choose another output transform, or let a new one be made.",
                )

    def job(self) -> Steps:
        """The job for the core, in short steps; its arrays are views of the nodes' memory."""
        settings = self.settings
        self.requireInputs()
        self.requireInputs(self._guides())
        fixed = yield from Volumes.contentOf(self.fixed).record()
        moving = yield from Volumes.contentOf(self.moving).record()
        along = []
        for node in settings.volumes:
            along.append((yield from Volumes.contentOf(node).within(self._without(node)).record()))
        for node in settings.segmentations:
            along += yield from self._layers(node)
        return RegisterJob(
            fixed=fixed,
            moving=moving,
            fixed_mask=(yield from self._mask("fixedMask", self.fixed)),
            moving_mask=(yield from self._mask("movingMask", self.moving)),
            initial=(yield from _start(settings.initialTransform, fixed.world_grid)),
            options=self.options,
            warped=settings.warpedVolume,
            along=tuple(along),
            inverse=settings.inverse,
            cubic=True,
            **(yield from GuideNodes.guides(settings, self.moving, self.notes)),
        )

    def _layers(self, segmentationNode) -> Steps:
        handed, labels, without = [], [], self._without(segmentationNode)
        for stored, values in Segmentations.layersOf(segmentationNode):
            handed.append((yield from stored.within(without).record()))
            labels.append(values)
        self.labelsOfLayers.append(labels)
        return handed

    def _mask(self, name: str, volume) -> Steps:
        mask, segments = (getattr(self.settings, each) for each in (name, f"{name}Segments"))
        below = None if mask is None else Transforms.carriedBy(mask, volume)
        return (yield from Segmentations.maskLayers(mask, segments, below))

    def _without(self, node):
        """The former result that has carried a node of the moving side away; or None."""
        return Transforms.carriedBy(node, self.moving) if node is not self.moving else None

    def requireInputs(self, nodes=None) -> None:
        """Raises InputsChanged when one was deleted, changed or moved since Apply: both volumes,
        unless other nodes are given."""
        for node in nodes or (self.fixed, self.moving):
            if not self.isAsBefore(node):
                isGone = node.GetScene() is not self.scene
                isVolume = node in (self.fixed, self.moving)
                raise InputsChanged(
                    "the result was dropped: it no longer fits the volume"
                    if isVolume
                    else "the registration was not begun: it waited, and what it takes was changed",
                    where=node.GetName(),
                    got="it was deleted" if isGone else "its content or its place were changed",
                    remedy="Register again.",
                )

    def isAsBefore(self, node) -> bool:
        """Whether an input is still in the scene, with the same content at the same place."""
        return node.GetScene() is self.scene and fingerprint(node) == self._seen[node]


def _settings(own: dict[str, Any]) -> Settings:
    """The settings, where each node is of its kind. Raises InvalidOption."""
    own = {name: value for name, value in own.items() if value is not None}
    own.update({name: NodeChecks.asNodes(own[name]) for name in _LISTS if name in own})
    for name in GuideNodes.PAIRS:
        own[name] = GuideNodes.checkPairs(own.get(name, ()), name)
    for name, kind in _WANTED.items():
        for node in own.get(name, ()) if name in _LISTS else [own[name]] if name in own else ():
            NodeChecks.requireKind(node, name, kind)
    for name in _MASKS:
        segments = own.get(f"{name}Segments")
        if segments is not None and name in own:
            own[f"{name}Segments"] = Segmentations.chosenSegments(own[name], segments)
    return Settings(**own)


def _applyChanges(
    options: RegistrationOptions | str, changes: Mapping[str, Any]
) -> RegistrationOptions:
    """The options with changes by name; records of earlier versions have other names."""
    if isinstance(options, str):
        options = USUAL.replace(model=options)
    elif not isinstance(options, RegistrationOptions):
        raise InvalidOption(
            "options are RegistrationOptions, or the name of a model",
            got=repr(options),
            remedy="Numbers of one model go to model_options.",
        )
    return RegistrationOptions.from_record({**options.as_record(), **changes})


def _start(node, fixedGrid) -> Steps:
    if node is None:
        return None
    start = Transforms.start(node, fixedGrid)
    return rows_of(start) if isinstance(start, np.ndarray) else (yield from start)
