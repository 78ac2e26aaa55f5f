"""What a resumed run may change of its configuration, and what makes it another training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from neuralreg.errors import IncompatibleModel
from neuralreg.training.config import schema

_MAY_CHANGE = (
    "name",
    "title",
    "offered",
    "code",
    "dataset.cache",
    "dataset.test*",
    "dataset.workers",
    "dataset.train.dir",  # data may move; what they are is compared by themselves
    "dataset.valid.dir",
    "training.clip",
    "training.deterministic",
    "training.device",
    "training.epochs",
    "training.max_steps",
    "training.optimizer.*",
    "training.patience",
    "training.pictures",
    "training.save_period",
    "training.threads",
    "training.validate_period",
    "model.weights",  # only the beginning of a run reads them
)
_MAY_NOT_CHANGE = ("training.optimizer.name",)
_OPTIMIZER = "training.optimizer."


def require_same_training(
    before: schema.Configuration, now: schema.Configuration, where: str
) -> dict[str, list[Any]]:
    """What differs between a run's configuration and the one with which it is resumed.

    Args:
        before: of the run.
        now: to go on with.
        where: the run's folder.

    Returns:
        What was and what is, by dotted key.

    Raises:
        IncompatibleModel: something differs that makes it another training.
    """
    old, new = (
        dict(flatten(before.model_dump(mode="json"))),
        dict(flatten(now.model_dump(mode="json"))),
    )
    changes = {
        key: [old.get(key), new.get(key)]
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    }
    odd = [key for key in changes if not _may_change(key)]
    if odd:
        raise IncompatibleModel(
            "a resumed run goes on with the same training",
            where=where,
            got="; ".join(f"{key} {changes[key][1]}" for key in odd[:4]),
            wanted="; ".join(f"{key} {changes[key][0]}" for key in odd[:4]),
            remedy="Resume with the configuration that the run was started with (config.yaml in "
            "its folder; epochs, learning rate, periods, workers and device may change), or begin "
            f"a new run with model.weights: {where}.",
        )
    return changes


def require_same_images(before: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    """Check that a run goes on with the images that it began with, wherever they lie.

    Args:
        before: recorded when the run began; empty for runs of earlier versions.
        now: of the data set, see `Task.describe_images`.
        where: the run's folder.

    Raises:
        IncompatibleModel: images were added, removed, renamed or changed.
    """
    odd = [split for split in before if before[split] != now.get(split)]
    if odd:
        raise IncompatibleModel(
            "a resumed run goes on with the same images",
            where=f"{where}, {', '.join(odd)}",
            got="; ".join(now.get(split, "none") for split in odd),
            wanted="; ".join(before[split] for split in odd),
            remedy="Restore them (names and contents count), or begin a new run with "
            f"model.weights: {where}.",
        )


def new_optimizer_options(changes: Mapping[str, list[Any]], optimizer: Any) -> dict[str, Any]:
    """Options of an optimizer that take the place of those of a checkpoint.

    Args:
        changes: see `require_same_training`.
        optimizer: as the configuration of now makes it.
    """
    group = optimizer.param_groups[0]
    changed = (key.removeprefix(_OPTIMIZER) for key in changes if key.startswith(_OPTIMIZER))
    return {name: optimizer.defaults[name] for name in changed if name in group}


def _may_change(key: str) -> bool:
    if key in _MAY_NOT_CHANGE:
        return False
    return any(fnmatchcase(key, pattern) for pattern in _MAY_CHANGE)


def flatten(values: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted key; lists as they are."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", value
