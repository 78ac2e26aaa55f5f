"""Models as a start, and the result of a run in the Register panel."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import torch
from neuralreg.errors import IncompatibleModel, WeightsUnavailable
from neuralreg.training.model.fine_tuning import starting_point
from neuralreg.zoo.registry import list_models
from neuralreg.zoo.user_models import import_card

from Testing.support.widgets import TRAIN_SIZE, pick_data


@pytest.fixture
def a_model(own_models, a_run):
    """A model of one's own in the list."""
    return import_card(a_run / "model.json")


def test_fine_tuning_begins_with_the_weights_of_the_model(
    a_model, ready, idle, a_run, tmp_path, toy_recipe
):
    from NeuralRegistrationLib.Train import RunFolder

    ui = ready.ui
    ready.reload()
    pick_data(ui.trainStartSelector, "toy.first")
    assert ready.parameters.recipe != "fine_tune"  # a file of one's own stays
    assert [getattr(ui, f"trainSize{axis}SpinBox").value for axis in "XYZ"] == [TRAIN_SIZE] * 3
    ready.set({"trainFolder": ready.parameters.validFolder})  # one short epoch
    ui.trainEpochsSpinBox.value = 1
    ui.trainRateSpinBox.value = 0.000001
    ui.startTrainingButton.click()
    idle(ready)
    run = tmp_path / "a run"
    assert ui.trainStatusLabel.text.startswith("Done"), ui.trainStatusLabel.text
    former = RunFolder.curves(str(a_run))
    known = max(former, key=lambda epoch: epoch["valid dice"])  # whose weights the model has
    (found,) = RunFolder.curves(str(run))
    assert found["valid loss"] == pytest.approx(known["valid loss"], rel=0.01)
    assert found["valid loss"] < 0.5 * former[0]["valid loss"]  # as a new network begins
    start = torch.load(a_run / "toy.first.pt", weights_only=True)
    tuned = torch.load(run / "trained.pt", weights_only=True)
    assert start.keys() == tuned.keys()
    gaps = [float((start[name] - tuned[name]).abs().max()) for name in start]
    assert 0 < max(gaps) < 1e-5


def test_a_model_that_is_chosen_brings_its_size_and_a_gentle_recipe(panel, a_model):
    panel.reload()
    ui = panel.ui
    pick_data(ui.trainStartSelector, "toy.first")
    assert panel.parameters.recipe == "fine_tune"
    assert ui.trainSizeXSpinBox.value == TRAIN_SIZE
    assert "20 epochs, learning rate 5e-05" in ui.trainRecipeText.text
    pick_data(ui.trainStartSelector, "lapirn_disp.fea7")
    assert [getattr(ui, f"trainSize{axis}SpinBox").value for axis in "XYZ"] == [144, 192, 160]
    assert not ui.trainSizeXSpinBox.enabled  # that network wants brains placed on just this grid
    pick_data(ui.trainStartSelector, "")
    assert panel.parameters.recipe == "voxelmorph"
    assert ui.trainSizeXSpinBox.enabled


def test_only_networks_that_can_be_trained_are_offered(panel):
    box = panel.ui.trainStartSelector
    names = {box.itemData(n) for n in range(box.count)}
    assert {"", "gradicon.unigradicon", "lapirn_diff.fea7"} <= names
    assert not {"convex", "anatomix.iclr2025"} & names
    refused = set()
    for card in list_models():
        try:
            starting_point(card.name)
        except IncompatibleModel:
            refused.add(card.name)
        except WeightsUnavailable:  # a good start, once it is fetched
            pass
    assert {card.name for card in list_models()} - refused == names - {"", "choose"}


def test_the_model_of_a_run_registers_a_pair_in_the_register_panel(
    a_panel, panel, own_worker, a_run, toys, idle, wait_until, plots
):
    files = sorted((toys / "test" / "images").rglob("*.nii.gz"))[:2]
    for name, file in zip(("fixed", "moving"), files, strict=True):
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        slicer.util.addVolumeFromArray(array, None, name)
    panel.ui.runFolderEdit.text = str(a_run)
    panel.ui.useModelButton.click()
    idle(panel)
    register = a_panel.registerPanel
    assert a_panel.tabs.currentIndex == 0
    assert register.parameters.model == "toy.first"
    assert register.models.model == "toy.first"
    register.chooseVolumes()
    register.parameters.prealign = type(register.parameters.prealign).NONE
    register.ui.applyButton.click()
    wait_until(lambda: not register.jobs, 120)
    done = register.history[-1]
    assert done.result.model == "toy.first", register.ui.statusLabel.text
    fixed, moving, warped = (
        slicer.util.arrayFromVolume(slicer.util.getNode(name))
        for name in ("fixed", "moving", "moving on fixed")
    )
    assert np.abs(warped - fixed).mean() < 0.5 * np.abs(moving - fixed).mean()


def test_an_earlier_run_can_be_the_start(panel, a_run, monkeypatch, tmp_path):
    import qt

    run = shutil.copytree(a_run, tmp_path / "earlier")
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(run))
    pick_data(panel.ui.trainStartSelector, "choose")
    assert panel.parameters.startFrom == str(run)
    assert panel.ui.trainStartSelector.currentText == "Run earlier"
    assert panel.ui.trainSizeXSpinBox.value == TRAIN_SIZE
    panel.method.require(panel.parameters)
