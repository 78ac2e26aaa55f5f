"""Finding and loading models by name."""

from __future__ import annotations

import importlib
import json
import os
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from neuralreg.errors import IncompatibleModel
from neuralreg.progress import Progress, silent
from neuralreg.zoo.card import ModelCard
from neuralreg.zoo.network import RegistrationNetwork

# Where the class of an architecture stands; it takes the card.
ARCHITECTURES = {"convex": "neuralreg.methods.convex:ConvexSearch"}


def cards_folders() -> list[Path]:
    """Where cards lie: with the package, with the extension, and where NEURALREG_MODELS points."""
    package = Path(__file__).resolve().parents[1]
    places = [
        package / "_resources" / "Models",  # installed by pip
        package.parent / "Resources" / "Models",  # installed in Slicer
        package.parent.parent / "Resources" / "Models",  # a checkout
    ]
    own = os.environ.get("NEURALREG_MODELS")
    return [p for p in [*places, *([Path(own)] if own else [])] if p.is_dir()]


def read_card(path: Path) -> ModelCard:
    """The card in a JSON file. Raises IncompatibleModel when it does not fit the schema."""
    try:
        return ModelCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, json.JSONDecodeError) as error:
        raise IncompatibleModel(
            "a model card is not valid", where=str(path), got=str(error), remedy="Mend the file."
        ) from error


@cache
def _cards() -> dict[str, ModelCard]:
    found: dict[str, ModelCard] = {}
    for folder in cards_folders():
        for path in sorted(folder.glob("*.json")):
            if path.name != "model.schema.json":
                card = read_card(path)
                found[card.name] = card
    return found


def list_models(
    *, modality: str | None = None, anatomy: str | None = None, available: bool = False
) -> list[ModelCard]:
    """Cards of all models, or of those for a modality or anatomy ("any" fits everything).

    available: only those whose weights are on this machine, or that need none.
    """

    def fits(wanted: str | None, offered: tuple[str, ...]) -> bool:
        return wanted is None or "any" in offered or wanted in offered

    return [
        card
        for card in _cards().values()
        if fits(modality, card.modalities)
        and fits(anatomy, card.anatomies)
        and (not available or card.weights is None)
    ]


def model_card(name: str) -> ModelCard:
    """The card of a model. Raises IncompatibleModel when there is none of that name."""
    if name not in _cards():
        raise IncompatibleModel(
            "there is no such model",
            got=f"'{name}'",
            wanted=" or ".join(sorted(_cards())),
            remedy="`neuralreg models list` shows what each one is for.",
        )
    return _cards()[name]


def load_model(
    name: str,
    *,
    device: str = "auto",
    cache: Path | None = None,
    progress: Progress = silent,
) -> RegistrationNetwork:
    """A model by name, ready to predict.

    Raises IncompatibleModel for an unknown name or architecture.
    """
    card = model_card(name)
    if card.architecture not in ARCHITECTURES:
        raise IncompatibleModel(
            "this version does not know the model's architecture",
            where=card.name,
            got=f"'{card.architecture}'",
            wanted=" or ".join(sorted(ARCHITECTURES)),
        )
    module, name = ARCHITECTURES[card.architecture].split(":")
    network: RegistrationNetwork = getattr(importlib.import_module(module), name)(card)
    progress(1.0, f"{card.title} is ready")
    return network
