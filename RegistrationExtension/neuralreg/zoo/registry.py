"""Finding and loading models by name."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from neuralreg.errors import IncompatibleModel, InvalidOption
from neuralreg.progress import Progress, silent
from neuralreg.zoo.cache_paths import cards_folders, own_folder
from neuralreg.zoo.card import ModelCard, Task
from neuralreg.zoo.own_code import run_code_of
from neuralreg.zoo.python_sources import PythonSource, own_module, read_source, run_sources
from neuralreg.zoo.weights import is_available, require

if TYPE_CHECKING:
    from neuralreg.zoo.loaded_network import RegistrationNetwork

_ARCHITECTURE = re.compile(r"[a-z][a-z0-9_]*")  # as the schema of cards has it
_own_networks: dict[str, RegistrationNetwork] = {}
_own_architectures: dict[str, Callable[..., Any]] = {}
_loaded: dict[tuple[str, str, str], RegistrationNetwork] = {}
_read: dict[Path, tuple[int, ModelCard]] = {}
_broken: dict[Path, IncompatibleModel] = {}


def read_card(path: Path) -> ModelCard:
    """The card in a JSON file.

    Raises:
        IncompatibleModel: it does not fit the schema.
    """
    try:
        return ModelCard.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
    except ValidationError as error:
        got = "; ".join(map(_in_words, error.errors()))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        got = f"not JSON: {error}"
    raise IncompatibleModel(
        "a model card is not valid",
        where=str(path),
        got=got,
        remedy="Correct the file; Resources/Models/model.schema.json describes a card.",
    )


def _in_words(error: Any) -> str:
    """One problem of a card: where, what, and what was meant, perhaps."""
    at = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), _keys_of_cards(), 1)
        return f"unknown key {at}" + (f", did you mean {near[0]}?" if near else "")
    if error["type"] == "missing":
        return f"{at} is missing"
    value = "" if isinstance(error["input"], dict) else f" (got {error['input']!r})"
    return f"{at}: {error['msg']}{value}" if at else str(error["msg"])


def _keys_of_cards() -> list[str]:
    schema = ModelCard.model_json_schema()
    return [key for part in (schema, *schema["$defs"].values()) for key in part["properties"]]


def _cards() -> dict[str, ModelCard]:
    """All cards by name; files that did not change are not read again.

    A card of the user's that cannot be read takes nothing else away: see `broken_cards`.
    """
    cards = {name: network.card for name, network in _own_networks.items()}
    own = own_folder()
    _broken.clear()
    for folder in cards_folders():
        for path in sorted(folder.glob("*.json")):
            if path.name == "model.schema.json":
                continue
            changed = path.stat().st_mtime_ns
            if path not in _read or _read[path][0] != changed:
                try:
                    _read[path] = changed, read_card(path)
                except IncompatibleModel as error:
                    if folder != own:
                        raise
                    _broken[path] = error
                    continue
            cards[_read[path][1].name] = _read[path][1]
    return cards


def broken_cards() -> list[IncompatibleModel]:
    """The errors of the user's own cards that are not in the list."""
    _cards()
    return list(_broken.values())


def list_models(
    *,
    modality: str | None = None,
    anatomy: str | None = None,
    available: bool = False,
    task: Task | None = "registration",
) -> list[ModelCard]:
    """Cards of the models that register images, or of some of them.

    Args:
        modality: such as "MR" or "CT"; a card for "any" fits every one.
        anatomy: such as "brain"; a card for "any" fits every one.
        available: only those whose weights are on this machine, or that need none.
        task: of the models; None for those of every task.
    """

    def fits(asked: str | None, offered: tuple[str, ...]) -> bool:
        return asked is None or "any" in offered or asked in offered

    return [
        card
        for card in _cards().values()
        if task in (None, card.task)
        and fits(modality, card.modalities)
        and fits(anatomy, card.anatomies)
        and (not available or is_available(card))
    ]


def model_card(name: str) -> ModelCard:
    """The card of a model.

    Raises:
        IncompatibleModel: there is none of that name.
    """
    cards = _cards()
    if name not in cards:
        near = get_close_matches(name, cards, 1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        unread = "".join(f"Not in the list: {error} " for error in _broken.values())
        raise IncompatibleModel(
            "there is no such model",
            got=f"'{name}'",
            wanted=" or ".join(sorted(cards)),
            remedy=f"{hint}{unread}`neuralreg models list` shows what each one is for.",
        )
    return cards[name]


def register_model(network: RegistrationNetwork) -> None:
    """Offer a network of your own under the name on its card, until the program ends.

    Args:
        network: with a card and `predict`; it replaces an earlier one of yours with that name.

    Raises:
        InvalidOption: a model of the list has that name.
    """
    name = network.card.name
    if name in _cards() and name not in _own_networks:
        raise InvalidOption("a model of that name exists already", got=f"'{name}'")
    _own_networks[name] = network


def register_architecture(name: str, build: Callable[..., Any]) -> None:
    """Let cards name an architecture of your own, until the program ends.

    Args:
        name: as a card's `architecture`.
        build: makes the network from the arguments of a card.
    """
    _own_architectures[name] = build


def load_model(
    name: str,
    *,
    device: str = "auto",
    precision: str = "float32",
    cache: Path | None = None,
    progress: Progress = silent,
) -> RegistrationNetwork:
    """A model by name, ready to predict. It stays in memory: the second call costs nothing.

    Args:
        name: of a card.
        device: "auto", or a device as torch names it.
        precision: "float32", "bfloat16" or "float16" (autocast).
        cache: folder of downloaded weights, if not the usual one. Nothing is downloaded.
        progress: gets a fraction and a message.

    Raises:
        IncompatibleModel: an unknown name, an unknown architecture or weights that do not fit.
        WeightsUnavailable: they are not on this machine.
        ChecksumMismatch: they are not the ones that the card names.
        DeviceUnavailable: there is no such device.
    """
    from neuralreg.devices import choose_device

    if name in _own_networks:
        return _own_networks[name]
    card = model_card(name)
    key = (card.model_dump_json(), str(choose_device(device)), precision)
    if key not in _loaded:
        progress(0.0, f"loading {card.title}")
        _loaded[key] = load_card(card, cache, device, precision)
    progress(1.0, f"{card.title} is ready")
    return _loaded[key]


def load_card(
    card: ModelCard, cache: Path | None = None, device: str = "auto", precision: str = "float32"
) -> RegistrationNetwork:
    """The model of a card that need not be in the list.

    Args:
        card: of the model.
        cache: folder of the weights, if not the usual one.
        device: as for `load_model`.
        precision: as for `load_model`.

    Raises:
        IncompatibleModel, WeightsUnavailable, ChecksumMismatch, DeviceUnavailable: as `load_model`.
    """
    from torch.random import fork_rng

    from neuralreg.devices import choose_device, own_modes
    from neuralreg.networks.convex import ConvexSearch
    from neuralreg.zoo.loaded_network import LoadedNetwork, describe_by

    require_registration(card)
    chosen = choose_device(device)
    path = None if card.weights is None else require(card, cache)
    with own_modes(), fork_rng(devices=[]):  # a network begins with random weights
        module = _build(card, path, cache).to(chosen)
        if card.output.kind == "features":
            module = ConvexSearch(describe_by(module, chosen, weighted=card.output.weighted))
    return LoadedNetwork(card, module, chosen, precision)


def require_registration(card: ModelCard) -> None:
    """Check that a model registers images.

    Args:
        card: of the model.

    Raises:
        IncompatibleModel: it labels one image.
    """
    if card.task != "registration":
        command = {"brain mask": "brain-mask", "labels": "label"}[card.task]
        raise IncompatibleModel(
            "this model does not register images",
            where=card.name,
            got=f"a model for {card.task}",
            wanted=" or ".join(sorted(each.name for each in list_models())),
            remedy=f"`neuralreg {command} --model {card.name}` runs it on one image.",
        )


def load_labeler(card: ModelCard, cache: Path | None = None, device: str = "auto") -> Any:
    """The network of a card for brain masks or labels, with its weights, on a device.

    Args:
        card: of the model.
        cache: folder of the weights, if not the usual one.
        device: as for `load_model`.

    Raises:
        IncompatibleModel, WeightsUnavailable, ChecksumMismatch, DeviceUnavailable: as `load_model`.
    """
    from neuralreg.devices import choose_device, own_modes

    if card.task == "registration":
        raise IncompatibleModel("this model registers images and labels none", where=card.name)
    chosen = choose_device(device)
    path = require(card, cache) if card.weights else None
    with own_modes():
        return _build(card, path, cache).to(chosen)


def _build(card: ModelCard, path: Path | None, cache: Path | None) -> Any:
    """The network of a card with the weights in a file, as a module on the CPU."""
    from neuralreg.zoo.load_weights import fill_weights, program_of, state_of

    if path is not None and card.weights and card.weights.format in ("torchscript", "exported"):
        return program_of(path, card.weights.format)
    run_code_of(card, cache)
    module = build_network(card.architecture, card.arguments, cache, card.name)
    if path is not None and card.weights is not None:
        module = fill_weights(module, state_of(path, card.weights.format), card.name)
    return module


def architecture_source(architecture: str, beside: Path | None = None) -> PythonSource | None:
    """The Python file of an architecture that is not ours; None where there is none.

    Args:
        architecture: as on a card.
        beside: a folder that goes before that of the user's own models.
    """
    if not _ARCHITECTURE.fullmatch(architecture):  # no path out of these folders
        return None
    for folder in (*([beside] if beside else []), own_folder()):
        path = folder / f"{architecture}.py"
        if path.is_file():
            return read_source(path)
    return None


def _module(architecture: str, beside: Path | None) -> Any:
    """The module of an architecture: a file beside the card or of the user's own, else ours.

    Raises:
        ModuleNotFoundError: there is none, and no code of a run or model has this name.
    """
    source = architecture_source(architecture, beside)
    if source is not None:
        run_sources([source])
    elif _ARCHITECTURE.fullmatch(architecture):
        ours = f"neuralreg.networks.{architecture}"
        if importlib.util.find_spec(ours) is not None:
            return importlib.import_module(ours)
    module = own_module(source.module if source else architecture)
    if module is None:
        raise ModuleNotFoundError(architecture)
    return module


def architecture_names() -> list[str]:
    """Names of the architectures that need no file of the user's own."""
    from neuralreg import networks

    ours = [module.name for module in pkgutil.iter_modules(networks.__path__)]
    return sorted({*ours, *_own_architectures})


def find_architecture(
    name: str, *, beside: Path | None = None, where: str = ""
) -> Callable[..., Any]:
    """The builder of the networks of an architecture.

    Args:
        name: of a file, or given to `register_architecture`.
        beside: a folder whose Python files may build it, too.
        where: for messages: the name of the card.

    Raises:
        IncompatibleModel: an unknown architecture.
    """
    try:
        build: Callable[..., Any] = _own_architectures.get(name) or _module(name, beside).build
    except (ModuleNotFoundError, AttributeError) as error:
        raise IncompatibleModel(
            "this version does not know the model's architecture",
            where=where,
            got=f"'{name}'",
            wanted="a file of neuralreg.networks, a file next to your own cards, or a name "
            "given to register_architecture",
        ) from error
    return build


def build_network(
    architecture: str, arguments: dict[str, Any], beside: Path | None = None, where: str = ""
) -> Any:
    """A network without its weights.

    Args:
        architecture: see `find_architecture`.
        arguments: of the card.
        beside: a folder whose Python files may build it, too.
        where: for messages: the name of the card.

    Raises:
        IncompatibleModel: an unknown architecture, or arguments that it does not take.
    """
    build = find_architecture(architecture, beside=beside, where=where)
    try:
        return build(**arguments)
    except TypeError as error:
        raise IncompatibleModel(
            "the architecture does not take the card's arguments", where=where, got=str(error)
        ) from error
