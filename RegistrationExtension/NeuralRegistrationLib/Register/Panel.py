"""The Register panel: from two volumes to a transform, without blocking the window.

It reads and shows parameters, and hands jobs to the logic; what is computed is no business of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import qt
import slicer
from neuralreg.errors import RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Exchange.TransformExport import TransformExport
from NeuralRegistrationLib.Register import AutoModel, Parameters
from NeuralRegistrationLib.Register.BrainLabels import labelBrain
from NeuralRegistrationLib.Register.BrainMask import findBrain
from NeuralRegistrationLib.Register.Guides import GuideSettings
from NeuralRegistrationLib.Register.Guides.GuideSection import GuideSection
from NeuralRegistrationLib.Register.ModelSelector import ModelSelector, optionsText
from NeuralRegistrationLib.Register.Precheck import Finding, precheck
from NeuralRegistrationLib.Register.ResultNodes import Registered
from NeuralRegistrationLib.Register.ResultView import ResultView
from NeuralRegistrationLib.Widgets.MaskSelector import MaskSelector
from NeuralRegistrationLib.Widgets.ParameterPanel import ParameterPanel
from NeuralRegistrationLib.Widgets.StatusBar import StatusBar

_UNDER_WAY = ("waiting", "preparing", "running", "delivering")


_BRAIN = ["brain"]  # what a job that finds a brain was asked
_LABELS = ["labels"]  # and one that labels its structures
_REFINEMENT = ("similaritySelector", "stepsSpinBox", "regularitySlider", "fitWeightsCheckBox")


@dataclass(eq=False)
class _Entry:
    """A job of the panel. text: in the list of jobs. asked: what it was asked to do, and with."""

    text: str
    asked: list
    job: Any = None


class RegisterPanel(ParameterPanel):
    """Controls, parameters and jobs. logic: has `register` and `asPython`; onMissing: called when
    packages are missing at Apply; onReview, onCorrect: called with a transform node that is to be
    reviewed, or corrected by hand.

    jobs: those under way. history: results that can be reverted, the last one last.
    """

    refreshesInBatches = True  # what a scene that is read says comes before what suits an anatomy
    nodeLists = GuideSettings.NODES

    def __init__(self, logic, onMissing, onReview, onCorrect) -> None:
        super().__init__("RegisterPanel.ui")
        self.logic, self._onMissing = logic, onMissing
        self._onReview, self._onCorrect = onReview, onCorrect
        self.jobs, self.history, self._last, self._preset = [], [], None, None
        self._hasResults = False  # whether there were results in this scene
        self.status = StatusBar(self.ui)
        self.results = ResultView(self.ui)
        exportButton = self.ui.exportTransformButton
        self.export = TransformExport(exportButton, self._lastTransform, self.status.say)
        self.models = ModelSelector(self.ui, self._modelChosen)
        self.masks = [
            MaskSelector(self.ui, name, (name, f"{name}Segment"), self._maskChosen)
            for name in ("fixedMask", "movingMask")
        ]
        self.guides = GuideSection(self.ui, self.setFromControls)
        self._connect()
        self.widget.setMRMLScene(slicer.mrmlScene)

    def _connect(self) -> None:
        ui = self.ui
        ui.swapButton.connect("clicked()", self.swap)
        ui.bringAlongSelector.connect("checkedNodesChanged()", self._bringAlongChosen)
        ui.defaultsButton.connect("clicked()", lambda: Parameters.restoreDefaults(self.parameters))
        ui.guidesClearButton.connect("clicked()", self._clearGuides)
        ui.applyButton.connect("clicked()", self.apply)
        ui.cancelButton.connect("clicked()", self.cancel)
        ui.revertButton.connect("clicked()", self.revert)
        ui.copyButton.connect("clicked()", self.copyAsPython)
        ui.brainsButton.connect("clicked()", self.findBrains)
        ui.labelBrainsButton.connect("clicked()", self.labelBrains)
        ui.openReviewButton.connect("clicked()", lambda: self._openLast(self._onReview))
        ui.openCorrectButton.connect("clicked()", lambda: self._openLast(self._onCorrect))

    # The parameter node

    def setParameters(self, parameters) -> None:
        """Show and change these parameters from now on; None to let go of them."""
        self.follow(parameters)
        self.refresh()

    def prepare(self, parameters) -> None:
        """Choose volumes where none are chosen."""
        self._preset = parameters.preset
        self.chooseVolumes()

    def chooseVolumes(self) -> None:
        """Take the first two volumes of the scene where none was chosen."""
        chosen = [self.parameters.fixedVolume, self.parameters.movingVolume]
        if any(chosen):
            return
        volumes = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if not node.GetHideFromEditors() and not node.IsA("vtkMRMLLabelMapVolumeNode")
        ]
        for name, node in zip(("fixedVolume", "movingVolume"), volumes, strict=False):
            setattr(self.parameters, name, node)

    def show(self, parameters) -> None:
        """Bring what no connector keeps in step up to date."""
        p = parameters
        self._suitPreset()
        self.models.show(p.model, json.loads(p.modelOptions))
        for mask in self.masks:
            mask.show(*(getattr(p, name) for name in mask.parameterNames))
        self.guides.show(p)
        self._showBroughtAlong()
        for name in _REFINEMENT:
            getattr(self.ui, name).enabled = p.ownRefinement
        self._check()

    def _suitPreset(self) -> None:
        """Another anatomy brings its refinement, unless a scene that is read has another."""
        if self.parameters.preset != self._preset:
            self._preset = self.parameters.preset
            if not slicer.mrmlScene.IsBatchProcessing():
                Parameters.suit(self.parameters)

    def _showBroughtAlong(self) -> None:
        ui, p = self.ui, self.parameters
        involved = (p.fixedVolume, p.movingVolume, p.outputVolume)
        ids = [node.GetID() for node in involved if node is not None]
        ui.bringAlongSelector.sortFilterProxyModel().hiddenNodeIDs = ids
        chosen = list(p.bringAlong)
        for node in [*ui.bringAlongSelector.checkedNodes(), *chosen]:
            if node is not None and node.GetScene() is not None:
                state = qt.Qt.Checked if node in chosen else qt.Qt.Unchecked
                ui.bringAlongSelector.setCheckState(node, state)

    def _modelChosen(self, model: str, options: dict[str, float]) -> None:
        self.setFromControls({"model": model, "modelOptions": optionsText(options)})

    def _maskChosen(self, names, node, segment: str) -> None:
        self.setFromControls(dict(zip(names, (node, segment), strict=True)))

    def _bringAlongChosen(self) -> None:
        self.setFromControls({"bringAlong": list(self.ui.bringAlongSelector.checkedNodes())})

    def _clearGuides(self) -> None:
        with slicer.util.NodeModify(self.parameters):
            Parameters.clearGuides(self.parameters)

    def swap(self) -> None:
        """Let fixed and moving change places, with all that belongs to one of them.

        Rigid parts and what slides stay: they are known on the fixed side alone.
        """
        self.set(Parameters.exchangeSides(self.parameters))

    # Before a job

    def _check(self) -> None:
        """Say what can be said before Apply, and what can be pressed."""
        p = self.parameters
        self.ui.labelBrainsButton.enabled = self._canLabel()
        if p is None or p.fixedVolume is None or p.movingVolume is None:
            missing = p is None or p.fixedVolume is None
            self.status.precheck(
                [], _("Choose a fixed volume.") if missing else _("Choose a moving volume.")
            )
            self.ui.applyButton.enabled = self.ui.brainsButton.enabled = False
            return
        prealigned = p.prealign != Parameters.Prealign.NONE or p.initialTransform is not None
        contents = None
        if p.fixedVolume.GetImageData() is not None and p.movingVolume.GetImageData() is not None:
            contents = AutoModel.contentsOf(p.fixedVolume, p.movingVolume, p)
        card = self.models.card
        findings = precheck(p.fixedVolume, p.movingVolume, card, prealigned, contents)
        if faults := [Finding("bad", fault) for fault in GuideSettings.faults(p)]:
            findings = faults + [finding for finding in findings if finding.level != "good"]
        works = all(f.level != "bad" for f in findings)
        if works and self.models.card is None:
            findings += [Finding("good", AutoModel.expectation(p.fixedVolume, p.movingVolume, p))]
        self.status.precheck(findings)
        same = [p.fixedVolume, p.movingVolume, Parameters.settingsOf(p)]
        waiting = any(entry.asked == same for entry in self.jobs)
        self.ui.applyButton.enabled = works and not waiting
        self.ui.brainsButton.enabled = works and not any(e.asked == _BRAIN for e in self.jobs)

    def _canLabel(self) -> bool:
        """Whether the volumes to label are there, and are not being labeled already."""
        volumes = self._labeledVolumes() if self.parameters is not None else []
        hasVoxels = all(v is not None and v.GetImageData() is not None for v in volumes)
        return bool(volumes) and hasVoxels and not any(e.asked == _LABELS for e in self.jobs)

    def _labeledVolumes(self) -> list:
        p = self.parameters
        isForBoth = p.labeledVolumes is Parameters.LabeledVolumes.BOTH
        return [p.fixedVolume, p.movingVolume] if isForBoth else [p.fixedVolume]

    # Jobs

    def apply(self) -> None:
        """Hand the registration of the chosen volumes to the logic."""
        p = self.parameters
        fixed, moving, settings = asked = [
            p.fixedVolume,
            p.movingVolume,
            Parameters.settingsOf(p),
        ]

        def show(result) -> None:
            self._last = asked
            self.results.show(fixed, moving, result)
            self.status.sayDone(result.seconds)

        entry = _Entry(f"{moving.GetName()} → {fixed.GetName()}", asked)
        self._submit(
            entry, show, lambda **call: self.logic.register(fixed, moving, **settings, **call)
        )

    def findBrains(self) -> None:
        """Let the worker find the brain in each volume that has no mask and needs one."""
        p = self.parameters
        sides = (("fixedMask", p.fixedVolume), ("movingMask", p.movingVolume))
        for name, volume in sides:
            if getattr(p, name) is None and not AutoModel.isBrain(volume):
                self._findBrain(name, volume)
        if not any(entry.asked == _BRAIN for entry in self.jobs):
            self.status.say(_("Both have a mask, or look like brains without skull already."))

    def _findBrain(self, parameter: str, volume) -> None:
        def take(brain) -> None:
            volumes = (self.parameters.fixedVolume, self.parameters.movingVolume)
            if volumes[parameter == "movingMask"] is volume:
                self.set({parameter: brain.node, f"{parameter}Segment": ""})
            self.status.sayBrain(brain)

        how = {"model": self.parameters.brainModel.value, "device": self.parameters.device.value}
        entry = _Entry(_("Brain of {name}").format(name=volume.GetName()), _BRAIN)
        self._submit(entry, take, lambda **call: findBrain(volume, **how, **call))

    def labelBrains(self) -> None:
        """Let the worker label the structures of the brain in each volume that was chosen."""
        device = self.parameters.device.value
        for volume in dict.fromkeys(self._labeledVolumes()):
            entry = _Entry(_("Structures of {name}").format(name=volume.GetName()), _LABELS)
            start = partial(labelBrain, volume, device=device)
            self._submit(entry, self.status.sayLabels, start)

    def _submit(self, entry: _Entry, done, start) -> None:
        """Put a job into the list. start: makes it; done: called with its result."""
        if Dependencies.missingPackages():
            self.status.sayFailure(
                _("Packages are missing."), _("Install them with the card above.")
            )
            self._onMissing()
            return
        try:
            entry.job = start(
                wait=False,
                onDone=lambda job: self._onEnd(entry, done, job),
                onProgress=self._onProgress,
            )
        except RegistrationError as error:
            self.status.sayError(error)
            return
        self.jobs.append(entry)
        self._showJobs()

    def cancel(self) -> None:
        """End the chosen job, or the one that runs."""
        row = max(0, self.ui.jobList.currentRow)
        if row < len(self.jobs):
            self.jobs[row].job.cancel()

    def revert(self) -> None:
        """Take away the results of the last job; where there are none, say so."""
        if not self.history:
            self.status.say(_("There is nothing left to take back."))
            return
        last = self.history.pop()
        left = last.revert()
        if isinstance(last, Registered):
            self.results.revert()
        else:
            self.results.update()
        if left:
            self.status.say(_("Reverted, but {left}.").format(left=". ".join(left)))
        else:
            self.status.say(_("Reverted: everything is as it was before."))
        self._showJobs()

    def _lastTransform(self):
        """The transform node of the last result; None where it is gone."""
        results = [done for done in self.history if isinstance(done, Registered)]
        node = results[-1].transformNode if results else None
        return node if node is not None and node.GetScene() is not None else None

    def _openLast(self, open) -> None:
        """Go on with the last result in another panel."""
        if (node := self._lastTransform()) is not None:
            open(node)

    def takeCorrection(self, corrected) -> None:
        """A result was corrected by hand: Revert takes that back first."""
        self._hasResults = True
        self.history.append(corrected)
        self.results.update()
        self._showJobs()

    def copyAsPython(self) -> None:
        """Put the call that repeats the last registration on the clipboard."""
        fixed, moving, settings = self._last
        slicer.app.clipboard().setText(self.logic.asPython(fixed, moving, **settings))
        self.status.say(_("The call is on the clipboard: paste it into the Python console."))

    def _showJobs(self) -> None:
        """Bring the list of jobs and the buttons up to date."""
        under_way = [entry.text for entry in self.jobs]
        row = self.ui.jobList.currentRow
        self.ui.jobList.clear()
        self.ui.jobList.addItems(under_way)
        self.ui.jobList.currentRow = min(row, len(under_way) - 1)
        self.ui.jobList.visible = len(under_way) > 1
        self.ui.cancelButton.enabled = bool(under_way)
        self.ui.revertButton.enabled = self._hasResults
        self.ui.progressBar.visible = bool(under_way)
        self._check()

    def _onProgress(self, job) -> None:
        if job.state in _UNDER_WAY and job.state != "waiting":
            self.status.progress(job)

    def _onEnd(self, entry: _Entry, done, job) -> None:
        self.jobs.remove(entry)
        if job.state == "done":
            self._hasResults = True
            self.history.append(job.result)
            self.ui.progressBar.value = 1000
            done(job.result)
        elif job.state == "cancelled":
            self.status.say(_("Cancelled. Nothing was changed."))
        else:
            self.status.sayError(job.error, job.log)
        self._showJobs()

    def forget(self) -> None:
        """The scene closes: results are gone with it, jobs are ended by the logic."""
        self.results.forget()
        self.history.clear()
        self._last, self._hasResults = None, False
        self._showJobs()

    def cleanup(self) -> None:
        """Let go of the scene; jobs end."""
        self.setParameters(None)
        for entry in list(self.jobs):
            entry.job.cancel()
