"""A training from a configuration to a folder with everything in it."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralreg.errors import Cancelled, InvalidOption, UnreadableFile, UnwritableOutput
from neuralreg.training.config import schema
from neuralreg.training.configuration import write_configuration
from neuralreg.training.loop.checkpoint import State, read_checkpoint
from neuralreg.training.loop.distributed import Team
from neuralreg.training.loop.loggers import CsvTable, TensorBoard
from neuralreg.training.loop.tasks import Task, build_task
from neuralreg.training.loop.training_loop import TrainingLoop, Watcher
from neuralreg.training.pictures import Picture, write_png
from neuralreg.training.run_files import BEST, CHECKPOINTS, CONFIGURATION, LAST, LOGS, PICTURE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """The result of a run.

    Attributes:
        folder: of the run.
        state: how far it got.
        card: for the zoo; None for a conditional model.
        parameters: how many numbers were trained.
    """

    folder: Path
    state: State
    card: Path | None
    parameters: int


class Run:
    """The training of a configuration in a folder.

    Args:
        config: what is trained, on what, and how.
        folder: gets config.yaml (as merged), checkpoints, curves.csv, TensorBoard's files, and the
            model with its card, also when it is stopped.
        watchers: get a report after each step and each epoch.
        stop: set it to end the training; see `TrainingLoop`.
    """

    def __init__(
        self,
        config: schema.Configuration,
        folder: Path,
        *,
        watchers: Sequence[Watcher] = (),
        stop: threading.Event | None = None,
    ) -> None:
        self.config, self.folder, self.watchers = config, folder, watchers
        self.stop = stop or threading.Event()

    def train(self, *, resume: bool = False) -> TrainedRun:
        """Train to the end, or until it is stopped.

        Args:
            resume: go on where a run in the folder stopped.

        Raises:
            UnwritableOutput: there is a run in the folder already.
            InvalidOption: nothing to resume, or a configuration that cannot be trained.
            Cancelled: it was stopped.
            OutOfMemory: a step does not fit.
        """
        self._require_folder(resume)
        team = Team.join(self.config.training.device)
        try:
            return self._train(team, resume)
        finally:
            team.leave()

    def _train(self, team: Team, resume: bool) -> TrainedRun:
        training = self.config.training
        prepare_torch(training)
        task = build_task(self.config, self.folder, team)
        if not resume:
            task.begin()
        optimizer, schedule = _optimizer(training, task.network)
        count = sum(p.numel() for p in task.network.parameters() if p.requires_grad)
        logger.info("%d parameters, %s", count, team.device)
        board = self._start_logs(task) if team.leads else None
        set_seed(training)
        loop = TrainingLoop(
            task.step,
            task.batches,
            optimizer,
            self.folder / CHECKPOINTS,
            training,
            schedule=schedule,
            validate=task.validate,
            watchers=[CsvTable(self.folder), *([board] if board else []), *self.watchers],
            team=team,
            stages=task.stages,
            stop=self.stop,
        )
        try:
            state = loop.run(resume=resume)
        except Cancelled:
            if team.leads:
                self._export_best(task, loop.state)
            raise
        finally:
            if board:
                board.close()
        card = self._export_best(task, state) if team.leads else None
        return TrainedRun(self.folder, state, card, count)

    def _start_logs(self, task: Task) -> TensorBoard:
        """Write the configuration, once all is made: a failed start leaves nothing like a run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_configuration(self.config.source, self.folder / CONFIGURATION)
        draw = task.picture

        def draw_and_keep() -> Picture | None:
            picture = draw() if draw else None
            if picture is not None:
                write_png(picture, self.folder / PICTURE)
            return picture

        every = self.config.training.pictures if draw else 0
        return TensorBoard(self.folder / LOGS, picture=draw_and_keep, every=every)

    def _export_best(self, task: Task, state: State) -> Path | None:
        """Write the best weights (the last ones if there was no validation) as a model."""
        best = self.folder / CHECKPOINTS / BEST
        if best.is_file():
            task.step.load_state_dict(read_checkpoint(best)["network"])
        measured = {}
        if state.best is not None:
            measured[f"validation {self.config.training.best}"] = (
                f"{state.best:.4g} after {state.best_epoch} epochs"
            )
        return task.export(self.folder, measured, state.step)

    def _require_folder(self, resume: bool) -> None:
        has_checkpoint = (self.folder / CHECKPOINTS / LAST).is_file()
        if resume and not has_checkpoint:
            raise InvalidOption("there is nothing to resume", where=str(self.folder), wanted=LAST)
        if not resume and (self.folder / CONFIGURATION).exists():
            raise UnwritableOutput(
                f"{self.folder} holds a run",
                remedy="Choose another folder, --resume or --overwrite.",
            )


def configuration_of(checkpoint: Path) -> Path:
    """The configuration of a run, given its folder or one of its files.

    Raises:
        UnreadableFile: there is none.
    """
    for folder in (checkpoint, checkpoint.parent, checkpoint.parent.parent):
        if (folder / CONFIGURATION).is_file():
            return folder / CONFIGURATION
    raise UnreadableFile(
        f"{checkpoint} belongs to no run", wanted=f"a folder of `neuralreg train`, {CONFIGURATION}"
    )


def set_seed(training: schema.Training) -> None:
    """Set all generators of random numbers that a network or a library may draw from.

    Called before the network is made and before the first step: what was loaded in between must
    not matter (importing MONAI's transforms draws from Python's generator).
    """
    torch.manual_seed(training.seed)
    random.seed(training.seed)
    np.random.seed(training.seed)


def prepare_torch(training: schema.Training) -> None:
    """Seeds, threads and determinism, before anything random is made."""
    set_seed(training)
    if training.threads:
        torch.set_num_threads(training.threads)
    if training.deterministic:
        # Some backward passes on a GPU have no deterministic form: torch warns about each.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def _optimizer(training: schema.Training, network: nn.Module) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = _of_torch(torch.optim, training.optimizer, "optimizer", network.parameters())
    schedule = None
    if training.schedule is not None:
        schedule = _of_torch(torch.optim.lr_scheduler, training.schedule, "schedule", optimizer)
    return optimizer, schedule


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
    try:
        return classes[part.name](first, **part.options)
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"the {kind} does not take these options",
            where=f"training.{kind}",
            got=str(error),
        ) from error
