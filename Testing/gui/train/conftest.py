"""The Train panel on shifted balls, a recipe that learns that, and a run to go on from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import yaml

from Testing.support.widgets import TRAIN_SIZE

EPOCHS = 15  # of the finished run
RECIPE = {
    "model": {"backbone": {"name": "voxelmorph", "features": [[8, 8], [8, 8, 8]]}},
    "loss": {
        "image": {"name": "ssd"},
        "deformation": {"name": "gradient", "weight": 0.003},
    },
    "training": {
        "epochs": 2,
        "batch_size": 2,
        "threads": 1,
        "optimizer": {"name": "Adam", "lr": 0.003},
        "pictures": 1,
    },
}


def write_ball(folder: Path, number: int, shift: float) -> None:
    """An image of a soft ball, shifted along x, and its label map."""
    z, y, x = np.mgrid[:TRAIN_SIZE, :TRAIN_SIZE, :TRAIN_SIZE] - (TRAIN_SIZE - 1) / 2
    radius = np.sqrt((x - shift) ** 2 + (1.2 * y) ** 2 + z**2)
    parts = {
        "images": (1 / (1 + np.exp(2 * (radius - 4.5)))).astype(np.float32),
        "labels": (radius < 4.5).astype(np.uint8),
    }
    for kind, values in parts.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        path = folder / kind / f"ball{number:02d}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))


@pytest.fixture(scope="session")
def toys(tmp_path_factory) -> Path:
    """Balls with label maps, in train, valid and test."""
    folder, random = tmp_path_factory.mktemp("toys"), np.random.default_rng(0)
    for split, count in (("train", 16), ("valid", 2)):
        for number in range(count):
            write_ball(folder / split, number, random.uniform(-3, 3))
    for number, shift in enumerate((-2.5, 2.5)):
        write_ball(folder / "test", number, shift)
    return folder


@pytest.fixture(scope="session")
def toy_recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "toy.yaml"
    path.write_text("# A toy: for tests only.\n" + yaml.safe_dump(RECIPE), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def a_run(toys, toy_recipe, tmp_path_factory) -> Path:
    """A finished run of the toy recipe, long enough to have learned something."""
    from neuralreg.training.configuration import read_configuration
    from neuralreg.training.loop.run import Run

    folder = tmp_path_factory.mktemp("runs") / "first"
    values = [f"dataset.{s}={{dir: {toys / s}, labeled: true}}" for s in ("train", "valid")]
    values += [
        "name=toy.first",
        f"dataset.size=[{TRAIN_SIZE},{TRAIN_SIZE},{TRAIN_SIZE}]",
        "training.best=dice",
        f"training.epochs={EPOCHS}",
    ]
    Run(read_configuration([toy_recipe], values), folder).train()
    return folder


@pytest.fixture
def own_models(tmp_path, monkeypatch) -> Path:
    """Where models of one's own go in this test."""
    folder = tmp_path / "own models"
    folder.mkdir()
    monkeypatch.setenv("NEURALREG_MODELS", str(folder))
    return folder


@pytest.fixture
def plots(a_headless_scene):
    """Slicer's own logic of plots, and what it needs of an application."""
    logic = slicer.vtkSlicerPlotsLogic()
    logic.SetMRMLApplicationLogic(a_headless_scene.application)
    logic.SetMRMLScene(a_headless_scene.scene)
    slicer.modules.plots = SimpleNamespace(logic=lambda: logic)
    yield logic
    del slicer.modules.plots


@pytest.fixture
def panel(a_panel, own_models):
    """The Train panel, as it opens."""
    a_panel.tabs.setCurrentIndex(2)
    return a_panel.trainPanel


@pytest.fixture
def ready(panel, toys, toy_recipe, tmp_path):
    """The panel with all that a run needs."""
    ui = panel.ui
    ui.trainFolderEdit.text, ui.validFolderEdit.text = str(toys / "train"), str(toys / "valid")
    ui.runFolderEdit.text = str(tmp_path / "a run")
    for axis in "XYZ":
        getattr(ui, f"trainSize{axis}SpinBox").value = TRAIN_SIZE
    panel.set({"recipe": str(toy_recipe)})
    return panel


@pytest.fixture
def idle(wait_until):
    """Waits until nothing is under way in a panel."""
    return lambda panel: wait_until(lambda: not panel.training.busy, 120)


@pytest.fixture
def learning(wait_until):
    """Waits until a network has made some steps."""

    def wait(panel, steps: int = 4) -> None:
        wait_until(lambda: panel.training.busy and (panel.view.steps >= steps), 120)

    return wait
