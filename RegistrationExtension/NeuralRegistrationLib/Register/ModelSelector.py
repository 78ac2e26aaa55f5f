"""The choice of a model in the Register panel: its name, a short card, its own options."""

from __future__ import annotations

import json

import ctk
import qt
from slicer.i18n import tr as _

from NeuralRegistrationLib.Models import ModelList
from NeuralRegistrationLib.Widgets import TabOrder

AUTOMATIC = "auto"


class ModelSelector:
    """Keeps the combo box, the card below it and the sliders of the model's options in step.

    onChanged: called with the model's name and its options when the user changes either.
    """

    def __init__(self, ui, onChanged) -> None:
        self.ui, self._onChanged = ui, onChanged
        self.sliders = {}
        self._shown = None
        self._updating = False
        self.reload()
        ui.modelSelector.connect("currentIndexChanged(int)", self._onChosen)

    def reload(self) -> None:
        """List the models that there are now; the chosen one stays if it can."""
        name = self.model
        self._cards = {card.name: card for card in ModelList.cards()}
        self._updating = True
        self.ui.modelSelector.clear()
        self.ui.modelSelector.addItem(_("Automatic"), AUTOMATIC)
        for card in self._cards.values():
            self.ui.modelSelector.addItem(card.title, card.name)
        self._updating = False
        self._shown = None
        self.show(name, {})

    @property
    def model(self) -> str:
        """The name of the chosen model."""
        return self.ui.modelSelector.currentData or AUTOMATIC

    @property
    def card(self):
        """The card of the chosen model; None for the automatic choice."""
        return self._cards.get(self.model)

    @property
    def options(self) -> dict[str, float]:
        """The numbers of the model's own options."""
        return {name: slider.value for name, slider in self.sliders.items()}

    def show(self, model: str, options: dict[str, float]) -> None:
        """Show a model and its options; a model that is not there becomes the automatic choice."""
        self._updating = True
        index = max(0, self.ui.modelSelector.findData(model))
        self.ui.modelSelector.currentIndex = index
        if self._shown != self.model:
            self._makeSliders()
            self._describe()
        for name, slider in self.sliders.items():
            slider.value = options.get(name, self.card.options[name].default)
        self._updating = False

    def _onChosen(self, index: int) -> None:
        if self._updating:
            return
        self._makeSliders()
        self._describe()
        self._tell()

    def _tell(self) -> None:
        if not self._updating:
            self._onChanged(self.model, self.options)

    def _describe(self) -> None:
        if self.card is None:
            text = _(
                "Takes a network that was trained for such images where one is available, and "
                "the search without training otherwise."
            )
        else:
            text = ModelList.short(self.card)
        self.ui.modelCardLabel.text = text
        self._shown = self.model

    def _makeSliders(self) -> None:
        layout = self.ui.modelOptionsBox.layout()
        while layout.rowCount():
            layout.removeRow(0)
        offered = self.card.options if self.card is not None else {}
        self.sliders = {name: self._slider(name, option) for name, option in offered.items()}
        for name, slider in self.sliders.items():
            label = qt.QLabel(offered[name].title)
            label.toolTip = offered[name].meaning
            layout.addRow(label, slider)
        for slider in reversed(self.sliders.values()):
            TabOrder.insertAfter(self.ui.labelBrainsButton, slider)
        self.ui.modelOptionsHeading.visible = bool(offered)
        self.ui.modelOptionsBox.visible = bool(offered)

    def _slider(self, name: str, option):
        slider = ctk.ctkSliderWidget()
        slider.objectName = f"{name}OptionSlider"
        slider.accessibleName = option.title
        slider.decimals = 2
        slider.minimum, slider.maximum = option.minimum, option.maximum
        slider.singleStep = (option.maximum - option.minimum) / 100
        slider.value = option.default
        slider.toolTip = option.meaning
        slider.connect("valueChanged(double)", lambda value: self._tell())
        return slider


def optionsText(options: dict[str, float]) -> str:
    """Options as the parameter node keeps them."""
    return json.dumps(options, sort_keys=True)
