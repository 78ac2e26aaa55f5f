"""The worklist of the Review panel: the transforms of the scene, those at risk first."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from . import ReviewLines, ReviewMemory, Tables
from .Keys import key

_RISK = ("fail", "attention", "", "pass")  # "" was not reviewed yet


class ReviewWorklist:
    """A table of transforms to go through. onChosen: called with the node to review next."""

    def __init__(self, ui, widget, onChosen: Callable) -> None:
        self.ui, self._onChosen = ui, onChosen
        self._ids: list[str] = []
        self._decided: set[str] = set()
        self._current = ""
        Tables.prepare(ui.reviewWorklistTable, (_("Transform"), _("Review"), _("Decision")))
        ui.reviewWorklistTable.connect("itemSelectionChanged()", self._chosen)
        ui.reviewPreviousButton.connect("clicked()", lambda: self.go(-1))
        ui.reviewNextButton.connect("clicked()", lambda: self.go(1))
        self._keys = [key("PgUp", widget, lambda: self.go(-1))]
        self._keys += [key("PgDown", widget, lambda: self.go(1))]

    def active(self, on: bool) -> None:
        """Listen to the keys, or leave them to others."""
        for shortcut in self._keys:
            shortcut.setEnabled(on and len(self._ids) > 1)

    def clear(self) -> None:
        """Show nothing."""
        self._ids, self._decided = [], set()
        Tables.fill(self.ui.reviewWorklistTable, [])

    def list(self, current=None) -> None:
        """Bring the table up to date. current: the node that is reviewed."""
        if current is not None:
            self._current = current.GetID()
        known = [(node, *ReviewMemory.recall(node)) for node in ReviewMemory.candidates()]
        known.sort(key=lambda entry: (_RISK.index(_verdict(entry[1])), entry[0].GetName()))
        self._ids = [node.GetID() for node, _report, _decision in known]
        self._decided = {node.GetID() for node, _r, decision in known if decision is not None}
        table = self.ui.reviewWorklistTable
        dark = Tables.isDark(table)
        verdicts = [_verdict(report) for _node, report, _decision in known]
        rows = [
            (
                node.GetName(),
                ReviewLines.signed(verdict) if verdict else _("not yet"),
                decision.verdict if decision is not None else "",
            )
            for (node, _report, decision), verdict in zip(known, verdicts, strict=True)
        ]
        Tables.fill(table, rows)
        Tables.paint(table, 1, [ReviewLines.color(verdict, dark) for verdict in verdicts])
        several = len(self._ids) > 1
        self.ui.reviewPreviousButton.enabled = self.ui.reviewNextButton.enabled = several

    def _chosen(self) -> None:
        row = self.ui.reviewWorklistTable.currentRow()
        if 0 <= row < len(self._ids):
            self._take(self._ids[row])

    def go(self, step: int) -> None:
        """The transform before, or the next one that is not decided yet."""
        if not self._ids:
            return
        place = self._ids.index(self._current) if self._current in self._ids else -1
        order = [self._ids[(place + step * n) % len(self._ids)] for n in range(1, len(self._ids))]
        open_ = [nodeId for nodeId in order if nodeId not in self._decided]
        if step > 0 and not open_:
            return
        self._take(open_[0] if step > 0 else order[0])

    def _take(self, nodeId: str) -> None:
        self._current = nodeId
        self._onChosen(slicer.mrmlScene.GetNodeByID(nodeId))


def _verdict(report) -> str:
    return report.verdict if report is not None else ""
