"""The results in the Review panel: the verdict, the findings, the locations to look at."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from NeuralRegistrationLib.Review import FindingTexts, LabelCheck
from NeuralRegistrationLib.Review.Views.ViewLayouts import jump
from NeuralRegistrationLib.Scene import Geometry
from NeuralRegistrationLib.Widgets import Tables


class FindingsView:
    """Two tables, and details of the chosen row. onJump: called with a point, RAS mm."""

    def __init__(self, ui, onJump: Callable = jump) -> None:
        self.ui, self._onJump = ui, onJump
        self.report = None
        self.structures: tuple = ()  # of a check by structures: name, Dice before and after
        self.rows: list = []  # the findings in the order of the table
        Tables.prepare(ui.reviewLinesTable, (_("Quantity and limit"), _("Verdict")))
        Tables.prepare(ui.reviewPlacesTable, (_("What"), _("How much")))
        ui.reviewLinesTable.connect("itemSelectionChanged()", self._showFinding)
        ui.reviewPlacesTable.connect("itemSelectionChanged()", self._jumpToLocation)
        self.show(None)

    def show(self, report, remark: str = "", structures: tuple = ()) -> None:
        """Show a report; None for nothing. remark: what else there is to know about it."""
        ui, self.report, self.structures = self.ui, report, structures
        self.rows = [] if report is None else _sortByUrgency(report.lines)
        dark = Tables.isDark(ui.reviewLinesTable)
        Tables.fill(
            ui.reviewLinesTable,
            [
                (f"{one.title}\n{FindingTexts.value(one)}", FindingTexts.withSign(one.verdict))
                for one in self.rows
            ],
        )
        colors = [FindingTexts.color(one.verdict, dark) for one in self.rows]
        Tables.paint(ui.reviewLinesTable, 1, colors)
        worst = () if report is None else report.worst
        Tables.fill(ui.reviewPlacesTable, [FindingTexts.describeLocation(one) for one in worst])
        self._showDetails("")
        self._showLocation("")
        verdict = "" if report is None else ": " + FindingTexts.withSign(report.verdict)
        ui.reviewResultSection.text = _("Result") + verdict  # is read while it is folded, too
        nothing = _("Nothing has been reviewed yet.")
        head = nothing if report is None else FindingTexts.headline(report)
        notes = [] if report is None else [note[:1].upper() + note[1:] for note in report.notes]
        ui.reviewVerdictLabel.text = "<br>".join(filter(None, [head, remark, *notes]))
        for widget in (ui.reviewLinesTable, ui.reviewPlacesSection):
            widget.visible = report is not None

    def _showLocation(self, text: str) -> None:
        self.ui.reviewPlaceLabel.text = text
        self.ui.reviewPlaceLabel.visible = bool(text)
        self.ui.reviewCorrectHereButton.visible = bool(text)

    def _showDetails(self, text: str) -> None:
        self.ui.reviewLineLabel.text = text
        self.ui.reviewLineLabel.visible = bool(text)

    def _showFinding(self) -> None:
        row = self.ui.reviewLinesTable.currentRow()
        if 0 <= row < len(self.rows):
            finding, details = self.rows[row], FindingTexts.details(self.rows[row])
            if finding.name == LabelCheck.KIND and self.structures:
                details += FindingTexts.structureTable(self.structures)
            self._showDetails(details)

    def _jumpToLocation(self) -> None:
        row = self.ui.reviewPlacesTable.currentRow()
        if self.chosenPoint is not None:
            self._showLocation(FindingTexts.sentence(self.report.worst[row].words))
            self._onJump(self.chosenPoint)

    @property
    def chosenPoint(self):
        """The chosen location, RAS mm; None if there is none."""
        row = self.ui.reviewPlacesTable.currentRow()
        if self.report is None or not 0 <= row < len(self.report.worst):
            return None
        return Geometry.flip([*self.report.worst[row].point_lps, 0.0][:3])


def _sortByUrgency(findings) -> list:
    """What needs a look first, what could not be measured last."""
    order = ("fail", "attention", "pass", "shown", "not measured")
    return sorted(findings, key=lambda finding: order.index(finding.verdict))
