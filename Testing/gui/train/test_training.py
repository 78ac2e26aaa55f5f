"""A real training from the panel: start, watch, stop, go on, and what can go wrong."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import signal
import struct
from pathlib import Path

import pytest
import slicer
import torch
import yaml
from neuralreg.training.loop.checkpoint import read_checkpoint
from neuralreg.worker.processes import tree

from Testing.support.command_line import neuralreg


def steps_in(run: Path) -> int:
    return read_checkpoint(run / "checkpoints" / "last.pt")["state"]["step"]


def test_a_training_runs_to_its_end_while_the_window_lives(
    ready, idle, late_ticks, plots, a_scene, tmp_path
):
    ready.ui.startTrainingButton.click()
    assert not ready.ui.startTrainingButton.enabled
    assert ready.ui.stopTrainingButton.enabled
    idle(ready)
    ui, run = ready.ui, tmp_path / "a run"
    assert ui.trainStatusLabel.text == "Done: 2 epochs, 8 steps."
    assert "Training: 16 images, 8 pairs in an epoch" in ui.trainDataLabel.text
    assert "dice" in ui.trainLossesLabel.text
    assert "gradient" in ui.trainLossesLabel.text
    assert not ui.trainPictureLabel.isHidden()
    assert not ui.trainCurveLabel.pixmap.isNull()
    assert not ui.startTrainingButton.enabled
    assert ui.continueTrainingButton.enabled
    assert ui.useModelButton.enabled
    assert late_ticks.count() <= 2  # of more than 100 ms, on a machine on which others work
    assert late_ticks.total() > 20
    series = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    assert {"loss", "validation loss", "dice"} <= {node.GetName() for node in series}
    ui.copyCommandButton.click()
    assert "--resume" in slicer.app.clipboard().text()
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert kept["dataset"]["train"]["labeled"] is True
    again = neuralreg("train", str(run / "config.yaml"), "-o", str(tmp_path / "b"))
    assert again.exit_code == 0, again.output
    one, other = (torch.load(f / "trained.pt", weights_only=True) for f in (run, tmp_path / "b"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_copied_command_is_what_start_runs(ready, tmp_path, toys):
    ready.ui.trainNameEdit.text = "knees.first"
    ready.ui.copyCommandButton.click()
    program, command, *arguments = shlex.split(slicer.app.clipboard().text())
    assert (program, command) == ("neuralreg", "train")
    from neuralreg.training.configuration import merge_files

    files, sets = arguments[0], arguments[2:-2:2]
    values, _ = merge_files([files], sets)
    assert arguments[-2:] == ["-o", str(tmp_path / "a run")]
    assert values["name"] == "knees.first"
    assert values["dataset"]["size"] == [16, 16, 16]
    assert values["dataset"]["valid"] == {"dir": str(toys / "valid"), "labeled": True}


def test_stop_saves_continue_goes_on_and_a_kill_is_one_message(
    ready, idle, learning, wait_until, tmp_path
):
    ui, run = ready.ui, tmp_path / "a run"
    ui.trainEpochsSpinBox.value = 100000
    ui.startTrainingButton.click()
    learning(ready)
    ui.stopTrainingButton.click()
    assert ui.stopTrainingButton.text == "End now"
    idle(ready)
    assert ui.trainStatusLabel.text == "Stopped and saved. Continue resumes."
    assert ui.stopTrainingButton.text == "Stop"
    stopped = steps_in(run)
    assert stopped >= 4
    assert json.loads((run / "model.json").read_text())["name"] == "trained"
    ui.continueTrainingButton.click()
    wait_until(lambda: ready.view.steps > stopped, 120)
    os.kill(ready.training.process.pid, signal.SIGKILL)
    idle(ready)
    assert ui.trainStatusLabel.text.startswith("The computing process was killed")
    assert ui.continueTrainingButton.enabled
    assert steps_in(run) == stopped


def test_a_stop_before_the_first_step_leaves_no_run_and_a_second_press_ends_at_once(
    ready, idle, tmp_path
):
    ui = ready.ui
    ui.startTrainingButton.click()
    pid = ready.training.process.pid
    ui.stopTrainingButton.click()
    ui.stopTrainingButton.click()
    assert not ready.training.busy
    assert ui.trainStatusLabel.text == "Stopped. Nothing was trained."
    assert ui.startTrainingButton.enabled
    assert not ui.continueTrainingButton.enabled
    idle(ready)
    assert not tree({pid})
    assert not (tmp_path / "a run").exists()


def test_the_folder_of_an_earlier_run_shows_what_it_came_to(panel, a_run):
    ui = panel.ui
    ui.runFolderEdit.text = str(a_run)
    assert ui.trainStatusLabel.text.startswith("This folder contains a run: 15 epochs, 60 steps.")
    assert "dice" in ui.trainLossesLabel.text
    assert not ui.trainPictureLabel.isHidden()
    assert not ui.startTrainingButton.enabled
    assert ui.continueTrainingButton.enabled
    ui.trainEpochsSpinBox.value = 16
    ui.copyCommandButton.click()
    assert shlex.split(slicer.app.clipboard().text())[2:] == [
        str(a_run / "config.yaml"),
        *("--set", "training.epochs=16"),
        *("-o", str(a_run), "--resume"),
    ]
    ui.runFolderEdit.text = ""
    assert ui.startTrainingButton.enabled
    assert ui.trainLossesLabel.text == "Nothing was trained yet."


def test_closing_the_scene_lets_a_training_that_goes_on_save_and_end(
    panel, a_scene, a_run, learning, wait_until, tmp_path
):
    run = shutil.copytree(a_run, tmp_path / "run")
    panel.ui.runFolderEdit.text = str(run)
    panel.ui.trainEpochsSpinBox.value = 100000
    panel.ui.continueTrainingButton.click()
    learning(panel, 66)
    pid = panel.training.process.pid
    a_scene.Clear(False)
    assert not panel.training.busy
    assert panel.ui.trainLossesLabel.text == "Nothing was trained yet."
    wait_until(lambda: not tree({pid}), 60)
    assert steps_in(run) >= 66


def test_the_end_of_slicer_ends_the_training_and_all_that_it_started(
    ready, learning, wait_until, tmp_path
):
    ready.ui.trainEpochsSpinBox.value = 100000
    ready.ui.startTrainingButton.click()
    learning(ready)
    pid = ready.training.process.pid
    ready.cleanup()
    wait_until(lambda: not tree({pid}), 10)
    assert steps_in(tmp_path / "a run") >= 4


def test_doubts_about_images_are_listed_and_training_goes_on(ready, idle, toys, tmp_path):
    data = shutil.copytree(toys, tmp_path / "data")
    packed = next((data / "train" / "images").rglob("*.nii.gz"))
    raw = bytearray(gzip.decompress(packed.read_bytes()))
    raw[112:120] = struct.pack("<2f", 0.0, 5.0)  # an intercept without a slope
    packed.write_bytes(gzip.compress(raw))
    ready.ui.trainFolderEdit.text = str(data / "train")
    ready.ui.startTrainingButton.click()
    idle(ready)
    assert "no scl_slope" in ready.ui.trainProblemsText.plainText
    assert packed.name in ready.ui.trainProblemsText.plainText
    assert ready.ui.trainStatusLabel.text.startswith("Done")


def test_broken_files_are_listed_and_nothing_is_trained(ready, idle, toys, tmp_path):
    data = shutil.copytree(toys, tmp_path / "data")
    broken = next((data / "train" / "images").rglob("*.nii.gz"))
    broken.write_bytes(b"nothing")
    ready.ui.trainFolderEdit.text = str(data / "train")
    ready.ui.startTrainingButton.click()
    idle(ready)
    assert broken.name in ready.ui.trainProblemsText.plainText
    assert not ready.ui.trainProblemsText.isHidden()
    assert ready.ui.trainStatusLabel.text.startswith("Problems with the data, see above: 1.")
    assert not (tmp_path / "a run").exists()
    assert ready.ui.startTrainingButton.enabled


def test_what_the_training_refuses_is_one_message_with_its_log(ready, idle, toy_recipe, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(toy_recipe.read_text().replace("ssd", "sssd"))
    ready.set({"recipe": str(wrong)})
    ready.ui.startTrainingButton.click()
    idle(ready)
    text = ready.ui.trainStatusLabel.text
    assert "Did you mean 'ssd'?" in text
    assert "wrong.yaml, line" in text
    assert not ready.ui.trainLogButton.isHidden()


@pytest.mark.parametrize("fails", [False, True])
def test_own_code_may_print_and_what_it_printed_is_in_the_log(
    ready, idle, toy_recipe, tmp_path, fails
):
    printed = "print('3')\nprint('[]')\nprint('hello from own code')\n"
    (tmp_path / "parts.py").write_text(printed + "1 / 0\n" * fails)
    recipe = tmp_path / "own.yaml"
    recipe.write_text(toy_recipe.read_text() + "code: parts.py\n")
    ready.set({"recipe": str(recipe)})
    ready.ui.startTrainingButton.click()
    idle(ready)
    if not fails:
        assert ready.ui.trainStatusLabel.text == "Done: 2 epochs, 8 steps."
    else:
        assert "hello from own code" in ready.ui.trainLogText.plainText
        assert {"3", "[]"} <= set(ready.ui.trainLogText.plainText.splitlines())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainFolder": ""}, "A training needs images"),
        ({"runFolder": ""}, "A run needs a folder"),
        ({"name": "My Knees"}, "A model's name has small letters"),
        ({"recipe": "/no/such.yaml"}, "The recipe is missing"),
        ({"recipe": "fine_tune"}, "Fine-tuning needs a model"),
        ({"startFrom": "/no/such/run"}, "A training starts from a model"),
        ({"startFrom": "gradicon.unigradicon"}, "are not on this machine"),
    ],
)
def test_what_is_missing_is_said_at_once(ready, change, said, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURALREG_CACHE", str(tmp_path / "empty"))
    ready.set(change)
    ready.ui.startTrainingButton.click()
    assert not ready.training.busy
    assert said in ready.ui.trainStatusLabel.text
