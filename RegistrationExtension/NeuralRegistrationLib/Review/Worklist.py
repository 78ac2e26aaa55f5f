"""The worklist of the Review panel: cases to go through, those at risk first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
from neuralreg.errors import RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib.Review import FindingTexts
from NeuralRegistrationLib.Review.WorklistCases import FileCases, SceneCases
from NeuralRegistrationLib.Widgets import Tables
from NeuralRegistrationLib.Widgets.Shortcuts import key


class ReviewWorklist:
    """A table of cases.

    onChosen: called with the parameters of the case to review next. onSay: with a sentence for
    the status line.
    """

    def __init__(self, ui, widget, onChosen: Callable, onSay: Callable[[str], None]) -> None:
        self.ui, self._widget, self._onChosen, self._onSay = ui, widget, onChosen, onSay
        self._source = SceneCases()
        self._cases: list = []
        self._current, self._on = "", False
        Tables.prepare(ui.reviewWorklistTable, (_("Transform"), _("Review"), _("Decision")))
        ui.reviewWorklistTable.connect("itemSelectionChanged()", self._takeRow)
        ui.reviewPreviousButton.connect("clicked()", lambda: self.go(-1))
        ui.reviewNextButton.connect("clicked()", lambda: self.go(1))
        ui.reviewOpenListButton.connect("clicked()", self.open)
        self.shortcuts = [key("Ctrl+PgUp", widget, lambda: self.go(-1))]
        self.shortcuts += [key("Ctrl+PgDown", widget, lambda: self.go(1))]

    def active(self, on: bool) -> None:
        """React to the keys, or leave them to others."""
        self._on = on
        for shortcut in self.shortcuts:
            shortcut.setEnabled(on and len(self._cases) > 1)

    def clear(self) -> None:
        """The scene closes: what was loaded is gone, a list of files is closed."""
        self._source, self._cases, self._current = SceneCases(), [], ""
        Tables.fill(self.ui.reviewWorklistTable, [])

    def open(self) -> None:
        """Take the cases from a CSV; those of the scene on Cancel."""
        path = qt.QFileDialog.getOpenFileName(
            self._widget, _("Worklist"), str(Path.home()), "*.csv"
        )
        self.openFile(Path(path) if path else None)

    def openFile(self, path: Path | None) -> None:
        """Take the cases from a CSV; those of the scene for None."""
        self._source.leave()
        try:
            self._source = FileCases(path) if path else SceneCases()
        except RegistrationError as error:
            self._onSay(str(error))
            return
        self._current = ""
        self.list()
        if path:
            self._onSay(_("Choose a case of {file}.").format(file=self._source.title))

    def list(self, current=None) -> None:
        """Bring the table up to date. current: the transform node that is reviewed."""
        if current is not None:
            self._current = self._source.keyOf(current)
        self._cases = self._source.cases()
        dark = Tables.isDark(self.ui.reviewWorklistTable)
        verdicts = [case.verdict for case in self._cases]
        rows = [(case.name, _describe(case.verdict), case.decision) for case in self._cases]
        Tables.fill(self.ui.reviewWorklistTable, rows)
        colors = [FindingTexts.color(verdict, dark) for verdict in verdicts]
        Tables.paint(self.ui.reviewWorklistTable, 1, colors)
        several = len(self._cases) > 1
        self.ui.reviewPreviousButton.enabled = self.ui.reviewNextButton.enabled = several
        self.active(self._on)

    def keep(self, transformNode, report, decision) -> None:
        """Remember the review of a transform and the decision."""
        try:
            self._source.keep(transformNode, report, decision)
        except RegistrationError as error:
            self._onSay(str(error))

    def _takeRow(self) -> None:
        row = self.ui.reviewWorklistTable.currentRow()
        if 0 <= row < len(self._cases):
            self._take(self._cases[row].key)

    def go(self, step: int) -> None:
        """Go to the case before, or to the next one that is not decided yet."""
        keys = [case.key for case in self._cases]
        if not keys:
            return
        row = keys.index(self._current) if self._current in keys else (-1 if step > 0 else 0)
        order = [keys[(row + step * n) % len(keys)] for n in range(1, len(keys) + 1)]
        decided = {case.key for case in self._cases if case.decision}
        candidates = order if step < 0 else [each for each in order if each not in decided]
        if candidates and candidates[0] != self._current:
            self._take(candidates[0])

    def _take(self, chosen: str) -> None:
        try:
            parameters = self._source.take(chosen)
        except RegistrationError as error:
            self._onSay(str(error))
            return
        self._current = chosen
        self._onChosen(parameters)


def _describe(verdict: str) -> str:
    if verdict == "error":
        return _("not possible")
    return FindingTexts.withSign(verdict) if verdict else _("not yet")
