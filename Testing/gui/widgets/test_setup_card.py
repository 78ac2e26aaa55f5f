"""A Slicer without the packages: the panels open, ask once, and install in the background."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
import slicer

from Testing.support.opened_panel import open_panel


def test_opening_the_panels_loads_neither_torch_nor_itk(the_application):
    assert open_panel()[0].startswith("[] [] False")


def test_without_torch_the_panels_open_and_say_what_is_missing(the_application):
    then = """
import numpy
for name in ("fixed", "moving"):
    slicer.util.addVolumeFromArray(numpy.ones((9, 9, 9)), None, name)
panel.enter()
panel.registerPanel.ui.applyButton.click()
print(panel.registerPanel.ui.statusLabel.text.replace(chr(10), " "), errors)
print(panel.modelsPanel.ui.modelsTable.rowCount > 0)
"""
    first, status, models = open_panel(["torch"], then)
    assert first.startswith("[] [] True")
    assert "torch: a download of about" in first
    assert status == "Packages are missing. Install them with the card above. []"
    assert models == "True"  # cards need no torch


def test_without_what_reads_cards_the_panels_open_too(the_application):
    then = "print(panel.modelsPanel.ui.modelsStatusLabel.text, errors)"
    first, models = open_panel(["torch", "pydantic", "platformdirs", "SimpleITK"], then)
    assert first.startswith("[] [] True")
    assert models == "No models can be listed until the packages are installed. []"


@pytest.fixture
def some_missing(the_application, monkeypatch):
    """A clean Slicer, as far as the card can see: a list that a test may shorten."""
    from NeuralRegistrationLib import Dependencies

    left = [p for p in Dependencies.PACKAGES if p.module in ("torch", "pydantic")]
    monkeypatch.setattr(Dependencies, "missingPackages", lambda: list(left))
    return left


@pytest.fixture
def a_card(a_scene, some_missing):
    from NeuralRegistrationLib.Widgets.SetupCard import SetupCard

    ready = []
    card = SetupCard(onReady=lambda: ready.append(True))
    card.ready = ready
    return card


PYTORCH_EXTENSION = """
calls = []
torch_is_there = lambda: None

class PyTorchUtilsLogic:
    def installTorch(self, askConfirmation=False, forceComputationBackend=None,
                     torchVersionRequirement=None, torchvisionVersionRequirement=None):
        calls.append((askConfirmation, torchVersionRequirement))
        print("Collecting torch")
        torch_is_there()
        return "torch"
"""


@pytest.fixture
def pytorch_extension(monkeypatch, some_missing, tmp_path):
    """The part of the PyTorch extension that is called, as a module file; it remembers how."""
    (tmp_path / "PyTorchUtils.py").write_text(PYTORCH_EXTENSION)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("PyTorchUtils")
    module.torch_is_there = some_missing.clear
    yield module.calls
    del sys.modules["PyTorchUtils"]


@pytest.fixture
def pip(monkeypatch, the_application):
    """What pip was asked for, outside of testing mode; a test plays its answers."""
    requests = []

    def run(requirements, alone=None, log=None, completed=None):
        request = {"requirements": requirements, "alone": alone}
        requests.append(
            types.SimpleNamespace(**request, logCallback=log, completedCallback=completed)
        )

    monkeypatch.setattr(slicer.packaging, "run", run)
    monkeypatch.setattr(type(the_application), "testingEnabled", lambda self: False)
    yield requests
    if slicer.packaging.isPipInstallInProgress():
        requests[-1].completedCallback(1)


def test_one_click_installs_all_of_it_with_a_log(a_card, pip, pytorch_extension, wait_until):
    a_card.ui.installButton.click()
    assert not a_card.ui.installButton.enabled
    wait_until(lambda: pip)
    assert pip[0].requirements == ["pydantic>=2.10"]
    pip[0].logCallback("Collecting pydantic")
    pip[0].completedCallback(0)
    assert len(pip) == 1
    assert pytorch_extension == [(False, ">=2.2")]
    assert "Collecting pydantic" in a_card.ui.setupLog.plainText
    assert "Collecting torch" in a_card.ui.setupLog.plainText
    assert a_card.ready == [True]
    assert a_card.widget.isHidden()


def test_a_failure_is_told_and_can_be_tried_again(a_card, pip, pytorch_extension, wait_until):
    a_card.ui.installButton.click()
    wait_until(lambda: pip)
    pip[0].logCallback("No matching distribution")
    pip[0].completedCallback(1)
    assert "pip ended with code 1" in a_card.ui.setupLabel.text
    assert a_card.ui.installButton.enabled
    assert a_card.ready == []
    assert pytorch_extension == []


def test_without_the_pytorch_extension_the_card_says_where_to_get_it(
    a_card, some_missing, wait_until
):
    del some_missing[1:]
    a_card.ui.installButton.click()
    wait_until(lambda: a_card.ui.installButton.enabled)
    assert "Extensions Manager" in a_card.ui.setupLabel.text


def test_refusing_hides_the_card_and_leaves_the_panels_usable(a_card):
    a_card.widget.show()
    a_card.ui.laterButton.click()
    assert a_card.widget.isHidden()


@pytest.fixture
def installer(the_application):
    """Installs packages, and remembers what it said and how it ended."""
    from NeuralRegistrationLib import Dependencies

    log, ended = [], []
    made = Dependencies.Installer(log.append, ended.append)
    made.log, made.ended = log, ended
    return made


def packages(*modules):
    from NeuralRegistrationLib import Dependencies

    every = (*Dependencies.PACKAGES, *Dependencies.TRAINING, *Dependencies.REPORT)
    return [package for package in every if package.module in modules]


def test_while_another_installation_is_under_way_the_card_says_so(
    a_card, pip, installer, wait_until, pytorch_extension
):
    installer.install(packages("fpdf"))
    a_card.ui.installButton.click()
    wait_until(lambda: not a_card.installing)
    assert "try again" in a_card.ui.setupLabel.text
    assert a_card.ui.installButton.enabled
    pip[0].completedCallback(0)
    assert installer.ended == [""]
    a_card.ui.installButton.click()
    wait_until(lambda: len(pip) == 2)
    pip[1].completedCallback(0)
    assert a_card.ready == [True]


def test_an_installation_of_another_extension_is_waited_for(pip, installer):
    slicer.packaging.pip_install("other", blocking=False, completedCallback=lambda code: None)
    installer.install(packages("fpdf"))
    assert "try again" in installer.ended[0]


def test_what_pip_raises_is_told(pip, installer, monkeypatch):
    def fails(*_):
        raise RuntimeError("PythonSlicer cannot be started")

    monkeypatch.setattr(slicer.packaging, "run", fails)
    installer.install(packages("fpdf"))
    assert installer.ended == ["PythonSlicer cannot be started"]


def test_in_testing_mode_where_pip_calls_nobody_it_ends_as_well(installer, monkeypatch):
    asked = []
    monkeypatch.setattr(slicer.packaging, "run", lambda *request: asked.append(request))
    installer.install(packages("fpdf", "matplotlib"))
    assert asked == [(["fpdf2>=2.8", "matplotlib>=3.8"], None)]
    assert installer.ended == [""]


def test_what_is_to_come_alone_never_brings_what_it_requires(pip, installer):
    installer.install(packages("monai"))
    assert pip[0].requirements == ["--no-deps", "monai>=1.4"]
    pip[0].completedCallback(0)
    installer.install(packages("monai", "h5py"))
    assert (pip[1].requirements, pip[1].alone) == (["h5py>=3.12"], ["monai>=1.4"])


def test_before_slicer_5_12_pip_works_in_the_foreground(installer, monkeypatch):
    asked = []
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", asked.append, raising=False)
    installer.install(packages("monai", "h5py"))
    assert asked == [["h5py>=3.12"], ["--no-deps", "monai>=1.4"]]
    assert installer.ended == [""]


def test_the_log_of_torch_has_no_empty_lines(the_application):
    from NeuralRegistrationLib.Dependencies import _Lines

    lines = []
    print("Collecting torch", "from here", sep=" ", end="\n\n", file=_Lines(lines.append))
    assert lines == ["Collecting torch from here"]
