"""Fine-tuning: a model that others trained, or an earlier run, as the start of a training.

`model.start_from` names it. Its network, its weights and what it wants to see are taken over, so
that a configuration says nothing about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from neuralreg.errors import IncompatibleModel, InvalidOption, UnreadableFile
from neuralreg.training import run_files
from neuralreg.training.config import schema
from neuralreg.training.model.pad_to_size import AnySize
from neuralreg.training.model.zoo_backbone import ZooBackbone
from neuralreg.training.tensor_files import weights_of_run
from neuralreg.zoo.card import TRAINED, ModelCard
from neuralreg.zoo.load_weights import fill_weights, state_of
from neuralreg.zoo.own_code import code_of, require_trust, trust_among
from neuralreg.zoo.python_sources import PythonSource
from neuralreg.zoo.registry import model_card, read_card
from neuralreg.zoo.weights import require

_OF_FILES = (".pt", ".pth", ".ckpt", ".bin", ".npz", ".safetensors", ".h5", ".hdf5", ".json")


@dataclass(frozen=True)
class StartingPoint:
    """A card, the file with its weights, and its own code."""

    card: ModelCard
    weights: Path
    code: tuple[PythonSource, ...] = ()


def starting_point(name: str, trusted: Sequence[str] = ()) -> StartingPoint:
    """What a model of the zoo, a card's file or the folder of a run offers.

    Args:
        name: of a model, or the path of a card or a run.
        trusted: SHA-256 of files of its code that the user agrees to run.

    Raises:
        IncompatibleModel: a model that cannot be trained further.
        CodeNotTrusted: it brings code that nobody has agreed to.
        WeightsUnavailable: its weights are not on this machine.
        UnreadableFile: a run that has no model yet.
    """
    path = Path(name)
    if path.is_dir():
        path = path / run_files.CARD
        if not path.is_file():
            raise UnreadableFile(
                f"{path.parent} holds no trained model",
                wanted=run_files.CARD,
                remedy="Let the run finish, or name a checkpoint by `model.weights`.",
            )
    card = read_card(path) if path.is_file() else model_card(name)
    _require_trainable(card)
    folder = path.parent if path.is_file() else None
    code = code_of(card, folder)
    trust_among(code, trusted)
    require_trust(code, name)
    return StartingPoint(card, require(card, folder), tuple(code))


def take_over_start(
    plain: dict[str, Any], trusted: Sequence[str] = ()
) -> tuple[dict[str, Any], tuple[PythonSource, ...]]:
    """A configuration's plain values, with what its `model.start_from` sets.

    The network and its method, and of the dataset `intensity`, `input` and, unless given, `size`.
    Values without `start_from` come back as they are.

    Args:
        plain: the values.
        trusted: as for `starting_point`.

    Returns:
        The values, and the code of the model that is started from.

    Raises:
        InvalidOption: the configuration sets other values for them, and what `starting_point`
            raises.
    """
    model = plain.get("model")
    name = model.get("start_from") if isinstance(model, dict) else None
    if not name:
        return plain, ()
    start = starting_point(str(name), trusted)
    card = start.card
    dataset = dict(plain.get("dataset") or {})
    if "size" not in dataset and card.input.shape is not None:
        dataset["size"] = list(card.input.shape[::-1])
    from_start = {"model": _model(card), "dataset": _dataset(card)}
    if card.input.space == "placed":
        from_start["dataset"]["size"] = list((card.input.shape or ())[::-1])
    filled_in = {"model": dict(plain["model"]), "dataset": dataset}
    for part, values in from_start.items():
        for key, value in values.items():
            _require_same(f"{part}.{key}", filled_in[part].get(key, value), value, str(name))
            filled_in[part][key] = value
    return {**plain, **filled_in}, start.code


def begin(model: nn.Module, config: schema.Model) -> None:
    """Fill a model with what its configuration begins with, if it names something."""
    if config.weights:
        begin_with(model, config.weights)
    if config.start_from:
        begin_from(model, config.start_from)


def begin_from(model: nn.Module, name: str) -> None:
    """Fill a model, built from a configuration that was taken over, with the weights.

    Raises:
        IncompatibleModel: they do not fit, as with images of another size for a network that was
            made for one.
    """
    start = starting_point(name)
    if start.card.architecture == TRAINED:
        from neuralreg.training.model.export import load_weights

        load_weights(model, start.weights)
        return
    networks = [part for part in model.modules() if isinstance(part, ZooBackbone)]
    assert len(networks) == 1  # checked by `take_over_start`
    assert start.card.weights is not None
    state = state_of(start.weights, start.card.weights.format)
    fill_weights(networks[0].network, state, start.card.name).requires_grad_(True).train()


def begin_with(model: nn.Module, weights: str) -> None:
    """Fill a model with the weights of a run's folder, a file, or a model of the zoo.

    Raises:
        IncompatibleModel: they are of another architecture.
    """
    path = Path(weights)
    if path.is_dir():
        path = weights_of_run(path, _name_of_run(path))
    if path.is_file() or path.suffix in _OF_FILES or len(path.parts) > 1:
        from neuralreg.training.model.export import load_weights

        load_weights(model, path)
        return
    weights_path = require(model_card(weights))
    _fill_backbone(model, weights_path, weights)


def _name_of_run(folder: Path) -> str:
    """The name of the model in a run's folder; the card knows it once there is one."""
    card = folder / run_files.CARD
    return read_card(card).name if card.is_file() else "trained"


def _fill_backbone(model: nn.Module, path: Path, name: str) -> None:
    """Weights of the zoo into the one network that a model has."""
    networks = [part for part in model.modules() if isinstance(part, AnySize)]
    if len(networks) != 1:
        raise IncompatibleModel(
            "weights of the zoo go into one backbone", where=name, got=f"{len(networks)} backbones"
        )
    fill_weights(networks[0].network, state_of(path), name)
    networks[0].requires_grad_(True).train()


def _require_trainable(card: ModelCard) -> None:
    if card.trainable:
        return
    got = f"an output of the kind '{card.output.kind}'"
    if card.weights is None:
        got = "a method without weights"
    elif card.weights.format in ("torchscript", "exported"):
        got = "a saved program"
    raise IncompatibleModel(
        "a training cannot start from this model",
        where=card.name,
        got=got,
        wanted="a network with weights that gives a displacement",
        remedy="`neuralreg models list` shows others.",
    )


def _model(card: ModelCard) -> dict[str, Any]:
    if card.architecture == TRAINED:
        return dict(card.arguments["model"])
    backbone: dict[str, Any] = {
        "name": "published",
        "architecture": card.architecture,
        "arguments": card.arguments,
        "kind": card.output.kind,
        "order": card.output.order,
        "run": {name: option.default for name, option in card.options.items()},
    }
    method = "velocity" if card.output.velocity else "displacement"
    return {"method": method, "backbone": [backbone]}


def _dataset(card: ModelCard) -> dict[str, Any]:
    about = card.input.model_dump(mode="json", exclude_none=True)
    return {"intensity": card.input.intensity, "input": about}


def _require_same(key: str, configured: object, from_start: object, name: str) -> None:
    if configured != from_start:
        raise InvalidOption(
            "the model that a training starts from sets this itself",
            where=key,
            got=str(configured),
            wanted=str(from_start),
            remedy=f"Leave {key} out; `model.start_from: {name}` sets it.",
        )
