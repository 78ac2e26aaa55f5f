"""A run in its folder: kept, replaced, resumed, stopped by numbers that are not finite."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from neuralreg.errors import (
    Cancelled,
    IncompatibleModel,
    InvalidImage,
    InvalidOption,
    OutOfMemory,
    TrainingDiverged,
    UnreadableFile,
    UnwritableOutput,
)
from neuralreg.training.config.part_registry import LOSSES
from neuralreg.training.configuration import merge_files
from neuralreg.training.data.dataset_check import check_dataset
from neuralreg.training.loop import forecast
from neuralreg.training.loop.loggers import CsvTable
from neuralreg.training.loop.run import Run
from neuralreg.training.model.methods import build_model
from neuralreg.training.results.predict import load_trained
from neuralreg.training.run_files import BEST, CHECKPOINTS, LAST
from neuralreg.training.tensor_files import newest_checkpoint, read_checkpoint

from Testing.support.command_line import neuralreg
from Testing.support.trainings import training_config


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines(folder: Path) -> list[dict[str, str]]:
    return CsvTable(folder).lines()


def stop_at(step: int) -> tuple[threading.Event, list]:
    stop = threading.Event()
    return stop, [lambda report: stop.set() if report.step == step else None]


@pytest.fixture(scope="module")
def finished(shapes, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    Run(training_config(shapes), folder).train()
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset__train": {"dir": "trian"}},
        {"dataset__labels": [77], "loss__label": "dice", "dataset__train": {"dir": "trian"}},
        {"model__weights": "nowhere.pt"},
        {"training__optimizer": {"name": "Adamm"}},
    ],
)
def test_a_new_start_that_fails_leaves_the_finished_run_as_it_was(wrong, shapes, run):
    before = contents(run)
    with pytest.raises((UnreadableFile, InvalidOption, IncompatibleModel)):
        Run(training_config(shapes, **wrong), run).train(overwrite=True)
    assert contents(run) == before


def test_a_first_step_that_fails_brings_the_finished_run_back(shapes, run, monkeypatch):
    """It is moved aside by then."""

    def fail(fixed, warped, *, weight=None):
        raise InvalidOption("this loss fails")

    monkeypatch.setitem(LOSSES["image"]._load_parts(), "failing", fail)
    before = contents(run)
    config = training_config(shapes, loss__image="failing")
    with pytest.raises(InvalidOption, match="this loss fails"):
        Run(config, run).train(overwrite=True)
    assert contents(run) == before


def test_a_first_run_that_fails_leaves_nothing_like_a_run(shapes, tmp_path):
    config = training_config(shapes, training__batch_size=1, model__backbone={
        "name": "unet", "num_channel_initial": 2, "depth": 5})  # fmt: skip
    with pytest.raises(InvalidOption, match="cannot be trained on images of this size"):
        Run(config, tmp_path / "new" / "run").train()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_replaces_another_leaves_only_its_own_files(shapes, run):
    Run(training_config(shapes, name="other", training__epochs=1), run).train(overwrite=True)
    assert not (run / "trained.pt").exists()
    assert not (run / "replaced").exists()
    assert merge_files([run / "config.yaml"])[0]["name"] == "other"
    assert len(lines(run)) == 1


def test_a_process_that_died_while_it_replaced_a_run_loses_neither(shapes, run):
    """Killed after the move and before a step: the earlier run is what counts."""
    before = contents(run)
    earlier = run / "replaced"
    earlier.mkdir()
    for path in [p for p in run.iterdir() if p != earlier]:
        path.replace(earlier / path.name)
    with pytest.raises(UnreadableFile, match="trian is no folder"):
        Run(training_config(shapes, dataset__train={"dir": "trian"}), run).train(overwrite=True)
    stop, watchers = stop_at(1)
    with pytest.raises(UnwritableOutput, match="holds a run"):
        Run(training_config(shapes), run, watchers=watchers, stop=stop).train()
    assert contents(earlier) == before


def test_files_of_ones_own_are_not_taken_for_a_run(shapes, tmp_path):
    (tmp_path / "config.yaml").write_text("name: mine\n")
    with pytest.raises(UnwritableOutput, match="no run wrote it"):
        Run(training_config(shapes), tmp_path).train(overwrite=True)
    assert (tmp_path / "config.yaml").read_text() == "name: mine\n"


def test_a_resumed_run_goes_on_with_the_learning_rate_that_is_asked_for(shapes, run):
    config = training_config(shapes, training__epochs=3,
                             training__optimizer={"name": "Adam", "lr": 1e-5})  # fmt: skip
    Run(config, run).train(resume=True)
    assert [float(line["rate"]) for line in lines(run)] == [0.01, 0.01, 1e-5]
    saved = read_checkpoint(run / CHECKPOINTS / LAST)["optimizer"]["param_groups"][0]
    assert saved["lr"] == 1e-5
    steps = read_checkpoint(run / CHECKPOINTS / LAST)["state"]["step"]
    history = json.loads((run / "history.json").read_text())
    assert history[1]["step"] == steps - steps // 3
    assert history[1]["changes"]["training.optimizer.lr"] == [0.01, 1e-5]
    text = (run / "config.yaml").read_text()
    assert f"# From step {history[1]['step']}: training.optimizer.lr 1e-05, before 0.01." in text
    assert yaml.safe_load(text)["training"]["optimizer"]["lr"] == 1e-5


def test_a_schedule_goes_on_in_proportion_to_another_rate(shapes, tmp_path):
    halves = {"training__schedule": {"name": "StepLR", "step_size": 1, "gamma": 0.5}}
    Run(training_config(shapes, **halves), tmp_path).train()
    config = training_config(shapes, training__epochs=4, **halves,
                             training__optimizer={"name": "Adam", "lr": 0.1})  # fmt: skip
    Run(config, tmp_path).train(resume=True)
    rates = [float(line["rate"]) for line in lines(tmp_path)]
    # The rate in the table is that after the epoch.
    assert rates == pytest.approx([0.005, 0.0025, 0.0125, 0.00625])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"training__optimizer": {"name": "SGD", "lr": 0.01}}, r"training\.optimizer\.name SGD"),
        ({"training__optimizer": {"name": "AdamW", "lr": 0.01}}, r"training\.optimizer\.name"),
        ({"model__backbone": {"name": "dirnet", "width": 8}}, r"model\.backbone"),
        ({"dataset__size": [20, 20]}, r"dataset\.size"),
        ({"loss__image": {"name": "ncc"}}, r"loss\.image"),
        ({"training__batch_size": 1}, r"training\.batch_size 1"),
        ({"training__schedule": {"name": "StepLR", "step_size": 1}}, r"training\.schedule"),
        ({"training__seed": 1}, r"training\.seed 1"),
    ],
)
def test_what_makes_it_another_training_is_refused_and_changes_nothing(change, named, shapes, run):
    before = contents(run)
    with pytest.raises(IncompatibleModel, match=named):
        Run(training_config(shapes, training__epochs=4, **change), run).train(resume=True)
    assert contents(run) == before


def test_images_that_moved_are_the_same_and_others_are_refused(shapes, run, tmp_path):
    moved = Path(shutil.copytree(shapes, tmp_path / "moved"))
    Run(training_config(moved, training__epochs=3), run).train(resume=True)
    assert len(lines(run)) == 3
    for kind in ("images", "labels"):
        shutil.copy(moved / "valid" / kind / "016.nii.gz", moved / "train" / kind / "new.nii.gz")
    before = contents(run)
    with pytest.raises(IncompatibleModel, match=r"got 17 images .* wanted 16 images"):
        Run(training_config(moved, training__epochs=4), run).train(resume=True)
    assert contents(run) == before


def test_figures_of_an_interrupted_epoch_are_those_of_the_whole(shapes, tmp_path):
    """Without validation they decide what is best, and so which weights are exported."""
    config = training_config(shapes, dataset__valid=None, training__epochs=3)
    Run(config, tmp_path / "whole").train()
    stop, watchers = stop_at(6)
    with pytest.raises(Cancelled):
        Run(config, tmp_path / "cut", stop=stop, watchers=watchers).train()
    Run(config, tmp_path / "cut").train(resume=True)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    one, other = (
        torch.load(tmp_path / name / "trained.pt", weights_only=True) for name in ("cut", "whole")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
    measured = json.loads((tmp_path / "cut" / "model.json").read_text())["measured"]
    assert list(measured) == ["training loss"]


def test_a_run_that_was_killed_is_found_by_its_best_checkpoint(shapes, run):
    """What SIGKILL leaves before last.pt is written again, and before the model is."""
    for name in ("trained.pt", "model.json", f"{CHECKPOINTS}/{LAST}"):
        (run / name).unlink()
    config = training_config(shapes, training__epochs=3)
    best = run / CHECKPOINTS / BEST
    assert newest_checkpoint(run / CHECKPOINTS) == best
    model = load_trained(config, run, "cpu")
    weights = read_checkpoint(best)["network"]
    assert all(torch.equal(v, weights[f"model.{k}"]) for k, v in model.state_dict().items())
    Run(config, run).train(resume=True)
    assert [line["epoch"] for line in lines(run)] == ["1", "2", "3"]


def test_of_a_run_without_any_checkpoint_it_is_said_that_nothing_is_left(shapes, run):
    shutil.rmtree(run / CHECKPOINTS)
    (run / "trained.pt").unlink()
    with pytest.raises(UnreadableFile, match="nothing of it is left"):
        Run(training_config(shapes), run).train(resume=True)
    with pytest.raises(UnreadableFile, match="nothing of it is left"):
        load_trained(training_config(shapes), run, "cpu")


def save_with_nan(shapes: Path, folder: Path, suffix: str) -> Path:
    shutil.copytree(shapes, folder)
    path = folder / "train" / "images" / "003.nii.gz"
    image = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(image)
    values[5, 5] = np.nan
    odd = sitk.GetImageFromArray(values)
    odd.CopyInformation(image)
    path.unlink()
    path = path.with_name(f"003{suffix}")
    sitk.WriteImage(odd, str(path))
    return path


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_an_image_with_nan_is_named_before_training(shapes, tmp_path, cache):
    path = save_with_nan(shapes, tmp_path / "data", ".nrrd")
    config = training_config(tmp_path / "data", dataset__cache=cache)
    steps = []
    with pytest.raises(InvalidImage, match=f"{path.name}.*NaN"):
        Run(config, tmp_path / "run", watchers=[steps.append]).train()
    assert not steps
    left = {path.name for path in (tmp_path / "run").glob("*")}
    assert left == ({"cache"} if cache == "disk" else set())


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_what_the_reader_of_an_image_doubts_is_said_before_training(
    shapes, tmp_path, cache, caplog
):
    shutil.copytree(shapes, tmp_path / "data")
    packed = tmp_path / "data" / "train" / "images" / "003.nii.gz"
    raw = bytearray(gzip.decompress(packed.read_bytes()))
    raw[112:120] = struct.pack("<2f", 0.0, 5.0)  # an intercept without a slope
    packed.unlink()
    packed.with_name("003.nii").write_bytes(raw)
    config = training_config(tmp_path / "data", dataset__cache=cache)
    for _ in range(2):  # the second time a cache on disk is there
        caplog.clear()
        said: list[str] = []
        watchers = [lambda _report, said=said: said.append(caplog.text)]
        Run(config, tmp_path / "run", watchers=watchers).train(overwrite=True)
        assert said[0].count("003.nii: there is no scl_slope to the scl_inter of 5") == 1
    (remark,) = check_dataset(config).as_record()["remarks"]
    assert remark in said[0]
    assert f"remark: {remark}" in check_dataset(config).in_words()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_good(shapes, tmp_path):
    """By a rate at which the weights overflow; the images of the step are named."""
    config = training_config(shapes, training__optimizer={"name": "SGD", "lr": 1e30})
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step \d: .*images/0\d\d"):
        Run(config, tmp_path).train()
    assert not (tmp_path / "trained.pt").exists()
    assert not (tmp_path / "model.json").exists()
    saved = read_checkpoint(newest_checkpoint(tmp_path / CHECKPOINTS))["network"]
    assert all(bool(v.isfinite().all()) for v in saved.values() if v.is_floating_point())


def test_torch_and_all_generators_are_afterwards_as_they_were(shapes, tmp_path):
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)
    torch.manual_seed(5)
    random.seed(5)
    wanted = torch.rand(3), random.random()
    torch.manual_seed(5)
    random.seed(5)
    try:
        with torch.inference_mode(), torch.device("meta"):
            config = training_config(shapes, training__deterministic=False)
            done = Run(config, tmp_path / "odd").train()
            assert torch.is_inference_mode_enabled()
            assert torch.get_default_device().type == "meta"
        assert torch.get_default_dtype() == torch.float64
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.rand(3), wanted[0])
        assert random.random() == wanted[1]
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
    plain = Run(training_config(shapes), tmp_path / "plain").train()
    one, other = (
        torch.load(made.folder / "trained.pt", weights_only=True) for made in (done, plain)
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("limit", [20_000, 60_000])
def test_a_full_disk_is_said_with_the_way_to_go_on(limit, shapes, tmp_path):
    """Files of a few kilobytes at most: first no checkpoint, then TensorBoard's events."""
    config = training_config(shapes, training__epochs=2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(UnwritableOutput, match=r"run cannot be written to.*") as caught:
            Run(config, tmp_path / "run").train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    if (tmp_path / "run").exists():
        assert "--resume" in caught.value.remedy
        newest = newest_checkpoint(tmp_path / "run" / CHECKPOINTS)
        done = read_checkpoint(newest)["state"]["epoch"]
        config = training_config(shapes, training__epochs=done + 1)
        assert Run(config, tmp_path / "run").train(resume=True).state.epoch == done + 1


def test_a_forecast_tries_a_step_and_writes_nothing(shapes, tmp_path):
    config = training_config(shapes, training__epochs=7, training__batch_size=4)
    wanted = Run(config, tmp_path / "run").forecast()
    assert not (tmp_path / "run").exists()
    network = build_model(config.model, config.dataset.network_shape)
    assert wanted.parameters == sum(p.numel() for p in network.parameters())
    assert wanted.steps == 7 * 2  # 16 images, 8 pairs, 4 in a batch
    assert wanted.total_s == pytest.approx(14 * wanted.step_s)
    assert wanted.memory_bytes > 50_000_000  # Python and torch alone


def test_what_does_not_fit_into_memory_is_refused_by_the_forecast(shapes, tmp_path, monkeypatch):
    """By the limit of the process that the system keeps, set as if little were free."""
    monkeypatch.setattr(forecast, "free_memory", lambda: 1 << 23)
    config = training_config(shapes, dataset__size=[1000, 1000])
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(OutOfMemory, match="smaller"):
        Run(config, tmp_path / "run").forecast()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_runs_stand_beside_each_other_with_what_differs(shapes, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "a")
    config = training_config(shapes, training__epochs=4, model__backbone={"name": "dirnet"})
    stop, watchers = stop_at(5)
    with pytest.raises(Cancelled):
        Run(config, tmp_path / "deep" / "b", stop=stop, watchers=watchers).train()
    (tmp_path / "c" / CHECKPOINTS).mkdir(parents=True)
    (tmp_path / "c" / "config.yaml").write_text("dataset: [")
    done = neuralreg("runs", str(tmp_path), "--json")
    assert done.exit_code == 0, done.stderr
    first, broken, second = json.loads(done.stdout)["runs"]
    assert (first["state"], first["epoch"], first["epochs"]) == ("finished", 2, 2)
    figures = [float(line["valid loss"]) for line in lines(finished)]
    assert first["best"] == pytest.approx(min(figures))
    assert (second["state"], second["epoch"], second["step"]) == ("stopped", 1, 5)
    assert set(first["settings"]) == {"model.backbone", "training.epochs"}
    assert broken["state"].startswith("damaged")
    table = neuralreg("runs", str(tmp_path)).stdout
    assert "stopped" in table.splitlines()[3]


def test_a_loading_process_that_the_system_ends_is_a_sentence_and_the_run_goes_on(shapes, tmp_path):
    """As by a lack of memory: SIGKILL to the process that reads."""
    config = training_config(shapes, training__epochs=50, dataset__workers=1, dataset__cache="none")

    def kill(report):
        if report.step == 6 and not report.ended:
            for process in multiprocessing.active_children():
                os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(OutOfMemory, match=r"process that loads images.*--resume"):
        Run(config, tmp_path, watchers=[kill]).train()
    config = training_config(shapes, training__epochs=3)
    assert Run(config, tmp_path).train(resume=True).state.epoch == 3
