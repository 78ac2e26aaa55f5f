"""The settings of the panel as the command that trains with them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from neuralreg.errors import InvalidOption
from neuralreg.training.run_files import CONFIGURATION
from slicer.i18n import tr as _

from NeuralRegistrationLib.Register.Parameters import Device
from NeuralRegistrationLib.Train import RunFolder
from NeuralRegistrationLib.Train.Parameters import Source
from NeuralRegistrationLib.Train.Recipes import Recipe, recipe

_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")  # as the schema has it
_PICTURES = 5  # epochs between two


def check(parameters) -> list[str]:
    """Arguments of `neuralreg train` that check the data and train nothing.

    Raises InvalidOption, in words for the panel, for what is missing or cannot be.
    """
    chosen = _recipe(parameters)
    return [str(chosen.path), *sets(parameters, chosen), "-o", parameters.runFolder, "--check"]


def newRun(parameters) -> list[str]:
    """Arguments of `neuralreg train` for a new run. Raises InvalidOption as `check` does."""
    chosen = _recipe(parameters)
    if not parameters.runFolder:
        raise InvalidOption(
            _("a run needs a folder"), remedy=_("Choose an empty one, or name a new one.")
        )
    if RunFolder.holdsRun(parameters.runFolder):
        raise InvalidOption(
            _("the folder contains a run already"),
            where=parameters.runFolder,
            remedy=_("Continue resumes it; a new run needs another folder."),
        )
    return [str(chosen.path), *sets(parameters, chosen), "-o", parameters.runFolder]


def continueArguments(parameters, agreed: Iterable[str] = ()) -> list[str]:
    """Arguments that go on with the run in the folder, up to the epochs that are asked for.

    agreed: SHA-256 of code of the run that may run here.
    """
    folder = Path(parameters.runFolder)
    values = {"training.epochs": parameters.epochs} if parameters.epochs else {}
    if parameters.device is not Device.AUTO:
        values["training.device"] = parameters.device.value
    config = str(folder / CONFIGURATION)
    trust = [word for digest in agreed for word in ("--trust-code", digest)]
    return [config, *_asOptions(values), *trust, "-o", str(folder), "--resume"]


def usesScene(parameters) -> bool:
    """Whether the scene's volumes are trained on, and have to be written."""
    if parameters.source is not Source.SCENE:
        return False
    chosen = recipe(parameters.recipe)
    named = chosen.says("dataset", "train", "dir")
    return not chosen.hasData or named == str(dataFolder(parameters) / "train")


def save(parameters, path: Path) -> None:
    """Write all settings as one configuration. Raises InvalidOption, OSError."""
    from neuralreg.training.configuration import merge_files, write_configuration

    chosen = recipe(parameters.recipe)
    values, _lines = merge_files([chosen.path], sets(parameters, chosen)[1::2])
    write_configuration(values, path)


def asText(arguments: list[str]) -> str:
    """The command as one types it."""
    words = ["neuralreg", "train", *arguments]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def sets(parameters, chosen: Recipe) -> list[str]:
    """What the panel says beyond the recipe, as options."""
    p, values = parameters, {}
    if not chosen.says("name") or p.name != p.default("name").value:
        values["name"] = _requireName(p.name)
    if p.startFrom:
        values["model.start_from"] = p.startFrom
    if not chosen.hasData:
        values |= _dataset(p, chosen)
    if p.epochs:
        values["training.epochs"] = p.epochs
    if p.rate:
        values["training.optimizer.lr"] = p.rate
    if p.device is not Device.AUTO:
        values["training.device"] = p.device.value
    if chosen.isOffered:
        values["training.pictures"] = _PICTURES
        values["training.best"] = _best(p)
    return _asOptions(values)


def dataFolder(parameters) -> Path:
    """Where the volumes of the scene are written. Raises InvalidOption when nothing says so."""
    if not parameters.dataFolder and not parameters.runFolder:
        raise InvalidOption(
            _("the volumes are written to a folder"),
            remedy=_("Choose the folder of the run, or one for the volumes."),
        )
    return Path(parameters.dataFolder or Path(parameters.runFolder) / "data")


def _recipe(parameters) -> Recipe:
    chosen = recipe(parameters.recipe)
    if not chosen.path.is_file():
        raise InvalidOption(
            _("the recipe is missing"), got=str(chosen.path), remedy=_("Choose another one.")
        )
    return chosen


def _asOptions(values: dict) -> list[str]:
    """As `--set` takes them: JSON is YAML, whatever a path holds."""
    pairs = (
        ("--set", f"{key}={json.dumps(value, ensure_ascii=False)}") for key, value in values.items()
    )
    return [word for pair in pairs for word in pair]


def _requireName(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidOption(
            _("a model's name has small letters, digits and _, and one dot at most"),
            got=f"'{name}'",
            wanted="knees.first",
        )
    return name


def _folders(p) -> dict[str, Path]:
    """The folders of the splits."""
    if p.source is Source.SCENE:
        splits = ("train", "valid") if p.validCount else ("train",)
        return {split: dataFolder(p) / split for split in splits}
    if not p.trainFolder:
        raise InvalidOption(
            _("a training needs images"),
            remedy=_("Choose a folder that holds a folder “images”, or volumes of the scene."),
        )
    named = {"train": p.trainFolder, "valid": p.validFolder}
    return {split: Path(folder) for split, folder in named.items() if folder}


def _hasLabels(p, folder: Path) -> bool:
    if not p.labels:
        return False
    if p.source is Source.SCENE:
        return bool(p.segmentations)
    names = ("labels", "fixed_labels", "labels.h5", "fixed_labels.h5")
    return any((folder / name).exists() for name in names)


def _dataset(p, chosen: Recipe) -> dict:
    folders = _folders(p)
    values: dict = {"dataset.size": [p.sizeX, p.sizeY] + [p.sizeZ] * (p.sizeZ > 1)}
    first = folders["train"]
    if p.source is Source.FOLDERS and any(
        (first / name).exists() for name in ("moving_images", "moving_images.h5")
    ):
        values["dataset.type"] = "paired"
    for split, folder in folders.items():
        values[f"dataset.{split}.dir"] = str(folder)
        values[f"dataset.{split}.labeled"] = _hasLabels(p, folder)
        if any(folder.glob("*.h5")):
            values[f"dataset.{split}.format"] = "h5"
    return values


def _best(p) -> str:
    """Labels tell best which weights register best, where there are some to validate with."""
    valid = _folders(p).get("valid")
    return "dice" if valid is not None and _hasLabels(p, valid) else "loss"
