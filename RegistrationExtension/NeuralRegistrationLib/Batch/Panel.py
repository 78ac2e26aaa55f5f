"""The Batch panel: many pairs, of a table, a folder or the scene, and what came of each."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from neuralreg.errors import InvalidOption, RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Batch.SequenceSection import SequenceSection
from NeuralRegistrationLib.Batch.Study import Study
from NeuralRegistrationLib.Batch.StudyOptions import StudyOptions
from NeuralRegistrationLib.Batch.TemplateSection import TemplateSection
from NeuralRegistrationLib.Paths import resourcePath
from NeuralRegistrationLib.Scene import SceneData, SliceViews
from NeuralRegistrationLib.Widgets import Tables
from NeuralRegistrationLib.Widgets.StatusBar import progressText

TABLE, ONTO_FIRST, CONSECUTIVE, ALL_PAIRS, SCENE = range(5)
_SETTINGS = "NeuralRegistration/Batch"  # what a restart of Slicer brings back
_INPUTS = "_inputs"  # in the folder of the study: volumes of the scene, as files


def _states() -> dict[str, str]:
    """The states of a pair in the user's language."""
    return {
        "waiting": _("waiting"),
        "running": _("running"),
        "done": _("done"),
        "failed": _("failed"),
        "locked": _("in another run"),
    }


class BatchPanel:
    """Controls of a study; `study` is what is under way.

    onReview: called with the path of a worklist that is to be reviewed.
    """

    def __init__(self, onReview) -> None:
        self._onReview = onReview
        self.widget = slicer.util.loadUI(resourcePath("UI/BatchPanel.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.study = Study(self.show)
        self._pending = None  # a job beside the study
        self.options = StudyOptions(self.ui)
        self.sequences = SequenceSection(self.ui)
        self.templates = TemplateSection(self.ui, self.widget)
        self._prepare()
        self._recall()
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.show()

    def _prepare(self) -> None:
        ui = self.ui
        for title in (
            _("Rows of a table"),
            _("Folder: each image onto the first"),
            _("Folder: each onto the one before"),
            _("Folder: every two images"),
            _("Volumes of the scene onto one"),
        ):
            ui.batchPairingSelector.addItem(title)
        Tables.prepare(ui.batchRowsTable, (_("Pair"), _("State")))
        ui.batchPairingSelector.connect("currentIndexChanged(int)", lambda index: self.show())
        ui.batchTableButton.connect("clicked()", self.chooseTable)
        ui.batchFolderButton.connect("clicked()", self.chooseFolder)
        ui.batchStartButton.connect("clicked()", self.start)
        ui.batchStopButton.connect("clicked()", lambda: self.study.stop())
        ui.batchRowsTable.connect("itemSelectionChanged()", self._showButtons)
        ui.batchOpenButton.connect("clicked()", self.openResult)
        ui.batchReviewButton.connect("clicked()", self.review)

    # What a restart brings back

    def _recall(self) -> None:
        settings = slicer.app.userSettings()
        self.ui.batchTableEdit.text = str(settings.value(f"{_SETTINGS}/table") or "")
        self.ui.batchFolderEdit.text = str(settings.value(f"{_SETTINGS}/folder") or "")
        self.ui.batchPairingSelector.currentIndex = int(settings.value(f"{_SETTINGS}/pairs") or 0)

    def _remember(self) -> None:
        self.options.remember()
        settings, ui = slicer.app.userSettings(), self.ui
        settings.setValue(f"{_SETTINGS}/table", ui.batchTableEdit.text)
        settings.setValue(f"{_SETTINGS}/folder", ui.batchFolderEdit.text)
        settings.setValue(f"{_SETTINGS}/pairs", ui.batchPairingSelector.currentIndex)

    # The study

    def chooseTable(self) -> None:
        """Choose the table or the folder of the images."""
        start = self.ui.batchTableEdit.text or str(Path.home())
        if self.ui.batchPairingSelector.currentIndex == TABLE:
            kinds = _("Tables") + " (*.csv *.tsv *.xlsx *.jsonl)"
            path = qt.QFileDialog.getOpenFileName(self.widget, _("Table of pairs"), start, kinds)
        else:
            path = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder of images"), start)
        self.ui.batchTableEdit.text = path or self.ui.batchTableEdit.text

    def chooseFolder(self) -> None:
        """Choose the folder of the study."""
        start = self.ui.batchFolderEdit.text or str(Path.home())
        path = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder of the study"), start)
        self.ui.batchFolderEdit.text = path or self.ui.batchFolderEdit.text

    def start(self) -> None:
        """Begin the study, or continue it."""
        missing = Dependencies.missingPackages()
        if missing:
            self._say(Dependencies.describe(missing))
            return
        try:
            arguments, images = self._request()
        except RegistrationError as error:
            self._say(str(error))
            return
        self._remember()
        self.study.start(arguments, images)

    def _request(self):
        """Arguments of the study, and steps that hand over volumes. Raises RegistrationError."""
        ui = self.ui
        if not ui.batchFolderEdit.text.strip():
            raise InvalidOption(
                _("a study needs a folder"), remedy=_("Choose one where the results may go.")
            )
        folder = Path(ui.batchFolderEdit.text.strip()).expanduser()
        arguments = {"study": str(folder), "retry": ui.batchRetryBox.checked, "source": {}}
        arguments |= self.options.arguments()
        if ui.batchPairingSelector.currentIndex == SCENE:
            return arguments, self._sceneImages(folder / _INPUTS)
        arguments["source"] = self._source()
        return arguments, None

    def _source(self) -> dict:
        from neuralreg.studies.table.pairings import images_in_folder

        pairing, text = self.ui.batchPairingSelector.currentIndex, self.ui.batchTableEdit.text
        path = Path(text.strip()).expanduser()
        if not text.strip() or not path.exists():
            raise InvalidOption(
                _("there is no such table or folder"),
                got=text or _("nothing"),
                remedy=_("Choose one, or volumes of the scene."),
            )
        source = {"table": str(path)}
        if pairing != TABLE and not path.is_dir():
            raise InvalidOption(_("this is no folder"), got=text, remedy=_("Choose a folder."))
        if pairing == ONTO_FIRST:
            source["all_to"] = images_in_folder(path)[0].files["image"]
        source["consecutive"], source["all_pairs"] = pairing == CONSECUTIVE, pairing == ALL_PAIRS
        return source

    def _sceneImages(self, folder: Path):
        """Steps that hand over the chosen volumes; the first one is the fixed one."""
        ui = self.ui
        fixed = ui.batchFixedSelector.currentNode()
        if fixed is None:
            raise InvalidOption(_("a fixed volume is needed"), remedy=_("Select one."))
        moving = [node for node in ui.batchMovingSelector.checkedNodes() if node is not fixed]
        if not moving:
            raise InvalidOption(_("moving volumes are needed"), remedy=_("Tick one or more."))
        cases = SceneData.cases([fixed, *moving], ui.batchLabelsSelector.checkedNodes())
        return SceneData.arguments(cases, 0, folder)

    # Results

    @property
    def row(self) -> dict | None:
        """The chosen pair."""
        number = self.ui.batchRowsTable.currentRow()
        return self.study.rows[number] if 0 <= number < len(self.study.rows) else None

    def openResult(self) -> None:
        """Load the transform and both images of the chosen pair, if they can be read."""
        from neuralreg.review.workflow.provenance import RECORD
        from neuralreg.review.workflow.worklist_start import entry_of

        folder = Path(self.study.folder)
        entry = entry_of(folder / self.row["id"] / RECORD, folder)
        try:
            fixed, moving = (slicer.util.loadVolume(path) for path in (entry.fixed, entry.moving))
            transform = slicer.util.loadTransform(entry.transform)
        except RuntimeError as error:  # as Slicer's loaders do
            self._say(_("{pair} cannot be opened: {reason}").format(pair=entry.case, reason=error))
            return
        transform.SetNodeReferenceID(transform.GetFixedNodeReferenceRole(), fixed.GetID())
        transform.SetNodeReferenceID(transform.GetMovingNodeReferenceRole(), moving.GetID())
        moving.SetAndObserveTransformNodeID(transform.GetID())
        SliceViews.show(fixed, moving, 0.5)

    def review(self) -> None:
        """Send all pairs that are done to the review's worklist."""
        from NeuralRegistrationLib.Worker.Queue import queue

        self._pending = queue().submit(
            "study_worklist", {"study": self.study.folder}, onDone=self._openWorklist
        )

    def _openWorklist(self, job) -> None:
        if job.state == "done":
            self._onReview(Path(job.result["worklist"]))
        elif job.error is not None:
            self._say(str(job.error))

    # What is shown

    def show(self) -> None:
        """Bring the panel up to date."""
        ui, study = self.ui, self.study
        scene = ui.batchPairingSelector.currentIndex == SCENE
        for name in ("Fixed", "Moving", "Labels"):
            for kind in ("Label", "Selector"):
                getattr(ui, f"batch{name}{kind}").visible = scene
        for name in ("batchTableLabel", "batchTableEdit", "batchTableButton"):
            getattr(ui, name).visible = not scene
        ui.batchInputs.enabled = ui.batchStartButton.enabled = study.ended
        ui.batchStopButton.enabled = not study.ended
        self._fill()
        self._say(self._words())
        self._showButtons()

    def _fill(self) -> None:
        """Fill the table; the chosen pair stays chosen."""
        table, chosen = self.ui.batchRowsTable, self.ui.batchRowsTable.currentRow()
        states = _states()
        texts = [
            (row["id"], states.get(row["state"], row["state"]), row["reason"])
            for row in self.study.rows
        ]
        if [each[:2] for each in texts] != self._tableTexts():
            Tables.fill(table, [each[:2] for each in texts])
            if 0 <= chosen < len(texts):
                table.selectRow(chosen)
        for number, (name, state, reason) in enumerate(texts):
            table.item(number, 1).setToolTip(reason or state)
            table.item(number, 0).setToolTip(reason or name)

    def _tableTexts(self) -> list[tuple[str, str]]:
        table = self.ui.batchRowsTable
        numbers = range(table.rowCount)
        return [(table.item(n, 0).text(), table.item(n, 1).text()) for n in numbers]

    def _words(self) -> str:
        """How far the study is."""
        study = self.study
        if study.error is not None:
            return str(study.error)
        if not study.rows:
            return "" if study.ended else progressText(study.job.progress)
        done, failed = study.count("done"), study.count("failed")
        share = (done + failed) / len(study.rows)
        self.ui.batchBar.value = round(1000 * min(1.0, share))
        words = _("{done} of {all} pairs done").format(done=done, all=len(study.rows))
        words += _(", {failed} failed").format(failed=failed) if failed else ""
        if study.ended and done + failed < len(study.rows):
            words += _("; Start continues")
        stage = "" if study.ended else study.job.progress.stage
        said = [stage[:1].upper() + stage[1:] + "."] if stage else []
        return "\n".join([words + ".", *said, *study.notes, *self._failures()])

    def _failures(self) -> list[str]:
        """The first reasons."""
        failed = [row for row in self.study.rows if row["state"] == "failed"]
        return [f"{row['id']}: {row['reason']}" for row in failed[:3]]

    def _showButtons(self) -> None:
        row, study = self.row, self.study
        self.ui.batchOpenButton.enabled = row is not None and row["state"] == "done"
        self.ui.batchReviewButton.enabled = study.count("done") > 0

    def _say(self, text: str) -> None:
        self.ui.batchStatusLabel.text = text
        self.ui.batchStatusLabel.visible = bool(text)

    def cleanup(self) -> None:
        """End what is under way."""
        self.study.stop()
        self.sequences.cancel()
        self.templates.stop()
        self.widget.setMRMLScene(None)

    def forget(self) -> None:
        """The scene closes; a study of files goes on."""
        self.sequences.forget()
