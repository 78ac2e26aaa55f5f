"""The loop: resuming, stopping, choosing the best, and what it writes."""

from __future__ import annotations

import csv
import json
import random
import threading

import numpy as np
import pytest
import torch
from neuralreg.errors import (
    Cancelled,
    IncompatibleModel,
    InvalidOption,
    OutOfMemory,
    UnreadableFile,
)
from neuralreg.training.config.schema import Loss, Model, Training
from neuralreg.training.data.pairs import Batches, PairData
from neuralreg.training.loop import training_loop
from neuralreg.training.loop.checkpoint import Parts, load_checkpoint, read_checkpoint
from neuralreg.training.loop.loggers import CsvTable, TensorBoard, json_lines
from neuralreg.training.loop.optimizer import make_optimizer
from neuralreg.training.loop.training_loop import TrainingLoop
from neuralreg.training.losses.training_step import TrainingStep
from neuralreg.training.model.methods import build_model
from neuralreg.training.run_files import BEST, LAST
from torch import nn

from Testing.support.trainings import training_config

CHANGES = [{"name": "affine", "rotate": 10}, {"name": "noise", "prob": 1.0}]


class Noisy(nn.Module):
    """A network that draws random numbers, as dropout does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch):
        losses = self.network(batch)
        jitter = 1 + 0.1 * torch.rand(()) + 0.1 * random.random() + 0.1 * np.random.random()
        return {name: value * jitter for name, value in losses.items()}


class Run:
    """All parts of a training on the shapes, made anew."""

    def __init__(self, shapes, folder, *, random_step=False, **options):
        dataset = training_config(shapes, dataset__augmentation=CHANGES).dataset
        self.batches = Batches(PairData(dataset, "train", training=True), 2)
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        model = build_model(
            Model.model_validate({"backbone": {"name": "dirnet", "width": 4}}), dataset.shape
        )
        loss = Loss.model_validate({"image": "ssd", "deformation": {"name": "gradient"}})
        self.step: nn.Module = TrainingStep(model, loss)
        if random_step:
            self.step = Noisy(self.step)
        self.optimizer = torch.optim.AdamW(self.step.parameters(), lr=0.01)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)
        self.folder, self.options = folder, Training(**options)

    def go(self, resume: bool = False, **more):
        loop = TrainingLoop(
            self.step, self.batches, self.optimizer, self.folder, self.options,
            schedule=self.schedule, **more,
        )  # fmt: skip
        return loop.run(resume=resume)

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.step.parameters()])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_training_is_an_uninterrupted_one(shapes, tmp_path, accumulate):
    """20 steps, and 10 and 10 in a new program's state: not one bit differs.

    Shuffling, augmentation, the optimizer, the schedule and three generators of random numbers go
    on; the stop lies in the middle of an epoch.
    """
    common = {"epochs": 40, "accumulate": accumulate}
    whole = Run(shapes, tmp_path / "whole", random_step=True, max_steps=20, **common)
    state = whole.go()
    first = Run(shapes, tmp_path / "parts", random_step=True, max_steps=10, **common)
    first.go()
    assert not torch.equal(first.weights(), whole.weights())
    second = Run(shapes, tmp_path / "parts", random_step=True, max_steps=20, **common)
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    resumed = second.go(resume=True)
    assert torch.equal(second.weights(), whole.weights())
    assert (resumed.step, resumed.epoch, resumed.batch) == (state.step, state.epoch, state.batch)
    assert second.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]


def test_a_checkpoint_loads_without_running_code_and_belongs_to_its_network(shapes, tmp_path):
    run = Run(shapes, tmp_path, epochs=1)
    run.go()
    content = torch.load(tmp_path / LAST, weights_only=True)
    assert set(content) == {
        "format", "state", "random", "network", "optimizer", "schedule", "scaler",
    }  # fmt: skip
    other = nn.Linear(2, 2)
    with pytest.raises(IncompatibleModel, match="belongs to another training"):
        load_checkpoint(tmp_path / LAST, Parts(other, torch.optim.Adam(other.parameters())))
    (tmp_path / "cut.pt").write_bytes((tmp_path / LAST).read_bytes()[:1000])
    with pytest.raises(UnreadableFile, match="no checkpoint"):
        read_checkpoint(tmp_path / "cut.pt")


def test_two_batches_of_one_step_are_one_batch_of_twice_the_size(shapes, tmp_path):
    class Plain(Run):
        def __init__(self, folder, size, **options):
            super().__init__(shapes, folder, epochs=1, **options)
            self.optimizer = torch.optim.SGD(self.step.parameters(), lr=0.1)
            self.schedule = None
            self.batches = Batches(self.batches.pairs, size)

    double = Plain(tmp_path / "a", 4)
    twice = Plain(tmp_path / "b", 2, accumulate=2)
    assert double.go().step == twice.go().step == 2
    assert torch.allclose(double.weights(), twice.weights(), atol=1e-6)


def test_the_gradient_is_clipped(shapes, tmp_path):
    run = Run(shapes, tmp_path, max_steps=1, clip=1e-3)
    run.optimizer = torch.optim.SGD(run.step.parameters(), lr=1.0)
    before = run.weights()
    run.go()
    assert float((run.weights() - before).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_short_numbers_are_used_where_that_is_asked(shapes, tmp_path):
    kinds = set()
    run = Run(shapes, tmp_path, max_steps=1, precision="bfloat16")
    for part in run.step.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda m, a, out: kinds.add(out.dtype))
    run.go()
    assert kinds == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in run.step.parameters())


def test_the_best_validation_is_kept_and_patience_ends(shapes, tmp_path):
    figures = iter([0.3, 0.6, 0.5, 0.55, 0.9])
    run = Run(shapes, tmp_path, epochs=9, best="dice", patience=2)
    seen = []
    state = run.go(
        validate=lambda: {"dice": next(figures), "loss": 1.0},
        watchers=[lambda report: seen.append(report) if report.ended else None],
    )
    assert (state.best, state.best_epoch, state.epoch) == (0.6, 2, 4)
    assert read_checkpoint(tmp_path / BEST)["state"]["epoch"] == 2
    assert read_checkpoint(tmp_path / LAST)["state"]["epoch"] == 4
    assert [report.validation["dice"] for report in seen] == [0.3, 0.6, 0.5, 0.55]


def test_a_figure_that_validation_does_not_give_is_an_error(shapes, tmp_path):
    run = Run(shapes, tmp_path, epochs=1, best="dise")
    with pytest.raises(InvalidOption, match=r"got 'dise', wanted dice, loss"):
        run.go(validate=lambda: {"dice": 1.0, "loss": 1.0})


def test_checkpoints_stay_by_their_period(shapes, tmp_path):
    Run(shapes, tmp_path, epochs=5, save_period=2).go()
    assert sorted(path.name for path in tmp_path.glob("epoch*")) == [
        "epoch_0002.pt",
        "epoch_0004.pt",
    ]


def test_reports_say_where_the_training_is(shapes, tmp_path):
    reports = []
    Run(shapes, tmp_path, epochs=2).go(watchers=[reports.append])
    steps = [report for report in reports if not report.ended]
    assert [report.step for report in steps] == list(range(1, 9))
    assert [round(report.fraction, 3) for report in steps] == [n / 8 for n in range(1, 9)]
    assert [report.epoch for report in reports if report.ended] == [1, 2]
    assert set(steps[0].losses) == {"image/ssd", "deformation/gradient", "loss"}
    assert steps[-1].remaining_s == 0


def test_tables_tensorboard_and_lines_hold_the_same_numbers(shapes, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines: list[str] = []
    picture = np.zeros((8, 16, 3), np.uint8)
    board = TensorBoard(tmp_path / "board", picture=lambda: picture, every=1)
    run = Run(shapes, tmp_path / "run", epochs=2)
    run.go(
        validate=lambda: {"loss": 0.5, "dice": 0.25},
        watchers=[CsvTable(tmp_path), board, json_lines(lines.append)],
    )
    board.close()
    with (tmp_path / "curves.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["epoch"] for row in table] == ["1", "2"]
    assert float(table[1]["valid dice"]) == 0.25
    told = [json.loads(line) for line in lines]
    ends = [report for report in told if report["ended"]]
    assert float(table[0]["train loss"]) == pytest.approx(ends[0]["losses"]["loss"])
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert {"step/loss", "epoch/loss", "validation/dice", "rate"} <= set(events.Tags()["scalars"])
    assert len(events.Images("pair")) == 2
    assert events.Scalars("epoch/loss")[1].value == pytest.approx(ends[1]["losses"]["loss"])


def test_a_table_drops_what_came_after_the_place_of_resuming(tmp_path):
    from neuralreg.training.loop.training_loop import Report

    table = CsvTable(tmp_path)
    for epoch, loss in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 2.5)):
        table(Report(epoch, epoch, {"loss": loss}, 0.1, 0.5, 1.0, ended=True))
    assert [(row["epoch"], row["train loss"]) for row in table.lines()] == [
        ("1", "1.0"),
        ("2", "2.5"),
    ]


def test_a_watcher_may_cancel(shapes, tmp_path):
    def stop(report):
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        Run(shapes, tmp_path, epochs=1).go(watchers=[stop])


class Greedy(nn.Module):
    """Wants more memory than there is."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, batch):
        return {"loss": self.factor * torch.empty(1 << 48).sum()}


def test_a_processor_without_memory_for_a_step_is_said_with_what_to_do(shapes, tmp_path):
    greedy = Greedy()
    optimizer = torch.optim.SGD(greedy.parameters(), lr=0.1)
    run = Run(shapes, tmp_path)
    with pytest.raises(OutOfMemory, match="smaller batch_size"):
        TrainingLoop(greedy, run.batches, optimizer, tmp_path, run.options).run()


def test_a_stop_from_outside_ends_the_step_saves_and_goes_on(shapes, tmp_path):
    stop = threading.Event()
    run = Run(shapes, tmp_path, epochs=3)
    with pytest.raises(Cancelled, match="stopped after 5 steps"):
        run.go(watchers=[lambda report: stop.set() if report.step == 5 else None], stop=stop)
    assert read_checkpoint(tmp_path / LAST)["state"]["step"] == 5
    assert Run(shapes, tmp_path, epochs=3).go(resume=True).epoch == 3


def test_ones_own_batches_network_and_loss_are_enough(tmp_path):
    """The loop without any configuration: a module that gives a loss, and batches."""

    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(0.0))

        def forward(self, batch):
            return {"loss": (self.factor * batch["x"] - batch["y"]).square().mean()}

    class Doubles:
        def __call__(self, epoch, start=0):
            for n in range(start, 8):
                x = torch.tensor([float(n + 1)])
                yield {"x": x, "y": 2 * x}

        def count(self, epoch=0):
            return 8

    step = Mine()
    optimizer = torch.optim.Adam(step.parameters(), 0.1)
    TrainingLoop(step, Doubles(), optimizer, tmp_path, Training(epochs=20)).run()
    assert float(step.factor.detach()) == pytest.approx(2, abs=0.05)


def test_a_figure_that_is_nan_is_never_the_best(shapes, tmp_path):
    figures = iter([float("nan"), 0.5, float("nan"), 0.4])
    lines: list[str] = []
    run = Run(shapes, tmp_path, epochs=4, best="loss")
    state = run.go(validate=lambda: {"loss": next(figures)}, watchers=[json_lines(lines.append)])
    assert (state.best, state.best_epoch) == (0.4, 4)
    ends = [report for report in map(json.loads, lines) if report["ended"]]
    assert [report["validation"]["loss"] for report in ends] == [None, 0.5, None, 0.4]


def test_a_plateau_is_one_of_validated_figures_in_the_direction_in_which_they_get_better(
    shapes, tmp_path
):
    """Dice rises in each validation, every other epoch; training losses would end the patience."""
    figures = iter([0.1, 0.2, 0.3, 0.3, 0.3])
    training = {"epochs": 10, "best": "dice", "validate_period": 2,
        "schedule": {"name": "ReduceLROnPlateau", "patience": 0, "factor": 0.5}}  # fmt: skip
    run = Run(shapes, tmp_path, **training)
    run.optimizer, run.schedule = make_optimizer(run.options, run.step)
    rates = []
    run.go(
        validate=lambda: {"dice": next(figures)},
        watchers=[lambda report: rates.append(report.rate) if report.ended else None],
    )
    first = rates[0]
    assert rates == [first] * 7 + [first / 2] * 2 + [first / 4]


def test_a_plateau_in_the_other_direction_is_refused():
    training = Training(best="dice", schedule={"name": "ReduceLROnPlateau", "mode": "min"})
    with pytest.raises(InvalidOption, match="wanted max"):
        make_optimizer(training, nn.Linear(1, 1))


def test_a_checkpoint_is_written_within_an_epoch(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "_SAVE_EVERY_S", 0.0)
    reached = []

    def look(report):
        state = read_checkpoint(tmp_path / LAST)["state"]
        reached.append((state["epoch"], state["batch"]))

    Run(shapes, tmp_path, epochs=1).go(watchers=[look])
    assert reached[:4] == [(0, 0), (0, 1), (0, 2), (0, 3)]
