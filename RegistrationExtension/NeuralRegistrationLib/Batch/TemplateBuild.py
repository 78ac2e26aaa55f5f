"""An average of volumes of the scene, which appears as it sharpens: one job for each round.

from NeuralRegistrationLib import buildTemplate

done = buildTemplate([getNode("A"), getNode("B"), getNode("C")], "/data/average")
print(done.node.GetName(), done.rounds[-1]["shape_change_mm"], done.notes)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer
from neuralreg.errors import InvalidOption
from neuralreg.registration.options import USUAL, RegistrationOptions
from neuralreg.worker.serialization import Steps
from slicer.i18n import tr as _

from NeuralRegistrationLib.Scene import SceneData, SubjectHierarchy, Volumes
from NeuralRegistrationLib.Worker.RunJob import runJob

KIND = "template"
INPUTS = "_inputs"  # in the folder of the results: the volumes, as files


class TemplateBuild:
    """Builds one template after the other.

    onChanged: called whenever there is news. job: the one under way, or None. node: the average, a
    volume that each round fills anew. rounds: a record of each so far. error: why it ended.
    finished: whether the files are in the folder.
    """

    def __init__(self, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self.job = self.node = self.error = None
        self.rounds: list[Mapping[str, Any]] = []
        self.notes: list[str] = []
        self.finished = False
        self._arguments: dict[str, Any] = {}
        self._count = 0

    @property
    def ended(self) -> bool:
        return self.job is None

    def start(
        self,
        volumes: Sequence,
        folder: Path,
        *,
        rounds: int,
        median: bool = False,
        options: RegistrationOptions = USUAL,
    ) -> None:
        """Begin, or go on where the same was stopped.

        folder: of the results; rounds: deformable ones at most. Raises InvalidOption.
        """
        self._submit("dataset", self._begin(volumes, folder, rounds, median, options), None)

    def run(self, volumes: Sequence, folder: Path, rounds: int, median: bool, options) -> None:
        """All of it before this returns. Raises RegistrationError."""
        scene = slicer.mrmlScene
        runJob("dataset", self._begin(volumes, folder, rounds, median, options), _nothing,
               scene=scene)  # fmt: skip
        while not self.finished:
            runJob(KIND, dict(self._arguments), self._deliver, scene=scene)
            self._arguments["rounds"] += 1

    def _begin(self, volumes: Sequence, folder: Path, rounds: int, median: bool, options):
        """Forget what was before; gives what the job takes that writes the volumes as files."""
        if len(volumes) < 2:
            raise InvalidOption(
                _("an average needs two volumes at least"),
                got=str(len(volumes)),
                remedy=_("Tick more of them."),
            )
        self.__init__(self._onChanged)
        self._count = len(volumes)
        self._arguments = {
            "folder": str(folder),
            "rounds": 0,
            "most": rounds,
            "median": median,
            "options": options.as_record(),
        }
        cases = SceneData.cases(volumes, ())
        return SceneData.arguments(cases, 0, folder / INPUTS)

    def stop(self) -> None:
        """End what is under way; what was registered is kept in the folder."""
        if self.job is not None:
            self.job.cancel()

    def _submit(self, kind: str, arguments, deliver) -> None:
        from NeuralRegistrationLib.Worker.Queue import queue

        self.job = queue().submit(
            kind,
            arguments,
            deliver=deliver,
            scene=slicer.mrmlScene,
            onProgress=lambda job: self._onChanged(),
            onDone=self._finish,
        )
        self._onChanged()

    def _finish(self, job) -> None:
        self.job = None
        if job.state != "done":
            self.error = job.error
        elif not self.finished:
            if job.kind == KIND:
                self._arguments["rounds"] += 1
            self._submit(KIND, dict(self._arguments), self._deliver)
        self._onChanged()

    def _deliver(self, output: Mapping[str, Any]) -> Steps:
        """Show the average of this round."""
        image = yield from Volumes.imageData(output["image"].data)
        isNew = self.node is None or self.node.GetScene() is None
        if isNew:
            scene = slicer.mrmlScene
            name = _("Average of {count}").format(count=self._count)
            name = SubjectHierarchy.freeName(scene, name)
            self.node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        Volumes.fill(self.node, image, output["image"].grid)
        if isNew:
            _show(self.node)
        self.rounds, self.notes = list(output["rounds"]), list(output["notes"])
        self.finished = output["finished"]
        return self.node


def buildTemplate(
    volumeNodes: Sequence,
    folder: Path | str,
    *,
    rounds: int = 4,
    median: bool = False,
    options: RegistrationOptions = USUAL,
) -> TemplateBuild:
    """Build the average of volumes in its mean shape, as *Build a template* does, and wait for it.

    folder: of the results; what was registered there before a stop is used. rounds: deformable ones
    at most. median: of the intensities instead of the mean. options: of each registration.

    Gives the `TemplateBuild`, whose `node` is the average. Raises RegistrationError.
    """
    build = TemplateBuild(lambda: None)
    build.run(list(volumeNodes), Path(folder), rounds, median, options)
    return build


def _nothing(output: Any) -> Steps:
    """The files are all that writing them leaves."""
    return None
    yield


def _show(volume) -> None:
    """Show a volume alone in all slice views."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(volume.GetID())
        composite.SetForegroundVolumeID(None)
