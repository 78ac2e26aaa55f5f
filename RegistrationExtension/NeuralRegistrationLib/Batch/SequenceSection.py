"""The section of the Batch panel that registers the frames of a sequence."""

from __future__ import annotations

from neuralreg.errors import InvalidOption, RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Batch.SequenceMotion import DEFORMATIONS, TO, registerSequence
from NeuralRegistrationLib.Widgets.StatusBar import progressText


class SequenceSection:
    """Controls of one registration of a sequence after the other.

    job: the one under way, or None. history: results that can be taken back, the last one last.
    """

    def __init__(self, ui) -> None:
        self.ui, self.job, self.history = ui, None, []
        for title in (_("The mean of all frames"), _("The frame that is shown"),
                      _("Each frame to the next")):  # fmt: skip
            ui.batchSequenceToSelector.addItem(title)
        for title in (_("Moved and turned"), _("Also scaled and sheared"), _("Bent")):
            ui.batchSequenceDeformationSelector.addItem(title)
        ui.batchSequenceToSelector.connect("currentIndexChanged(int)", lambda index: self.show())
        ui.batchSequenceSelector.connect(
            "currentNodeChanged(vtkMRMLNode*)", lambda node: self.show()
        )
        ui.batchSequenceButton.connect("clicked()", self.start)
        ui.batchSequenceCancelButton.connect("clicked()", self.cancel)
        ui.batchSequenceRevertButton.connect("clicked()", self.revert)
        self._say("")
        self.show()

    def show(self) -> None:
        """Bring the controls up to date."""
        ui, isIdle = self.ui, self.job is None
        isChain = TO[ui.batchSequenceToSelector.currentIndex] == "chain"
        ui.batchSequencePeriodicBox.visible = isChain
        ui.batchSequenceButton.enabled = (
            isIdle and ui.batchSequenceSelector.currentNode() is not None
        )
        ui.batchSequenceCancelButton.enabled = not isIdle
        ui.batchSequenceRevertButton.enabled = isIdle and bool(self.history)
        ui.batchSequenceBar.visible = not isIdle

    def start(self) -> None:
        """Register the chosen sequence."""
        missing = Dependencies.missingPackages()
        if missing:
            self._say(Dependencies.describe(missing))
            return
        ui = self.ui
        to = TO[ui.batchSequenceToSelector.currentIndex]
        try:
            self.job = registerSequence(
                ui.batchSequenceSelector.currentNode(),
                to=to,
                deformation=self._deformation(to),
                periodic=to == "chain" and ui.batchSequencePeriodicBox.checked,
                along=ui.batchSequenceAlongSelector.checkedNodes(),
                wait=False,
                onDone=self._finish,
                onProgress=self._follow,
            )
        except RegistrationError as error:
            self._say(str(error))
        self.show()

    def _deformation(self, to: str) -> str:
        """What may change in a frame. Raises InvalidOption for a chain that bends."""
        deformation = DEFORMATIONS[self.ui.batchSequenceDeformationSelector.currentIndex]
        if (to, deformation) == ("chain", "deformable"):
            raise InvalidOption(
                _("frames of a chain are moved, turned, scaled and sheared, and do not bend"),
                remedy=_("Choose another target, or another kind of change."),
            )
        return deformation

    def cancel(self) -> None:
        """End what is under way; nothing of it is left."""
        if self.job is not None:
            self.job.cancel()

    def revert(self) -> None:
        """Take the last result away again."""
        done = self.history.pop()
        left = done.revert()
        self._say(". ".join(left) or _("Reverted: the sequence is as it was before."))
        self.show()

    def _follow(self, job) -> None:
        self.ui.batchSequenceBar.value = round(1000 * job.progress.fraction)
        self._say(progressText(job.progress))

    def _finish(self, job) -> None:
        self.job = None
        if job.state == "done":
            self.history.append(job.result)
            self._say(_describe(job.result))
        else:
            self._say(_("Cancelled.") if job.state == "cancelled" else str(job.error))
        self.show()

    def _say(self, text: str) -> None:
        self.ui.batchSequenceLabel.text = text
        self.ui.batchSequenceLabel.visible = bool(text)

    def forget(self) -> None:
        """The scene closes, with all results."""
        self.history.clear()
        self._say("")
        self.show()


def _describe(done) -> str:
    """What a result is, and what to look at."""
    text = _(
        "“{name}” plays with the sequence, which stands still now; “{table}” lists the motion."
    )
    said = [text.format(name=done.transformNode.GetName(), table=done.tableNode.GetName())]
    for number, why in done.failures.items():
        said.append(_("Frame {number} stays as it was: {why}.").format(number=number, why=why))
    return "\n".join([*said, *(f"{note}." for note in done.warnings)])
