"""The report of a review: pictures from Slicer's views here, the files by the worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import qt
from neuralreg.worker.serialization import Steps
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Paths import proposedPath
from NeuralRegistrationLib.Review import Jobs
from NeuralRegistrationLib.Review.Views import Pictures
from NeuralRegistrationLib.Scene import Volumes
from NeuralRegistrationLib.Scene.Transforms import RECORD


class ReviewReport:
    """Asks for a file and lets the worker write the report; offers to install what a PDF needs.

    onSay: called with a sentence for the status line. onProgress: with the job while it is under
    way. onJob: when one begins or ends.
    """

    def __init__(
        self, ui, onSay: Callable[[str], None], onProgress: Callable, onJob: Callable[[], None]
    ) -> None:
        self._button, self._onSay = ui.reviewPdfButton, onSay
        self._onProgress, self._onJob = onProgress, onJob
        self._button.connect("clicked()", self.install)
        self.job = self._last = None

    def export(self, widget, subject, reviewed, decision) -> None:
        """Write the report where the user wants it. reviewed: with its maps, if they are there."""
        name = f"{subject.transform.GetName()} review.html"
        path = qt.QFileDialog.getSaveFileName(widget, _("Report"), proposedPath(name), "*.html")
        if path:
            self.write(subject, reviewed, decision, path)

    def write(self, subject, reviewed, decision, path: str) -> None:
        """Draw the pictures here, in short steps, and let the worker write the files."""
        self._button.visible = False
        self._last = (subject, reviewed, decision, path)
        self._onSay(_("Drawing the pictures ..."))
        self.job = Jobs.queue().submit(
            "report",
            _arguments(subject, reviewed, decision, path),
            scene=subject.transform.GetScene(),
            onDone=self._finish,
            onProgress=self._onProgress,
        )
        self._onJob()

    def cancel(self) -> None:
        """End a report that is being written; no file of it is left."""
        if self.job is not None:
            self.job.cancel()

    def forget(self) -> None:
        """The scene closes."""
        self._last = None
        self._button.visible = False

    def _finish(self, job) -> None:
        self.job = None
        if job.state == "done":
            names = ", ".join(Path(path).name for path in job.result["written"])
            self._onSay(
                " ".join(filter(None, (_("Written: {files}.").format(files=names), _pdf())))
            )
            self._button.visible = bool(Dependencies.missingForReports())
        elif job.state == "failed":
            self._onSay(str(job.error))
        else:
            self._onSay(_("Cancelled."))
        self._onJob()

    def install(self) -> None:
        """Install what a PDF needs, in the background, and write the report once more."""
        self._button.enabled = False
        self._onSay(_("Installing what a PDF needs. You can keep working."))
        installer = Dependencies.Installer(lambda line: None, self._writeAgain)
        installer.install(Dependencies.missingForReports())

    def _writeAgain(self, problem: str) -> None:
        self._button.enabled = True
        if problem:
            self._onSay(problem)
        elif self._last is not None and self._last[0].isThere:
            self.write(*self._last)
        else:
            self._button.visible = False
            self._onSay("")


def _pdf() -> str:
    """What a PDF, or all letters in it, would need; "" if nothing."""
    missing = Dependencies.missingForReports()
    if not missing:
        return ""
    printed = Dependencies.isInstalled("fpdf")
    purpose = _("To print names in all scripts") if printed else _("For a PDF")
    return Dependencies.describe(missing, purpose)


def _arguments(subject, reviewed, decision, path: str) -> Steps:
    """What the worker's job `report` takes; a picture is drawn in each step."""
    drawn = yield from Pictures.pictures(subject, reviewed)
    formats = [".html", ".csv", ".json", *([".pdf"] if Dependencies.isInstalled("fpdf") else [])]
    return {
        "report": reviewed.report.as_record(),
        "decision": decision and decision.as_record(),
        "pictures": {name: np.frombuffer(png, np.uint8) for name, png in drawn.items()},
        "files": _files(subject),
        "provenance": _provenance(subject),
        "path": path,
        "formats": formats,
        "title": _("Review of “{name}”").format(name=subject.transform.GetName()),
    }


def _files(subject) -> dict[str, str]:
    """The files that nodes were read from and have not changed since."""
    files = {}
    for role, node in subject.nodes().items():
        if name := Volumes.fileOf(node):
            files[role] = name
    return files


def _provenance(subject) -> dict:
    """Nodes by name and, if they came by DICOM, UID; how a transform of ours was made."""
    nodes = {}
    for role, node in subject.nodes().items():
        uids = node.GetAttribute(Volumes.INSTANCES)
        nodes[role] = node.GetName() + (f" ({uids.split()[0]})" if uids else "")
    record = subject.transform.GetAttribute(RECORD)
    return {"nodes": nodes, **({"registration": json.loads(record)} if record else {})}
