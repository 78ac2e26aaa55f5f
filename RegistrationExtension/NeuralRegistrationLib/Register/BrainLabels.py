"""The structures of a brain in a volume, as a segmentation beside it.

    from NeuralRegistrationLib.Register.BrainLabels import labelBrain

    labeled = labelBrain(getNode("MRHead"))
    print(labeled.volumes["Left-Hippocampus"], labeled.warnings)

`labeled.revert()` takes the segmentation away again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Register.BrainMask import BrainSegmentation, HeadRequest
from NeuralRegistrationLib.Scene import Revert, Segmentations, SubjectHierarchy

KIND = "brain_labels"


@dataclass(frozen=True)
class LabeledBrain(BrainSegmentation):
    """volumes: in ml, by name."""

    volumes: dict[str, float]


def labelBrain(
    volumeNode,
    *,
    model: str = "subcortical18",
    sides: bool = True,
    device: str = "auto",
    wait: bool = True,
    onDone: Callable | None = None,
    onProgress: Callable | None = None,
):
    """Label the structures of the brain in a T1-weighted volume by a network.

    model: "subcortical18", or "aparc50" for heads with skull; its weights must be on this computer.
    sides: whether structures on the left and on the right are segments of their own.
    wait=True gives a `LabeledBrain` or raises RegistrationError; wait=False, in Slicer only, gives
    a `Jobs.Job` at once. onProgress, onDone: called with the job.
    """
    request = _LabelRequest(volumeNode, model=model, sides=sides, device=device)
    return request.run(KIND, wait=wait, onProgress=onProgress, onDone=onDone)


class _LabelRequest(HeadRequest):
    def deliver(self, brain) -> Steps:
        """Put the structures that were found beside the volume; gives a LabeledBrain."""
        grid, changes = brain["grid"], Revert.Changes(self.scene)
        (image,) = yield from Segmentations.layerImages([brain["labels"]], grid)
        self.requireInput()
        name = SubjectHierarchy.freeName(self.scene, f"{self.volume.GetName()} structures")
        node = changes.rememberNew(Segmentations.newNode(self.scene, name, grid, self.volume))
        volumes = {}
        for structure in brain["structures"]:
            if structure["volume_ml"] == 0:
                continue
            value, title = structure["label"], structure["name"]
            segment = Segmentations.newSegment(image, value, title)
            segment.SetColor(*(part / 255 for part in structure["color"]))
            node.GetSegmentation().AddSegment(segment, f"Segment_{value}")
            volumes[title] = structure["volume_ml"]
        SubjectHierarchy.placeBeside(node, self.volume)
        changes.complete()
        return LabeledBrain(node, tuple(brain["warnings"]), changes, volumes)
