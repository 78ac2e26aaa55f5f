"""A Slicer without the packages: the panels open, ask once, and install in the background."""

from __future__ import annotations

import importlib
import inspect
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
    """What pip was asked for; a test plays its answers."""
    requests = []
    signature = inspect.signature(slicer.packaging.pip_install)

    def pip_install(*arguments, **named):
        given = signature.bind(*arguments, **named).arguments
        assert given["blocking"] is False
        requests.append(types.SimpleNamespace(**given))

    monkeypatch.setattr(slicer.packaging, "pip_install", pip_install)
    return requests


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
