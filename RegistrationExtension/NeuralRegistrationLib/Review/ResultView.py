"""What the Review panel shows of a review: the verdict, the lines, the places to look at."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from .. import Geometry, Tables
from . import Lines
from .Rows import jump


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
                (f"{line.title}\n{Lines.value(line)}", Lines.signed(line.verdict))
                for line in self._lines
            ],
        )
        colors = [Lines.color(line.verdict, dark) for line in self._lines]
        Tables.paint(ui.reviewLinesTable, 1, colors)
        places = () if report is None else report.worst
        Tables.fill(ui.reviewPlacesTable, [Lines.place(place) for place in places])
        self._tell("")
        nothing = _("Nothing was reviewed yet.")
        head = nothing if report is None else Lines.headline(report)
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
            self._tell(Lines.details(self._lines[row]))

    def _placeChosen(self) -> None:
        row = self.ui.reviewPlacesTable.currentRow()
        if self.report is not None and 0 <= row < len(self.report.worst):
            place = self.report.worst[row]
            self._tell(Lines.sentence(place.words))
            self._onJump(Geometry.flipped([*place.point_lps, 0.0][:3]))


def _ordered(lines) -> list:
    """What wants a look first, what could not be measured last."""
    order = ("fail", "attention", "pass", "shown", "not measured")
    return sorted(lines, key=lambda line: order.index(line.verdict))
