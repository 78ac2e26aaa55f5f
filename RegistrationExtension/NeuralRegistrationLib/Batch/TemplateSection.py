"""The section of the Batch panel that builds an average of volumes of the scene."""

from __future__ import annotations

from pathlib import Path

import qt
from neuralreg.errors import InvalidOption, RegistrationError
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Batch.TemplateBuild import TemplateBuild
from NeuralRegistrationLib.Widgets.StatusBar import progressText


class TemplateSection:
    """Controls of a template; `build` is what is under way."""

    def __init__(self, ui, widget) -> None:
        self.ui, self._widget = ui, widget
        self.build = TemplateBuild(self.show)
        ui.batchTemplateFolderButton.connect("clicked()", self.chooseFolder)
        ui.batchTemplateButton.connect("clicked()", self.start)
        ui.batchTemplateStopButton.connect("clicked()", self.stop)
        self.show()

    def chooseFolder(self) -> None:
        """Choose the folder of the results."""
        edit = self.ui.batchTemplateFolderEdit
        title = _("Folder of the template")
        start = edit.text or str(Path.home())
        edit.text = qt.QFileDialog.getExistingDirectory(self._widget, title, start) or edit.text

    def start(self) -> None:
        """Begin, or go on where it was stopped."""
        missing = Dependencies.missingPackages()
        if missing:
            self._say(Dependencies.describe(missing))
            return
        ui = self.ui
        try:
            self.build.start(
                ui.batchTemplateSelector.checkedNodes(),
                self._folder(),
                rounds=ui.batchTemplateRoundsBox.value,
                median=ui.batchTemplateMedianBox.checked,
            )
        except RegistrationError as error:
            self._say(str(error))

    def _folder(self) -> Path:
        text = self.ui.batchTemplateFolderEdit.text.strip()
        if not text:
            raise InvalidOption(
                _("a template needs a folder"), remedy=_("Choose one where its files may go.")
            )
        return Path(text).expanduser()

    def stop(self) -> None:
        """End what is under way."""
        self.build.stop()

    def show(self) -> None:
        """Bring the controls up to date."""
        ui, build = self.ui, self.build
        ui.batchTemplateButton.enabled = build.ended
        ui.batchTemplateStopButton.enabled = not build.ended
        ui.batchTemplateBar.visible = not build.ended
        if not build.ended:
            ui.batchTemplateBar.value = round(1000 * build.job.progress.fraction)
        self._say(self._words())

    def _words(self) -> str:
        """How far it is."""
        build = self.build
        said = []
        if build.rounds:
            last = build.rounds[-1]
            text = _("Round {number}: the mean shape moved {change} mm, sharpness {sharpness}.")
            said.append(
                text.format(
                    number=last["number"],
                    change=f"{last['shape_change_mm']:.2f}",
                    sharpness=f"{last['sharpness']:.3g}",
                )
            )
        if build.error is not None:
            said.append(str(build.error))
        elif not build.ended:
            said.append(progressText(build.job.progress))
        elif build.finished:
            said.append(_("Done: all files are in the folder."))
        return "\n".join([*said, *(f"{note}." for note in build.notes)])

    def _say(self, text: str) -> None:
        self.ui.batchTemplateLabel.text = text
        self.ui.batchTemplateLabel.visible = bool(text)
