"""Everything that a training needs to go on, in one file that loads without running code."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralreg.errors import IncompatibleModel, UnreadableFile
from neuralreg.io.files import require_existing
from neuralreg.training.tensor_files import save_tensors

_FORMAT = 1


@dataclass
class State:
    """How far a training is.

    Attributes:
        epoch: the current one, from 0.
        batch: batches of it that are done.
        step: optimizer steps in all.
        best: the best validation figure.
        best_epoch: when it was reached.
        stale: validations since then.
        seconds: of training, over all pieces.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0


@dataclass
class Parts:
    """What has a state: the network, its optimizer, its schedule and its gradient scaler."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Any = None
    scaler: Any = None


def save_checkpoint(path: Path, parts: Parts, state: State) -> None:
    """Write a checkpoint; never a half file."""
    content = {
        "format": _FORMAT,
        "state": asdict(state),
        "random": _random_state(),
        **{name: part.state_dict() for name, part in _stateful(parts).items()},
    }
    save_tensors(content, path)


def load_checkpoint(path: Path, parts: Parts) -> State:
    """Set all parts and the random numbers to what they were; how far the training was.

    Raises:
        UnreadableFile: a file that is no checkpoint.
        IncompatibleModel: the network or its optimizer is another one.
    """
    content = read_checkpoint(path)
    try:
        for name, part in _stateful(parts).items():
            part.load_state_dict(content[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise IncompatibleModel(
            "a checkpoint belongs to another training",
            where=str(path),
            got=" ".join(str(error).split())[:300],
            remedy="Resume with the configuration that the run was started with.",
        ) from error
    _set_random_state(content["random"])
    return State(**content["state"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        UnreadableFile: it is none.
    """
    require_existing(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UnreadableFile(f"{path} is no checkpoint", got=str(error).splitlines()[0]) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UnreadableFile(f"{path} is no checkpoint of this version")
    return content


def _stateful(parts: Parts) -> dict[str, Any]:
    named = vars(parts).items()
    return {name: part for name, part in named if part is not None}


def _random_state() -> dict[str, Any]:
    numbers = np.random.get_state(legacy=False)
    key = numbers["state"]["key"]
    position = numbers["state"]["pos"]
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(key.astype(np.int64)), int(position)],
        "python": random.getstate(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    key, position = state["numpy"]
    words = key.numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words, position, 0, 0.0))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
