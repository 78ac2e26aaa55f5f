"""The examples of the documentation run as they stand, in order, in an empty folder."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import neuralreg
import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from neuralreg import models
from neuralreg.io.files import sha256_of
from neuralreg.io.landmark_files import Landmarks, write_landmarks
from neuralreg.registration.options import BRAIN_MODELS
from neuralreg.training.config.part_registry import BACKBONES, LOSSES
from neuralreg.training.data.toy_datasets import make_shapes
from neuralreg.zoo import registry as zoo_registry
from neuralreg.zoo.registry import list_models

from Testing.support import phantom
from Testing.support.command_line import neuralreg as run
from Testing.support.pages import (
    IN_SLICER,
    blocks_of,
    commands_of,
    run_page,
    run_snippets,
    snippets_of,
)
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


# One is for Slicer's console (slicer/test_tutorial runs it); the other needs weights of a network,
# so only its commands and options are compared, below.
NOT_HERE = {"tutorial-console.md", "groups.md", "tutorial-brains.md", "brain-networks.md"}
PAGES = [
    page
    for page in sorted([*DOCS.rglob("*.md"), ROOT / "README.md", *(ROOT / "examples").glob("*.md")])
    if any(IN_SLICER not in text for _, text in snippets_of(page)) and page.name not in NOT_HERE
]


# 2.9 mm: what the pages say holds for any size, and a third of the voxels is registered sooner.
SMALL = phantom.CUBE.resize((28, 30, 26))


def a_pair(folder, odd_pairs):
    """What a page may take for granted: two images, labels, a transform, two configurations."""
    shift = np.array([3.0, -2.0, 1.0])
    fixed = phantom.seen(SMALL)
    moving = phantom.seen(SMALL, lambda points: points - shift, seed=1)
    neuralreg.write_image(fixed, "fixed.nii.gz")
    neuralreg.write_image(moving, "moving.nii.gz")
    labels = (moving.data > 40).to(torch.uint8)
    neuralreg.write_image(neuralreg.Image(labels, moving.grid), "labels.nii.gz")
    vectors = torch.tensor(shift).view(3, 1, 1, 1).expand(3, *SMALL.shape)
    field = neuralreg.DisplacementField(vectors.float().contiguous(), SMALL)
    neuralreg.write_transform(field, "fixed_to_moving.nii.gz")
    make_shapes(folder / "data", count=20)
    values = training_values(folder / "data")
    for name, keys in (("data.yaml", {"dataset"}), ("method.yaml", values.keys() - {"dataset"})):
        (folder / name).write_text(yaml.safe_dump({key: values[key] for key in keys}))


def two_heads(folder, odd_pairs):
    pair = odd_pairs / "od01_oblique"
    for role, name in (("fixed", "person"), ("moving", "atlas")):
        head = sitk.ReadImage(str(pair / f"{role}.nii.gz"))
        half = sitk.BinShrink(head, [2, 2, 2])  # of the voxels along each axis
        sitk.WriteImage(half, str(folder / f"{name}.nii.gz"))


def files_of_other_programs(folder, odd_pairs):
    a_pair(folder, odd_pairs)
    (folder / "fixed.nii.gz").rename(folder / "t1.nii.gz")
    (folder / "moving.nii.gz").rename(folder / "bold.nii.gz")
    (folder / "flirt.mat").write_text("1 0 0 3\n0 1 0 -2\n0 0 1 1\n0 0 0 1\n")
    sitk.WriteTransform(sitk.AffineTransform(3), str(folder / "0GenericAffine.mat"))
    for name in ("1Warp", "1InverseWarp"):
        shutil.copy(folder / "fixed_to_moving.nii.gz", folder / f"{name}.nii.gz")
    (folder / "landmarks.csv").write_text("name,x,y,z\napex,1,2,3\n")
    sides = ("--fixed", "t1.nii.gz", "--moving", "bold.nii.gz")
    done = run("convert", "1Warp.nii.gz", "-o", "y_t1.nii", "--to", "spm", *sides)
    assert done.exit_code == 0, done.stderr


def a_pair_with_landmarks(folder, odd_pairs):
    shift = np.array([3.0, -2.0, 1.0])
    neuralreg.write_image(phantom.seen(SMALL), "fixed.nii.gz")
    moving = phantom.seen(SMALL, lambda points: points - shift, seed=1)
    neuralreg.write_image(moving, "moving.nii.gz")
    points = phantom.landmarks(3, 5)
    for side, where in (("fixed", points), ("moving", points + shift)):
        names = tuple("ABCDE")
        write_landmarks(Landmarks(names, tuple(map(tuple, where.tolist()))), f"{side}.mrk.json")
    for side, image in (("fixed", phantom.seen(SMALL)), ("moving", moving)):
        labels = neuralreg.Image((image.data > 40).to(torch.uint8), image.grid)
        neuralreg.write_image(labels, f"{side}_seg.nii.gz")
        neuralreg.write_image(image, f"{side}_t2.nii.gz")
    for file, place in (("places", (5.0, 4.0, 3.0)), ("partners", (8.0, 6.0, 4.0))):
        write_landmarks(Landmarks(("A",), (place,)), f"{file}.csv")


INPUTS = {  # pages that begin with other files than most
    "training.md": lambda folder, odd_pairs: None,
    "own-models.md": lambda folder, odd_pairs: None,
    "tutorial-python.md": two_heads,
    "transforms.md": files_of_other_programs,
    "guides.md": a_pair_with_landmarks,
}


def disks_are_registered_by_name(names):
    result = neuralreg.register("fixed.nii.gz", "moving.nii.gz", "disks.first", linear="none")
    assert result.outcome.similarity_final > result.outcome.similarity_initial
    record = yaml.safe_load(Path("result/result.json").read_text())
    assert record["model"] == "disks.first"


def heads_agree_with_itk(names):
    assert names["result"].model == "convex"
    for name in ("atlas_on_person.nii.gz", "before-and-after.png", "person_to_atlas.nii.gz"):
        assert Path(name).is_file()
    by_itk = sitk.GetArrayFromImage(names["again"])
    ours = names["warped"].data[0].numpy()
    inside = by_itk > 0
    assert np.abs(by_itk[inside].astype(float) - ours[inside]).mean() < 1


def the_page_on_training_runs_once_more(names):
    assert Path("results/pairs.png").is_file()
    assert "shapes" in {card.name for card in list_models()}
    assert float(names["step"].factor.detach()) == pytest.approx(2, abs=0.2)
    again = run(*commands_of(DOCS / "training.md")[0])
    assert again.exit_code == 0, again.stderr  # a model has the name of the example now


def a_transform_and_its_review_are_written(names):
    assert np.allclose(names["result"].field.vectors.mean((1, 2, 3)), [3, -2, 1], atol=0.7)
    assert Path("review.html").is_file()
    assert Path("run/model.json").is_file()


def landmarks_steered(names):
    points = phantom.landmarks(3, 50, seed=3)
    moved = names["result"].field(points)
    assert np.linalg.norm(moved - points - [3, -2, 1], axis=1).mean() < 0.7
    place = np.array([[5.0, 4.0, 3.0]])
    assert np.linalg.norm(names["corrected"].field(place) - [8, 6, 4]) < 0.3
    record = yaml.safe_load(Path("again/result.json").read_text())
    assert record["repair"]["corrections"] == []


CHECKS = {
    "guides.md": landmarks_steered,
    "own-models.md": disks_are_registered_by_name,
    "tutorial-python.md": heads_agree_with_itk,
    "training.md": the_page_on_training_runs_once_more,
    "README.md": a_transform_and_its_review_are_written,
    "review.md": lambda names: Path("out.html").stat(),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_runs_as_it_stands(page, tmp_path, monkeypatch, odd_pairs):
    """Every snippet in its order in one folder; a new page is taken by itself."""
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    for registry in (BACKBONES, LOSSES["image"]):  # other tests may register such names
        monkeypatch.setattr(registry, "_parts", dict(registry._load_parts()))
    monkeypatch.setattr(zoo_registry, "_own_networks", {})
    INPUTS.get(page.name, a_pair)(tmp_path, odd_pairs)
    names = {"__name__": page.name}
    run_snippets(page, names, lambda text: IN_SLICER not in text)
    CHECKS.get(page.name, lambda names: None)(names)


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


OF_SLICER = {"PyTorch", "Neural Registration", "Sample Data", "HeadTwoScans", "Segment Editor", "X"}
TABS = {"Register", "Review", "Train", "Models", "Batch"}


@pytest.mark.parametrize("page", ["tutorial.md", "tutorial-brains.md"])
def test_each_control_that_a_tutorial_names_is_called_so_in_the_panels(page):
    texts = (DOCS / page).read_text(encoding="utf-8").split("# When it")[0]
    named = {" ".join(name.split()) for name in re.findall(r"\*\*(.+?)\*\*", texts, re.DOTALL)}
    files = (ROOT / "Resources" / "UI").glob("*.ui")
    shown = {s.text for f in files for s in ElementTree.parse(f).getroot().iter("string")}
    assert len(named) > 5
    assert named - shown - OF_SLICER - TABS == set()


@pytest.mark.parametrize("page", ["tutorial-brains.md", "brain-networks.md", "groups.md"])
def test_commands_that_are_not_run_have_the_options_that_they_use(page):
    commands = commands_of(DOCS / page)
    names = {*BRAIN_MODELS, *(card.name for card in list_models(task=None))}
    assert len(commands) > 4
    for words in commands:
        name = words[:2] if words[0] == "models" else words[:1]
        text = run(*name, "--help").output
        assert [w for w in words if w.startswith("--") and w not in text] == []
        models = [words[n + 1] for n, w in enumerate(words) if w in ("--model", "get")]
        assert set(models) <= names


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
