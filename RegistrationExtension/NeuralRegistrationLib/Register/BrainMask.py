"""A mask of the brain for a volume of a head, as a segmentation beside it.

    from NeuralRegistrationLib.Register.BrainMask import findBrain

    found = findBrain(getNode("MRHead"))
    print(found.liters, found.warnings)

`found.revert()` takes the segmentation away again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from neuralreg.errors import InputsChanged
from neuralreg.progress import silent
from neuralreg.worker.serialization import Steps, at_once

from NeuralRegistrationLib.Scene import Revert, Segmentations, SubjectHierarchy, Volumes
from NeuralRegistrationLib.Scene.Fingerprint import fingerprint

KIND = "brain_mask"


@dataclass(frozen=True)
class FoundBrain:
    """node: a segmentation with one segment. liters: of the brain. warnings: what to look at."""

    node: object
    liters: float
    warnings: tuple[str, ...]
    changes: Revert.Changes

    def revert(self) -> None:
        """Take the segmentation away again."""
        self.changes.revert()


def findBrain(
    volumeNode,
    *,
    device: str = "auto",
    wait: bool = True,
    onDone: Callable | None = None,
    onProgress: Callable | None = None,
):
    """Carry a template's brain mask over to a volume of a head.

    wait=True gives a `FoundBrain` or raises RegistrationError; wait=False, in Slicer only, gives a
    `Jobs.Job` at once. onProgress, onDone: called with the job.
    """
    from NeuralRegistrationLib.Register.Logic import applicationRuns

    request = _Request(volumeNode, device)
    if not applicationRuns():
        from neuralreg.worker.jobs import function_of

        return at_once(request.delivered(function_of(KIND)(at_once(request.job()), silent)))
    from NeuralRegistrationLib.Worker.Queue import queue

    job = queue().submit(
        KIND,
        request.job(),
        deliver=request.delivered,
        check=request.requireInput,
        scene=volumeNode.GetScene(),
        onProgress=onProgress,
        onDone=onDone,
    )
    return job.awaited() if wait else job


class _Request:
    """A volume, and what it held when its brain was asked for."""

    def __init__(self, volumeNode, device: str) -> None:
        self.volume, self.device, self.scene = volumeNode, device, volumeNode.GetScene()
        Volumes.contentOf(volumeNode)
        self._seen = fingerprint(volumeNode)

    def job(self) -> Steps:
        """The arguments for the core, in short steps."""
        self.requireInput()
        head = yield from Volumes.contentOf(self.volume).record()
        return {"head": head, "device": self.device}

    def requireInput(self) -> None:
        """Raises InputsChanged when the volume was deleted, changed or moved meanwhile."""
        gone = self.volume.GetScene() is not self.scene
        if gone or fingerprint(self.volume) != self._seen:
            raise InputsChanged(
                "the brain mask was dropped: it no longer fits the volume",
                where=self.volume.GetName(),
                got="it was deleted" if gone else "its voxels or its place were changed",
                remedy="Find the brain again.",
            )

    def delivered(self, answer) -> Steps:
        """Put the mask beside the volume; gives a FoundBrain."""
        grid, changes = answer["grid"], Revert.Changes(self.scene)
        (image,) = yield from Segmentations.layerImages([answer["mask"]], grid)
        self.requireInput()
        name = SubjectHierarchy.freeName(self.scene, f"{self.volume.GetName()} brain")
        node = changes.rememberNew(
            Segmentations.ofOneSegment(image, grid, name, "Brain", self.volume)
        )
        node.GetDisplayNode().SetVisibility2DFill(False)
        SubjectHierarchy.placeBeside(node, self.volume)
        return FoundBrain(node, answer["liters"], tuple(answer["warnings"]), changes)
