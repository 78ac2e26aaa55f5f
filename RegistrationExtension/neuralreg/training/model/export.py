"""A trained network as a model of the zoo: a card, its weights, and the file that builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from neuralreg.composition import models
from neuralreg.io.files import sha256_of, write_whole
from neuralreg.training import run_files
from neuralreg.training.config import schema
from neuralreg.training.model.methods import build_model
from neuralreg.training.tensor_files import save_tensors
from neuralreg.zoo.card import TRAINED, Fitting, Input, ModelCard, Output, Weights
from neuralreg.zoo.own_code import BUILDER

_SIMILARITIES = ("lncc", "lncc_icon", "ssd", "mind")
_REGULARITIES = {
    "gradient": "diffusion",
    "bending": "bending",
    "icon": "icon",
    "gradicon": "gradicon",
}


def build(model: dict[str, Any], shape: list[int]) -> nn.Module:
    """The network of a card: `model` is that part of the configuration, `shape` is z y x."""
    built = build_model(schema.Model.model_validate(model), tuple(shape))
    return models.ComposedNetwork(built)


def export(
    folder: Path, config: schema.Configuration, network: nn.Module, measured: dict[str, str]
) -> Path | None:
    """Write card, weights and builder; `neuralreg models import FOLDER/model.json` takes them.

    None for a conditional model, whose weights are written alone: it gives no transform.
    """
    state = {
        name: values.detach().cpu().contiguous() for name, values in network.state_dict().items()
    }
    path = folder / f"{config.name}.pt"
    save_tensors(_prefix_names(state), path)
    if config.model.method == "conditional":
        return None
    card = _card(config, path, measured)
    (folder / f"{TRAINED}.py").write_text(BUILDER, encoding="utf-8")
    with write_whole(folder / run_files.CARD) as draft:
        draft.write_text(card.model_dump_json(indent=2), encoding="utf-8")
    return folder / run_files.CARD


def code_hashes(config: schema.Configuration) -> dict[str, str]:
    """SHA-256 of the Python files that a run takes along, by path, see `ModelCard.code`."""
    return {f"{run_files.CODE}/{each.file_name}": each.sha256 for each in config.code_sources}


def _prefix_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": values for name, values in state.items()}


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a run, or of a checkpoint of one.

    Raises:
        IncompatibleModel: they belong to another network.
    """
    from neuralreg.zoo.load_weights import fill_weights, state_of

    trained = network.training
    fill_weights(network, state_of(path), str(path))
    network.requires_grad_(True).train(trained)


def _input(dataset: schema.Dataset) -> Input:
    """What the network was shown: as the card that it began with says, at the size of now."""
    if dataset.input is not None and dataset.input.space != "fixed":
        return dataset.input.model_copy(update={"shape": dataset.shape})
    return Input.model_validate(
        {
            "dimensions": [len(dataset.size)],
            "space": "whole",
            "shape": dataset.shape,
            "intensity": dataset.intensity,
        }
    )


def _fitting(loss: schema.Loss) -> Fitting | None:
    """How the weights are fitted to one pair: by the first image and the first deformation loss.

    None where the instance optimization has no such loss.
    """
    kinds = loss.image, loss.deformation
    images, rough = ([part for part in parts if part.weight] for parts in kinds)
    regularity = _REGULARITIES.get(rough[0].name) if rough and not rough[0].options else None
    if not images or images[0].name not in _SIMILARITIES or regularity is None:
        return None
    both = loss.symmetric or regularity in ("icon", "gradicon")
    weight = rough[0].weight / images[0].weight * (2 if regularity in ("icon", "gradicon") else 1)
    size = images[0].options.get("kernel_size", Fitting().size)
    return Fitting.model_validate(
        {
            "similarity": images[0].name,
            "size": size,
            "regularity": regularity,
            "weight": weight,
            "both": both,
        }
    )


def _card(config: schema.Configuration, weights: Path, measured: dict[str, str]) -> ModelCard:
    dataset = config.dataset
    folders = [str(folder) for folder in dataset.train.dir] if dataset.train else []
    about = config.model.model_dump(mode="json", exclude={"weights", "start_from"})
    return ModelCard(
        name=config.name,
        title=config.name.replace("_", " "),
        architecture=TRAINED,
        arguments={"model": about, "shape": list(dataset.shape)},
        code=code_hashes(config),
        input=_input(dataset),
        output=Output(kind="unit_map", order="xyz"),
        weights=Weights(
            file=weights.name,
            sha256=sha256_of(weights),
            bytes=weights.stat().st_size,
        ),
        license="your own",
        citation="your own",
        training_data="your own: " + ", ".join(folders),
        modalities=("any",),
        anatomies=("any",),
        intended_use="Images like those that it was trained on.",
        limits="Known only to its trainer.",
        fitting=_fitting(config.loss),
        measured=measured,
    )
