"""The options of a study: model, anatomy, and how many pairs at once."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from NeuralRegistrationLib.Models import ModelList
from NeuralRegistrationLib.Register.Parameters import Preset

_SETTINGS = "NeuralRegistration/Batch"  # what a restart of Slicer brings back
_AUTOMATIC = "auto"


class StudyOptions:
    """Controls of what is common to all pairs; a column of the table comes before them."""

    def __init__(self, ui) -> None:
        self.ui = ui
        ui.batchModelSelector.addItem(_("Automatic"), _AUTOMATIC)
        for card in ModelList.cards():
            ui.batchModelSelector.addItem(card.title, card.name)
        for preset in Preset:
            ui.batchPresetSelector.addItem(preset.label(), preset.value)
        settings = slicer.app.userSettings()
        for name, selector in self._selectors():
            known = selector.findData(str(settings.value(f"{_SETTINGS}/{name}") or ""))
            selector.currentIndex = max(0, known)
        ui.batchWorkersBox.value = int(settings.value(f"{_SETTINGS}/workers") or 0)

    def _selectors(self):
        yield "model", self.ui.batchModelSelector
        yield "preset", self.ui.batchPresetSelector

    def remember(self) -> None:
        """Keep them for the next session."""
        settings = slicer.app.userSettings()
        for name, selector in self._selectors():
            settings.setValue(f"{_SETTINGS}/{name}", selector.currentData)
        settings.setValue(f"{_SETTINGS}/workers", self.ui.batchWorkersBox.value)

    def arguments(self) -> dict:
        """What `Study.start` takes of them. Raises InvalidOption as the options do."""
        from neuralreg.registration.options import RegistrationOptions

        chosen = {name: selector.currentData for name, selector in self._selectors()}
        return {
            "options": RegistrationOptions(**chosen).as_record(),
            "workers": self.ui.batchWorkersBox.value,
        }
