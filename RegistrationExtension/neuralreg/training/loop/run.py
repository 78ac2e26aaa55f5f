"""A training from a configuration to a folder with everything in it."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralreg.errors import Cancelled, InvalidOption, UnreadableFile, UnwritableOutput
from neuralreg.training.config import schema
from neuralreg.training.configuration import write_configuration
from neuralreg.training.data.pairs import Batches, PairData
from neuralreg.training.descriptors.features import export_features, feature_step, shapes_of
from neuralreg.training.loop.checkpoint import State, read_checkpoint
from neuralreg.training.loop.distributed import Team
from neuralreg.training.loop.loggers import CsvTable, TensorBoard
from neuralreg.training.loop.schedule import Stages
from neuralreg.training.loop.training_loop import BEST, LAST, LoopOptions, Watcher, fit
from neuralreg.training.loop.validation import Validation
from neuralreg.training.losses.training_step import TrainingStep
from neuralreg.training.model.export import export
from neuralreg.training.model.fine_tuning import begin
from neuralreg.training.model.methods import build_model
from neuralreg.training.pictures import Picture, pair_picture, write_png

logger = logging.getLogger(__name__)

CONFIGURATION, CHECKPOINTS, LOGS = "config.yaml", "checkpoints", "tensorboard"
PICTURE = "pair.png"


@dataclass(frozen=True)
class Outcome:
    """folder: of the run. state: how far it came. card: for the zoo; None for a conditional model.

    parameters: how many numbers were trained.
    """

    folder: Path
    state: State
    card: Path | None
    parameters: int


def train(
    config: schema.Configuration,
    plain: dict[str, Any],
    folder: Path,
    *,
    resume: bool = False,
    watchers: Sequence[Watcher] = (),
    stop: threading.Event | None = None,
) -> Outcome:
    """Train the model of a configuration.

    folder: gets config.yaml (as merged), checkpoints, curves.csv, TensorBoard's files, and the
    model with its card, also when it is stopped. resume: go on where a run in the folder stopped.
    stop: as `fit` takes it.
    Raises UnwritableOutput when there is a run already, InvalidOption and what `fit` raises.
    """
    _require(folder, resume)
    team = Team.join(config.training.device)
    try:
        if config.model.method == "features":
            return _train_features(config, plain, folder, resume, watchers, team, stop)
        return _train(config, plain, folder, resume, watchers, team, stop)
    finally:
        team.leave()


def _train(
    config: schema.Configuration,
    plain: dict[str, Any],
    folder: Path,
    resume: bool,
    watchers: Sequence[Watcher],
    team: Team,
    stop: threading.Event | None,
) -> Outcome:
    settle(config.training)
    model = build_model(config.model, seen_shape(config.dataset)).to(team.device)
    if not resume:
        begin(model, config.model)
    step = TrainingStep(model, config.loss)
    stages = Stages(model, config.training.stages) if config.training.stages else None
    pairs = training_pairs(config, "train", folder, training=True)
    batches = Batches(
        pairs, config.training.batch_size, workers=config.dataset.workers, share=team.share
    )
    validate = _validation(config, step, folder, team)
    optimizer, schedule = _optimizer(config.training, model)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    logger.info("%d pairs, %d parameters, %s", len(pairs.items(0)), count, team.device)
    _begin(plain, folder, team)
    draw, every = _picture(step, validate, team, folder), config.training.pictures
    board = TensorBoard(folder / LOGS, picture=draw, every=every) if team.leads else None
    seed(config.training)
    seen: list[Watcher] = [CsvTable(folder), *([board] if board else []), *watchers]
    try:
        state = fit(
            step,
            batches,
            optimizer,
            folder / CHECKPOINTS,
            _loop_options(config.training),
            schedule=schedule,
            validate=validate,
            watchers=seen,
            team=team,
            resume=resume,
            stop=stop,
            stages=stages,
        )
    except Cancelled:
        if team.leads:
            finish(config, folder, step, _state_so_far(folder))
        raise
    finally:
        if board:
            board.close()
    card = finish(config, folder, step, state) if team.leads else None
    return Outcome(folder, state, card, count)


def _train_features(
    config: schema.Configuration,
    plain: dict[str, Any],
    folder: Path,
    resume: bool,
    watchers: Sequence[Watcher],
    team: Team,
    stop: threading.Event | None,
) -> Outcome:
    """A network that describes voxels, from shapes that are made as they are needed."""
    settle(config.training)
    step = feature_step(config).to(team.device)
    optimizer, schedule = _optimizer(config.training, step)
    _begin(plain, folder, team)
    state = fit(
        step,
        shapes_of(config, team.device),
        optimizer,
        folder / CHECKPOINTS,
        _loop_options(config.training),
        schedule=schedule,
        watchers=[CsvTable(folder), *watchers],
        team=team,
        resume=resume,
        stop=stop,
    )
    card = export_features(folder, config, step.network, state) if team.leads else None
    return Outcome(folder, state, card, sum(p.numel() for p in step.parameters()))


def _begin(plain: dict[str, Any], folder: Path, team: Team) -> None:
    """Write the configuration, once all is made: a start that failed leaves nothing like a run."""
    if team.leads:
        folder.mkdir(parents=True, exist_ok=True)
        write_configuration(plain, folder / CONFIGURATION)


def configuration_of(checkpoint: Path) -> Path:
    """The configuration of a run, given its folder or one of its files.

    Raises UnreadableFile when there is none.
    """
    for folder in (checkpoint, checkpoint.parent, checkpoint.parent.parent):
        if (folder / CONFIGURATION).is_file():
            return folder / CONFIGURATION
    raise UnreadableFile(
        f"{checkpoint} belongs to no run", wanted=f"a folder of `neuralreg train`, {CONFIGURATION}"
    )


def seed(training: schema.Training) -> None:
    """Set all generators of random numbers that a network or a library may draw from.

    Called before the network is made and before the first step: what was loaded in between must
    not matter (importing MONAI's transforms draws from Python's generator).
    """
    torch.manual_seed(training.seed)
    random.seed(training.seed)
    np.random.seed(training.seed)


def settle(training: schema.Training) -> None:
    """Seeds, threads and determinism, before anything random is made."""
    seed(training)
    if training.threads:
        torch.set_num_threads(training.threads)
    if training.deterministic:
        # Some backward passes on a GPU have no deterministic form: torch warns about each.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def training_pairs(
    config: schema.Configuration, split: str, folder: Path, *, training: bool = False
) -> PairData:
    """The pairs of a split."""
    return PairData(
        config.dataset,
        split,
        training=training,
        one_label=config.model.method == "conditional",
        seed=config.training.seed,
        cache_folder=folder / "cache",
    )


def _state_so_far(folder: Path) -> State:
    return State(**read_checkpoint(folder / CHECKPOINTS / LAST)["state"])


def finish(
    config: schema.Configuration, folder: Path, step: TrainingStep, state: State
) -> Path | None:
    """Write the best weights (the last ones if there was no validation) as a model with a card."""
    best = folder / CHECKPOINTS / BEST
    if best.is_file():
        step.load_state_dict(read_checkpoint(best)["network"])
    measured = {}
    if state.best is not None:
        measured[f"validation {config.training.best}"] = (
            f"{state.best:.4g} after {state.best_epoch} epochs"
        )
    card = export(folder, config, step.model, measured)
    return folder / "model.json" if card else None


def _require(folder: Path, resume: bool) -> None:
    there = (folder / CHECKPOINTS / LAST).is_file()
    if resume and not there:
        raise InvalidOption("there is nothing to resume", where=str(folder), wanted=LAST)
    if not resume and (folder / CONFIGURATION).exists():
        raise UnwritableOutput(
            f"{folder} holds a run",
            remedy="Choose another folder, or --resume to go on, or --overwrite.",
        )


def seen_shape(dataset: schema.Dataset) -> tuple[int, ...]:
    """What the network is built for: patches where there are, else the whole images."""
    return dataset.patch.size[::-1] if dataset.patch else dataset.shape


def _loop_options(training: schema.Training) -> LoopOptions:
    return LoopOptions(**{f.name: getattr(training, f.name) for f in fields(LoopOptions)})


def _optimizer(training: schema.Training, model: nn.Module) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = _of_torch(torch.optim, training.optimizer, "optimizer", model.parameters())
    schedule = None
    if training.schedule is not None:
        schedule = _of_torch(torch.optim.lr_scheduler, training.schedule, "schedule", optimizer)
    return optimizer, schedule


def _of_torch(module: Any, wanted: schema.Named, kind: str, first: Any) -> Any:
    made = getattr(module, wanted.name, None)
    if not isinstance(made, type) or wanted.name.startswith("_"):
        base = ("Optimizer", "LRScheduler")
        names = [n for n, v in vars(module).items() if isinstance(v, type) and n[0].isupper()]
        names = [name for name in names if name not in base]
        raise InvalidOption(
            f"torch has no such {kind}", got=f"'{wanted.name}'", wanted=", ".join(sorted(names))
        )
    try:
        return made(first, **wanted.options)
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"the {kind} does not take these options",
            where=f"training.{kind}",
            got=str(error),
        ) from error


def _validation(
    config: schema.Configuration, step: TrainingStep, folder: Path, team: Team
) -> Validation | None:
    if config.dataset.valid is None:
        return None
    pairs = training_pairs(config, "valid", folder)
    return Validation(step, Batches(pairs, config.training.batch_size), team.device)


def _picture(
    step: TrainingStep, validate: Validation | None, team: Team, folder: Path
) -> Callable[[], Picture] | None:
    """Draws the first validation pair, and leaves it in the run's folder, too."""
    if validate is None or not team.leads:
        return None

    def draw() -> Picture:
        picture = pair_picture(step.model, next(iter(validate.batches(0))), team.device)
        write_png(picture, folder / PICTURE)
        return picture

    return draw
