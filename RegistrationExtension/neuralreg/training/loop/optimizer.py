"""Optimizer and schedule by their names in torch, and what a resumed run may change of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from neuralreg.errors import InvalidOption
from neuralreg.training.config import schema
from neuralreg.training.run_files import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from neuralreg.training.loop.checkpoint import Parts

_PLATEAU = "ReduceLROnPlateau"
_SETS_THE_RATE = ("OneCycleLR", "CyclicLR", "SequentialLR", "ChainedScheduler")


def make_optimizer(
    training: schema.Training, network: nn.Module
) -> tuple[torch.optim.Optimizer, Any]:
    """The optimizer of a network's parameters, and the schedule of its rate if there is one.

    Raises:
        InvalidOption: torch has no such class, or it does not take these options.
    """
    optimizer = _of_torch(torch.optim, training.optimizer, "optimizer", network.parameters())
    if training.schedule is None:
        return optimizer, None
    part = _with_mode(training.schedule, training.best)
    return optimizer, _of_torch(torch.optim.lr_scheduler, part, "schedule", optimizer)


def _with_mode(schedule: schema.NamedPart, best: str) -> schema.NamedPart:
    """A plateau of the figure that decides what is best, in the direction in which it gets better.

    Raises:
        InvalidOption: the other direction was asked for.
    """
    if schedule.name != _PLATEAU:
        return schedule
    mode = "max" if best in HIGHER_IS_BETTER else "min"
    if schedule.options.get("mode", mode) != mode:
        raise InvalidOption(
            "the schedule waits for the wrong direction",
            where="training.schedule.mode",
            got=str(schedule.options["mode"]),
            wanted=f"{mode}, as training.best is '{best}'",
        )
    return schema.NamedPart.model_validate({**schedule.model_dump(), "mode": mode})


def change_options(parts: Parts, options: Mapping[str, Any]) -> None:
    """Give the optimizer other options than a checkpoint had.

    A schedule goes on from where it was, with its rates in proportion to the new one; a
    ReduceLROnPlateau begins anew with it.

    Args:
        parts: as the checkpoint left them.
        options: of the optimizer, by name.

    Raises:
        InvalidOption: another rate, where the schedule has rates of its own.
    """
    schedule = parts.schedule
    for number, group in enumerate(parts.optimizer.param_groups):
        for name, value in options.items():
            if name != "lr" or schedule is None or type(schedule).__name__ == _PLATEAU:
                group[name] = value
                continue
            if type(schedule).__name__ in _SETS_THE_RATE:
                raise InvalidOption(
                    "this schedule has rates of its own: a resumed run cannot change the rate",
                    where="training.optimizer.lr",
                    got=type(schedule).__name__,
                    remedy="Leave the rate, or begin a new run with model.weights.",
                )
            group["lr"] *= value / group["initial_lr"]
            group["initial_lr"] = schedule.base_lrs[number] = value
            schedule._last_lr[number] = group["lr"]


def _of_torch(module: Any, part: schema.NamedPart, kind: str, first: Any) -> Any:
    classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and not name.startswith("_")
    }
    if part.name not in classes:
        names = [n for n in classes if n[0].isupper() and n not in ("Optimizer", "LRScheduler")]
        raise InvalidOption(
            f"torch has no such {kind}", got=f"'{part.name}'", wanted=", ".join(sorted(names))
        )
    texts = [key for key, value in part.options.items() if isinstance(value, str)]
    try:
        return classes[part.name](first, **part.options)
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"the {kind} does not take these options",
            where=f"training.{kind}",
            got="; ".join(
                [str(error), *(f"{key} is a text, '{part.options[key]}'" for key in texts)]
            ),
        ) from error
