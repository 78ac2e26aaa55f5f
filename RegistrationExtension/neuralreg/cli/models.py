"""`neuralreg models`: which there are, what they are for, and their weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.options import AsJson, Quiet
from neuralreg.errors import ChecksumMismatch, InvalidOption

if TYPE_CHECKING:
    from neuralreg.zoo.card import ModelCard

models = typer.Typer(
    help="List, show, fetch and import models.", no_args_is_help=True, rich_markup_mode=None
)
Name = Annotated[str, typer.Argument(help="A name from `neuralreg models list`.")]


@models.command("list")
def list_(
    modality: Annotated[str | None, typer.Option(help="Only models for this, such as MR.")] = None,
    anatomy: Annotated[
        str | None, typer.Option(help="Only models for this, such as brain.")
    ] = None,
    available: Annotated[
        bool, typer.Option("--available", help="Only models that run without a download.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that there are."""
    from neuralreg.cli.terminal import answer, columns
    from neuralreg.zoo.registry import list_models

    cards = list_models(modality=modality, anatomy=anatomy, available=available)
    facts = {"models": [_plain(card) for card in cards]}
    answer(facts, as_json, lambda: columns([(card.name, card.title) for card in cards]))


@models.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything that a model's card says."""
    from neuralreg.cli.terminal import answer, columns, words
    from neuralreg.zoo.registry import model_card

    facts = _plain(model_card(name))
    answer(facts, as_json, lambda: columns([(key, words(value)) for key, value in facts.items()]))


@models.command()
def get(name: Name, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Fetch a model's weights, so that it runs offline later."""
    from neuralreg.cli.terminal import answer, shown_progress
    from neuralreg.zoo.registry import load_model

    with shown_progress(quiet) as progress:
        load_model(name, device="cpu", progress=progress)
    answer({"model": name, "available": True}, as_json, lambda: f"{name} is ready")


@models.command("import")
def import_(
    card: Annotated[Path, typer.Argument(help="A model card; its weights lie beside it.")],
    as_json: AsJson = False,
) -> None:
    """Add a model of your own to the folder that NEURALREG_MODELS names."""
    from neuralreg.cli.terminal import answer

    name, folder = _imported(card)
    facts = {"model": name, "folder": str(folder)}
    answer(facts, as_json, lambda: f"{name} now stands in {folder}")


def _imported(path: Path) -> tuple[str, Path]:
    """The name of the model and the folder that its card and weights were copied to."""
    from neuralreg.geometry.files import drafts, existing
    from neuralreg.zoo.registry import read_card

    own = os.environ.get("NEURALREG_MODELS")
    if not own:
        raise InvalidOption(
            "there is no folder for models of your own",
            remedy="Set the environment variable NEURALREG_MODELS to a folder.",
        )
    card = read_card(existing(path))
    files = [path]
    if card.weights and card.weights.file:
        files.append(_checked(path.parent / card.weights.file, card.weights.sha256))
    with drafts(Path(own), last=path.name) as draft:
        for file in files:
            shutil.copyfile(file, draft / file.name)
    return card.name, Path(own)


def _checked(weights: Path, sha256: str | None) -> Path:
    from neuralreg.cli.outputs import sha256_of
    from neuralreg.geometry.files import existing

    found = sha256_of(existing(weights))
    if found != sha256:
        raise ChecksumMismatch(
            "these are not the weights that the card names",
            where=str(weights),
            got=found,
            wanted=sha256 or "a sha256 on the card",
            remedy="Download the file again, or correct the card.",
        )
    return weights


def _plain(card: ModelCard) -> dict[str, object]:
    """A card as plain values, ready for JSON."""
    facts: dict[str, object] = card.model_dump(mode="json")
    return facts
