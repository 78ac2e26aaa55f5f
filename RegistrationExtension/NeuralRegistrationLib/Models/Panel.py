"""The Models panel: the models, their intended use, and the download of their weights."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from neuralreg.errors import RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Models import ModelList
from NeuralRegistrationLib.Models.ModelDetails import details
from NeuralRegistrationLib.Paths import resourcePath
from NeuralRegistrationLib.Widgets import Tables
from NeuralRegistrationLib.Widgets.StatusBar import progressText


class ModelsPanel:
    """A table of cards with filters, and actions on the chosen one.

    onChanged: called when weights were added or removed.
    """

    def __init__(self, onChanged) -> None:
        self._onChanged = onChanged
        self._cards, self.listedCards, self.job, self._queue = [], [], None, None
        self.widget = slicer.util.loadUI(resourcePath("UI/ModelsPanel.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._prepare()
        self.reload()

    def _prepare(self) -> None:
        ui = self.ui
        Tables.prepare(ui.modelsTable, (_("Model"), _("State")))
        for name in ("modalityFilter", "anatomyFilter", "dimensionFilter"):
            getattr(ui, name).connect("currentIndexChanged(int)", lambda index: self._list())
        ui.availableFilter.connect("toggled(bool)", lambda checked: self._list())
        ui.modelsTable.connect("itemSelectionChanged()", self._show)
        ui.getButton.connect("clicked()", self.get)
        ui.cancelGetButton.connect("clicked()", self.cancel)
        ui.importButton.connect("clicked()", self.importFile)
        ui.verifyButton.connect("clicked()", self.verify)
        ui.removeButton.connect("clicked()", self.remove)
        ui.folderButton.connect("clicked()", self.openFolder)
        ui.ownModelButton.connect("clicked()", self.addOwn)

    # The table

    def reload(self) -> None:
        """Read the cards again."""
        self._cards = ModelList.cards(task=None)
        modalities = sorted({m for card in self._cards for m in card.modalities} - {"any"})
        anatomies = sorted({a for card in self._cards for a in card.anatomies} - {"any"})
        self._fill(self.ui.modalityFilter, _("All images"), modalities)
        self._fill(self.ui.anatomyFilter, _("All body parts"), anatomies)
        self._fill(self.ui.dimensionFilter, _("2D and 3D"), ["2D", "3D"])
        self._list()

    @staticmethod
    def _fill(box, everything: str, choices: list[str]) -> None:
        chosen = box.currentData
        box.blockSignals(True)
        box.clear()
        box.addItem(everything, "")
        for choice in choices:
            box.addItem(choice, choice)
        box.currentIndex = max(0, box.findData(chosen))
        box.blockSignals(False)

    def _fits(self, card) -> bool:
        ui = self.ui
        modality, anatomy = ui.modalityFilter.currentData, ui.anatomyFilter.currentData
        dimension = ui.dimensionFilter.currentData
        return (
            (not modality or bool({"any", modality} & set(card.modalities)))
            and (not anatomy or bool({"any", anatomy} & set(card.anatomies)))
            and (not dimension or int(dimension[0]) in card.input.dimensions)
            and (not ui.availableFilter.checked or ModelList.isAvailable(card))
        )

    def _list(self) -> None:
        """Fill the table with the cards that pass the filters; the chosen one stays chosen."""
        chosen, table = self.card, self.ui.modelsTable
        self.listedCards = [card for card in self._cards if self._fits(card)]
        table.blockSignals(True)
        table.setRowCount(len(self.listedCards))
        for row, card in enumerate(self.listedCards):
            texts = (card.title, ModelList.state(card))
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(row, column, item)
        table.blockSignals(False)
        if self.listedCards:
            names = [card.name for card in self.listedCards]
            table.selectRow(names.index(chosen.name) if chosen and chosen.name in names else 0)
        self._show()

    @property
    def card(self):
        """The chosen card, or None."""
        row = self.ui.modelsTable.currentRow()
        return self.listedCards[row] if self._cards and 0 <= row < len(self.listedCards) else None

    def _show(self) -> None:
        """Show the chosen card, and what can be done with it."""
        card, ui = self.card, self.ui
        ui.modelDetails.html = details(card) if card else ""
        hasWeights = card is not None and card.weights is not None
        isHere = hasWeights and ModelList.isAvailable(card)
        isMissing = hasWeights and not isHere
        ui.getButton.enabled = isMissing and card.weights.url is not None and self.job is None
        ui.importButton.enabled = isMissing and self.job is None
        ui.verifyButton.enabled = isHere and self.job is None
        ui.removeButton.enabled = ui.verifyButton.enabled and ModelList.isDownloaded(card)
        ui.cancelGetButton.enabled = self.job is not None
        ui.ownModelButton.enabled = self.job is None
        ui.downloadBar.visible = self.job is not None
        ui.storageLabel.text = ModelList.storage()
        folder = ModelList.folder()
        ui.folderButton.enabled = folder is not None and folder.is_dir()
        if not self._cards:
            self._say(_("No models can be listed until the packages are installed."))

    # Weights

    def get(self) -> None:
        """Download the weights of the chosen model; where its licence asks for it, with consent."""
        question = ModelList.consentQuestion(self.card)
        if question and not slicer.util.confirmOkCancelDisplay(question):
            self._say(_("{title}: not downloaded.").format(title=self.card.title))
            return
        arguments = {"accept_licence": True} if question else {}
        self._start("download", _("Downloading {title} ..."), arguments)

    def verify(self) -> None:
        """Compare the weights with the hash on their card."""
        self._start("verify", _("Checking {title} ..."), {})

    def importFile(self) -> None:
        """Take the weights of the chosen model from a file."""
        question = _("Weights of {title}").format(title=self.card.title)
        path = qt.QFileDialog.getOpenFileName(self.widget, question, str(Path.home()), "*")
        if path:
            self._start("import", _("Importing {title} ..."), {"path": path})

    def addOwn(self) -> None:
        """Add a model of the user's own: its card, and the files beside it."""
        missing = Dependencies.missingPackages()
        if missing:
            self._say(Dependencies.describe(missing))
            return
        path = qt.QFileDialog.getOpenFileName(
            self.widget, _("Card of the model"), str(Path.home()), "*.json"
        )
        if path:
            self._addOwn(Path(path))

    def _addOwn(self, path: Path) -> None:
        title = path.parent.name
        try:
            code = ModelList.untrustedCode(path)
        except RegistrationError as error:
            self._say(str(error))
            return
        if code and not slicer.util.confirmOkCancelDisplay(ModelList.codeQuestion(code)):
            self._say(_("{title}: not imported.").format(title=title))
            return
        arguments = {"path": str(path), "trusted": list(code.values())}
        self._submit("own_model", _("Trying {title} ..."), arguments, title)

    def _start(self, kind: str, text: str, arguments: dict) -> None:
        card = self.card
        self._submit(kind, text, {"model": card.name, **arguments}, card.title)

    def _submit(self, kind: str, text: str, arguments: dict, title: str) -> None:
        """Let a separate worker read, write or download: registrations do not wait for it."""
        from NeuralRegistrationLib.Worker.Queue import Queue

        self._queue = self._queue or Queue(warm=False)
        self._say(text.format(title=title))
        self.ui.downloadBar.value = 0
        self.job = self._queue.submit(
            kind,
            arguments,
            onDone=lambda job: self._finish(job, title),
            onProgress=lambda job: self._showProgress(job, title),
        )
        self._show()

    def _showProgress(self, job, title: str) -> None:
        self.ui.downloadBar.value = round(1000 * job.progress.fraction)
        self._say(f"{title}: {progressText(job.progress)}")

    def _finish(self, job, title: str) -> None:
        self.job = None
        if job.state == "done":
            self._say(_outcome(job).format(title=title))
            if job.kind == "own_model":
                self._cards = ModelList.cards(task=None)
        elif job.state == "cancelled":
            self._say(_("{title}: cancelled.").format(title=title))
        else:
            self._say(str(job.error))
        self._update()

    def cancel(self) -> None:
        """End what is under way."""
        self.job.cancel()

    def remove(self) -> None:
        """Delete the weights of the chosen model."""
        card = self.card
        question = _("Delete the weights of {title}?").format(title=card.title)
        if slicer.util.confirmOkCancelDisplay(question):
            ModelList.remove(card)
            self._say(_("{title}: the weights are deleted.").format(title=card.title))
            self._update()

    def openFolder(self) -> None:
        """Open the folder of the weights."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(ModelList.folder())))

    def _say(self, text: str) -> None:
        self.ui.modelsStatusLabel.text = text
        self.ui.modelsStatusLabel.visible = bool(text)

    def _update(self) -> None:
        self._list()
        self._onChanged()

    def cleanup(self) -> None:
        """End what is under way, and the worker."""
        if self._queue is not None:
            self._queue.close()


def _outcome(job) -> str:
    """The outcome of a job, in words."""
    if job.kind != "verify":
        return _("{title} is ready.")
    if job.result["found"] == "as recorded":
        return _("{title}: the weights are the same as at the first download.")
    return _("{title}: the weights are the published ones.")
