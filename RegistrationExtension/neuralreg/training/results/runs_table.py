"""The runs below a folder beside each other: how far, how good, and what differs between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neuralreg.errors import RegistrationError, UnreadableFile
from neuralreg.training.config import schema
from neuralreg.training.loop.changes import flatten
from neuralreg.training.loop.run_folder import RunFolder
from neuralreg.training.run_files import CHECKPOINTS, REPLACED
from neuralreg.training.tensor_files import newest_checkpoint, read_checkpoint

_NOT_COMPARED = ("title", "offered", "training.device", "training.threads", "dataset.workers")


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes:
        folder: of it.
        state: "finished", "stopped" (also one that is running now), or what is wrong with it.
        epoch: that are done.
        epochs: that were asked for.
        step: optimizer steps in all.
        figure: by which the best weights are chosen.
        best: its best value; None before the first.
        best_epoch: when it was reached.
        settings: keys of the configuration that differ between the runs of the table.
    """

    folder: str
    state: str
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    figure: str = ""
    best: float | None = None
    best_epoch: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def list_runs(folder: Path) -> list[RunSummary]:
    """The runs in a folder and its folders, in the order of their names.

    Raises:
        UnreadableFile: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise UnreadableFile(f"{folder} is no folder", wanted="a folder with runs")
    run_folders = list(_find_runs(folder))
    if not run_folders:
        raise UnreadableFile(f"{folder} holds no run", wanted="folders of `neuralreg train`")
    summaries, settings = [], []
    for run in run_folders:
        summary, values = _summarize(run)
        summaries.append(summary)
        settings.append(values)
    keys = _differing_keys([values for values in settings if values])
    return [
        RunSummary(**{**asdict(summary), "settings": {k: values.get(k) for k in keys if values}})
        for summary, values in zip(summaries, settings, strict=True)
    ]


def _find_runs(folder: Path) -> Iterator[Path]:
    if RunFolder(folder).holds_a_run:
        yield folder
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_dir() and not path.is_symlink() and path.name != REPLACED:
            yield from _find_runs(path)


def _summarize(folder: Path) -> tuple[RunSummary, dict[str, Any]]:
    """A run and its settings; a damaged one is a line of the table, not the end of it."""
    try:
        config = RunFolder(folder).configuration()
    except (RegistrationError, ValueError) as error:
        return RunSummary(str(folder), f"damaged: {str(error).splitlines()[0]}"), {}
    values = dict(flatten(config.model_dump(mode="json")))
    training = config.training
    try:
        state = read_checkpoint(newest_checkpoint(folder / CHECKPOINTS), lazily=True)["state"]
    except RegistrationError:
        return RunSummary(str(folder), "without a checkpoint", epochs=training.epochs), values
    summary = RunSummary(
        str(folder),
        "finished" if _is_finished(state, training) else "stopped",
        state["epoch"],
        training.epochs,
        state["step"],
        training.best,
        state["best"],
        state["best_epoch"],
    )
    return summary, values


def _is_finished(state: Mapping[str, Any], training: schema.Training) -> bool:
    return (
        state["epoch"] >= training.epochs
        or (training.max_steps is not None and state["step"] >= training.max_steps)
        or (training.patience is not None and state["stale"] >= training.patience)
    )


def _differing_keys(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for values in settings for key in values)
    return [
        key
        for key in keys
        if key not in _NOT_COMPARED and len({repr(values.get(key)) for values in settings}) > 1
    ]
