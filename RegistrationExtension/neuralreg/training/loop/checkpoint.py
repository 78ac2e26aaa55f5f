"""Everything that a training needs to go on, in one file that loads without running code."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralreg.errors import IncompatibleModel
from neuralreg.training.loop.optimizer import change_options
from neuralreg.training.tensor_files import FORMAT, read_checkpoint, save_tensors


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
        sums: of the losses of the current epoch's steps, by name.
        counted: how many steps they are of.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0

    def add(self, losses: Mapping[str, float]) -> None:
        """Count the losses of a step."""
        self.counted += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def end_epoch(self) -> dict[str, float]:
        """Go on to the next epoch; the mean losses of the one that has ended."""
        means = {name: total / max(self.counted, 1) for name, total in self.sums.items()}
        self.epoch, self.batch, self.sums, self.counted = self.epoch + 1, 0, {}, 0
        return means


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
        "format": FORMAT,
        "state": asdict(state),
        "random": random_state(),
        **{name: part.state_dict() for name, part in _stateful(parts).items()},
    }
    save_tensors(content, path)


def load_checkpoint(path: Path, parts: Parts, options: Mapping[str, Any] | None = None) -> State:
    """Set all parts and the random numbers to what they were; how far the training was.

    Args:
        path: of the checkpoint.
        parts: of the same training.
        options: of the optimizer, which take the place of those of the checkpoint.

    Raises:
        UnreadableFile: a file that is no checkpoint.
        IncompatibleModel: the network or its optimizer is another one.
        InvalidOption: a learning rate that the schedule sets itself.
    """
    content = read_checkpoint(path)
    try:
        _require_same_optimizer(parts.optimizer, content["optimizer"])
        for name, part in _stateful(parts).items():
            part.load_state_dict(content[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise IncompatibleModel(
            "a checkpoint belongs to another training",
            where=str(path),
            got=" ".join(str(error).split())[:300],
            remedy="Resume with the configuration that the run was started with.",
        ) from error
    change_options(parts, options or {})
    set_random_state(content["random"])
    return State(**content["state"])


def _require_same_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Raise ValueError for the state of another kind, whose options torch takes without a look."""
    now, before = set(optimizer.defaults), set(saved["param_groups"][0])
    missing = sorted(now - before)
    if missing:
        raise ValueError(f"an optimizer without {', '.join(missing)}")


def _stateful(parts: Parts) -> dict[str, Any]:
    named = vars(parts).items()
    return {name: part for name, part in named if part is not None}


def random_state() -> dict[str, Any]:
    """The state of all generators that a network or a library may draw from."""
    numbers = np.random.get_state(legacy=False)
    key = numbers["state"]["key"]
    position = numbers["state"]["pos"]
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(key.astype(np.int64)), int(position)],
        "python": random.getstate(),
    }


@contextmanager
def random_numbers_of_the_caller() -> Iterator[None]:
    """Let the block draw random numbers; all generators are afterwards as they were."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)


def set_random_state(state: dict[str, Any]) -> None:
    """Set all generators to what `random_state` gave."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    key, position = state["numpy"]
    words = key.numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words, position, 0, 0.0))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
