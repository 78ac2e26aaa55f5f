"""The landmarks section of the Review panel: placing pairs, their errors, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import qt
import vtk
from neuralreg.errors import InvalidOption, RegistrationError
from neuralreg.registration.guides.landmark_guide import list_names
from slicer.i18n import tr as _

from NeuralRegistrationLib.Review import FindingTexts
from NeuralRegistrationLib.Review.Landmarks import LandmarkPairs
from NeuralRegistrationLib.Review.Landmarks.Placing import Placing
from NeuralRegistrationLib.Review.Request import definedPoints
from NeuralRegistrationLib.Scene import Geometry, SubjectHierarchy
from NeuralRegistrationLib.Widgets import Tables

_FILTERS = "*.csv *.tsv *.mrk.json *.json *.fcsv"


class ReviewLandmarks:
    """Shows how far pairs are apart, always up to date.

    onNodes: called with new nodes, by their parameters. onJump: with a point, RAS mm.
    onSay: with a sentence for the status line.
    """

    def __init__(self, ui, onNodes: Callable, onJump: Callable, onSay: Callable) -> None:
        self.ui = ui
        self._onNodes, self._onJump, self._onSay = onNodes, onJump, onSay
        self._subject = self._repeated = None
        self._errors: list = []
        self.pairs = LandmarkPairs.LandmarkPairs(self._list)
        Tables.prepare(ui.reviewPointsTable, (_("Landmark"), _("Before"), _("After")))
        ui.reviewPointsTable.connect("itemSelectionChanged()", self._jumpToRow)
        self.placing = Placing(ui.reviewPlaceButton, ui.reviewLandmarksSection, self._requireFixed)
        ui.reviewLoadPointsButton.connect("clicked()", lambda: self._try(self.load))
        ui.reviewSavePointsButton.connect("clicked()", lambda: self._try(self.save))

    def follow(self, subject, repeated=None) -> None:
        """Observe the landmarks of this subject from now on; None for none."""
        self._subject, self._repeated = subject, repeated
        self.pairs.follow(subject)
        self._list()

    def _list(self) -> None:
        ready = self._subject is not None and self._subject.transform is not None
        self._errors = LandmarkPairs.errors(self._subject) if ready else []
        rows = [
            (e.name, FindingTexts.number(e.before_mm, "mm"), FindingTexts.number(e.after_mm, "mm"))
            for e in self._errors
        ]
        Tables.fill(self.ui.reviewPointsTable, rows)
        said = (self._summary(), self._unpaired(), self._repeat())
        self.ui.reviewPointsLabel.text = "\n".join(filter(None, said))
        self.ui.reviewPlaceButton.enabled = ready
        self.ui.reviewSavePointsButton.enabled = bool(rows)

    def _summary(self) -> str:
        if not self._errors:
            return ""
        text = _("{count} pairs: mean {mean}, median {median}, 95 % {p95}, at most {largest} mm")
        before, after = (
            np.array([getattr(e, name) for e in self._errors]) for name in ("before_mm", "after_mm")
        )
        numbers = {
            "mean": (before.mean(), after.mean()),
            "median": (np.median(before), np.median(after)),
            "p95": (np.percentile(before, 95), np.percentile(after, 95)),
            "largest": (before.max(), after.max()),
        }
        texts = {name: f"{b:.1f} → {a:.1f}" for name, (b, a) in numbers.items()}
        voxels = [e.after_voxels for e in self._errors if e.after_voxels is not None]
        more = _(" ({voxels} voxels on average)").format(voxels=f"{np.mean(voxels):.1f}")
        return text.format(count=len(after), **texts) + (more if voxels else "")

    def _unpaired(self) -> str:
        names = self._subject.unpaired() if self._subject is not None else []
        return _("Without a partner: {names}").format(names=list_names(names)) if names else ""

    def _repeat(self) -> str:
        moving = self._subject.movingPoints if self._subject is not None else None
        if moving is None or self._repeated is None:
            return ""
        gaps = LandmarkPairs.repeatability(moving, self._repeated)
        if not gaps:
            return _("No landmark was placed twice.")
        text = _("Placed twice: {count}, apart by {mean} mm on average, at most {largest} mm")
        return text.format(count=len(gaps), mean=f"{np.mean(gaps):.1f}", largest=f"{max(gaps):.1f}")

    def _jumpToRow(self) -> None:
        row = self.ui.reviewPointsTable.currentRow()
        if 0 <= row < len(self._errors):
            self._onJump(np.array(self._errors[row].fixed))

    def _requireFixed(self):
        """The list that clicks go to."""
        self._requireNodes()
        return self._subject.fixedPoints

    def _requireNodes(self) -> None:
        """Create the lists that are missing."""
        nodes = {}
        names = {"fixedPoints": _("Fixed landmarks"), "movingPoints": _("Moving landmarks")}
        for parameter, name in names.items():
            if getattr(self._subject, parameter) is None:
                scene = self._subject.transform.GetScene()
                node = scene.AddNewNodeByClass(
                    "vtkMRMLMarkupsFiducialNode", SubjectHierarchy.freeName(scene, name)
                )
                node.CreateDefaultDisplayNodes()
                nodes[parameter] = node
        if nodes:
            self._onNodes(nodes)

    # Files

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except RegistrationError as error:
            self._onSay(str(error))

    def load(self) -> None:
        """Read pairs from a CSV, or the points of one side from Slicer's own file."""
        from neuralreg.io.landmark_files import read_landmarks, read_pairs

        path = qt.QFileDialog.getOpenFileName(
            self.ui.reviewLoadPointsButton, _("Landmarks"), str(Path.home()), _FILTERS
        )
        if not path:
            return
        self._requireNodes()
        subject = self._subject
        if path.endswith((".csv", ".tsv")):
            landmarks = read_pairs(path)
            _requireFree(subject.fixedPoints, subject.movingPoints)
            self._replace(subject.fixedPoints, landmarks.names, landmarks.fixed)
            self._replace(subject.movingPoints, landmarks.names, landmarks.moving)
        else:
            landmarks = read_landmarks(path)
            empty = not definedPoints(subject.fixedPoints)
            node = subject.fixedPoints if empty else subject.movingPoints
            _requireFree(node)
            names, points = (
                zip(*landmarks.defined_points(), strict=True)
                if landmarks.defined_points()
                else ((), ())
            )
            self._replace(node, names, points)
        said = _("{count} landmarks were read.").format(count=len(landmarks.names))
        self._onSay(" ".join([said, *(f"{note}." for note in landmarks.notes)]))

    def _replace(self, node, names, pointsLps) -> None:
        """Let a list hold these points and no others."""
        self.pairs.follow(None)
        node.RemoveAllControlPoints()
        for name, point in zip(names, pointsLps, strict=True):
            pointRas = Geometry.flip([*point, 0.0][:3])
            node.AddControlPointWorld(vtk.vtkVector3d(*pointRas), name)
        self.follow(self._subject, self._repeated)

    def save(self) -> None:
        """Write the pairs into a CSV."""
        from neuralreg.io.landmark_files import Pairs, write_pairs

        path = qt.QFileDialog.getSaveFileName(
            self.ui.reviewSavePointsButton, _("Landmarks"), str(Path.home() / "landmarks.csv")
        )
        if path:
            names, fixed, moving = zip(*self._subject.pairs(), strict=True)
            pairs = Pairs(names, tuple(map(tuple, fixed)), tuple(map(tuple, moving)))
            write_pairs(pairs, path)
            self._onSay(_("{count} pairs were written.").format(count=len(names)))

    def stop(self) -> None:
        """Let go of the points."""
        self.placing.end()
        self.follow(None)


def _requireFree(*lists) -> None:
    """Raises InvalidOption for a list that keeps its own points."""
    for node in lists:
        if node.GetFixedNumberOfControlPoints():
            raise InvalidOption(
                _("landmarks are read into a list whose number of points is free"),
                where=node.GetName(),
                got=_("one of {count} points").format(count=node.GetNumberOfControlPoints()),
                remedy=_("Unlock their number in the Markups module, or choose another list."),
            )
