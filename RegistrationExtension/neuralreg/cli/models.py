"""`neuralreg models`: which there are, what they are for, and their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralreg.cli.common_options import AsJson, Overwrite, Quiet, TrustCode

if TYPE_CHECKING:
    from neuralreg.zoo.card import ModelCard

models = typer.Typer(
    help="List, show, fetch, import, check and remove models.",
    no_args_is_help=True,
    rich_markup_mode=None,
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
    task: Annotated[
        str, typer.Option(help="registration, brain mask, labels or all.")
    ] = "registration",
    as_json: AsJson = False,
) -> None:
    """List the models that there are."""
    from neuralreg.cli.terminal import columns, print_result, warn
    from neuralreg.zoo.card import task_of
    from neuralreg.zoo.registry import broken_cards, list_models
    from neuralreg.zoo.weights import is_available

    wanted = None if task == "all" else task_of(task)
    cards = list_models(modality=modality, anatomy=anatomy, available=available, task=wanted)
    facts = {"models": [_plain(card) for card in cards]}
    rows = [
        (card.name, f"{'here  ' if is_available(card) else 'to get'} {card.title}")
        for card in cards
    ]
    warn([str(error) for error in broken_cards()])
    print_result(facts, as_json, lambda: columns(rows))


@models.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything on a model's card."""
    from neuralreg.cli.terminal import columns, print_result, words
    from neuralreg.zoo.registry import model_card

    facts = _plain(model_card(name))
    print_result(
        facts, as_json, lambda: columns([(key, words(value)) for key, value in facts.items()])
    )


@models.command()
def get(
    name: Name,
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence",
            help="You have read the licence that `models show` names, and accept it; needed once "
            "for each model whose licence is not permissive.",
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a model's weights, so that it runs offline later."""
    from neuralreg.cli.terminal import print_result, show_progress
    from neuralreg.zoo.registry import model_card
    from neuralreg.zoo.weights import fetch, verify

    card = model_card(name)
    with show_progress(quiet) as progress:
        path = fetch(card, progress=progress, accept_licence=accept_licence)
    facts = {"model": name, "file": path and str(path), "state": verify(card)}
    print_result(facts, as_json, lambda: f"{name} is ready ({facts['state']})")


@models.command("import")
def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="Weights that cards name, in a file or folder of any name; or a card of your own."
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Another name for the model of the card.")
    ] = None,
    overwrite: Overwrite = False,
    trust_code: TrustCode = None,
    as_json: AsJson = False,
) -> None:
    """Take in weights that you have, or a model of your own: a card with its weights beside it."""
    from neuralreg.cli.terminal import print_result
    from neuralreg.io.files import require_existing
    from neuralreg.zoo.registry import list_models
    from neuralreg.zoo.user_models import import_card
    from neuralreg.zoo.weights import import_weights, path_of

    others: list[Path] = []
    if require_existing(path).suffix == ".json":
        trusted = trust_code or ()
        ready = [import_card(path, name=name, overwrite=overwrite, trusted=trusted)]
    else:
        ready, others = import_weights(path, list_models(task=None))
    files = {card.name: path_of(card) for card in ready}
    facts = {
        "models": {name: file and str(file) for name, file in files.items()},
        "other_files": [str(file) for file in others],
    }
    lines = [f"{name} is ready" for name in files]
    lines += [f"{file}: no model card names this file" for file in others]
    print_result(facts, as_json, lambda: "\n".join(lines))


@models.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all unless given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check that weights on this machine are what their cards name."""
    from neuralreg.cli.terminal import columns, print_result
    from neuralreg.zoo.registry import list_models, model_card
    from neuralreg.zoo.weights import verify as state_of

    cards = [model_card(name) for name in names] if names else list_models(task=None)
    states = {card.name: state_of(card) for card in cards}
    print_result({"models": states}, as_json, lambda: columns(list(states.items())))


@models.command("remove")
def remove_(name: Name, as_json: AsJson = False) -> None:
    """Delete a model's downloaded weights."""
    from neuralreg.cli.terminal import print_result
    from neuralreg.zoo.registry import model_card
    from neuralreg.zoo.weights import remove

    removed = remove(model_card(name))
    text = "removed" if removed else "there was nothing to remove"
    print_result({"model": name, "removed": removed}, as_json, lambda: f"{name}: {text}")


def _plain(card: ModelCard) -> dict[str, object]:
    """A card as plain values, ready for JSON."""
    facts: dict[str, object] = card.model_dump(mode="json")
    return facts
