"""The configurations that a training can begin with: those of the extension, or a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Paths import resourcePath

# Those for images of any kind; the others are examples with their own data, or make no transform.
OFFERED = (
    "voxelmorph",
    "voxelmorph_diffeomorphic",
    "lapirn",
    "lku_net",
    "transmorph",
    "gradicon",
    "multimodal",
    "weakly_supervised",
    "deepreg_unet",
    "affine",
    "affine_then_voxelmorph",
    "inverse_consistent",
    "patches",
    "fine_tune",
)

_FIRST_WORDS = re.compile(r"[^:.,]*")


@dataclass(frozen=True)
class Recipe:
    """A file, what its first lines say, and what it sets, as far as that can be read."""

    path: Path
    about: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """A few words for a list."""
        return _FIRST_WORDS.match(self.about)[0] or self.path.stem

    @property
    def isOffered(self) -> bool:
        """Whether it comes with the extension."""
        return self.path.parent == Path(resourcePath("Training"))

    def says(self, *keys: str) -> Any:
        """What stands at a key of a key; None where nothing does."""
        found: Any = self.values
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

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
    """The recipe of a name, or in a file; one that cannot be read says nothing."""
    path = Path(resourcePath("Training")) / f"{name}.yaml" if name in OFFERED else Path(name)
    if not path.is_file():
        return Recipe(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    return Recipe(path, _about(text), _values(text))


def offered() -> dict[str, Recipe]:
    """All that come with the extension, by name."""
    return {name: recipe(name) for name in OFFERED}


def _about(text: str) -> str:
    """The sentences of the comment that a file begins with; not its commands and references."""
    words = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words.append(line.removeprefix("#").strip())
    kept = [line for line in words if not line.startswith("neuralreg ") and "doi:" not in line]
    return " ".join(kept)


def _values(text: str) -> dict[str, Any]:
    if not Dependencies.isInstalled("yaml"):
        return {}
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:  # the training itself will say where
        return {}
    return found if isinstance(found, dict) else {}
