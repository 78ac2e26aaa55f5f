"""The examples of the documentation run as they stand, in order, in an empty folder."""

import re
import shutil

import matplotlib
import neuralreg
import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from neuralreg import models
from neuralreg.io.files import sha256_of
from neuralreg.training.config.part_registry import BACKBONES, LOSSES
from neuralreg.training.data.toy_datasets import make_shapes
from neuralreg.zoo.registry import list_models
from neuralreg.zoo.user_models import import_card

from Testing.support.command_line import neuralreg as run
from Testing.support.pages import blocks_of, commands_of, run_page
from Testing.support.paths import DOCS, ROOT
from Testing.support.trainings import training_values


def test_a_point_passes_composed_transforms_in_the_order_that_the_page_gives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_page(DOCS / "own-models.md", 1)
    bend, shift, points = (names[name] for name in ("bend", "shift", "points"))
    assert torch.allclose(names["both"](points)[:, 0], bend(points)[:, 0] + 0.2, atol=1e-6)
    assert not torch.allclose(names["both"](points), bend(shift(points)), atol=1e-3)


def test_the_last_channel_of_a_warped_image_is_1_where_the_page_says_interpolated(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = run_page(DOCS / "own-models.md", 2)
    image, warped = names["image"], names["warped"]
    known = warped[:, -1] == 1
    repeated = image[:, 0, :, -1:].expand(known.shape)  # the border, where the shift leads beyond
    assert torch.allclose(warped[:, 0][~known], repeated[~known], atol=1e-4)
    assert not torch.allclose(warped[:, 0][known], repeated[known], atol=0.1)
    assert 0.85 < float(known.float().mean()) < 0.95
    noise = torch.where(known[:, None], warped[:, :-1], torch.rand(1, 1, 32, 32))
    changed = torch.cat((noise, warped[:, -1:]), 1)
    assert models.ssd(image, changed) == models.ssd(image, warped)


def test_a_model_of_ones_own_is_written_trained_imported_and_registers_by_name(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    names = run_page(DOCS / "own-models.md")
    build = "\n\ndef build():\n    return models.ComposedNetwork(my_model())\n"
    (tmp_path / "disks.py").write_text(names["blocks"][2] + build, encoding="utf-8")
    trusted = [sha256_of(tmp_path / "disks.py")]
    card = import_card(tmp_path / "disks.first.json", trusted=trusted)
    pair = names["fixed"], names["moving"]
    result = neuralreg.register(*pair, card.name, linear=neuralreg.LinearAlignment.NONE)
    assert result.model == "disks.first"
    assert result.outcome.similarity_final > result.outcome.similarity_initial


def test_the_tutorial_runs_on_a_real_pair(tmp_path, monkeypatch, odd_pairs):
    matplotlib.use("Agg")
    pair = odd_pairs / "od01_oblique"
    shutil.copy(pair / "fixed.nii.gz", tmp_path / "person.nii.gz")
    shutil.copy(pair / "moving.nii.gz", tmp_path / "atlas.nii.gz")
    monkeypatch.chdir(tmp_path)
    names = run_page(DOCS / "tutorial-python.md")
    assert names["result"].model == "convex"
    for name in ("atlas_on_person.nii.gz", "before-and-after.png", "person_to_atlas.nii.gz"):
        assert (tmp_path / name).is_file()
    by_itk = sitk.GetArrayFromImage(names["again"])
    ours = names["warped"].data[0].numpy()
    inside = by_itk > 0
    assert np.abs(by_itk[inside].astype(float) - ours[inside]).mean() < 1


def test_the_commands_of_the_page_on_training_run_in_an_empty_folder_twice(tmp_path, monkeypatch):
    """As they stand, but for three steps instead of a minute; the model is called `shapes` then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    commands = commands_of(DOCS / "training.md")
    assert len(commands) == 7
    for arguments in [*commands, commands[0]]:
        few = ["--set", "training.max_steps=3"] if arguments[0] == "train" else []
        done = run(*arguments, *few)
        assert done.exit_code == 0, (arguments, done.stderr)
    assert (tmp_path / "results" / "pairs.png").is_file()
    assert "shapes" in {card.name for card in list_models()}


def test_a_network_of_ones_own_goes_from_the_page_to_another_machine(
    tmp_path, monkeypatch, a_small_set
):
    """Trained, predicted with, imported and registered by; nothing but the run's folder is left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    for registry in (BACKBONES, LOSSES["image"]):  # other tests may register such names
        monkeypatch.setattr(registry, "_parts", dict(registry._load_parts()))
    parts = blocks_of(DOCS / "training.md", "python")[0]
    (tmp_path / "parts.py").write_text(parts, encoding="utf-8")
    values = training_values(a_small_set, name="mine_2d", code="parts.py", training__max_steps=2,
                             model__backbone={"name": "mine", "width": 4},
                             loss__image={"name": "huber"})  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))

    assert run("train", "config.yaml", "-o", "run").exit_code == 0
    (tmp_path / "parts.py").unlink()
    assert run("predict", "-k", "run", "-o", "out", "--split", "valid").exit_code == 0
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "other-machine"))
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    refused = run("models", "import", moved / "model.json")
    digest = sha256_of(moved / "code" / "parts.py")
    assert refused.exit_code == 3
    assert digest in refused.stderr
    assert run("models", "import", moved / "model.json", "--trust-code", digest).exit_code == 0
    shutil.rmtree(moved)
    images = sorted((a_small_set / "valid" / "images").iterdir())
    done = run("register", images[0], images[1], "-o", "result", "--model", "mine_2d")
    assert done.exit_code == 0, done.stderr
    values["model"] = {"start_from": "mine_2d"}
    del values["code"]
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(values))
    tuned = run("train", "tuned.yaml", "-o", "tuned")
    assert tuned.exit_code == 0, tuned.stderr


@pytest.fixture
def a_small_set(tmp_path):
    make_shapes(tmp_path / "data", count=20)
    return tmp_path / "data"


PATHS = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|ui|json|yaml|txt|cff))`")
PLACES = ("", "RegistrationExtension/", "RegistrationExtension/neuralreg/",
          "RegistrationExtension/NeuralRegistrationLib/", "docs/", "Resources/")  # fmt: skip
MADE_BY_RUNS = ("RUN/", "pair_0000/")


@pytest.mark.parametrize(
    "page", sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")]), ids=lambda p: p.name
)
def test_every_file_that_a_page_names_exists(page):
    named = set(PATHS.findall(page.read_text(encoding="utf-8")))
    ours = [name for name in named if not name.startswith(MADE_BY_RUNS)]
    gone = [name for name in ours if not any((ROOT / place / name).exists() for place in PLACES)]
    assert gone == []
