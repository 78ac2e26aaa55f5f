"""What cannot come to a good end is refused before anything is trained or written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from neuralreg.errors import UnwritableOutput
from neuralreg.io.locks.folder_locks import hold_folder
from neuralreg.training.configuration import read_configuration
from neuralreg.training.loop import run_folder
from neuralreg.training.loop.run import Run

from Testing.support.command_line import neuralreg
from Testing.support.trainings import training_values


@pytest.fixture(scope="module")
def finished(shapes, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    values = training_values(shapes, training__max_steps=1, dataset__valid=None)
    (folder / "study.yaml").write_text(yaml.safe_dump(values))
    assert neuralreg("train", folder / "study.yaml", "-o", folder / "run").exit_code == 0
    return folder


@pytest.fixture
def run(finished, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(finished / "study.yaml", "study.yaml")
    return Path(shutil.copytree(finished / "run", tmp_path / "run"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(*arguments: object, code: int = 1) -> str:
    """What a command says that is refused, and leaves everything as it was."""
    before = contents(Path.cwd())
    outcome = neuralreg(*arguments)
    assert outcome.exit_code == code, outcome.output
    assert "Traceback" not in outcome.stderr
    assert contents(Path.cwd()) == before
    return outcome.stderr


def configure(shapes: Path, **changes: object) -> str:
    changes = {"training__max_steps": 1, **changes}
    Path("odd.yaml").write_text(yaml.safe_dump(training_values(shapes, **changes)))
    return "odd.yaml"


def resume(run: Path) -> str:
    more = ("--set", "training.max_steps=2")
    return refused("train", run / "config.yaml", "-o", run, "--resume", *more)


def test_checkpoints_that_cannot_be_read_are_not_taken_for_none(run):
    path = run / "checkpoints" / "last.pt"
    content = torch.load(path, weights_only=True)
    torch.save(content | {"format": 99}, path)
    assert "one of a newer version of this program (format 99)" in resume(run)
    path.write_bytes(b"PK damaged")
    said = resume(run)
    assert "holds no checkpoint that can be read" in said
    assert "last.pt" in said
    assert "nothing of it is left" not in said
    path.unlink()
    assert "nothing of it is left" in resume(run)


@pytest.mark.parametrize("text", ["{", "{}", "[1]", "null"])
def test_a_damaged_history_is_named(text, run):
    (run / "history.json").write_text(text)
    assert "history.json is damaged" in resume(run)


def test_a_run_that_has_lost_its_configuration_is_not_overwritten(run):
    (run / "config.yaml").unlink()
    for option in ((), ("--overwrite",)):
        said = refused("train", "study.yaml", "-o", run, *option, code=4)
        assert "holds checkpoints of a run, and no config.yaml" in said


def test_a_run_is_either_resumed_or_replaced(run):
    said = refused("train", "study.yaml", "-o", run, "--resume", "--overwrite")
    assert "either resumed or replaced" in said


def test_only_one_training_at_a_time_is_under_way_in_a_folder(run, monkeypatch):
    monkeypatch.setattr(run_folder, "LINGER_S", 0.0)
    lock = hold_folder(run)
    for option in (("--resume", "--set", "training.max_steps=2"), ("--overwrite",)):
        said = refused("train", "study.yaml", "-o", run, *option, code=4)
        assert "another training is under way" in said
    lock.release()
    assert neuralreg("train", "study.yaml", "-o", run, "--overwrite").exit_code == 0
    hold_folder(run).release()  # it is free again


def test_a_folder_that_another_training_makes_meanwhile_is_left_to_it(finished, run):
    files = run_folder.RunFolder(run.parent / "new")
    files.hold()  # not there yet
    shutil.copytree(run, "new")
    before = contents(Path("new"))
    config = read_configuration([finished / "study.yaml"])
    with pytest.raises(UnwritableOutput, match="holds a run"):
        files.begin(config, {})
    files.undo()
    files.release()
    assert contents(Path("new")) == before


def test_a_run_that_is_moved_while_it_learns_says_so(shapes, run):
    config = read_configuration([configure(shapes, training__max_steps=50)])

    def move(report) -> None:
        if report.step == 3:
            Path("new").rename("moved")

    with pytest.raises(UnwritableOutput, match="moved or deleted meanwhile"):
        Run(config, Path("new"), watchers=[move]).train()
    assert neuralreg("runs", "moved").exit_code == 0


def test_a_figure_that_no_validation_will_have_is_refused_before_the_first_epoch(shapes, run):
    unlabeled = {"dir": str(shapes / "valid")}
    for changes, wanted in (
        ({"training__best": "dice", "dataset__valid": unlabeled}, "wanted deformation/gradient"),
        ({"training__best": "dice", "dataset__valid": None}, "there is no validation for it"),
        ({"training__best": "dcie"}, "dice, folding_percent, image/ssd, loss"),
        ({"dataset__valid": unlabeled, "loss__label": "dice"}, "dataset.valid"),
    ):
        said = refused("train", configure(shapes, **changes), "-o", "new")
        assert wanted in said, said
    for best in ("dice", "folding_percent", "image/ssd", "deformation/gradient", "loss"):
        config = configure(shapes, training__best=best, training__epochs=1, training__max_steps=9)
        assert neuralreg("train", config, "-o", f"new {best}".replace("/", " ")).exit_code == 0


def test_neither_a_run_nor_predictions_are_written_among_the_images(shapes, run, tmp_path):
    data = shutil.copytree(shapes, tmp_path / "data")
    config = configure(data)
    for folder in (data / "train" / "images", data / "valid" / "labels" / "deep" / "run"):
        assert "lies among the images" in refused("train", config, "-o", folder, code=4)
        change = ("--set", f"dataset.train.dir={data / 'train'}")
        change += ("--set", f"dataset.valid.dir={data / 'valid'}")
        said = refused("predict", "-k", run, "-o", folder, *change, code=4)
        assert "lies among the images" in said
    assert neuralreg("train", config, "-o", data / "run").exit_code == 0


def test_a_split_that_makes_no_pair_is_named(shapes, tmp_path, run):
    data = shutil.copytree(shapes, tmp_path / "data")
    for kind in ("images", "labels"):
        next((data / "valid" / kind).iterdir()).unlink()
    said = refused("train", configure(data), "-o", "new")
    assert "pairs need two images (dataset.valid): got 1" in said


def test_a_number_in_quotes_is_said_to_be_a_text(shapes, run):
    config = configure(shapes, training__optimizer={"name": "Adam", "lr": "quick"})
    assert "lr is a text, 'quick'" in refused("train", config, "-o", "new")


def test_a_configuration_of_our_own_is_not_translated(run):
    said = refused("convert-config", "study.yaml", "-o", "new.yaml")
    assert "a configuration of neuralreg already" in said


def test_an_import_of_a_run_names_its_card(run):
    said = refused("models", "import", run, code=3)
    assert f"neuralreg models import {run / 'model.json'}" in said


def test_a_resume_of_the_same_in_other_words_changes_nothing_but_the_time(run):
    values = yaml.safe_load((run / "config.yaml").read_text())
    text = yaml.safe_dump(dict(reversed(values.items())), sort_keys=False)
    Path("again.yaml").write_text(f"# in another order\n{text}")
    assert neuralreg("train", "again.yaml", "-o", run, "--resume").exit_code == 0
    history = json.loads((run / "history.json").read_text())
    assert history[-1]["changes"] == {}
