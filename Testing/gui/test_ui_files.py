"""The .ui files are what Slicer's own loader understands, and what people can use."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from Testing.support.paths import RESOURCES

FOLDER = RESOURCES / "UI"
FILES = sorted(FOLDER.glob("*.ui"))
HEADERS = {  # as the plugins of CTK and Slicer declare them
    "ctkCollapsibleButton": "ctkCollapsibleButton.h",
    "ctkSliderWidget": "ctkSliderWidget.h",
    "qMRMLWidget": "qMRMLWidget.h",
    "qMRMLNodeComboBox": "qMRMLNodeComboBox.h",
    "qMRMLCheckableNodeComboBox": "qMRMLCheckableNodeComboBox.h",
}
FOR_PEOPLE = ("QPushButton", "QToolButton", "QComboBox", "QCheckBox", "QSpinBox")
PROMISED = {
    "fixedVolumeSelector",
    "movingVolumeSelector",
    "swapButton",
    "modelSelector",
    "presetSelector",
    "outputTransformSelector",
    "outputVolumeSelector",
    "applyButton",
    "cancelButton",
    "revertButton",
    "progressBar",
    "statusLabel",
    "summaryLabel",
}


def named(path: Path) -> dict[str, ElementTree.Element]:
    return {w.get("name"): w for w in ElementTree.parse(path).getroot().iter("widget")}


def property_of(widget, name: str) -> str:
    found = widget.find(f"property[@name='{name}']")
    return "" if found is None else "".join(found.itertext()).strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_widget_that_is_not_qt_s_is_declared_with_its_header(path):
    declared = {
        c.findtext("class"): c.findtext("header")
        for c in ElementTree.parse(path).getroot().iter("customwidget")
    }
    used = {w.get("class") for w in named(path).values() if not w.get("class").startswith("Q")}
    assert used <= set(declared)
    assert declared.items() <= HEADERS.items()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_text_that_wraps_asks_for_no_width(path):
    """A section is as wide as its contents want: a long sentence would widen the whole column."""
    for widget in named(path).values():
        if widget.get("class") == "QLabel" and property_of(widget, "wordWrap") == "true":
            policy = widget.find("property[@name='sizePolicy']/sizepolicy")
            assert policy is not None, widget.get("name")
            assert policy.get("hsizetype") == "Ignored", widget.get("name")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_selector_of_nodes_gets_the_scene(path):
    """One that is forgotten stays empty in Slicer."""
    root = ElementTree.parse(path).getroot()
    top = root.find("widget").get("name")
    reached = {
        c.findtext("receiver")
        for c in root.iter("connection")
        if (c.findtext("sender"), c.findtext("signal"), c.findtext("slot"))
        == (top, "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)")
    }
    kinds = ("qMRMLNodeComboBox", "qMRMLCheckableNodeComboBox")
    assert reached == {n for n, w in named(path).items() if w.get("class") in kinds}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_whatever_can_be_pressed_or_chosen_has_a_tooltip(path):
    for name, widget in named(path).items():
        kind = widget.get("class")
        if kind in FOR_PEOPLE or kind.startswith(("qMRMLNode", "qMRMLCheck", "ctkSlider")):
            assert property_of(widget, "toolTip"), f"{name} has no tooltip"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_screen_reader_has_a_name_for_each_control(path):
    """The text on a control, unless that is a sign or what it contains; else a name of its own."""
    mute = ("QLabel", "QWidget", "QFrame", "qMRMLWidget")
    for name, widget in named(path).items():
        text = property_of(widget, "accessibleName") or property_of(widget, "text")
        assert widget.get("class") in mute or len(text) > 1, f"{name} has no name"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_enter_presses_no_button_where_a_panel_lies_in_a_dialog(path):
    for name, widget in named(path).items():
        if widget.get("class") == "QPushButton":
            assert property_of(widget, "autoDefault") == "false", name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_colors_and_letters_are_those_of_the_application(path):
    """A style sheet of one widget takes the style of the application away from it."""
    assert "styleSheet" not in path.read_text(encoding="utf-8")


def test_the_names_that_scripts_rely_on_are_there():
    assert set(named(FOLDER / "RegisterPanel.ui")) >= PROMISED


def test_no_name_is_used_twice():
    names = [
        w.get("name") for path in FILES for w in ElementTree.parse(path).getroot().iter("widget")
    ]
    assert len(names) == len(set(names))


def test_every_parameter_has_exactly_one_control_or_is_connected_by_hand(the_application):
    from NeuralRegistrationLib.Register.Parameters import RegisterParameters

    tied = [
        property_of(w, "SlicerParameterName") for w in named(FOLDER / "RegisterPanel.ui").values()
    ]
    tied = [name for name in tied if name]
    by_hand = {"model", "modelOptions", "bringAlong"} | {
        f"{side}Mask{what}" for side in ("fixed", "moving") for what in ("", "Segment")
    }
    by_hand |= {"fixedLabels", "movingLabels", "channelWeights"}
    by_hand |= {
        f"{name}{what}" for name in ("rigidParts", "slidingMask") for what in ("", "Segment")
    }
    by_hand |= {f"{side}Channels" for side in ("fixed", "moving")}
    by_hand |= {
        f"{side}Surface{what}" for side in ("fixed", "moving") for what in ("s", "Segments")
    }
    assert len(tied) == len(set(tied))
    assert set(tied) | by_hand == set(RegisterParameters.allParameters)
