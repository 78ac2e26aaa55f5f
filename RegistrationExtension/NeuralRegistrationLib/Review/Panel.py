"""The Review panel: may this deformation be used? It is measured, looked at and decided on."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from neuralreg.errors import RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Paths import resourcePath
from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Review import Jobs, RepeatRegistration
from NeuralRegistrationLib.Review.Decision import ReviewDecision
from NeuralRegistrationLib.Review.FindingsView import ReviewResultView
from NeuralRegistrationLib.Review.Landmarks.Landmarks import ReviewLandmarks
from NeuralRegistrationLib.Review.Parameters import ColorMap, reviewParameters
from NeuralRegistrationLib.Review.Report import ReviewReport
from NeuralRegistrationLib.Review.Request import Subject, sides
from NeuralRegistrationLib.Review.Selectors import StructureSelectors
from NeuralRegistrationLib.Review.Views.ViewControls import ReviewLook
from NeuralRegistrationLib.Review.Worklist import ReviewWorklist


class ReviewPanel:
    """Controls, parameters and jobs; each section is a class of its own."""

    def __init__(self) -> None:
        self.widget = slicer.util.loadUI(resourcePath("UI/ReviewPanel.ui"))
        self.ui = ui = slicer.util.childWidgetVariables(self.widget)
        self.parameters = self._guiTag = self._observerTag = None
        self._jobs, self._watched, self._updating = [], None, False
        self._transform = self._reviewed = None
        self._shown, self._next = False, None
        self.structures = StructureSelectors(ui, self._set)
        self.look = ReviewLook(ui, self.widget)
        self.result = ReviewResultView(ui, self.look.jump)
        self.landmarks = ReviewLandmarks(ui, self._set, self.look.jump, self._say)
        self.decision = ReviewDecision(ui, self._say, self._list)
        self.report = ReviewReport(ui, self._say)
        self.worklist = ReviewWorklist(ui, self.widget, self._set, self._say)
        ui.reviewButton.connect("clicked()", self.review)
        ui.reviewCancelButton.connect("clicked()", self.cancel)
        ui.reviewReportButton.connect("clicked()", self.export)
        ui.reviewLimitsButton.connect("clicked()", self.chooseLimits)
        ui.reviewSpreadButton.connect("clicked()", self.spread)
        ui.reviewOtherWayButton.connect("clicked()", self.otherWay)
        for selector in (ui.reviewLayoutSelector, ui.reviewOverlaySelector):
            selector.connect("activated(int)", lambda index: self.look.touched())
        self.widget.setMRMLScene(slicer.mrmlScene)

    # The parameter node

    def open(self, transformNode=None) -> None:
        """The panel is shown, for this transform if one is given."""
        if self.parameters is None:
            self._follow(reviewParameters())
        if transformNode is not None:
            self.choose(transformNode)
        self._list()
        self._active(True)

    def close(self) -> None:
        """The panel is no longer shown: keys belong to others, the views to the user."""
        self._active(False)
        self.look.stop()
        self.landmarks.stop()

    def _active(self, on: bool) -> None:
        self._shown = on
        self.look.active(on)
        self.worklist.active(on)
        if on:
            self._refresh()

    def _follow(self, parameters) -> None:
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            self.parameters.RemoveObserver(self._observerTag)
        self.parameters = self.look.parameters = parameters
        if parameters is not None:
            self._know(parameters.transform)
            self._guiTag = parameters.connectGui(self.ui)
            self._observerTag = parameters.AddObserver("ModifiedEvent", self._refresh)

    def _set(self, values: dict) -> None:
        if self.parameters is None:
            return
        with slicer.util.NodeModify(self.parameters):
            for name, value in values.items():
                setattr(self.parameters, name, value)

    def choose(self, transformNode) -> None:
        """Review this transform, with the volumes that it refers to."""
        self._set({"transform": transformNode})

    @property
    def subject(self) -> Subject | None:
        """What the parameters name; None without a transform."""
        if self.parameters is None or self.parameters.transform is None:
            return None
        return Subject.of(self.parameters)

    def _refresh(self, caller=None, event=None) -> None:
        """Bring what no connector keeps in step up to date."""
        if self._updating or self.parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self._updating = True
        try:
            if self.parameters.transform is not self._transform:
                self._otherTransform()
            self.structures.show(self.parameters)
            subject = self.subject
            idle = subject is not None and not self._jobs
            self.ui.reviewButton.enabled = idle
            self.ui.reviewReportButton.enabled = idle and self.result.report is not None
            file = self.parameters.profile
            self.ui.reviewLimitsButton.text = Path(file).name if file else _("AAPM TG-132")
            self.landmarks.follow(subject, self.parameters.repeatedPoints)
            images = self._reviewed.images if self._reviewed is not None else {}
            self.look.follow(subject, images)
            self.look.apply()
            self._showMapsThatAreThere(images)
        finally:
            self._updating = False

    def _otherTransform(self) -> None:
        """Take the volumes that the transform refers to, and what is known about it."""
        self.cancel()
        self.look.stop()
        node = self.parameters.transform
        if node is not None:
            pair = dict(zip(("fixedVolume", "movingVolume"), sides(node), strict=True))
            self._set({name: volume for name, volume in pair.items() if volume is not None})
        self._say("")
        self._know(node)

    def _know(self, node) -> None:
        """Show what the scene knows about a transform."""
        self._transform, self._reviewed = node, None
        self._watch(node)
        report = self.decision.follow(node)
        remark = _("From the saved scene.") if report is not None else ""
        self.result.show(report, remark)

    def _watch(self, node) -> None:
        """Know when the transform is changed: what was said about it is void then."""
        if self._watched is not None:
            former, tag = self._watched
            former.RemoveObserver(tag)
        self._watched = None
        if node is not None:
            event = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
            self._watched = (node, node.AddObserver(event, self._changed))

    def _changed(self, caller, event) -> None:
        self.decision.changed()
        if self.result.report is not None:
            text = _("The transform was changed since: review it again.")
            self.result.show(self.result.report, f"<b>{text}</b>")

    def _showMapsThatAreThere(self, images: dict) -> None:
        ready = bool(images)
        again = "warped" in images and not self._jobs
        self.ui.reviewSpreadButton.enabled = again
        self.ui.reviewOtherWayButton.enabled = again and self._isRecorded()
        self.ui.reviewMapSelector.enabled = ready
        tip = _("A map in color over the fixed image.")
        self.ui.reviewMapSelector.toolTip = tip if ready else tip + " " + _("Review first.")

    def _isRecorded(self) -> bool:
        """Whether the transform says how it was made."""
        return self._transform is not None and RegistrationRecord.read(self._transform) is not None

    def chooseLimits(self) -> None:
        """Hold the numbers against the limits of a file; against the usual ones on Cancel."""
        start = resourcePath("Review/tg132.json")
        path = qt.QFileDialog.getOpenFileName(self.widget, _("Limits"), start, "*.json")
        self._set({"profile": path})

    # Jobs

    def review(self) -> None:
        """Measure the transform: first numbers at once, then all of them."""
        subject = self.subject
        self.result.show(None)
        try:
            for detail in ("quick", "full"):
                self._jobs.append(
                    Jobs.submitted(subject, detail, onDone=self._ended, onProgress=self._progressed)
                )
        except RegistrationError as error:
            self._say(str(error))
        self._showJobs()

    def spread(self) -> None:
        """Register again from moved starts, and show where the answers differ."""
        self._again(RepeatRegistration.spread, self._spreadEnded)

    def _spreadEnded(self, job) -> None:
        if self._came(job):
            self._reviewed.images["spread"] = job.result
            self._say("")
            self._set({"colorMap": ColorMap.SPREAD})
        self._showJobs()

    def otherWay(self) -> None:
        """Register the other way, and measure how well both directions agree."""
        self._again(RepeatRegistration.otherWay, self._otherWayEnded)

    def _otherWayEnded(self, job) -> None:
        if self._came(job):
            self._next = ColorMap.CONSISTENCY
            self.review()
        self._showJobs()

    def _again(self, job, onDone) -> None:
        """Begin a job that registers once more, where the packages for that are here."""
        if Dependencies.missing():
            self._say(Dependencies.described(Dependencies.missing()))
            return
        try:
            self._jobs.append(job(self.subject, onDone=onDone, onProgress=self._progressed))
        except RegistrationError as error:
            self._say(str(error))
        self._showJobs()

    def _came(self, job) -> bool:
        """Whether a job that ended has a result; else it is said why not."""
        if job in self._jobs:
            self._jobs.remove(job)
        if job.state != "done":
            self._say(_("Cancelled.") if job.state == "cancelled" else str(job.error))
        return job.state == "done"

    def export(self) -> None:
        """Write a report of what was found and decided."""
        reviewed = self._reviewed or Jobs.Reviewed(self.result.report, {})
        self.report.export(self.widget, self.subject, reviewed, self.decision.decision)

    def cancel(self) -> None:
        """End what is under way."""
        for job in reversed(list(self._jobs)):
            job.cancel()

    def _progressed(self, job) -> None:
        if job not in self._jobs:
            return
        share = job.progress.fraction
        if job.kind == Jobs.KIND:
            share = 0.15 * share if len(self._jobs) > 1 else 0.15 + 0.85 * share
        self.ui.reviewProgressBar.value = round(1000 * share)
        stage = job.progress.stage
        self._say(stage[:1].upper() + stage[1:])

    def _ended(self, job) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
        if job.state == "done":
            self._showReviewed(job.result)
        elif job.state == "cancelled":
            self._say(_("Cancelled."))
        else:
            self.cancel()
            self._say(str(job.error))
        self._next = self._next if job.state == "done" else None
        self._showJobs()

    def _showReviewed(self, reviewed) -> None:
        self._reviewed = reviewed
        self.result.show(reviewed.report)
        self.decision.reviewed(reviewed.report)
        if reviewed.report.detail == "full":
            self._say("")
            self._list()
            if self._next is not None:
                self._set({"colorMap": self._next})
            self._next = None

    def _showJobs(self) -> None:
        busy = bool(self._jobs)
        self.ui.reviewCancelButton.enabled = busy
        self.ui.reviewProgressBar.visible = busy
        self._refresh()

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
        self._follow(None)
        if self._shown:
            self.open()

    def forget(self) -> None:
        """The scene closes; jobs of it are ended by the queue."""
        self._watch(None)
        self.landmarks.stop()
        self.look.forget()
        self._follow(None)
        self._transform = self._reviewed = None
        self.decision.follow(None)
        self.result.show(None)
        self.report.forget()
        self.worklist.clear()

    def cleanup(self) -> None:
        """Let go of the scene; jobs end."""
        self.cancel()
        self._active(False)
        self.look.stop()
        self.forget()
