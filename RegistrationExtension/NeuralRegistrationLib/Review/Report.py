"""The report of a review: pictures from Slicer's views here, the files by the worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import qt
from neuralreg.worker.parcel import Steps
from slicer.i18n import tr as _

from .. import Dependencies
from ..Transforms import RECORD
from . import Jobs, Pictures

_UID = "DICOM.instanceUIDs"


class ReviewReport:
    """Asks for a file and lets the report be written. onSay: called with what there is to say."""

    def __init__(self, onSay: Callable[[str], None]) -> None:
        self._onSay = onSay
        self.job = None

    def export(self, widget, subject, reviewed, decision) -> None:
        """Write the report where the user wants it. reviewed: with its maps, if they are there."""
        name = f"{subject.transform.GetName()} review.html"
        path = qt.QFileDialog.getSaveFileName(
            widget, _("Report"), str(Path.home() / name), "*.html"
        )
        if path:
            self._onSay(_("Drawing the pictures ..."))
            self.job = Jobs.queue().submit(
                "report",
                _arguments(subject, reviewed, decision, path),
                scene=subject.transform.GetScene(),
                onDone=self._ended,
            )

    def _ended(self, job) -> None:
        self.job = None
        if job.state == "done":
            names = ", ".join(Path(path).name for path in job.result["written"])
            text = _("Written: {files}.").format(files=names)
            if not _pdfIsPossible():
                text += " " + _("For a PDF, install the package fpdf2.")
            self._onSay(text)
        elif job.state == "failed":
            self._onSay(str(job.error))
        else:
            self._onSay("")


def _pdfIsPossible() -> bool:
    return Dependencies.isInstalled("fpdf")


def _arguments(subject, reviewed, decision, path: str) -> Steps:
    """What the worker's job `report` takes; a picture is drawn in each step."""
    drawn = yield from Pictures.pictures(subject, reviewed)
    formats = [".html", ".csv", ".json", *([".pdf"] if _pdfIsPossible() else [])]
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
    """The files that nodes were read from and still equal."""
    found = {}
    for role, node in subject.nodes().items():
        storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
        name = storage.GetFullNameFromFileName() if storage is not None else ""
        if name and Path(name).is_file() and not node.GetModifiedSinceRead():
            found[role] = name
    return found


def _provenance(subject) -> dict:
    """Nodes by name and, if they came by DICOM, UID; how a transform of ours was made."""
    nodes = {}
    for role, node in subject.nodes().items():
        uids = node.GetAttribute(_UID)
        nodes[role] = node.GetName() + (f" ({uids.split()[0]})" if uids else "")
    record = subject.transform.GetAttribute(RECORD)
    return {"nodes": nodes, **({"registration": json.loads(record)} if record else {})}
