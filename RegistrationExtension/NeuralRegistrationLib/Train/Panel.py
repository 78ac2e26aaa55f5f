"""The Train panel: from images to a network of one's own, without blocking the window.

It reads and shows parameters and starts the process; what is learned is no business of it.
"""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from neuralreg.errors import RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Models import ModelList
from NeuralRegistrationLib.Scene import SceneData
from NeuralRegistrationLib.Train import Command, RunFolder, RunList
from NeuralRegistrationLib.Train.CheckView import CheckView
from NeuralRegistrationLib.Train.Method import TrainMethod
from NeuralRegistrationLib.Train.Parameters import Source, trainParameters
from NeuralRegistrationLib.Train.RunView import RunView
from NeuralRegistrationLib.Train.Training import Training
from NeuralRegistrationLib.Widgets import TabOrder
from NeuralRegistrationLib.Widgets.ParameterPanel import ParameterPanel
from NeuralRegistrationLib.Widgets.SetupCard import SetupCard

_FOLDERS = {
    "trainFolder": "trainFolderButton",
    "validFolder": "validFolderButton",
    "dataFolder": "dataFolderButton",
    "runFolder": "runFolderButton",
}


class TrainPanel(ParameterPanel):
    """Controls and parameters; `training` is what is under way.

    onUse: called with the name of a model that is to be used in the Register panel.
    """

    def __init__(self, onUse) -> None:
        super().__init__("TrainPanel.ui")
        ui, self._onUse = self.ui, onUse
        self._open, self._openRunFolder = False, None
        self.setupCard = SetupCard(
            self.reload, lambda: Dependencies.missingForTraining(), _("To train networks")
        )
        self.widget.layout().insertWidget(0, self.setupCard.widget)
        TabOrder.insertAfter(self.widget, self.setupCard.widget)
        self.method = TrainMethod(ui, self.widget, self.setFromControls)
        self.view, self.checked = RunView(ui), CheckView(ui)
        self.training = Training(self.view, self.checked.show, self.refresh)
        self.runs = RunList.RunList(ui, lambda folder: self.setFromControls({"runFolder": folder}))
        self._connect()
        self.widget.setMRMLScene(slicer.mrmlScene)

    def _connect(self) -> None:
        ui = self.ui
        for name, button in _FOLDERS.items():
            getattr(ui, button).connect("clicked()", lambda name=name: self.chooseFolder(name))
        ui.trainVolumesSelector.connect("checkedNodesChanged()", self._nodesChosen)
        ui.trainLabelsSelector.connect("checkedNodesChanged()", self._nodesChosen)
        ui.checkDataButton.connect("clicked()", self.check)
        ui.startTrainingButton.connect("clicked()", self.start)
        ui.stopTrainingButton.connect("clicked()", self.training.stop)
        ui.continueTrainingButton.connect("clicked()", self.goOn)
        ui.listRunsButton.connect("clicked()", self.listRuns)
        ui.useModelButton.connect("clicked()", self.use)
        ui.predictRunButton.connect("clicked()", self.predict)
        ui.copyCommandButton.connect("clicked()", self.copyCommand)
        ui.openRunButton.connect("clicked()", self.openFolder)
        ui.trainYamlButton.connect("clicked()", self.saveSettings)

    # The parameter node

    def open(self) -> None:
        """The panel is shown."""
        self._open = True
        if self.parameters is None:
            self.follow(trainParameters())
            self.refresh()
        self.setupCard.update()
        self.reload()

    def close(self) -> None:
        """The panel is no longer shown; a training goes on."""
        self._open = False

    def reload(self) -> None:
        """Models or packages came or went."""
        self.method.reload()
        self.refresh()

    def _nodesChosen(self) -> None:
        ui = self.ui
        self.setFromControls(
            {
                "volumes": list(ui.trainVolumesSelector.checkedNodes()),
                "segmentations": list(ui.trainLabelsSelector.checkedNodes()),
            }
        )

    def chooseFolder(self, name: str) -> None:
        """Let the user choose a folder for a parameter."""
        start = getattr(self.parameters, name) or str(Path.home())
        folder = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder"), start)
        if folder:
            self.setFromControls({name: folder})

    def show(self, parameters) -> None:
        """Bring what no connector keeps in step up to date."""
        p, ui = parameters, self.ui
        ui.trainFoldersBox.visible = p.source is Source.FOLDERS
        ui.trainSceneBox.visible = p.source is Source.SCENE
        self._tick(ui.trainVolumesSelector, p.volumes)
        self._tick(ui.trainLabelsSelector, p.segmentations)
        self.method.show(p)
        if not self.training.busy and p.runFolder != self._openRunFolder:
            self._openRun(p)
        self._showButtons()

    def _openRun(self, p) -> None:
        """Show what the folder of the run holds."""
        self._openRunFolder = p.runFolder
        self.view.open(p.name, p.runFolder)
        self.checked.clear()
        text = _("This folder contains a run: {summary}. Continue resumes it.")
        holds = RunFolder.canContinue(p.runFolder)
        summary = self.view.summary or _("not one epoch yet")
        self._say(text.format(summary=summary) if holds else "")

    @staticmethod
    def _tick(selector, nodes) -> None:
        nodes = _existing(nodes)
        for node in {*selector.checkedNodes(), *nodes}:
            state = qt.Qt.Checked if node in nodes else qt.Qt.Unchecked
            selector.setCheckState(node, state)

    def _showButtons(self) -> None:
        ui, folder, busy = self.ui, self.parameters.runFolder, self.training.busy
        holds = RunFolder.holdsRun(folder)
        ui.startTrainingButton.enabled = not busy and not holds
        ui.checkDataButton.enabled = not busy
        ui.continueTrainingButton.enabled = not busy and RunFolder.canContinue(folder)
        ui.stopTrainingButton.enabled = busy
        ui.stopTrainingButton.text = _("End now") if self.training.stopping else _("Stop")
        ui.useModelButton.enabled = not busy and RunFolder.model(folder) is not None
        ui.predictRunButton.enabled = not busy and RunFolder.canContinue(folder)
        ui.listRunsButton.enabled = not busy
        ui.trainRunsTable.enabled = not busy
        ui.openRunButton.enabled = bool(folder) and (busy or Path(folder).is_dir())

    # Trainings

    def check(self) -> None:
        """Read all data once, and list what is wrong with them."""
        self._withPackages(lambda: self._begin(Command.check(self.parameters)))

    def start(self) -> None:
        """Check the data, and train."""
        self._withPackages(lambda: self._begin([*Command.newRun(self.parameters), "--check-first"]))

    def goOn(self) -> None:
        """Go on with the run in the folder, where it was saved."""
        self._withPackages(self._goOn)

    def _goOn(self) -> None:
        p = self.parameters
        agreed = self._agree(RunFolder.untrustedCode(p.runFolder))
        if agreed is not None:
            self.training.begin(p.name, p.runFolder, Command.continueArguments(p, agreed))

    def _agree(self, code: dict[Path, str]) -> list[str] | None:
        """SHA-256 of the Python files of a run that may run here; None where that is refused."""
        if code and not slicer.util.confirmOkCancelDisplay(ModelList.codeQuestion(code)):
            self._say(_("Its code was not agreed to: nothing was run."))
            return None
        return list(code.values())

    def _withPackages(self, action) -> None:
        """Do something that needs the packages."""
        if Dependencies.missingForTraining():
            self.setupCard.update()
            self.view.status.sayFailure(
                _("Packages are missing."), _("Install them with the card above.")
            )
        else:
            self._try(action)

    def _try(self, action) -> None:
        """Do something; errors are shown."""
        try:
            action()
        except RegistrationError as error:
            self.view.status.sayError(error)
        self.refresh()

    def _begin(self, arguments: list[str]) -> None:
        p = self.parameters
        self.method.require(p)
        images = None
        if Command.usesScene(p):
            labels = _existing(p.segmentations) if p.labels else []
            cases = SceneData.cases(_existing(p.volumes), labels, p.validCount)
            images = SceneData.arguments(cases, p.validCount, Command.dataFolder(p))
        self.checked.clear()
        self._openRunFolder = p.runFolder
        self.training.begin(p.name, p.runFolder, arguments, images)

    # What comes of it

    def use(self) -> None:
        """Take the model into the list, and choose it in the Register panel."""
        self._try(self._tryModel)

    def _tryModel(self) -> None:
        path = RunFolder.model(self.parameters.runFolder)
        agreed = self._agree(ModelList.untrustedCode(path))
        if agreed is not None:
            self._say(_("Trying the model …"))
            arguments = {"path": str(path), "trusted": agreed}
            self.training.submit("own_model", arguments, self._use)

    def _use(self, result: dict) -> None:
        self._say(_("{title} is in the list of models.").format(title=result["title"]))
        self._onUse(result["model"])

    def predict(self) -> None:
        """Register the test images of the run, and write what comes of it to a folder."""
        self._withPackages(self._predict)

    def _predict(self) -> None:
        p = self.parameters
        agreed = self._agree(RunFolder.untrustedCode(p.runFolder))
        if agreed is None:
            return
        question = _("Folder for the predictions")
        folder = qt.QFileDialog.getExistingDirectory(self.widget, question, str(Path.home()))
        if folder:
            self._say(_("Registering the images …"))
            values = {"run": p.runFolder, "output": folder, "trusted": agreed}
            values["device"] = p.device.value
            self.training.submit("predict", values, lambda result: self._tell(result, folder))

    def _tell(self, result: dict, folder: str) -> None:
        means = ", ".join(f"{name} {value:.4g}" for name, value in result["means"].items())
        self._say(_("Predictions are in {folder}: {means}.").format(folder=folder, means=means))

    def listRuns(self) -> None:
        """List the runs below a folder."""
        self._withPackages(self._listRuns)

    def _listRuns(self) -> None:
        folder = RunList.chooseFolder(self.widget, str(Path.home()))
        if folder:
            self._say(_("Reading the runs …"))
            self.training.submit(
                "runs", {"folder": folder}, lambda result: self._showRuns(folder, result["runs"])
            )

    def _showRuns(self, folder: str, runs: list[dict]) -> None:
        self.runs.show(folder, runs)
        self._say(_("{count} runs: click one to open it.").format(count=len(runs)))

    def copyCommand(self) -> None:
        """Put the command that trains so on the clipboard."""
        self._try(self._copyCommand)

    def _copyCommand(self) -> None:
        p = self.parameters
        goesOn = RunFolder.holdsRun(p.runFolder)
        arguments = Command.continueArguments(p) if goesOn else Command.newRun(p)
        slicer.app.clipboard().setText(Command.asText(arguments))
        self._say(_("The command is on the clipboard: paste it into a terminal."))

    def saveSettings(self) -> None:
        """Write all settings as a file, train by it from now on, and open it in an editor."""
        start = str(Path.home() / "training.yaml")
        path = qt.QFileDialog.getSaveFileName(self.widget, _("Settings"), start, "*.yaml")
        if path:
            self._withPackages(lambda: self._saveSettings(path))

    def _saveSettings(self, path: str) -> None:
        Command.save(self.parameters, Path(path))
        self.setFromControls({"recipe": path, "epochs": 0, "rate": 0.0, "startFrom": ""})
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(path))
        self._say(_("The training uses this file now; save it in the editor before Start."))

    def openFolder(self) -> None:
        """Show the files of the run."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self.parameters.runFolder))

    def _say(self, text: str) -> None:
        self.view.status.say(text)

    # Another scene, and the end

    def renew(self) -> None:
        """The scene is another one, or more was read into it."""
        self.follow(None)
        if self._open:
            self.open()

    def forget(self) -> None:
        """The scene closes: a training saves and ends by itself."""
        self.training.leave()
        self.follow(None)
        self._openRunFolder = None
        self.view.forget()
        self.runs.forget()
        self.checked.clear()
        self._say("")

    def cleanup(self) -> None:
        """Let go of the scene; what is under way ends."""
        self.training.close()
        self.forget()


def _existing(nodes) -> list:
    """Those that were not deleted since they were chosen."""
    return [node for node in nodes if node is not None and node.GetScene() is not None]
