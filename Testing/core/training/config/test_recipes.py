"""Every example configuration trains for a few steps at toy size."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from neuralreg.training.configuration import read_configuration
from neuralreg.training.data.toy_datasets import make_fives, recipes_folder
from neuralreg.training.loop.run import Run

from Testing.support.command_line import neuralreg

RECIPES = sorted(path.name for path in recipes_folder().glob("*.yaml"))
WHOLE = {"fives.yaml", "fives_mlp.yaml", "shapes.yaml", "shapes_voxelmorph.yaml"}
WITHOUT_IMAGES = {"descriptor.yaml", "descriptor_2d.yaml"}
FEW = ["training.max_steps=2", "training.epochs=1", "training.device=cpu", "training.pictures=1",
       "training.batch_size=2"]  # fmt: skip
NO_VALIDATION = ["dataset.valid=null", "training.optimizer.name=SGD"]
SMALLER = {
    "transmorph.yaml": ["model.backbone.width=24", "model.backbone.window=[2,2,2]"],
    "lapirn_levels.yaml": ["training.epochs=2", "training.stages=[{epochs: 1, levels: 1}]"],
    "patches.yaml": ["dataset.patch.size=[8,8,8]"],
    "gradicon.yaml": ["model.backbone=[icon_unet,icon_unet]", *NO_VALIDATION],
    "fives.yaml": ["model.backbone=[icon_unet,icon_unet]"],
    "descriptor.yaml": ["dataset.size=[24,24,24]", "dataset.pairs=2"],
    "descriptor_2d.yaml": ["dataset.size=[24,24]", "dataset.pairs=2"],
}


@pytest.fixture(scope="session")
def fives(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fives")
    make_fives(folder, count=40)
    return folder


def data_of(name: str, folders: dict[str, Path]) -> dict:
    """A toy data set for a recipe: its own kind, where it has one, else volumes."""
    kind = name.removesuffix(".yaml").partition("_")[0]
    folder = folders.get(kind, folders["volumes"])
    about = {"format": "h5"} if kind == "fives" else {}
    where = {split: str(folder / split) for split in ("train", "valid", "test")}
    return {split: {"dir": path, "labeled": True, **about} for split, path in where.items()}


NOT_ALONE = {"volumes.yaml", "fine_tune.yaml"}  # data only; test_starting_point.py


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in NOT_ALONE])
def test_a_recipe_trains(name, volumes, shapes, fives, tmp_path):
    files = [recipes_folder() / name]
    if name not in WITHOUT_IMAGES:
        folders = {"volumes": volumes, "shapes": shapes, "fives": fives}
        data = data_of(name, folders)
        if name not in WHOLE:
            data |= {"type": "grouped", "size": [12, 12, 12]}
        files.append(tmp_path / "data.yaml")
        files[1].write_text(yaml.safe_dump({"dataset": data}))
    config = read_configuration(files, [*FEW, *SMALLER.get(name, [])])
    reports = []
    outcome = Run(config, tmp_path / "run", watchers=[reports.append]).train()
    assert 1 <= outcome.state.step <= 2
    assert all(math.isfinite(v) for report in reports for v in report.losses.values())
    assert (tmp_path / "run" / "model.json").exists() == (config.model.method != "conditional")


def test_a_dataset_and_a_recipe_are_two_files(tmp_path):
    folder = str(tmp_path / "volumes")
    done = neuralreg("download", "volumes", "-o", folder, "-q", "--json")
    assert done.exit_code == 0, done.stderr
    assert "volumes.yaml" in json.loads(done.stdout)["output"][0]
    files = [tmp_path / "volumes" / name for name in ("volumes.yaml", "voxelmorph.yaml")]
    config = read_configuration(files)
    assert config.dataset.train.dir[0].is_dir()
    assert len(list((tmp_path / "volumes" / "train" / "images").iterdir())) == 16


def test_what_cannot_be_downloaded_is_named(tmp_path):
    done = neuralreg("download", "sixes", "-o", str(tmp_path))
    assert done.exit_code == 1
    assert "recipes, fives, shapes, volumes, template" in done.stderr
    done = neuralreg("download", "shapes")
    assert "--output" in done.stderr


def test_a_model_is_downloaded_by_name(monkeypatch, tmp_path):
    """One that needs no weights: nothing is fetched."""
    done = neuralreg("download", "convex", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["output"] == ["convex needs no weights"]
