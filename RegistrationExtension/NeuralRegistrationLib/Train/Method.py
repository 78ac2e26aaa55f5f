"""What is trained in the Train panel: the network to start from, and the recipe."""

from __future__ import annotations

from pathlib import Path

import qt
from neuralreg.errors import InvalidOption, WeightsUnavailable
from slicer.i18n import tr as _

from NeuralRegistrationLib.Models import ModelList
from NeuralRegistrationLib.Train import RunFolder
from NeuralRegistrationLib.Train.Recipes import Recipe, listRecipes, recipe

_CHOOSE = "choose"  # data of the entry that asks for a file or folder
_FINE_TUNE = "fine_tune"
_USUAL = "voxelmorph"


class TrainMethod:
    """Keeps both lists, the description and the number of samples in step.

    set: takes parameters by name that the user changed.
    """

    def __init__(self, ui, widget, set_) -> None:
        self.ui, self._widget, self._set = ui, widget, set_
        self._cards, self._recipes, self._filling = {}, listRecipes(), False
        self.recipe = Recipe(Path())
        ui.trainStartSelector.connect("activated(int)", self._startChosen)
        ui.trainRecipeSelector.connect("activated(int)", self._recipeChosen)

    def reload(self) -> None:
        """Read the cards again: models came or went."""
        self._cards = {card.name: card for card in ModelList.cards() if card.trainable}

    def show(self, parameters) -> None:
        """Show what the parameters say."""
        if not self._cards:
            self.reload()
        self._fillStarts(parameters.startFrom)
        self._fillRecipes(parameters.recipe)
        self.recipe = self._recipes.get(parameters.recipe) or recipe(parameters.recipe)
        self.ui.trainRecipeText.text = self._words(parameters)
        for axis in "XYZ":
            box = getattr(self.ui, f"trainSize{axis}SpinBox")
            box.enabled = not self.recipe.hasData and not self._isPlaced(parameters.startFrom)

    def require(self, parameters) -> None:
        """Raise an error when a training cannot start from what is chosen."""
        name = parameters.startFrom
        card = self._cards.get(name)
        if card is not None and not ModelList.isAvailable(card):
            raise WeightsUnavailable(
                _("the weights of {title} are not on this machine").format(title=card.title),
                remedy=_("Download them in the tab Models."),
            )
        if name and card is None and RunFolder.model(name) is None:
            raise InvalidOption(
                _("a training starts from a model, or from a run that has one"), got=name
            )
        if not name and self._startsFrom(self.recipe) and self.recipe.isOffered:
            raise InvalidOption(
                _("fine-tuning needs a model"), remedy=_("Choose one to start from.")
            )

    def _words(self, parameters) -> str:
        if not self.recipe.path.is_file():
            return _("{path} is missing.").format(path=self.recipe.path)
        words = [self.recipe.words]
        if parameters.startFrom and not self._startsFrom(self.recipe):
            words.append(_("Its network is replaced by the one to start from."))
        if self.recipe.hasData:
            words.append(_("It names its own images: those above are not used."))
        return " ".join(filter(None, words))

    @staticmethod
    def _startsFrom(chosen: Recipe) -> bool:
        return bool(chosen.says("model", "start_from"))

    def _isPlaced(self, name: str) -> bool:
        card = self._cards.get(name)
        return card is not None and card.input.space == "placed"

    def _fillStarts(self, chosen: str) -> None:
        entries = {"": _("A new network")}
        for name, card in self._cards.items():
            suffix = "" if ModelList.isAvailable(card) else f" ({ModelList.state(card)})"
            entries[name] = card.title + suffix
        entries.setdefault(chosen, _("Run {folder}").format(folder=Path(chosen).name))
        entries[_CHOOSE] = _("An earlier run …")
        _fill(self.ui.trainStartSelector, entries, chosen)

    def _fillRecipes(self, chosen: str) -> None:
        entries = {name: each.title for name, each in self._recipes.items()}
        entries.setdefault(chosen, Path(chosen).name)
        entries[_CHOOSE] = _("A file …")
        _fill(self.ui.trainRecipeSelector, entries, chosen)

    def _startChosen(self, index: int) -> None:
        name = self.ui.trainStartSelector.currentData
        if name == _CHOOSE:
            question = _("Folder of an earlier run")
            name = qt.QFileDialog.getExistingDirectory(self._widget, question, str(Path.home()))
        values = {"startFrom": name}
        shape = _shapeOf(self._cards.get(name)) or RunFolder.samples(name)
        if shape:
            values |= dict(zip(("sizeX", "sizeY", "sizeZ"), (*shape, 1), strict=False))
        if name and self.recipe.isOffered:
            values["recipe"] = _FINE_TUNE
        elif not name and self._startsFrom(self.recipe):
            values["recipe"] = _USUAL
        self._set(values)

    def _recipeChosen(self, index: int) -> None:
        name = self.ui.trainRecipeSelector.currentData
        if name == _CHOOSE:
            question, kinds = _("Configuration of a training"), "*.yaml *.yml"
            name = qt.QFileDialog.getOpenFileName(self._widget, question, str(Path.home()), kinds)
        self._set({"recipe": name or str(self._recipeName())})

    def _recipeName(self) -> str:
        """What was chosen before, in the words of the parameter."""
        names = {each.path: name for name, each in self._recipes.items()}
        return names.get(self.recipe.path, str(self.recipe.path))


def _shapeOf(card) -> tuple[int, ...]:
    """The samples x y z that a model wants to see, if it does."""
    return tuple(card.input.shape[::-1]) if card is not None and card.input.shape else ()


def _fill(box, entries: dict[str, str], chosen: str) -> None:
    box.blockSignals(True)
    box.clear()
    for name, title in entries.items():
        box.addItem(title, name)
    box.currentIndex = max(0, box.findData(chosen))
    box.blockSignals(False)
