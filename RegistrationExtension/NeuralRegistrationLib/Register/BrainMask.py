"""A mask of the brain for a volume of a head, as a segmentation beside it.

    from NeuralRegistrationLib.Register.BrainMask import findBrain

    found = findBrain(getNode("MRHead"), model="mindgrab")
    print(found.liters, found.warnings)

`found.revert()` takes the segmentation away again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from neuralreg.errors import InputsChanged
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Scene import NodeChecks, Revert, Segmentations, SubjectHierarchy, Volumes
from NeuralRegistrationLib.Scene.Fingerprint import fingerprint
from NeuralRegistrationLib.Worker.RunJob import runJob

KIND = "brain_mask"


@dataclass(frozen=True)
class BrainSegmentation:
    """node: the segmentation. warnings: what to look at."""

    node: object
    warnings: tuple[str, ...]
    changes: Revert.Changes

    def revert(self) -> tuple[str, ...]:
        """Take the segmentation away again; a sentence, if it stays because it was changed."""
        return self.changes.revert()


@dataclass(frozen=True)
class FoundBrain(BrainSegmentation):
    """With one segment. liters: of the brain."""

    liters: float


def findBrain(
    volumeNode,
    *,
    model: str = "auto",
    device: str = "auto",
    wait: bool = True,
    onDone: Callable | None = None,
    onProgress: Callable | None = None,
):
    """Find the brain in a volume of a head, by a network or by registering a template to it.

    model: "mindgrab", "template", or "auto": the network where its weights are on this computer.
    wait=True gives a `FoundBrain` or raises RegistrationError; wait=False, in Slicer only, gives a
    `Jobs.Job` at once. onProgress, onDone: called with the job.
    """
    request = _MaskRequest(volumeNode, model=model, device=device)
    return request.run(KIND, wait=wait, onProgress=onProgress, onDone=onDone)


class HeadRequest:
    """A volume, and what it held when something was asked about its brain.

    arguments: of the job, besides the volume.
    """

    def __init__(self, volumeNode, **arguments) -> None:
        NodeChecks.requireKind(volumeNode, "the image of a head", NodeChecks.VOLUME)
        Volumes.contentOf(volumeNode)
        self.volume, self.scene = volumeNode, volumeNode.GetScene()
        self._arguments = arguments
        self._seen = fingerprint(volumeNode)

    def run(self, kind: str, *, wait: bool, onProgress: Callable | None, onDone: Callable | None):
        """What `deliver` makes of a job of this kind; with wait=False the job at once."""
        return runJob(
            kind,
            self.job(),
            self.deliver,
            wait=wait,
            check=self.requireInput,
            scene=self.scene,
            onProgress=onProgress,
            onDone=onDone,
        )

    def job(self) -> Steps:
        """The arguments for the core, in short steps."""
        self.requireInput()
        head = yield from Volumes.contentOf(self.volume).record()
        return {"head": head, **self._arguments}

    def requireInput(self) -> None:
        """Raises InputsChanged when the volume was deleted, changed or moved meanwhile."""
        isGone = self.volume.GetScene() is not self.scene
        if isGone or fingerprint(self.volume) != self._seen:
            raise InputsChanged(
                "what was found of the brain was dropped: it no longer fits the volume",
                where=self.volume.GetName(),
                got="it was deleted" if isGone else "its voxels or its place were changed",
                remedy="Find the brain again.",
            )


class _MaskRequest(HeadRequest):
    def deliver(self, brain) -> Steps:
        """Put the mask beside the volume; gives a FoundBrain."""
        grid, changes = brain["grid"], Revert.Changes(self.scene)
        (image,) = yield from Segmentations.layerImages([brain["mask"]], grid)
        self.requireInput()
        name = SubjectHierarchy.freeName(self.scene, f"{self.volume.GetName()} brain")
        node = changes.rememberNew(
            Segmentations.ofOneSegment(image, grid, name, "Brain", self.volume)
        )
        node.GetDisplayNode().SetVisibility2DFill(False)
        SubjectHierarchy.placeBeside(node, self.volume)
        changes.complete()
        return FoundBrain(node, tuple(brain["warnings"]), changes, brain["liters"])
