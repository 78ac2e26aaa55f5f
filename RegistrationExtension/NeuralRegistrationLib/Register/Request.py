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

from NeuralRegistrationLib.Scene import Segmentations, Transforms, Volumes
from NeuralRegistrationLib.Scene.Fingerprint import fingerprint


@dataclass(frozen=True)
class Settings:
    """What a registration takes from the scene and leaves there.

    segmentations, volumes: of the moving side; each gets a warped copy. carried: nodes of the
    moving side that are to observe the transform. fixedMask, movingMask: label map or segmentation
    nodes; ...Segments: ids of the segments that count, all unless given. initialTransform: a
    transform node that would carry the moving volume about onto the fixed one. outputTransform,
    outputVolume: nodes to fill instead of making new ones. inverse: also make a transform node for
    the other direction. warpedVolume: whether the moving volume is wanted on the fixed grid.
    """

    segmentations: tuple = ()
    volumes: tuple = ()
    carried: tuple = ()
    fixedMask: object | None = None
    fixedMaskSegments: tuple[str, ...] | None = None
    movingMask: object | None = None
    movingMaskSegments: tuple[str, ...] | None = None
    initialTransform: object | None = None
    outputTransform: object | None = None
    outputVolume: object | None = None
    inverse: bool = False
    warpedVolume: bool = True


NAMES = tuple(field.name for field in fields(Settings))
_LISTS = ("segmentations", "volumes", "carried", "fixedMaskSegments", "movingMaskSegments")


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
        own = {name: named[name] for name in NAMES if name in named}
        own.update({k: tuple(own[k]) for k in _LISTS if own.get(k) is not None})
        self.settings = Settings(**own)
        changes = {name: value for name, value in named.items() if name not in NAMES}
        self.options = _applyChanges(options, changes)
        for node in (fixedNode, movingNode, *self.settings.volumes):
            Volumes.contentOf(node)
        for node in self.settings.carried:
            Transforms.requireTransformable(node)
        self._requireOtherOutputs()
        self.scene = fixedNode.GetScene()
        self._seen = {node: fingerprint(node) for node in self._inputs()}
        self.labelsOfLayers: list[list[dict[str, int]]] = []

    def _inputs(self) -> tuple:
        return (self.fixed, self.moving, *self.settings.segmentations, *self.settings.volumes)

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
            if transform is not None and transform in Transforms.nodesAbove(node):
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
        fixed = yield from Volumes.contentOf(self.fixed).record()
        moving = yield from Volumes.contentOf(self.moving).record()
        along = []
        for node in settings.volumes:
            along.append((yield from Volumes.contentOf(node).record()))
        for node in settings.segmentations:
            along += yield from self._layers(node)
        return RegisterJob(
            fixed=fixed,
            moving=moving,
            fixed_mask=(
                yield from Segmentations.maskLayers(settings.fixedMask, settings.fixedMaskSegments)
            ),
            moving_mask=(
                yield from Segmentations.maskLayers(
                    settings.movingMask, settings.movingMaskSegments
                )
            ),
            initial=(yield from _start(settings.initialTransform, fixed.world_grid)),
            options=self.options,
            warped=settings.warpedVolume,
            along=tuple(along),
            inverse=settings.inverse,
            cubic_readers=True,
        )

    def _layers(self, segmentationNode) -> Steps:
        handed, labels = [], []
        for stored, values in Segmentations.layersOf(segmentationNode):
            handed.append((yield from stored.record()))
            labels.append(values)
        self.labelsOfLayers.append(labels)
        return handed

    def requireInputs(self) -> None:
        """Raises InputsChanged when a volume was deleted, changed or moved since Apply."""
        for node in (self.fixed, self.moving):
            if not self.isAsBefore(node):
                isGone = node.GetScene() is not self.scene
                raise InputsChanged(
                    "the result was dropped: it no longer fits the volume",
                    where=node.GetName(),
                    got="it was deleted" if isGone else "its voxels or its place were changed",
                    remedy="Register again.",
                )

    def isAsBefore(self, node) -> bool:
        """Whether an input is still in the scene, with the same content at the same place."""
        return node.GetScene() is self.scene and fingerprint(node) == self._seen[node]


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
