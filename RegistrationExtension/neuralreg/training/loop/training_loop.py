"""The loop: steps, validations, checkpoints, and an orderly stop.

Plain PyTorch: resuming, logs and tables are all that a framework would add here, and the order of
random numbers, which has to survive a restart, stays in sight.

Any module whose call on a batch gives losses by name, with their total as "loss", can be trained:

    optimizer = torch.optim.Adam(step.parameters())
    state = TrainingLoop(step, batches, optimizer, folder, Training(epochs=5)).run()
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from neuralreg.devices import PRECISIONS, own_modes
from neuralreg.errors import Cancelled, InvalidOption, RegistrationError, TrainingDiverged
from neuralreg.training.config.schema import Training
from neuralreg.training.data.pairs import convert_loader_errors
from neuralreg.training.loop.checkpoint import (
    Parts,
    State,
    load_checkpoint,
    save_checkpoint,
)
from neuralreg.training.loop.distributed import Team
from neuralreg.training.loop.schedule import Stages
from neuralreg.training.loop.step_errors import (
    explain,
    is_finite,
    require_finite,
    require_finite_gradients,
)
from neuralreg.training.loop.stop_signals import stop_at_signals
from neuralreg.training.losses.training_step import TOTAL
from neuralreg.training.run_files import BEST, HIGHER_IS_BETTER, LAST
from neuralreg.training.tensor_files import newest_checkpoint

logger = logging.getLogger(__name__)

Batch = Mapping[str, Tensor]
Metrics = dict[str, float]
_SAVE_EVERY_S = 60.0  # a checkpoint of a large network takes longer than a short epoch or step


class Batches(Protocol):
    """Batches by epoch; `data.Batches` is one."""

    def __call__(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, after `start` of them."""
        ...

    def count(self, epoch: int = 0) -> int:
        """How many there are."""
        ...


@dataclass(frozen=True)
class Report:
    """What watchers get, after each step and, with `ended`, after each epoch.

    Attributes:
        epoch: from 0.
        step: optimizer steps in all.
        losses: of the step, or their means over the epoch.
        rate: learning rate.
        fraction: of the whole training that is done.
        remaining_s: at the pace so far.
        ended: whether the epoch has ended.
        validation: metrics by name, where there was a validation.
    """

    epoch: int
    step: int
    losses: Metrics
    rate: float
    fraction: float
    remaining_s: float
    ended: bool = False
    validation: Metrics = field(default_factory=dict)


Watcher = Callable[[Report], None]
Validate = Callable[[], Metrics]


@dataclass
class TrainingLoop:
    """Steps, validations and checkpoints until the options end it.

    Attributes:
        step: `step(batch)` gives losses by name; "loss" is minimized.
        batches: by epoch.
        optimizer: of the parameters of `step`.
        folder: gets last.pt at the start, once a minute, at a stop and at the end; best.pt;
            epoch_0010.pt and so on by save_period.
        options: epochs, precision, what is best, and so on.
        schedule: of the rate, stepped after each epoch.
        validate: metrics by name; without it the mean training losses decide what is best.
        watchers: get a report after each step and each epoch.
        team: the processes that train together.
        stages: which part of the network is trained when.
        describe: names the images of a batch, given its epoch and number.
        after_checkpoint: called when there is a checkpoint with a step in it.
        stop: set it to end the training after the current step.
        state: how far it is.
    """

    step: nn.Module
    batches: Batches
    optimizer: torch.optim.Optimizer
    folder: Path
    options: Training
    schedule: Any = None
    validate: Validate | None = None
    watchers: Sequence[Watcher] = ()
    team: Team | None = None
    stages: Stages | None = None
    describe: Callable[[int, int], str] | None = None
    after_checkpoint: Callable[[], None] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    state: State = field(default_factory=State)

    def __post_init__(self) -> None:
        self._team = self.team or Team.alone(next(self.step.parameters()).device)
        half = self.options.precision == "float16"
        scaler = torch.amp.GradScaler(self._team.device.type, enabled=half)
        self._parts = Parts(self.step, self.optimizer, self.schedule, scaler)
        self._module = self._team.share_gradients(self.step)
        self._saved_s = time.monotonic()

    def load(self, path: Path, options: Mapping[str, Any] | None = None) -> None:
        """Set everything to what it was at a checkpoint.

        Args:
            path: of the checkpoint.
            options: of the optimizer, which take the place of those of the checkpoint.

        Raises:
            UnreadableFile, IncompatibleModel, InvalidOption: as `load_checkpoint`.
        """
        self.state = load_checkpoint(path, self._parts, options)

    def run(
        self, *, resume: bool | Path = False, options: Mapping[str, Any] | None = None
    ) -> State:
        """Train; how far it came.

        Ctrl-C (SIGINT), SIGTERM or setting `stop` ends the current step and saves; a second signal
        ends at once.

        Args:
            resume: go on from a checkpoint, or from the newest one in the folder.
            options: as for `load`.

        Raises:
            Cancelled: it was stopped.
            InvalidOption: validation has no metric `options.best`, an epoch no pair, or the network
                cannot take images of this size.
            OutOfMemory: a step does not fit.
            TrainingDiverged: a loss, a gradient or a weight is not finite.
            UnreadableFile, InvalidImage: an image cannot be used.
            UnwritableOutput: a checkpoint cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self.load(newest_checkpoint(self.folder) if resume is True else resume, options)
        else:
            self._save(LAST)
        with own_modes(), stop_at_signals(self.stop), convert_loader_errors():
            while self.state.epoch < self.options.epochs and not self._at_the_end():
                self._epoch()
                if self._is_stale():
                    break
        self._save(LAST)
        return self.state

    def measure_step(self) -> float:
        """Seconds of a step of the first epoch, after one that warms up; nothing is written.

        Raises:
            OutOfMemory, InvalidOption, TrainingDiverged: as `run`.
        """
        with own_modes():
            self._module.train()
            group = list(islice(self.batches(0), self.options.accumulate))
            self._take_step(group)
            start = time.monotonic()
            self._take_step(group)
            return time.monotonic() - start

    def _epoch(self) -> None:
        state = self.state
        self._module.train()
        if self.stages and self.stages.enter(state.epoch) and state.batch == 0:
            state.best, state.stale = None, 0  # what was best did less, or with less
        count = self.batches.count(state.epoch)
        if count == 0:
            raise InvalidOption("an epoch has no pair", remedy="Check dataset.train.")
        source = self.batches(state.epoch, state.batch)
        while group := self._next_batches(source):
            start = time.monotonic()
            losses = self._take_step(group)
            state.seconds += time.monotonic() - start
            state.batch += len(group)
            state.step += 1
            state.add(losses)
            self._report(losses, (state.epoch + state.batch / count), ended=False)
            if self._team.any(self.stop.is_set()):
                self._save(LAST)
                raise Cancelled(
                    f"stopped after {state.step} steps",
                    remedy="Continue with the same command and --resume.",
                )
            if self._at_the_end() and state.batch < count:
                return
            if time.monotonic() - self._saved_s > _SAVE_EVERY_S:
                self._save(LAST)
        self._end_of_epoch(state.end_epoch())

    def _next_batches(self, source: Iterator[Batch]) -> list[Batch]:
        try:
            return list(islice(source, self.options.accumulate))
        except RegistrationError:
            self._save(LAST)  # all steps so far count, and the images can be mended
            raise

    def _take_step(self, group: list[Batch]) -> Metrics:
        parts = self._parts
        parts.optimizer.zero_grad(set_to_none=True)
        short = PRECISIONS[self.options.precision]
        means = _Means()
        for number, loaded in enumerate(group):
            try:
                batch = {k: v.to(self._team.device, non_blocking=True) for k, v in loaded.items()}
                with torch.autocast(self._team.device.type, dtype=short, enabled=short is not None):
                    losses = self._module(batch)
                # Before the backward pass, which NaN can crash where images are sampled.
                self._require_finite(losses, number)
                parts.scaler.scale(losses[TOTAL] / len(group)).backward()
            except (RuntimeError, ValueError, MemoryError) as error:
                explained = explain(error, loaded, self._team.device)
                if explained is error:
                    raise
                raise explained from error
            means.add({name: value.detach() for name, value in losses.items()})
        if self.options.clip is not None:
            parts.scaler.unscale_(parts.optimizer)
            nn.utils.clip_grad_norm_(parts.network.parameters(), self.options.clip)
        if not parts.scaler.is_enabled():  # else the scaler leaves out such a step by itself
            require_finite_gradients(parts.network, lambda: self._describe(0))
        parts.scaler.step(parts.optimizer)
        parts.scaler.update()
        return means.values()

    def _require_finite(self, losses: Mapping[str, Tensor], number: int) -> None:
        if self._team.any(not bool(losses[TOTAL].isfinite())):
            require_finite(losses, lambda: self._describe(number))

    def _describe(self, number: int) -> str:
        """Where a step of the current group of batches is."""
        state = self.state
        where = f"epoch {state.epoch + 1}, step {state.step + 1}"
        if self.describe is None:
            return where
        return f"{where}: {self.describe(state.epoch, state.batch + number)}"

    def _end_of_epoch(self, losses: Metrics) -> None:
        state, options = self.state, self.options
        metrics: Metrics = {}
        if state.epoch % options.validate_period == 0 or state.epoch == options.epochs:
            metrics = self._validate(losses)
        self._step_schedule(metrics)
        better = bool(metrics) and self._is_best(metrics)
        # The report comes first: what a kill in between leaves out is done again by a resumed run.
        self._report(losses, state.epoch, ended=True, validation=metrics)
        if time.monotonic() - self._saved_s > _SAVE_EVERY_S:
            self._save(LAST)
        if better:
            self._save(BEST)
        if options.save_period and state.epoch % options.save_period == 0:
            self._save(f"epoch_{state.epoch:04d}.pt")

    def _step_schedule(self, metrics: Metrics) -> None:
        schedule = self._parts.schedule
        if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            figure = metrics.get(self.options.best, math.nan)
            if math.isfinite(figure):  # only what was validated decides
                schedule.step(figure)
        elif schedule is not None:
            schedule.step()

    def _validate(self, losses: Metrics) -> Metrics:
        if self.validate is None:
            return dict(losses)
        self._module.eval()
        with torch.no_grad():
            metrics = self.validate()
        self._module.train()
        return self._team.broadcast(metrics)

    def _is_best(self, metrics: Metrics) -> bool:
        """Whether a validation is the best so far."""
        state, name = self.state, self.options.best
        if name not in metrics:
            raise InvalidOption(
                "validation has no such metric",
                where="training.best",
                got=f"'{name}'",
                wanted=", ".join(sorted(metrics)),
            )
        sign = -1 if name in HIGHER_IS_BETTER else 1
        if not math.isfinite(metrics[name]):
            logger.warning("%s of epoch %d is not finite: it counts as worse", name, state.epoch)
        elif state.best is None or sign * metrics[name] < sign * state.best:
            state.best, state.best_epoch, state.stale = metrics[name], state.epoch, 0
            return True
        state.stale += 1
        return False

    def _is_stale(self) -> bool:
        if self.stages and not self.stages.is_last(self.state.epoch):
            return False
        return self.options.patience is not None and self.state.stale >= self.options.patience

    def _at_the_end(self) -> bool:
        most = self.options.max_steps
        return most is not None and self.state.step >= most

    def _save(self, name: str) -> None:
        if name == LAST:
            self._saved_s = time.monotonic()
        if not self._team.leads:
            return
        if not is_finite(self._parts.network):
            raise TrainingDiverged(
                "the network's weights are not finite: they are not saved",
                where=self._describe(0).partition(":")[0],
                remedy="Lower training.optimizer.lr or set training.clip; --resume goes on from "
                "the last good checkpoint.",
            )
        save_checkpoint(self.folder / name, self._parts, self.state)
        if self.after_checkpoint is not None and self.state.step > 0:
            self.after_checkpoint()

    def _report(
        self, losses: Metrics, epochs: float, *, ended: bool, validation: Metrics | None = None
    ) -> None:
        if not self._team.leads:
            return
        state, options = self.state, self.options
        fraction = epochs / options.epochs
        if options.max_steps is not None:
            fraction = max(fraction, state.step / options.max_steps)
        remaining = state.seconds * (1 - fraction) / max(fraction, 1e-9)
        rate = float(self._parts.optimizer.param_groups[0]["lr"])
        epoch = state.epoch if ended else state.epoch + 1
        report = Report(
            epoch, state.step, losses, rate, min(fraction, 1.0), remaining, ended, validation or {}
        )
        for watcher in self.watchers:
            watcher(report)


class _Means:
    """Running means of numbers by name."""

    def __init__(self) -> None:
        self.sums: dict[str, Any] = {}
        self.count = 0

    def add(self, values: Mapping[str, Any]) -> None:
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def values(self) -> Metrics:
        return {name: float(total) / self.count for name, total in self.sums.items()}
