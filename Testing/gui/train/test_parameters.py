"""Each control is a parameter, each parameter reaches the command, all are kept with the scene."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import slicer

from Testing.support.opened_panel import open_panel
from Testing.support.paths import RESOURCES
from Testing.support.widgets import pick_data

UI = RESOURCES / "UI" / "TrainPanel.ui"
BY_HAND = {"volumes", "segmentations", "startFrom", "recipe"}


def test_every_parameter_has_exactly_one_control_or_is_connected_by_hand(the_application):
    from NeuralRegistrationLib.Train.Parameters import TrainParameters

    path = ".//property[@name='SlicerParameterName']/string"
    tied = [element.text for element in ElementTree.parse(UI).iterfind(path)]
    assert len(tied) == len(set(tied))
    assert set(tied) | BY_HAND == set(TrainParameters.allParameters)


def values_of(panel) -> dict:
    from neuralreg.training.configuration import merge_files
    from NeuralRegistrationLib.Train import Command

    arguments = Command.newRun(panel.parameters)
    return merge_files([arguments[0]], arguments[2:-2:2])[0]


def test_each_control_reaches_the_configuration(ready, toys, tmp_path):
    ui = ready.ui
    ui.trainEpochsSpinBox.value = 7
    ui.trainRateSpinBox.value = 0.00025
    ui.trainDeviceSelector.currentIndex = 1
    ui.trainSizeXSpinBox.value, ui.trainSizeYSpinBox.value = 24, 32
    ui.trainNameEdit.text = "my.net"
    pick_data(ui.trainRecipeSelector, "lapirn")
    values = values_of(ready)
    assert values["name"] == "my.net"
    assert values["model"]["backbone"]["name"] == "lapirn"
    assert values["dataset"]["size"] == [24, 32, 16]
    assert values["dataset"]["train"] == {"dir": str(toys / "train"), "labeled": True}
    training = values["training"]
    assert (training["epochs"], training["optimizer"]["lr"]) == (7, 0.00025)
    assert (training["device"], training["best"]) == ("cpu", "dice")
    ui.trainLabelsCheckBox.checked = False
    assert values_of(ready)["dataset"]["valid"]["labeled"] is False
    assert values_of(ready)["training"]["best"] == "loss"
    ui.trainSizeZSpinBox.value = 1
    assert values_of(ready)["dataset"]["size"] == [24, 32]
    ui.validFolderEdit.text = ""
    assert "valid" not in values_of(ready)["dataset"]
    ui.trainEpochsSpinBox.value, ui.trainRateSpinBox.value = 0, 0
    assert values_of(ready)["training"]["epochs"] == 300  # of LapIRN


def test_a_check_needs_no_run_folder_and_does_not_mind_a_run(ready, a_run):
    from NeuralRegistrationLib.Train import Command

    for folder in ("", str(a_run)):
        ready.ui.runFolderEdit.text = folder
        assert Command.check(ready.parameters)[-3:] == ["-o", folder, "--check"]


def test_folders_of_pairs_and_of_hdf5_are_seen_as_what_they_are(ready, tmp_path):
    (tmp_path / "pairs" / "moving_images").mkdir(parents=True)
    (tmp_path / "h5").mkdir()
    (tmp_path / "h5" / "images.h5").touch()
    ready.ui.validFolderEdit.text = ""
    ready.ui.trainFolderEdit.text = str(tmp_path / "pairs")
    assert values_of(ready)["dataset"]["type"] == "paired"
    ready.ui.trainFolderEdit.text = str(tmp_path / "h5")
    assert values_of(ready)["dataset"]["train"]["format"] == "h5"


@pytest.mark.parametrize("name", ["C:\\data #1\\it's", "ä b/c: d", '"quoted"'])
def test_folders_of_any_name_survive_the_command_line(ready, name):
    ready.ui.trainFolderEdit.text = name
    assert values_of(ready)["dataset"]["train"]["dir"] == name


def test_every_recipe_that_is_offered_is_there_and_says_what_it_is(panel):
    from NeuralRegistrationLib.Train.Recipes import listRecipes

    box = panel.ui.trainRecipeSelector
    names = [box.itemData(n) for n in range(box.count)]
    assert names == [*listRecipes(), "choose"]
    assert len(names) == 15
    assert names[0] == "voxelmorph"
    for name in names[:-1]:
        pick_data(box, name)
        text = panel.ui.trainRecipeText.text
        assert "epochs" in text
        assert "neuralreg " not in text
        assert "doi" not in text
        assert 5 < len(box.currentText) < 60, box.currentText


def test_a_file_that_names_its_own_images_is_left_as_it_is(ready, tmp_path, monkeypatch):
    import qt

    opened_files = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened_files.append(url))
    path = tmp_path / "mine.yaml"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
    ready.ui.trainEpochsSpinBox.value = 9
    before = values_of(ready)
    ready.ui.trainYamlButton.click()
    assert len(opened_files) == 1
    assert ready.parameters.recipe == str(path)
    assert ready.ui.trainEpochsSpinBox.value == 0
    assert "names its own images" in ready.ui.trainRecipeText.text
    assert not ready.ui.trainSizeXSpinBox.enabled
    assert values_of(ready) == before
    ready.ui.trainFolderEdit.text = "elsewhere"
    assert values_of(ready) == before


def test_parameters_are_saved_with_the_scene_and_restored(ready, a_scene, tmp_path, a_volume):
    volume = a_volume("kept")
    ui = ready.ui
    ui.trainSourceSelector.currentIndex = 1
    ready.set({"volumes": [volume], "startFrom": "lapirn_disp.fea7"})
    ui.trainRateSpinBox.value = 0.00025
    a_scene.SetURL(str(tmp_path / "scene.mrml"))
    a_scene.SetRootDirectory(str(tmp_path))
    assert a_scene.Commit()
    text = (tmp_path / "scene.mrml").read_text()
    a_scene.Clear(False)
    assert ready.parameters is None or ui.runFolderEdit.text == ""
    a_scene.SetLoadFromXMLString(1)
    a_scene.SetSceneXMLString(text)
    a_scene.Import()
    assert ui.trainRateSpinBox.value == 0.00025
    assert ui.runFolderEdit.text == str(tmp_path / "a run")
    assert ui.trainStartSelector.currentData == "lapirn_disp.fea7"
    assert [n.GetName() for n in ui.trainVolumesSelector.checkedNodes()] == ["kept"]
    assert not ui.trainSceneBox.isHidden()


def test_without_the_packages_the_panel_opens_asks_and_trains_nothing(the_application):
    then = """
panel.tabs.setCurrentIndex(2)
train = panel.trainPanel
print(train.setupCard.ui.setupLabel.text, errors)
train.ui.startTrainingButton.click()
print(train.ui.trainStatusLabel.text.replace(chr(10), " "), errors)
train.ui.trainYamlButton.click()
print([n for n in ("torch", "SimpleITK", "monai", "omegaconf") if sys.modules.get(n)], errors)
"""
    first, card, status, loaded = open_panel(["monai", "pandas", "yaml"], then)
    assert first.startswith("[] [] False")  # registering needs none of them
    assert card.startswith("To train networks, Slicer needs monai, pandas: a download of about")
    assert status.startswith("Packages are missing")
    assert loaded == "[] []"


def test_what_would_bring_another_torch_is_installed_without_what_it_asks_for(
    the_application, monkeypatch
):
    from NeuralRegistrationLib import Dependencies

    asked = []

    def pip_install(requirements, **named):
        asked.append((requirements, named.get("no_deps_requirements")))
        named["completedCallback"](0)

    monkeypatch.setattr(slicer.packaging, "pip_install", pip_install)
    ends = []
    installer = Dependencies.Installer(print, ends.append)
    installer.install(list(Dependencies.TRAINING))
    installer.install([p for p in Dependencies.TRAINING if p.module == "monai"])
    assert asked[0][1] == ["monai>=1.4"]
    assert "pandas>=2.2" in asked[0][0]
    assert asked[1] == (["--no-deps", "monai>=1.4"], None)
    assert ends == ["", ""]


def test_the_list_of_packages_is_what_training_imports(the_application):
    """The same names as in the extra of the package, as far as Slicer lacks them."""
    import tomllib

    from NeuralRegistrationLib import Dependencies

    project = tomllib.loads((UI.parents[2] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["training"]
    wanted = {one.partition("=")[0].partition(">")[0] for one in extra} - {"matplotlib"}
    offered = {p.requirement.partition(">")[0] for p in Dependencies.TRAINING}
    assert wanted <= offered
    core = UI.parents[2] / "RegistrationExtension" / "neuralreg"
    files = [*(core / "training").glob("*.py"), *(core / "cli").glob("*.py")]
    assert not any("import matplotlib" in file.read_text("utf-8") for file in files)
