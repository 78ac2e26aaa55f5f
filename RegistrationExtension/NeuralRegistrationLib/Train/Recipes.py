"""The configurations that a training can begin with: those of the extension, or a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Paths import resourcePath


@dataclass(frozen=True)
class Recipe:
    """A file of a configuration.

    title: a few words for a list. position: in that list, for those that are offered. about: the
    description that it begins with. values: what it sets, as far as that can be read.
    """

    path: Path
    title: str = ""
    position: int | None = None
    about: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def isOffered(self) -> bool:
        """Whether it comes with the extension."""
        return self.path.parent == Path(resourcePath("Training"))

    def says(self, *keys: str) -> Any:
        """The value at a key of a key; None where there is none."""
        value: Any = self.values
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @property
    def hasData(self) -> bool:
        """Whether it names its own images."""
        return self.says("dataset", "train") is not None

    @property
    def epochs(self) -> int | None:
        """How many passes over the images it takes."""
        return self.says("training", "epochs")

    @property
    def rate(self) -> float | None:
        """The learning rate."""
        return self.says("training", "optimizer", "lr")

    @property
    def words(self) -> str:
        """The description, and how long it trains."""
        facts = []
        if self.epochs:
            facts.append(_("{epochs} epochs").format(epochs=self.epochs))
        if self.rate:
            facts.append(_("learning rate {rate}").format(rate=f"{self.rate:g}"))
        return " ".join(filter(None, (self.about, f"({', '.join(facts)})" if facts else "")))


def recipe(name: str) -> Recipe:
    """The recipe of a name, or in a file; of one that cannot be read only the path is known."""
    ours = Path(resourcePath("Training")) / f"{name}.yaml"
    path = ours if ours.is_file() else Path(name)
    if not path.is_file():
        return Recipe(path, path.stem)
    text = path.read_text(encoding="utf-8", errors="replace")
    head = _head(text)
    position = head.get("offered", "")
    return Recipe(
        path,
        title=head.get("title", path.stem),
        position=int(position) if position.isdigit() else None,
        about=_about(text),
        values=_values(text),
    )


def listRecipes() -> dict[str, Recipe]:
    """All that the panel offers, by name, in their order."""
    files = Path(resourcePath("Training")).glob("*.yaml")
    recipes = {path.stem: recipe(path.stem) for path in files}
    chosen = {name: each for name, each in recipes.items() if each.position is not None}
    return dict(sorted(chosen.items(), key=lambda item: item[1].position))


def _head(text: str) -> dict[str, str]:
    """The plain values at the top level, also where no package reads YAML."""
    pairs = (line.partition(":") for line in text.splitlines() if line[:1].isalpha())
    return {key: value.strip() for key, _colon, value in pairs if value.strip()}


def _about(text: str) -> str:
    """The sentences of the comment that a file begins with; not its commands and references."""
    words = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words.append(line.removeprefix("#").strip())
    sentences = [line for line in words if not line.startswith("neuralreg ") and "doi:" not in line]
    return " ".join(sentences)


def _values(text: str) -> dict[str, Any]:
    if not Dependencies.isInstalled("yaml"):
        return {}
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:  # the training itself names the line
        return {}
    return values if isinstance(values, dict) else {}
