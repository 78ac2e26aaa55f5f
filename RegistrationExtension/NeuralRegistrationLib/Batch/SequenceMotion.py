"""A sequence of volumes registered, so that what it shows stands still while it plays.

    from NeuralRegistrationLib import registerSequence

    done = registerSequence(getNode("Cine"), to="chain", periodic=True)
    print(done.failures, done.transformNode.GetName())

The result is a sequence of transforms on the same index, in the same browser. The volume that the
browser shows, and what else is chosen, is put under the transform that it shows with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import slicer
import vtk
from neuralreg.errors import InputsChanged, InvalidOption
from neuralreg.registration.options import USUAL, RegistrationOptions
from neuralreg.worker.messages import Field
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Scene import (
    Geometry,
    NodeChecks,
    Revert,
    SubjectHierarchy,
    Transforms,
    Volumes,
)
from NeuralRegistrationLib.Worker.RunJob import runJob

KIND = "sequence"
TO = ("mean", "frame", "chain")
DEFORMATIONS = ("rigid", "affine", "deformable")
_COLUMNS = ("Left (mm)", "Posterior (mm)", "Superior (mm)", "Turn x (°)", "Turn y (°)",
            "Turn z (°)", "From frame to frame (mm)")  # fmt: skip


@dataclass
class RegisteredSequence:
    """What a registration of a sequence left in the scene.

    transformSequenceNode: a transform for each frame, on the index of the volumes. transformNode:
    the one that the browser shows; the volume and what came along are under it. tableNode: how each
    frame moved. failures: why a frame has no transform, by its number.
    """

    transformSequenceNode: Any
    transformNode: Any
    tableNode: Any
    failures: dict[int, str]
    browserNode: Any
    changes: Revert.Changes
    warnings: tuple[str, ...] = field(default=())

    def revert(self) -> tuple[str, ...]:
        """Take the transforms and the table away again; what moved with them goes back."""
        sequence, browser = self.transformSequenceNode, self.browserNode
        if None not in (sequence.GetScene(), browser.GetScene()):
            browser.RemoveSynchronizedSequenceNode(sequence.GetID())
        return self.changes.revert()


def registerSequence(
    sequenceNode,
    *,
    to: str = "mean",
    frame: int | None = None,
    deformation: str = "rigid",
    periodic: bool = False,
    options: RegistrationOptions = USUAL,
    along: Iterable = (),
    wait: bool = True,
    onDone: Callable | None = None,
    onProgress: Callable | None = None,
):
    """Register the frames of a sequence of volumes that a sequence browser shows.

    to: "mean" of all frames, "frame", or "chain", each frame to the next one. frame: its number;
    the one that is shown unless given. deformation: "rigid", "affine" or "deformable" (the latter
    not for a chain). periodic: the first frame follows the last one, so a chain is closed. options:
    of deformable frames. along: segmentations, markups or models that move with the volume.

    wait=True gives a `RegisteredSequence` or raises RegistrationError and leaves the scene as it
    was; wait=False, in Slicer only, gives a `Queue.Job`. onProgress, onDone: called with it.
    """
    request = _Request(sequenceNode, frame, tuple(along))
    how = {"to": to, "deformation": deformation, "periodic": periodic}
    return runJob(
        KIND,
        request.job({**how, "options": options.as_record()}),
        request.deliver,
        wait=wait,
        check=request.requireInputs,
        scene=sequenceNode.GetScene(),
        onDone=onDone,
        onProgress=onProgress,
    )


def browserOf(sequenceNode):
    """The sequence browser that shows a sequence, or None."""
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    return next(
        (
            browser
            for browser in browsers
            if browser.IsSynchronizedSequenceNode(sequenceNode, True)
            and browser.GetProxyNode(sequenceNode) is not None
        ),
        None,
    )


class _Request:
    """The frames of a sequence, and what is to move with them. Raises InvalidOption."""

    def __init__(self, sequenceNode, frame: int | None, along: tuple) -> None:
        isSequence = isinstance(sequenceNode, slicer.vtkMRMLSequenceNode)
        self.browser = browserOf(sequenceNode) if isSequence else None
        if self.browser is None:
            raise InvalidOption(
                "what is registered is a sequence of volumes that a sequence browser shows",
                got=sequenceNode.GetName() if hasattr(sequenceNode, "GetName") else "nothing",
                remedy="Load the series, or make a browser for it in the Sequences module.",
            )
        self.sequence, self.scene = sequenceNode, sequenceNode.GetScene()
        self.volume = self.browser.GetProxyNode(sequenceNode)
        NodeChecks.requireKind(self.volume, "what the browser shows", NodeChecks.VOLUME)
        for node in along:
            Transforms.requireTransformable(node)
        self.along = along
        self.frame = self.browser.GetSelectedItemNumber() if frame is None else frame
        self._seen = self._state()

    def _state(self) -> tuple:
        count = self.sequence.GetNumberOfDataNodes()
        images = (self.sequence.GetNthDataNode(n).GetImageData() for n in range(count))
        parent = self.volume.GetParentTransformNode()
        return tuple(image and image.GetMTime() for image in images), parent

    def requireInputs(self) -> None:
        """Raises InputsChanged when the sequence is another one than it was."""
        nodes = (self.sequence, self.browser, self.volume)
        isThere = all(node.GetScene() is self.scene for node in nodes)
        if not isThere or self._state() != self._seen:
            raise InputsChanged(
                "the registration was dropped: it no longer fits the sequence",
                where=self.sequence.GetName(),
                got="frames were changed, deleted or moved",
                remedy="Register it again.",
            )

    def job(self, how: Mapping[str, Any]) -> Steps:
        """The arguments of the worker, in short steps."""
        frames = []
        for number in range(self.sequence.GetNumberOfDataNodes()):
            content = Volumes.contentOf(self.sequence.GetNthDataNode(number))
            frames.append((yield from replace(content, node=self.volume).record()))
        frame = self.frame if how["to"] != "chain" else 0
        return {"frames": frames, "frame": frame, **how}

    def deliver(self, output: Mapping[str, Any]) -> Steps:
        """Put the transforms into the browser; gives a RegisteredSequence."""
        transforms = []
        for way in output["ways"]:
            transforms.append((yield from _transform(way)))
        self.requireInputs()
        changes = Revert.Changes(self.scene)
        failures = {int(number): why for number, why in output["failures"].items()}
        try:
            node = self._addSequence(changes, transforms)
            proxy = self._addProxy(changes, node)
            table = self._addTable(changes, output["poses"])
        except BaseException:
            changes.revert()
            raise
        done = RegisteredSequence(node, proxy, table, failures, self.browser, changes)
        done.warnings = (*output["notes"], *self._carry(done))
        return done

    def _addSequence(self, changes: Revert.Changes, transforms):
        """The sequence of transforms, with the index of the volumes."""
        name = SubjectHierarchy.freeName(self.scene, f"{self.sequence.GetName()} transforms")
        node = changes.rememberNew(self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", name))
        node.SetIndexName(self.sequence.GetIndexName())
        node.SetIndexUnit(self.sequence.GetIndexUnit())
        node.SetIndexType(self.sequence.GetIndexType())
        node.SetNumericIndexValueTolerance(self.sequence.GetNumericIndexValueTolerance())
        for number, transform in enumerate(transforms):
            item = slicer.vtkMRMLTransformNode()
            item.SetName(f"{name} {number}")
            item.SetAndObserveTransformFromParent(transform)
            node.SetDataNodeAtValue(item, self.sequence.GetNthIndexValue(number))
        return node

    def _addProxy(self, changes: Revert.Changes, node):
        """The transform that the browser shows; where Slicer observes the browser, it makes one."""
        self.browser.AddSynchronizedSequenceNode(node)
        proxy = self.browser.GetProxyNode(node)
        if proxy is None:
            item = node.GetNthDataNode(max(self.browser.GetSelectedItemNumber(), 0))
            proxy = self.browser.AddProxyNode(item, node, True)
        changes.rememberNew(proxy)
        proxy.SetName(SubjectHierarchy.freeName(self.scene, f"{self.volume.GetName()} motion"))
        SubjectHierarchy.placeBeside(proxy, self.volume)
        return proxy

    def _addTable(self, changes: Revert.Changes, poses):
        name = SubjectHierarchy.freeName(self.scene, f"{self.sequence.GetName()} motion table")
        table = changes.rememberNew(self.scene.AddNewNodeByClass("vtkMRMLTableNode", name))
        texts = vtk.vtkStringArray()
        texts.SetName(self.sequence.GetIndexName() or "frame")
        columns = [texts]
        for title in _COLUMNS:
            columns.append(vtk.vtkDoubleArray())
            columns[-1].SetName(title)
        for number, pose in enumerate(poses):
            texts.InsertNextValue(self.sequence.GetNthIndexValue(number))
            for column, value in zip(columns[1:], _row(pose), strict=True):
                column.InsertNextValue(value)
        for column in columns:
            table.AddColumn(column)
        return table

    def _carry(self, done: RegisteredSequence) -> tuple[str, ...]:
        """Put the volume, and what was chosen, under the transform."""
        notes = []
        for node in (self.volume, *self.along):
            if node.GetScene() is not self.scene:
                notes.append("something that was to come along was deleted meanwhile")
                continue
            former = node.GetParentTransformNode()
            between = Transforms.carryAlong(node, done.transformNode)
            done.changes.rememberParent(node, former)
            if between is not None:
                done.changes.rememberNew(between)
        return tuple(notes)


def _transform(way) -> Steps:
    """A way in LPS as VTK's transform; of a frame that has none, the identity."""
    if isinstance(way, Field):
        return (yield from Geometry.gridTransformInSteps(way))
    linear = vtk.vtkTransform()
    if way is not None:
        ras = Geometry.flipMatrix(np.array(way))
        linear.SetMatrix(slicer.util.vtkMatrixFromArray(ras))
    yield
    return linear


def _row(pose) -> list[float]:
    if pose is None:
        return [float("nan")] * len(_COLUMNS)
    return [*pose["translations"], *pose["rotations"], pose["displacement_mm"]]
