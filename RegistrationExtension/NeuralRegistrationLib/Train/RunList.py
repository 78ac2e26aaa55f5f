"""The runs below a folder, in a table; one of them can be opened."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from NeuralRegistrationLib.Widgets import Tables


class RunList:
    """Lists runs by their folder, state, epoch and best figure.

    onOpen: called with the folder of a run that is chosen.
    """

    def __init__(self, ui, onOpen: Callable[[str], None]) -> None:
        self._table, self._open, self.folders = ui.trainRunsTable, onOpen, []
        titles = (_("Run"), _("State"), _("Epoch"), _("Best"))
        Tables.prepare(self._table, titles)
        self._table.connect("itemSelectionChanged()", self._choose)

    def show(self, folder: str, runs: list[dict]) -> None:
        """Show records of runs, with their folders below the one that was chosen."""
        self.folders = [run["folder"] for run in runs]
        Tables.fill(self._table, [_cells(run, folder) for run in runs])
        for row, run in enumerate(runs):
            settings = "\n".join(f"{key}: {value}" for key, value in run["settings"].items())
            self._table.item(row, 0).setToolTip(f"{run['folder']}\n{settings}".strip())
        self._table.visible = True

    def forget(self) -> None:
        """Show none."""
        self.folders = []
        self._table.setRowCount(0)
        self._table.visible = False

    def _choose(self) -> None:
        row = self._table.currentRow()
        if 0 <= row < len(self.folders):
            self._open(self.folders[row])


def chooseFolder(widget, start: str) -> str:
    """The folder whose runs are to be listed; empty where none was chosen."""
    return qt.QFileDialog.getExistingDirectory(widget, _("Folder with runs"), start) or ""


def _cells(run: dict, folder: str) -> tuple[str, ...]:
    states = {"finished": _("finished"), "stopped": _("stopped")}
    name = run["folder"].removeprefix(folder).lstrip("/\\") or run["folder"]
    epochs = f"{run['epoch']}/{run['epochs']}" if run["epochs"] else ""
    best = ""
    if run["best"] is not None:
        text = _("{figure} {value} at {epoch}")
        best = text.format(
            figure=run["figure"], value=f"{run['best']:.4g}", epoch=run["best_epoch"]
        )
    return name, states.get(run["state"], run["state"]), epochs, best
