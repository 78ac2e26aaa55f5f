"""The section of the Review panel in which a person puts a result right where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape

from neuralreg.errors import RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Review import FindingTexts
from NeuralRegistrationLib.Review.Corrections import CorrectionJob, CorrectionPoints
from NeuralRegistrationLib.Review.Landmarks.LandmarkPairs import LandmarkPairs
from NeuralRegistrationLib.Review.Landmarks.Placing import Placing
from NeuralRegistrationLib.Review.Parameters import Layout
from NeuralRegistrationLib.Widgets import Tables
from NeuralRegistrationLib.Widgets.MaskSelector import MaskSelector

_SHARE = 1 / 8  # of the smallest extent of an image: the radius unless one was chosen
_SAMPLES = 4  # of the field, at least: less than 3 are not resolved
_LONGEST = 1.5  # radii: what the core allows a point to move


class CorrectionSection:
    """Places, partners, radius and lock; corrections so far.

    onSet: called with parameters by name. onJob: with a job that was begun. onSay: with a sentence
    for the status line.
    """

    def __init__(self, ui, onSet: Callable, onJob: Callable, onSay: Callable) -> None:
        self.ui, self._onSet, self._onJob, self._onSay = ui, onSet, onJob, onSay
        self._subject = self._parameters = None
        self._showing = self._isBusy = False
        self.pairs = LandmarkPairs(self._list)
        self.circles = CorrectionPoints.RadiusCircles()
        self.placing = Placing(
            ui.reviewCorrectPlaceButton, ui.reviewCorrectSection, self._requireFixed, one=True
        )
        self.lock = MaskSelector(ui, "reviewLock", ("lock", "lockSegment"), self._chooseLock)
        Tables.prepare(ui.reviewCorrectPointsTable, (_("Place"), _("Dragged by")))
        Tables.prepare(ui.reviewCorrectionsTable, (_("Points"), _("By")))
        ui.reviewCorrectClearButton.connect("clicked()", self.clear)
        ui.reviewCorrectButton.connect("clicked()", self.correct)
        ui.reviewTakeBackButton.connect("clicked()", self.takeBack)
        ui.reviewCorrectRadiusSlider.connect("valueChanged(double)", self._chooseRadius)
        ui.reviewCorrectionsTable.connect("itemSelectionChanged()", self._showButtons)
        ui.reviewCorrectSection.connect("contentsCollapsed(bool)", lambda folded: self._list())

    # What is shown

    def follow(self, subject, parameters, isBusy: bool) -> None:
        """Show the corrections of this subject from now on. isBusy: whether a job is under way."""
        self._parameters, self._isBusy = parameters, isBusy
        if subject is not None:
            points = parameters.correctionPoints, parameters.correctionPartners
            subject = replace(subject, fixedPoints=points[0], movingPoints=points[1])
        self._subject = subject if self._hasImages(subject) else None
        self._showing = True
        if self._subject is not None and not parameters.correctionRadius:
            self._suitRadius()
        self.ui.reviewCorrectRadiusSlider.value = parameters.correctionRadius or 20.0
        self._showing = False
        self.lock.show(parameters.lock, parameters.lockSegment)
        if self._subject is not None:
            CorrectionPoints.arrange(self._subject, self._ownSpace)
        self.pairs.follow(self._subject)
        self._list()
        self._listCorrections()

    @property
    def _ownSpace(self) -> bool:
        return self._parameters.layout is Layout.OWN

    def _hasImages(self, subject) -> bool:
        volumes = (subject.fixedVolume, subject.movingVolume) if subject is not None else (None,)
        return all(v is not None and v.GetImageData() is not None for v in volumes)

    def _suitRadius(self) -> None:
        extent = CorrectionPoints.smallestExtent(self._subject.fixedVolume)
        radius = max(_SHARE * extent, _SAMPLES * CorrectionPoints.largestStep(self._node))
        slider = self.ui.reviewCorrectRadiusSlider
        radius = min(max(round(radius, 1), slider.minimum), slider.maximum)
        self._onSet({"correctionRadius": radius})

    def _list(self) -> None:
        subject = self._subject
        rows = CorrectionPoints.shifts(subject) if subject is not None else []
        texts = [(name, FindingTexts.number(shift, "mm")) for name, shift in rows]
        Tables.fill(self.ui.reviewCorrectPointsTable, texts)
        self._draw(rows)
        self._note(self._advice(rows))
        self._showButtons(len(rows))

    def _draw(self, rows) -> None:
        """Draw the reach while the section is open."""
        if not rows or self.ui.reviewCorrectSection.collapsed:
            self.circles.remove()
            return
        centers = CorrectionPoints.places(self._subject.fixedPoints)
        scene = self._subject.transform.GetScene()
        self.circles.show(scene, centers, self._parameters.correctionRadius, self._ownSpace)

    def _advice(self, rows) -> str:
        if self._subject is None:
            return _("Choose a transform and both volumes first.")
        if not rows:
            return _("Click a place in the fixed image, and drag its partner to where it belongs.")
        name, longest = max(rows, key=lambda row: row[1])
        if longest > _LONGEST * self._parameters.correctionRadius:
            text = _("{name} moves far: a radius of {radius} mm or more is needed.")
            return text.format(name=name, radius=f"{longest / _LONGEST:.1f}")
        return ""

    def _note(self, text: str) -> None:
        self.ui.reviewCorrectLabel.text = text
        self.ui.reviewCorrectLabel.visible = bool(text)

    def _listCorrections(self) -> None:
        made = [] if self._subject is None else RegistrationRecord.corrections(self._node)
        rows = [(", ".join(each["names"]), each["by"] or _("nobody named")) for each in made]
        table = self.ui.reviewCorrectionsTable
        Tables.fill(table, rows)
        for number, each in enumerate(made):
            tip = _("{radius} mm around, {time}").format(
                radius=f"{each['radius_mm']:.3g}", time=each["time"]
            )
            table.item(number, 0).setToolTip(escape(tip))
        for widget in (table, self.ui.reviewTakeBackButton):
            widget.visible = bool(made)
        self._showButtons()

    @property
    def _node(self):
        return self._subject.transform

    def _showButtons(self, count: int | None = None) -> None:
        ui = self.ui
        ready = self._subject is not None and not self._isBusy
        count = ui.reviewCorrectPointsTable.rowCount if count is None else count
        ui.reviewCorrectPlaceButton.enabled = self._subject is not None
        ui.reviewCorrectClearButton.enabled = count > 0
        ui.reviewCorrectButton.enabled = ready and count > 0
        chosen = ui.reviewCorrectionsTable.currentRow()
        ui.reviewTakeBackButton.enabled = ready and 0 <= chosen < ui.reviewCorrectionsTable.rowCount

    # What the person does

    def open(self) -> None:
        """Unfold the section."""
        self.ui.reviewCorrectSection.collapsed = False

    def add(self, ras) -> None:
        """Begin at a point of the fixed image, RAS mm."""
        if self._subject is not None:
            self.open()
            CorrectionPoints.addPlace(self._requireFixed(), ras)

    def _requireFixed(self):
        """The list of places; both lists are made where they are missing."""
        named = {"correctionPoints": _("Places"), "correctionPartners": _("Partners")}
        scene, nodes = self._node.GetScene(), {}
        for parameter, name in named.items():
            if getattr(self._parameters, parameter) is None:
                isPartner = parameter == "correctionPartners"
                nodes[parameter] = CorrectionPoints.newList(scene, name, isPartner)
        if nodes:
            self._onSet(nodes)
        return self._parameters.correctionPoints

    def clear(self) -> None:
        """Remove all places and their partners."""
        self.placing.end()
        p = self._parameters
        if p is not None:
            lists = p.correctionPoints, p.correctionPartners
            self._onSet({"correctionPoints": None, "correctionPartners": None})
            CorrectionPoints.clear(*lists)

    def _chooseRadius(self, radius: float) -> None:
        if not self._showing and self._parameters is not None:
            self._onSet({"correctionRadius": radius})

    def _chooseLock(self, names, node, segment: str) -> None:
        self._onSet(dict(zip(names, (node, segment), strict=True)))

    def correct(self) -> None:
        """Correct the result around the places."""
        self.placing.end()
        self._begin(lambda: {
            **CorrectionJob.pointsOf(self._subject),
            "radius_mm": self._parameters.correctionRadius,
            "by": self.ui.reviewerEdit.text,
        })  # fmt: skip

    def takeBack(self) -> None:
        """Take the chosen correction back."""
        self._begin(lambda: None, takeBack=[self.ui.reviewCorrectionsTable.currentRow() + 1])

    def _begin(self, points: Callable, **how) -> None:
        missing = Dependencies.missingPackages()
        if missing:
            self._onSay(Dependencies.describe(missing))
            return
        p = self._parameters
        bare = replace(self._subject, fixedPoints=None, movingPoints=None)
        try:
            self._onJob(lambda **call: CorrectionJob.submit(
                bare,
                points(),
                lock=p.lock,
                lockSegments=p.lockSegment or None,
                **how,
                **call,
            ))  # fmt: skip
        except RegistrationError as error:
            self._onSay(str(error))

    def take(self, corrected) -> None:
        """A correction is in the scene: say so, and begin anew."""
        self.clear()
        if not corrected.before_mm:
            said = _("No correction is left: the transform is as it was registered.")
        else:
            text = _("Corrected: up to {before} mm off before, {after} mm now. Review it again.")
            said = text.format(
                before=f"{max(corrected.before_mm):.1f}", after=f"{max(corrected.after_mm):.2f}"
            )
        self._onSay(" ".join([said, *(f"{note}." for note in corrected.warnings)]))

    def stop(self) -> None:
        """Let go of the points; the lists stay in the scene."""
        self.placing.end()
        self.circles.remove()
        self.pairs.follow(None)
        self._subject = self._parameters = None
