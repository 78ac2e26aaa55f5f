"""`neuralreg train` as a real process: files, Ctrl-C, resuming, several processes, the zoo."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from neuralreg.composition.models import card_of
from neuralreg.networks import dirnet
from neuralreg.training.loop.checkpoint import read_checkpoint
from neuralreg.zoo.card import Weights
from neuralreg.zoo.registry import load_model, read_card
from neuralreg.zoo.user_models import import_card

from Testing.support.command_line import neuralreg
from Testing.support.trainings import training_values

COMMAND = [sys.executable, "-m", "neuralreg"]


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory) -> tuple[Path, Path, str]:
    """A configuration, the run that it made, and what the program said."""
    folder = tmp_path_factory.mktemp("command")
    values = training_values(shapes, name="shapes.first", training__best="dice", training__epochs=2)
    (folder / "study.yaml").write_text(yaml.safe_dump(values))
    done = neuralreg("train", folder / "study.yaml", "-o", folder / "run", "--json")
    assert done.exit_code == 0, done.stderr
    return folder / "study.yaml", folder / "run", done.stdout


def test_a_run_holds_everything(trained):
    config, run, _ = trained
    assert yaml.safe_load((run / "config.yaml").read_text()) == yaml.safe_load(config.read_text())
    for name in ("curves.csv", "model.json", "shapes.first.pt", "checkpoints/last.pt",
                 "checkpoints/best.pt"):  # fmt: skip
        assert (run / name).is_file(), name
    assert list((run / "tensorboard").iterdir())


def test_a_program_reads_a_line_per_step_and_epoch(trained):
    reports = [json.loads(line) for line in trained[2].splitlines()]
    assert [r["step"] for r in reports if not r["ended"]] == list(range(1, 9))
    assert {"epoch", "step", "losses", "validation", "fraction", "remaining_s"} <= set(reports[0])
    assert "dice" in reports[-1]["validation"]
    assert reports[-1]["fraction"] == 1


def test_a_run_is_not_overwritten_unless_that_is_asked(trained):
    config, run, _ = trained
    again = neuralreg("train", config, "-o", run)
    assert again.exit_code == 4
    assert "holds a run" in again.stderr


def test_the_result_is_a_model_that_the_zoo_takes_and_runs(trained, tmp_path, monkeypatch):
    _, run, _ = trained
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path))
    card = read_card(run / "model.json")
    assert card.input.shape == (20, 24)
    import_card(run / "model.json")
    assert (tmp_path / "shapes.first.json").is_file()  # the next run's model.json is another one
    network = load_model("shapes.first", device="cpu")
    output = network.predict(torch.rand(1, 20, 24), torch.rand(1, 20, 24))
    assert output.shape == (2, 20, 24)


def test_ctrl_c_saves_and_resume_goes_on_as_if_nothing_had_been(shapes, tmp_path):
    """A real SIGINT in the middle of an epoch; then the same weights as without it."""
    values = training_values(shapes, training__epochs=60, training__max_steps=60,
                             dataset__valid=None, dataset__workers=1)  # fmt: skip
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(values))
    process = subprocess.Popen(
        [*COMMAND, "train", str(config), "-o", str(tmp_path / "cut"), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["step"] >= 6:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the loading process, too
    rest, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume" in json.loads(rest.splitlines()[-1])["error"]["message"]
    cut = read_checkpoint(tmp_path / "cut" / "checkpoints" / "last.pt")["state"]
    assert 6 <= cut["step"] < 60
    resumed = neuralreg("train", config, "-o", tmp_path / "cut", "--resume", "-q")
    assert resumed.exit_code == 0, resumed.stderr
    whole = neuralreg("train", config, "-o", tmp_path / "whole", "-q")
    assert whole.exit_code == 0, whole.stderr
    one, other = (
        torch.load(tmp_path / name / "trained.pt", weights_only=True) for name in ("cut", "whole")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("last", [b"stop\n", b""], ids=["asked", "alone"])
def test_a_program_that_started_it_can_stop_it_without_signals(last, shapes, tmp_path):
    """By a line, or by its own end; what is trained so far is a model already."""
    values = training_values(shapes, training__epochs=10**5, dataset__valid=None)
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(values))
    command = [*COMMAND, "train", str(config), "-o", str(tmp_path / "run"), "--json", "--attended"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["step"] >= 6:
            break
    rest, _ = process.communicate(last, timeout=60)
    assert process.returncode == 130
    assert json.loads(rest.splitlines()[-1])["error"]["kind"] == "Cancelled"
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["state"]
    assert 6 <= state["step"] < 10**5
    assert read_card(tmp_path / "run" / "model.json").weights is not None


def test_errors_are_one_line_and_an_exit_code(tmp_path, shapes):
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(training_values(shapes, training__epochs="many")))
    done = neuralreg("train", config, "-o", tmp_path / "run")
    assert done.exit_code == 1
    assert "study.yaml, line" in done.stderr
    assert "training.epochs: got 'many'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_start_that_failed_leaves_nothing_in_the_way(shapes, tmp_path):
    config = tmp_path / "study.yaml"
    config.write_text(
        yaml.safe_dump(training_values(shapes, training__max_steps=1, dataset__valid=None))
    )
    start = ("train", config, "-o", tmp_path / "run", "-q")
    wrong = neuralreg(*start, "--set", "training.optimizer.name=Adamm")
    assert wrong.exit_code == 1
    assert "no such optimizer: got 'Adamm', wanted ASGD" in wrong.stderr
    wrong = neuralreg(*start, "--set", "training.optimizer.learning_rate=0.1")
    assert "learning_rate" in wrong.stderr
    assert neuralreg(*start).exit_code == 0


def test_the_log_level_comes_from_the_environment(shapes, tmp_path, monkeypatch, caplog):
    config = tmp_path / "study.yaml"
    config.write_text(
        yaml.safe_dump(training_values(shapes, training__max_steps=1, dataset__valid=None))
    )
    neuralreg("train", config, "-o", tmp_path / "a", "-q")
    assert caplog.text == ""
    monkeypatch.setenv("NEURALREG_LOG_LEVEL", "2")
    neuralreg("train", config, "-o", tmp_path / "b", "-q")
    assert "8 pairs" in caplog.text
    monkeypatch.setenv("NEURALREG_LOG_LEVEL", "LOUD")
    done = neuralreg("train", config, "-o", tmp_path / "c", "-q")
    assert done.exit_code == 1
    assert "unknown log level" in done.stderr
    logging.getLogger("neuralreg").setLevel(logging.NOTSET)


def test_the_check_ends_with_1_where_a_file_is_broken(shapes, tmp_path):
    import shutil

    shutil.copytree(shapes, tmp_path / "data")
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(training_values(tmp_path / "data")))
    good = neuralreg("train", config, "-o", tmp_path / "run", "--check")
    assert good.exit_code == 0
    assert "train: 16 images, 8 pairs in an epoch" in good.stdout
    next((tmp_path / "data" / "train" / "images").iterdir()).write_bytes(b"nothing")
    bad = neuralreg("train", config, "-o", tmp_path / "run", "--check", "--json")
    assert bad.exit_code == 1
    assert len(json.loads(bad.stdout)["problems"]) == 1
    assert not (tmp_path / "run").exists()


def test_two_processes_train_one_network(shapes, tmp_path):
    """As on two GPUs, on two processors: their gradients are averaged, so each has half a batch."""
    config = tmp_path / "study.yaml"
    optimizer = {"name": "SGD", "lr": 0.1}
    values = training_values(shapes, training__epochs=1, training__optimizer=optimizer)
    config.write_text(yaml.safe_dump(values))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    together = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         "-m", "neuralreg", "train", str(config), "-o", str(tmp_path / "two"), "-q"],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert together.returncode == 0, together.stderr
    alone = neuralreg("train", config, "-o", tmp_path / "one", "-q",
                      "--set", "training.batch_size=4")  # fmt: skip
    assert alone.exit_code == 0, alone.stderr
    one, two = (
        torch.load(tmp_path / name / "trained.pt", weights_only=True) for name in ("one", "two")
    )
    for key in one:
        assert torch.allclose(one[key], two[key], atol=1e-5), key


def test_fine_tuning_begins_with_the_weights_of_a_run(shapes, trained, tmp_path):
    config, run, _ = trained
    done = neuralreg("train", config, "-o", tmp_path / "fine", "-q", "--set",
                     f"model.weights={run}", "--set", "training.max_steps=1",
                     "--set", "training.optimizer.lr=0.0", "--set", "dataset.valid=null",
                     "--set", "training.best=loss")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    one, other = (
        torch.load(folder / "shapes.first.pt", weights_only=True)
        for folder in (run, tmp_path / "fine")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_fine_tuning_begins_with_a_model_of_the_zoo(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    torch.manual_seed(7)
    known = dirnet.build(2, width=4)
    torch.nn.init.normal_(known.control.weight)
    torch.save(known.state_dict(), tmp_path / "own" / "tiny.pt")
    card = card_of("tiny", (20, 24)).model_copy(
        update={
            "architecture": "dirnet",
            "arguments": {"dimension": 2, "width": 4},
            "weights": Weights(file="tiny.pt"),
        }
    )
    (tmp_path / "own" / "tiny.json").write_text(card.model_dump_json())
    values = training_values(shapes, model__weights="tiny", training__max_steps=1,
                             dataset__valid=None,
                             training__optimizer={"name": "SGD", "lr": 0.0})  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    done = neuralreg("train", tmp_path / "study.yaml", "-o", tmp_path / "run", "-q")
    assert done.exit_code == 0, done.stderr
    found = torch.load(tmp_path / "run" / "trained.pt", weights_only=True)
    for name, values in known.state_dict().items():
        (kept,) = (v for key, v in found.items() if key.endswith(f"network.network.{name}")
                   or key.endswith(f"parts.0.network.{name}"))  # fmt: skip
        assert torch.equal(kept, values)
