"""The loop: steps, validations, checkpoints, and an orderly stop.

Plain PyTorch: resuming, logs and tables are all that a framework would add here, and the order of
random numbers, which has to survive a restart, stays in sight.

Any module whose call on a batch gives losses by name, with their total as "loss", can be trained:

    optimizer = torch.optim.Adam(step.parameters())
    state = TrainingLoop(step, batches, optimizer, folder, Training(epochs=5)).run()
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from neuralreg.devices import PRECISIONS
from neuralreg.errors import Cancelled, InvalidOption, OutOfMemory
from neuralreg.training.config.schema import Training
from neuralreg.training.loop.checkpoint import Parts, State, load_checkpoint, save_checkpoint
from neuralreg.training.loop.distributed import Team
from neuralreg.training.loop.schedule import Stages
from neuralreg.training.losses.training_step import TOTAL
from neuralreg.training.run_files import BEST, LAST

Batch = Mapping[str, Tensor]
Metrics = dict[str, float]
HIGHER_IS_BETTER = ("dice",)
_SAVE_EVERY_S = 60.0  # a checkpoint of a large network takes longer than a short epoch


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
        folder: gets last.pt at the end, at a stop, and between epochs once a minute; best.pt;
            epoch_0010.pt and so on by save_period.
        options: epochs, precision, what is best, and so on.
        schedule: of the rate, stepped after each epoch.
        validate: metrics by name; without it the mean training losses decide what is best.
        watchers: get a report after each step and each epoch.
        team: the processes that train together.
        stages: which part of the network is trained when.
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
    stop: threading.Event = field(default_factory=threading.Event)
    state: State = field(default_factory=State)

    def __post_init__(self) -> None:
        self._team = self.team or Team.alone(next(self.step.parameters()).device)
        half = self.options.precision == "float16"
        scaler = torch.amp.GradScaler(self._team.device.type, enabled=half)
        self._parts = Parts(self.step, self.optimizer, self.schedule, scaler)
        self._module = self._team.share_gradients(self.step)
        self._saved_s = time.monotonic()

    def run(self, *, resume: bool = False) -> State:
        """Train; how far it came.

        Ctrl-C (SIGINT), SIGTERM or setting `stop` ends the current step and saves; a second signal
        ends at once.

        Args:
            resume: go on where last.pt was.

        Raises:
            Cancelled: it was stopped.
            InvalidOption: validation has no metric `options.best`, or an epoch no pair.
            OutOfMemory: a step does not fit.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self.state = load_checkpoint(self.folder / LAST, self._parts)
        with _signals(self.stop):
            while self.state.epoch < self.options.epochs and not self._at_the_end():
                self._epoch()
                if self._is_stale():
                    break
        self._save(LAST)
        return self.state

    def _epoch(self) -> None:
        state, options = self.state, self.options
        self._module.train()
        if self.stages and self.stages.enter(state.epoch) and state.batch == 0:
            state.best, state.stale = None, 0  # what was best did less, or with less
        means = _Means()
        count = self.batches.count(state.epoch)
        if count == 0:
            raise InvalidOption("an epoch has no pair", remedy="Check dataset.train.")
        source = self.batches(state.epoch, state.batch)
        while group := list(islice(source, options.accumulate)):
            start = time.monotonic()
            losses = self._take_step(group)
            state.seconds += time.monotonic() - start
            state.batch += len(group)
            state.step += 1
            means.add(losses)
            self._report(losses, (state.epoch + state.batch / count), ended=False)
            if self._team.any(self.stop.is_set()):
                self._save(LAST)
                raise Cancelled(
                    f"stopped after {state.step} steps",
                    remedy="Continue with the same command and --resume.",
                )
            if self._at_the_end() and state.batch < count:
                return
        self._end_of_epoch(means.values())

    def _take_step(self, group: list[Batch]) -> Metrics:
        parts = self._parts
        parts.optimizer.zero_grad(set_to_none=True)
        short = PRECISIONS[self.options.precision]
        means = _Means()
        try:
            for loaded in group:
                batch = {k: v.to(self._team.device, non_blocking=True) for k, v in loaded.items()}
                with torch.autocast(self._team.device.type, dtype=short, enabled=short is not None):
                    losses = self._module(batch)
                parts.scaler.scale(losses[TOTAL] / len(group)).backward()
                means.add({name: value.detach() for name, value in losses.items()})
        except (RuntimeError, MemoryError) as error:
            if not OutOfMemory.matches(error):
                raise
            raise OutOfMemory(
                "a step does not fit into memory",
                where=str(self._team.device),
                remedy="Use a smaller batch_size with accumulate, patches, or precision bfloat16.",
            ) from error
        if self.options.clip is not None:
            parts.scaler.unscale_(parts.optimizer)
            nn.utils.clip_grad_norm_(parts.network.parameters(), self.options.clip)
        parts.scaler.step(parts.optimizer)
        parts.scaler.update()
        return means.values()

    def _end_of_epoch(self, losses: Metrics) -> None:
        state, options = self.state, self.options
        state.epoch, state.batch = state.epoch + 1, 0
        metrics: Metrics = {}
        if state.epoch % options.validate_period == 0 or state.epoch == options.epochs:
            metrics = self._validate(losses)
        if self._parts.schedule is not None:
            plateau = isinstance(self._parts.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
            self._parts.schedule.step(*([metrics.get(options.best, losses[TOTAL])] * plateau))
        better = bool(metrics) and self._is_best(metrics)
        if time.monotonic() - self._saved_s > _SAVE_EVERY_S:
            self._save(LAST)
        if better:
            self._save(BEST)
        if options.save_period and state.epoch % options.save_period == 0:
            self._save(f"epoch_{state.epoch:04d}.pt")
        self._report(losses, state.epoch, ended=True, validation=metrics)

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
        if state.best is None or sign * metrics[name] < sign * state.best:
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
        if self._team.leads:
            save_checkpoint(self.folder / name, self._parts, self.state)

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


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Until the block ends, SIGINT and SIGTERM ask for a stop; a second one acts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
