"""The Review panel: may this deformation be used? It is measured, looked at and decided on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import qt
import slicer
from neuralreg.errors import RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Models import NetworkDownload
from NeuralRegistrationLib.Paths import resourcePath
from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Review import Jobs, LabelCheck, RepeatRegistration
from NeuralRegistrationLib.Review.Corrections.CorrectionSection import CorrectionSection
from NeuralRegistrationLib.Review.Decision import ReviewDecision
from NeuralRegistrationLib.Review.FindingsView import FindingsView
from NeuralRegistrationLib.Review.Landmarks.Landmarks import ReviewLandmarks
from NeuralRegistrationLib.Review.Parameters import ColorMap, reviewParameters
from NeuralRegistrationLib.Review.Report import ReviewReport
from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Review.Selectors import StructureSelectors
from NeuralRegistrationLib.Review.Views.ViewControls import ViewControls
from NeuralRegistrationLib.Review.Worklist import ReviewWorklist
from NeuralRegistrationLib.Scene import Transforms
from NeuralRegistrationLib.Widgets.ParameterPanel import ParameterPanel
from NeuralRegistrationLib.Widgets.StatusBar import progressText


class ReviewPanel(ParameterPanel):
    """Controls, parameters and jobs; each section is a class of its own.

    onCorrected: called with a `Corrected` that is new in the scene.
    jobs: those under way. reviewed: the last `ReviewResult` of this session, or None.
    """

    def __init__(self, onCorrected) -> None:
        super().__init__("ReviewPanel.ui")
        ui = self.ui
        self._onCorrected = onCorrected
        self.jobs, self._watched = [], None
        self._transform = self.reviewed = None
        self._active, self._mapAfterReview = False, None
        self.structures = StructureSelectors(ui, self.set)
        self.viewControls = ViewControls(ui, self.widget)
        self._looking = False
        self.findings = FindingsView(ui, self._lookAt)
        self.landmarks = ReviewLandmarks(ui, self.set, self.viewControls.jump, self._say)
        self.corrections = CorrectionSection(ui, self.set, self._beginCorrection, self._say)
        self.decision = ReviewDecision(ui, self._say, self._list)
        self.report = ReviewReport(ui, self._say, self._showProgress, self._showJobs)
        self.worklist = ReviewWorklist(ui, self.widget, self.set, self._say)
        ui.reviewButton.connect("clicked()", self.review)
        ui.reviewCancelButton.connect("clicked()", self.cancel)
        ui.reviewReportButton.connect("clicked()", self.export)
        ui.reviewLimitsButton.connect("clicked()", self.chooseLimits)
        ui.reviewSpreadButton.connect("clicked()", self.measureRobustness)
        ui.reviewOtherWayButton.connect("clicked()", self.registerReverse)
        ui.reviewLabelCheckButton.connect("clicked()", self.checkLabels)
        ui.reviewCorrectHereButton.connect("clicked()", self.correctHere)
        for selector in (ui.reviewLayoutSelector, ui.reviewOverlaySelector):
            selector.connect("activated(int)", lambda index: self.viewControls.begin())
        self.widget.setMRMLScene(slicer.mrmlScene)

    # The parameter node

    def open(self, transformNode=None) -> None:
        """The panel is shown, for this transform if one is given."""
        if self.parameters is None:
            self.follow(reviewParameters())
        if transformNode is not None:
            self.choose(transformNode)
        self._list()
        self._activate(True)

    def close(self) -> None:
        """The panel is no longer shown: keys belong to others, the views to the user."""
        self._activate(False)
        self.viewControls.stop()
        self.landmarks.stop()
        self.corrections.stop()

    def _activate(self, on: bool) -> None:
        self._active = on
        self.viewControls.active(on)
        self.worklist.active(on)
        if on:
            self.refresh()

    def follow(self, parameters) -> None:
        """Show and change these parameters from now on; None to let go of them."""
        self.viewControls.parameters = parameters
        super().follow(parameters)

    def prepare(self, parameters) -> None:
        """Show what the scene knows about the transform of these parameters."""
        self._recall(parameters.transform)

    def choose(self, transformNode) -> None:
        """Review this transform, with the volumes that it refers to."""
        self.set({"transform": transformNode})

    @property
    def subject(self) -> Subject | None:
        """What the parameters name; None without a transform."""
        if self.parameters is None or self.parameters.transform is None:
            return None
        return Subject.of(self.parameters)

    def show(self, parameters) -> None:
        """Bring what no connector keeps in step up to date."""
        if parameters.transform is not self._transform:
            self._changeTransform()
        self.structures.show(parameters)
        subject = self.subject
        idle = subject is not None and not self.jobs
        self.ui.reviewButton.enabled = idle
        canReport = idle and self.report.job is None
        self.ui.reviewReportButton.enabled = canReport and self.findings.report is not None
        file = parameters.profile
        self.ui.reviewLimitsButton.text = Path(file).name if file else _("AAPM TG-132")
        self.landmarks.follow(subject, parameters.repeatedPoints)
        self.corrections.follow(subject if self._active else None, parameters, bool(self.jobs))
        images = self.reviewed.images if self.reviewed is not None else {}
        self.decision.update()
        self.viewControls.follow(subject, images)
        self.viewControls.apply()
        self._enableMaps(images)

    def _lookAt(self, pointRas) -> None:
        """A location was chosen: locations, views and decision get the room of the other steps."""
        self._fold(True)
        self.viewControls.jump(pointRas)

    def _fold(self, looking: bool) -> None:
        """Fold what is not worked with while locations are looked at; unfold it else."""
        if looking is not self._looking:
            self._looking = looking
            for section in (self.ui.reviewSection, self.ui.reviewResultSection):
                section.collapsed = looking

    def _changeTransform(self) -> None:
        """Take the volumes that the transform refers to, and what is known about it."""
        self._fold(False)
        self._endJobs()
        self.viewControls.stop()
        node = self.parameters.transform
        if node is not None:
            pair = dict(zip(("fixedVolume", "movingVolume"), Transforms.pairOf(node), strict=True))
            self.set({name: volume for name, volume in pair.items() if volume is not None})
        self._say("")
        self._recall(node)

    def _recall(self, node) -> None:
        """Show what the scene knows about a transform."""
        self._transform, self.reviewed = node, None
        self._watch(node)
        report = self.decision.follow(node)
        remark = _("From the saved scene.") if report is not None else ""
        self.findings.show(report, remark)

    def _watch(self, node) -> None:
        """Observe the transform: when it changes, what is known about it is void."""
        if self._watched is not None:
            former, tag = self._watched
            former.RemoveObserver(tag)
        self._watched = None
        if node is not None:
            event = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
            self._watched = (node, node.AddObserver(event, self._voidReview))

    def _voidReview(self, caller, event) -> None:
        self.decision.void()
        if self.findings.report is not None:
            text = _("The transform has changed since: review it again.")
            self.findings.show(self.findings.report, f"<b>{text}</b>")

    def _enableMaps(self, images: dict) -> None:
        ready = bool(images)
        canRegister = "warped" in images and not self.jobs
        self.ui.reviewSpreadButton.enabled = canRegister
        report = self.findings.report
        isWhole = report is not None and report.detail == "full"
        self.ui.reviewLabelCheckButton.enabled = isWhole and not self.jobs
        self.ui.reviewOtherWayButton.enabled = canRegister and self._hasRecord()
        self.ui.reviewMapSelector.enabled = ready
        tip = _("A map in color over the fixed image.")
        self.ui.reviewMapSelector.toolTip = tip if ready else tip + " " + _("Review first.")

    def _hasRecord(self) -> bool:
        """Whether it is known how the transform was made."""
        return self._transform is not None and RegistrationRecord.read(self._transform) is not None

    def chooseLimits(self) -> None:
        """Hold the numbers against the limits of a file; against the usual ones on Cancel."""
        start = resourcePath("Review/tg132.json")
        path = qt.QFileDialog.getOpenFileName(self.widget, _("Limits"), start, "*.json")
        self.set({"profile": path})

    # Jobs

    def review(self) -> None:
        """Measure the transform: first numbers at once, then all of them."""
        subject = self.subject
        self.findings.show(None)
        try:
            for detail in ("quick", "full"):
                job = Jobs.submit(
                    subject, detail, onDone=self._finishReview, onProgress=self._showProgress
                )
                self.jobs.append(job)
        except RegistrationError as error:
            self._say(str(error))
        self._showJobs()

    def measureRobustness(self) -> None:
        """Register again from perturbed starts, and show where the results differ."""
        self._register(RepeatRegistration.submitRobustness, self._showRobustness)

    def _showRobustness(self, job) -> None:
        if self._succeeds(job):
            self.reviewed.images["spread"] = job.result
            self._say("")
            self.set({"colorMap": ColorMap.SPREAD})
        self._showJobs()

    def registerReverse(self) -> None:
        """Register the other way, and measure how well both directions agree."""
        self._register(RepeatRegistration.submitReverse, self._reviewReverse)

    def _reviewReverse(self, job) -> None:
        if self._succeeds(job):
            self._mapAfterReview = ColorMap.CONSISTENCY
            self.review()
        self._showJobs()

    def _register(self, submit, onDone) -> None:
        """Begin a job that registers once more, where the packages for that are installed."""
        missing = Dependencies.missingPackages()
        if missing:
            self._say(Dependencies.describe(missing))
            return
        try:
            self.jobs.append(submit(self.subject, onDone=onDone, onProgress=self._showProgress))
        except RegistrationError as error:
            self._say(str(error))
        self._showJobs()

    def checkLabels(self) -> None:
        """Let a network label both brains, and add what that says to the report."""
        card = (
            None
            if Dependencies.missingPackages()
            else NetworkDownload.missingCard(LabelCheck.NETWORK)
        )
        if card is None:
            self._register(partial(LabelCheck.submit, report=self.findings.report), self._addCheck)
        elif slicer.util.confirmOkCancelDisplay(NetworkDownload.question(card)):
            follow = {"onDone": self._checkOnceFetched, "onProgress": self._showProgress}
            self.jobs.append(NetworkDownload.submit(card, **follow))
            self._showJobs()
        else:
            self._say(_("{title}: not downloaded.").format(title=card.title))

    def _checkOnceFetched(self, job) -> None:
        if self._succeeds(job):
            self.checkLabels()
        self._showJobs()

    def _addCheck(self, job) -> None:
        if self._succeeds(job):
            self._say("")
            self.findings.show(job.result.report, structures=job.result.structures)
            self.decision.takeReport(job.result.report)
            if self.reviewed is not None:
                self.reviewed = replace(self.reviewed, report=job.result.report)
            self._list()
        self._showJobs()

    def correctHere(self) -> None:
        """Begin a correction at the chosen location."""
        if self.findings.chosenPoint is not None:
            self.corrections.add(self.findings.chosenPoint)

    def _beginCorrection(self, submit) -> None:
        self.jobs.append(submit(onDone=self._showCorrection, onProgress=self._showProgress))
        self._showJobs()

    def _showCorrection(self, job) -> None:
        if self._succeeds(job):
            self.viewControls.renew()
            self.corrections.take(job.result)
            self._onCorrected(job.result)
        self._showJobs()

    def _succeeds(self, job) -> bool:
        """Whether a job that ended has a result; else the status line tells why not."""
        if job in self.jobs:
            self.jobs.remove(job)
        if job.state != "done":
            self._say(_("Cancelled.") if job.state == "cancelled" else str(job.error))
        return job.state == "done"

    def export(self) -> None:
        """Write a report of the findings and the decision."""
        reviewed = self.reviewed or Jobs.ReviewResult(self.findings.report, {})
        self.report.export(self.widget, self.subject, reviewed, self.decision.decision)

    def cancel(self) -> None:
        """End what is under way."""
        self._endJobs()
        self.report.cancel()

    def _endJobs(self) -> None:
        """End what belongs to this transform; a report of another one is written on."""
        for job in reversed(list(self.jobs)):
            job.cancel()

    def _showProgress(self, job) -> None:
        if job not in (*self.jobs, self.report.job):
            return
        share = job.progress.fraction
        if job.kind == Jobs.KIND:
            share = 0.15 * share if len(self.jobs) > 1 else 0.15 + 0.85 * share
        self.ui.reviewProgressBar.value = round(1000 * share)
        self._say(progressText(job.progress))

    def _finishReview(self, job) -> None:
        if job in self.jobs:
            self.jobs.remove(job)
        if job.state == "done":
            self._showReview(job.result)
        elif job.state == "cancelled":
            self._say(_("Cancelled."))
        else:
            self._endJobs()
            self._say(str(job.error))
        self._mapAfterReview = self._mapAfterReview if job.state == "done" else None
        self._showJobs()

    def _showReview(self, reviewed) -> None:
        self.reviewed = reviewed
        self.findings.show(reviewed.report)
        self.decision.takeReport(reviewed.report)
        if reviewed.report.detail == "full":
            self._say("")
            self._list()
            if self._mapAfterReview is not None:
                self.set({"colorMap": self._mapAfterReview})
            self._mapAfterReview = None

    def _showJobs(self) -> None:
        busy = bool(self.jobs) or self.report.job is not None
        if busy:  # progress and Cancel are there
            self._fold(False)
        self.ui.reviewCancelButton.enabled = busy
        self.ui.reviewProgressBar.visible = busy
        self.refresh()

    def _list(self) -> None:
        if self._transform is not None and self.decision.report is not None:
            self.worklist.keep(self._transform, self.decision.report, self.decision.valid)
        self.worklist.list(self._transform)

    def _say(self, text: str) -> None:
        self.ui.reviewStatusLabel.text = text
        self.ui.reviewStatusLabel.visible = bool(text)

    # Another scene, and the end

    def renew(self) -> None:
        """The scene is another one, or more was read into it."""
        self.follow(None)
        if self._active:
            self.open()

    def forget(self) -> None:
        """The scene closes; jobs of it are ended by the queue."""
        self._watch(None)
        self.landmarks.stop()
        self.corrections.stop()
        self.viewControls.forget()
        self.follow(None)
        self._transform = self.reviewed = None
        self.decision.follow(None)
        self.findings.show(None)
        self.report.forget()
        self.worklist.clear()

    def cleanup(self) -> None:
        """Let go of the scene; jobs end."""
        self.cancel()
        self._activate(False)
        self.viewControls.stop()
        self.forget()
