"""A training from a configuration to a folder with everything in it."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralreg.errors import (
    IncompatibleModel,
    InvalidOption,
    UnreadableFile,
    UnwritableOutput,
)
from neuralreg.training import config as schema
from neuralreg.training.checkpoint import State, read_checkpoint
from neuralreg.training.data import Batches, PairData
from neuralreg.training.export import export, load_weights
from neuralreg.training.features import export_features, feature_step, shapes_of
from neuralreg.training.loop import BEST, LAST, LoopOptions, Watcher, fit
from neuralreg.training.merging import write_configuration
from neuralreg.training.methods import build_model
from neuralreg.training.objective import TrainingStep
from neuralreg.training.team import Team
from neuralreg.training.validation import Validation
from neuralreg.training.watching import CsvTable, TensorBoard

logger = logging.getLogger(__name__)

CONFIGURATION, CHECKPOINTS, LOGS = "config.yaml", "checkpoints", "tensorboard"


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
) -> Outcome:
    """Train the model of a configuration.

    folder: gets config.yaml (as merged), checkpoints, curves.csv, TensorBoard's files, and the
    model with its card. resume: go on where a run in the folder stopped.
    Raises UnwritableOutput when there is a run already, InvalidOption and what `fit` raises.
    """
    _require(folder, resume)
    team = Team.join(config.training.device)
    try:
        if config.model.method == "features":
            return _train_features(config, plain, folder, resume, watchers, team)
        return _train(config, plain, folder, resume, watchers, team)
    finally:
        team.leave()


def _train(
    config: schema.Configuration,
    plain: dict[str, Any],
    folder: Path,
    resume: bool,
    watchers: Sequence[Watcher],
    team: Team,
) -> Outcome:
    settle(config.training)
    model = build_model(config.model, seen_shape(config.dataset)).to(team.device)
    if config.model.weights and not resume:
        begin_with(model, config.model.weights)
    step = TrainingStep(model, config.loss)
    pairs = training_pairs(config, "train", folder, training=True)
    batches = Batches(
        pairs, config.training.batch_size, workers=config.dataset.workers, share=team.share
    )
    validate = _validation(config, step, folder, team)
    optimizer, schedule = _optimizer(config.training, model)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    logger.info("%d pairs, %d parameters, %s", len(pairs.items(0)), count, team.device)
    _begin(plain, folder, team)
    board = (
        TensorBoard(
            folder / LOGS, picture=_picture(step, validate, team), every=config.training.pictures
        )
        if team.leads
        else None
    )
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
        )
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


def begin_with(model: nn.Module, weights: str) -> None:
    """Fill a model with the weights of a run's folder, a file, or a model of the zoo.

    Raises IncompatibleModel when they are of another architecture.
    """
    path = Path(weights)
    if path.is_dir():
        files = sorted(path.glob("*.pt"))
        if len(files) != 1:
            raise IncompatibleModel(
                "a run holds one file of weights", where=str(path), got=f"{len(files)}"
            )
        path = files[0]
    if path.is_file():
        load_weights(model, path)
        return
    from neuralreg.zoo.registry import model_card
    from neuralreg.zoo.weights import require

    found = require(model_card(weights))
    _fill_backbone(model, found, weights)


def _fill_backbone(model: nn.Module, path: Path, name: str) -> None:
    """Weights of the zoo into the one network that a model has."""
    from neuralreg.training.any_size import AnySize
    from neuralreg.zoo.loading import filled, state_of

    networks = [part for part in model.modules() if isinstance(part, AnySize)]
    if len(networks) != 1:
        raise IncompatibleModel(
            "weights of the zoo go into one backbone", where=name, got=f"{len(networks)} backbones"
        )
    filled(networks[0].network, state_of(path), name)
    networks[0].requires_grad_(True).train()


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


def _picture(step: TrainingStep, validate: Validation | None, team: Team) -> Any:
    if validate is None or not team.leads:
        return None
    from neuralreg.training.pictures import pair_picture

    return lambda: pair_picture(step.model, next(iter(validate.batches(0))), team.device)
