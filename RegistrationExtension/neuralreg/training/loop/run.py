"""A training from a configuration to a folder with everything in it."""

from __future__ import annotations

import logging
import random
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuralreg.devices import choose_device, own_modes
from neuralreg.errors import Cancelled, UnreadableFile, UnwritableOutput, convert_memory_errors
from neuralreg.training.config import schema
from neuralreg.training.configuration import note_parts_without_file
from neuralreg.training.data.dataset_files import require_outside
from neuralreg.training.loop.changes import (
    new_optimizer_options,
    require_same_images,
    require_same_training,
)
from neuralreg.training.loop.checkpoint import State, random_numbers_of_the_caller
from neuralreg.training.loop.distributed import Team
from neuralreg.training.loop.forecast import (
    Forecast,
    peak_memory,
    steps_of,
    within_free_memory,
)
from neuralreg.training.loop.loggers import CsvTable, TensorBoard
from neuralreg.training.loop.optimizer import make_optimizer
from neuralreg.training.loop.run_folder import RunFolder
from neuralreg.training.loop.tasks import Task, build_task
from neuralreg.training.loop.training_loop import TrainingLoop, Watcher
from neuralreg.training.pictures import Picture, write_png
from neuralreg.training.run_files import BEST, CHECKPOINTS, CONFIGURATION, LOGS, PICTURE
from neuralreg.training.tensor_files import newest_checkpoint, read_checkpoint

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


@dataclass(frozen=True)
class _Resumption:
    """What a run goes on from.

    Attributes:
        checkpoint: of the earlier part.
        options: of the optimizer that take the place of those of the checkpoint.
        changes: of the configuration, see `require_same_training`.
    """

    checkpoint: Path
    options: dict[str, Any]
    changes: dict[str, list[Any]]


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
        self._files = RunFolder(folder)
        self.stop = stop or threading.Event()

    def train(self, *, resume: bool = False, overwrite: bool = False) -> TrainedRun:
        """Train to the end, or until it is stopped.

        Torch and the generators of random numbers are afterwards as they were.

        Args:
            resume: go on where a run in the folder stopped.
            overwrite: replace a run in the folder, when this one has its first checkpoint.

        Raises:
            UnwritableOutput: there is a run in the folder already, another training is under way in
                it, or it cannot be written to.
            InvalidOption: nothing to resume, or a configuration that cannot be trained.
            IncompatibleModel: what is resumed is another training.
            Cancelled: it was stopped.
            OutOfMemory: a step does not fit.
            TrainingDiverged: a loss, a gradient or a weight is not finite.
        """
        self._note_parts_without_file(warn=not resume)
        if not resume:
            self._files.require_free(overwrite=overwrite)
            require_outside(self.folder, self.config.dataset)
        # Before the processes of a team have met: the leader will write what is read here.
        changes = self._changes() if resume else {}
        team = Team.join(self.config.training.device)
        try:
            if team.leads:
                self._files.hold()
            with own_modes(), _settings_of_the_caller():
                return self._train(team, resume, changes)
        finally:
            self._files.release()
            team.leave()

    def _note_parts_without_file(self, *, warn: bool) -> None:
        names = note_parts_without_file(self.config)
        if names and warn:
            logger.warning(
                "%s: defined in a notebook, a console or this program itself, so that the run "
                "can be used nowhere else. Put the code into a Python file and name it by `code`.",
                ", ".join(names),
            )

    def _train(self, team: Team, resume: bool, changes: dict[str, list[Any]]) -> TrainedRun:
        training = self.config.training
        prepare_torch(training)
        task = build_task(self.config, self.folder, team)
        if not resume:
            task.begin()
        loop = self._make_loop(task, team)
        count = _count_parameters(task)
        logger.info("%d parameters, %s", count, team.device)
        earlier = self._require_resumable(task, loop, changes) if resume else None
        try:
            with _convert_write_errors(self.folder, loop):
                state = self._run_loop(loop, task, earlier, team.leads)
        except BaseException as error:
            if team.leads and not resume and not self._has_come_far(loop.state, error):
                self._files.undo()
            raise
        card = self._export_best(task, state) if team.leads else None
        return TrainedRun(self.folder, state, card, count)

    def _make_loop(self, task: Task, team: Team) -> TrainingLoop:
        optimizer, schedule = make_optimizer(self.config.training, task.network)
        return TrainingLoop(
            task.step,
            task.batches,
            optimizer,
            self.folder / CHECKPOINTS,
            self.config.training,
            schedule=schedule,
            validate=task.validate,
            team=team,
            stages=task.stages,
            describe=task.describe_batch,
            after_checkpoint=self._files.settle,
            stop=self.stop,
        )

    def forecast(self) -> Forecast:
        """What the run will take, from two steps of it; nothing is written.

        Raises:
            InvalidOption, IncompatibleModel, UnreadableFile, InvalidImage: it cannot be trained.
            OutOfMemory: it does not fit into the memory that is free.
            TrainingDiverged: a loss or a gradient is not finite.
        """
        training = self.config.training
        with (
            own_modes(),
            _settings_of_the_caller(),
            tempfile.TemporaryDirectory() as cache,
            convert_memory_errors(training.device, "Use a smaller batch_size, size or network."),
        ):
            team = Team.alone(choose_device(training.device))
            prepare_torch(training)
            task = build_task(self.config, Path(cache), team)
            task.begin()
            loop = self._make_loop(task, team)
            with within_free_memory():
                step_s = loop.measure_step()
        steps = steps_of(training, task.batches.count())
        memory = peak_memory(team.device)
        parameters = _count_parameters(task)
        return Forecast(str(team.device), parameters, step_s, steps, step_s * steps, memory)

    def _has_come_far(self, state: State, error: BaseException) -> bool:
        """Whether a new run that failed has something to go on from."""
        kept = isinstance(error, Cancelled) or not self._files.replaces
        return state.step > 0 and kept

    def _changes(self) -> dict[str, list[Any]]:
        before = self._files.configuration()
        self._files.require_same_code(self.config)
        return require_same_training(before, self.config, str(self.folder))

    def _require_resumable(
        self, task: Task, loop: TrainingLoop, changes: dict[str, list[Any]]
    ) -> _Resumption:
        """What to go on from, tried out before anything is written."""
        history = self._files.history()
        before = history[0].get("images", {}) if history else {}
        require_same_images(before, task.describe_images(), str(self.folder))
        checkpoint = newest_checkpoint(self.folder / CHECKPOINTS)
        options = new_optimizer_options(changes, loop.optimizer)
        loop.load(checkpoint, options)
        return _Resumption(checkpoint, options, changes)

    def _run_loop(
        self, loop: TrainingLoop, task: Task, earlier: _Resumption | None, leads: bool
    ) -> State:
        if leads and earlier:
            self._files.resume(self.config, earlier.changes, loop.state.step)
        elif leads:
            self._files.begin(self.config, task.describe_images())
        board = self._start_board(task, loop.state.step) if leads else None
        loop.watchers = [CsvTable(self.folder), *([board] if board else []), *self.watchers]
        set_seed(self.config.training)
        try:
            if earlier:
                return loop.run(resume=earlier.checkpoint, options=earlier.options)
            return loop.run()
        except Cancelled:
            if leads:
                self._export_best(task, loop.state)
            raise
        finally:
            if board:
                board.close()

    def _start_board(self, task: Task, step: int) -> TensorBoard:
        draw = task.picture

        def draw_and_keep() -> Picture | None:
            picture = draw() if draw else None
            if picture is not None:
                write_png(picture, self.folder / PICTURE)
            return picture

        every = self.config.training.pictures if draw else 0
        return TensorBoard(self.folder / LOGS, picture=draw_and_keep, every=every, step=step)

    def _export_best(self, task: Task, state: State) -> Path | None:
        """Write the best weights (the last ones if there was no validation) as a model."""
        best = self.folder / CHECKPOINTS / BEST
        if best.is_file():
            task.step.load_state_dict(read_checkpoint(best)["network"])
        measured = {}
        if state.best is not None:
            kind = "training" if task.validate is None else "validation"
            measured[f"{kind} {self.config.training.best}"] = (
                f"{state.best:.4g} after {state.best_epoch} epochs"
            )
        return task.export(self.folder, measured, state.step)


def _count_parameters(task: Task) -> int:
    return sum(p.numel() for p in task.network.parameters() if p.requires_grad)


@contextmanager
def _settings_of_the_caller() -> Iterator[None]:
    """Threads and random numbers are after the block as before; the rest `own_modes` restores."""
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    try:
        with random_numbers_of_the_caller():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def _convert_write_errors(folder: Path, loop: TrainingLoop) -> Iterator[None]:
    """Turn what the system says of a full disk, to whichever writer, into one sentence."""
    try:
        yield
    except (OSError, UnwritableOutput) as error:
        got = error.got if isinstance(error, UnwritableOutput) else error.strerror or str(error)
        remedy = "Choose a folder that you may write to, on a disk with room."
        if loop.state.step and not folder.is_dir():
            remedy = "It was moved or deleted meanwhile: continue with --resume where it is now."
        elif loop.state.step:
            remedy = (
                "Make room on the disk; then continue with the same command and --resume: the last "
                "checkpoint is whole."
            )
        raise UnwritableOutput(f"{folder} cannot be written to", got=got, remedy=remedy) from error


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
