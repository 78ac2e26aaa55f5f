"""What the Review panel shows of a review: the verdict, the lines, the places to look at."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from NeuralRegistrationLib.Review import FindingTexts
from NeuralRegistrationLib.Review.Views.ViewLayouts import jump
from NeuralRegistrationLib.Scene import Geometry
from NeuralRegistrationLib.Widgets import Tables


class ReviewResultView:
    """Two tables and the words on what is chosen in them. onJump: called with a place, RAS mm."""

    def __init__(self, ui, onJump: Callable = jump) -> None:
        self.ui, self._onJump = ui, onJump
        self.report = None
        self._lines: list = []
        Tables.prepare(ui.reviewLinesTable, (_("Quantity and limit"), _("Verdict")))
        Tables.prepare(ui.reviewPlacesTable, (_("What"), _("How much")))
        ui.reviewLinesTable.connect("itemSelectionChanged()", self._lineChosen)
        ui.reviewPlacesTable.connect("itemSelectionChanged()", self._placeChosen)
        self.show(None)

    def show(self, report, remark: str = "") -> None:
        """Show a report; None for nothing. remark: what else there is to know about it."""
        ui, self.report = self.ui, report
        self._lines = [] if report is None else _ordered(report.lines)
        dark = Tables.isDark(ui.reviewLinesTable)
        Tables.fill(
            ui.reviewLinesTable,
            [
                (f"{line.title}\n{FindingTexts.value(line)}", FindingTexts.signed(line.verdict))
                for line in self._lines
            ],
        )
        colors = [FindingTexts.color(line.verdict, dark) for line in self._lines]
        Tables.paint(ui.reviewLinesTable, 1, colors)
        places = () if report is None else report.worst
        Tables.fill(ui.reviewPlacesTable, [FindingTexts.place(place) for place in places])
        self._tell("")
        nothing = _("Nothing was reviewed yet.")
        head = nothing if report is None else FindingTexts.headline(report)
        notes = [] if report is None else [note[:1].upper() + note[1:] for note in report.notes]
        ui.reviewVerdictLabel.text = "<br>".join(filter(None, [head, remark, *notes]))
        for shown in (ui.reviewLinesTable, ui.reviewPlacesSection):
            shown.visible = report is not None

    def _tell(self, text: str) -> None:
        self.ui.reviewLineLabel.text = text
        self.ui.reviewLineLabel.visible = bool(text)

    def _lineChosen(self) -> None:
        row = self.ui.reviewLinesTable.currentRow()
        if 0 <= row < len(self._lines):
            self._tell(FindingTexts.details(self._lines[row]))

    def _placeChosen(self) -> None:
        row = self.ui.reviewPlacesTable.currentRow()
        if self.report is not None and 0 <= row < len(self.report.worst):
            place = self.report.worst[row]
            self._tell(FindingTexts.sentence(place.words))
            self._onJump(Geometry.flipped([*place.point_lps, 0.0][:3]))


def _ordered(lines) -> list:
    """What wants a look first, what could not be measured last."""
    order = ("fail", "attention", "pass", "shown", "not measured")
    return sorted(lines, key=lambda line: order.index(line.verdict))
