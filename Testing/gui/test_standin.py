"""The stand-in offers nothing that Slicer does not have, and behaves as Slicer's Qt does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import slicer

SOURCES = json.loads((Path(__file__).parent / "standin" / "sources.json").read_text("utf-8"))
pytestmark = pytest.mark.skipif(
    "SLICER_PYTHON" in os.environ, reason="Slicer's own files are in place of what is tested here"
)
INHERITED = {"minimumSizeHint", "sizeHint", "hitButton", "paintEvent", "childEvent", "eventFilter"}
NOT_API = {"SIGNALS", "staticMetaObject"}


def public(kind) -> set[str]:
    return {n for n in vars(kind) if not n.startswith("_")} - NOT_API - INHERITED


def offered(module) -> set[str]:
    return {name for name in vars(module) if not name.startswith("_")}


def test_qt_offers_the_classes_that_pythonqt_wraps(the_application):
    import qt

    assert offered(qt) == set(SOURCES["qt"])


def test_each_widget_offers_what_its_header_does(the_application):
    from Testing.gui.standin import ctk_widgets, mrml_widgets

    assert {k.__name__ for k in ctk_widgets.WIDGETS} == set(SOURCES["ctk"])
    for kind in ctk_widgets.WIDGETS:
        assert public(kind) == set(SOURCES["ctk"][kind.__name__]["members"]), kind
    shared = public(mrml_widgets._NodeList)
    for kind in mrml_widgets.WIDGETS:
        listed = set(SOURCES["slicer"][kind.__name__]["members"])
        base = SOURCES["slicer"]["qMRMLNodeComboBox"]["members"]
        assert public(kind) <= listed, kind
        assert listed <= public(kind) | shared, kind
        if issubclass(kind, mrml_widgets._NodeList):
            assert shared <= set(base)
    assert public(mrml_widgets._Filter) == {"hiddenNodeIDs"}


def test_the_modules_of_slicer_offer_what_their_files_do(the_application):
    from Testing.gui.standin import parameter_node

    for name in ("ScriptedLoadableModule", "parameterNodeWrapper", "packaging", "i18n"):
        listed = SOURCES[f"slicer.{name}"]
        module = getattr(slicer, name)
        for thing in listed:
            assert hasattr(module, thing)
        for thing, record in listed.items():
            if isinstance(getattr(module, thing), type):
                assert public(getattr(module, thing)) <= set(record["members"]), thing
    wrapped = SOURCES["slicer.parameterNodeWrapper"]["parameterNodeWrapper"]["members"]
    assert public(parameter_node._Wrapper) == set(wrapped)


def test_the_application_offers_what_slicer_s_does(the_application):
    own = {n for n in vars(type(the_application)) if not n.startswith("_")} - NOT_API
    assert own == set(SOURCES["slicer.app"])


def test_every_name_has_a_source():
    for module, names in SOURCES.items():
        for name, record in names.items():
            source = record["source"] if isinstance(record, dict) else record
            assert source.split("/")[0] in ("PythonQt", "CTK", "Slicer"), f"{module}.{name}"


def test_properties_need_no_parentheses_and_can_be_set(the_application):
    import qt

    button = qt.QPushButton("Go")
    button.enabled, button.toolTip = False, "Starts"
    assert (button.text, button.enabled, button.isEnabled()) == ("Go", False, False)
    button.setText("Stop")
    assert (button.text, button.toolTip, button.name) == ("Stop", "Starts", "")


def test_a_misspelled_property_is_an_error(the_application):
    import qt

    with pytest.raises(AttributeError, match="tooltip"):
        qt.QLabel().tooltip = "no such thing"


def test_a_signal_that_does_not_exist_is_an_error(the_application):
    import qt

    with pytest.raises(ValueError, match="pressedTwice"):
        qt.QPushButton().connect("pressedTwice()", print)


def test_a_slot_gets_no_more_arguments_than_it_and_the_signal_have(the_application):
    import qt

    button, seen = qt.QPushButton(), []
    button.checkable = True
    button.connect("clicked(bool)", lambda checked: seen.append(checked))
    button.connect("clicked(bool)", lambda: seen.append("nothing"))
    button.connect("clicked()", lambda default=5: seen.append(default))
    button.click()
    assert seen == [True, "nothing", 5]


def test_a_disconnected_slot_hears_nothing(the_application):
    import qt

    button, seen = qt.QPushButton(), []
    hear = seen.append
    button.connect("clicked(bool)", hear)
    button.disconnect("clicked(bool)", hear)
    button.click()
    assert seen == []


def test_an_exception_in_a_slot_is_caught_by_the_hook(the_application, no_slot_fails):
    import qt

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert [type(error) for error in no_slot_fails] == [ZeroDivisionError]
    no_slot_fails.clear()


def test_a_node_that_is_added_later_is_not_selected_by_itself(a_scene, a_volume):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(a_scene)
    node = a_volume("late")
    assert selector.currentNode() is None
    assert selector.nodeFromIndex(0) is node


def test_parameters_are_the_texts_that_slicer_writes(a_scene):
    from NeuralRegistrationLib.Register.Parameters import RegisterParameters
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    node = ScriptedLoadableModuleLogic().getParameterNode()
    RegisterParameters(node)
    texts = {name: node.GetParameter(name) for name in node.GetParameterNames()}
    assert texts["inverse"] == "False"
    assert texts["regularity"] == "1.0"
    assert texts["preset"] == "GENERIC"
    assert texts["bringAlong.len"] == "0"
    assert texts["fixedVolume"] == ""


def test_a_value_is_read_again_when_its_node_says_that_it_was_modified(a_scene):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    class Parameters:
        steps: int = 7

    wrapper = parameterNodeWrapper(Parameters)(
        a_scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    )
    node = wrapper.parameterNode
    modifying = node.StartModify()
    node.SetParameter("steps", "9")
    assert wrapper.steps == 7
    node.EndModify(modifying)
    assert wrapper.steps == 9
    wrapper.steps = 4
    assert (wrapper.steps, node.GetParameter("steps")) == (4, "4")


def test_a_value_outside_of_its_range_is_refused(a_scene):
    from NeuralRegistrationLib.Register.Parameters import RegisterParameters
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    parameters = RegisterParameters(ScriptedLoadableModuleLogic().getParameterNode())
    with pytest.raises(ValueError, match="201"):
        parameters.steps = 201
    with pytest.raises(TypeError):
        parameters.preset = "lung CT"


def test_a_hidden_child_stays_hidden_when_its_section_is_opened(the_application):
    import ctk
    import qt

    section = ctk.ctkCollapsibleButton()
    layout = qt.QVBoxLayout(section)
    shown, hidden = qt.QLabel("a"), qt.QLabel("b")
    for label in (shown, hidden):
        layout.addWidget(label)
    section.show()
    hidden.visible = False
    section.collapsed = True
    assert not shown.visible
    section.collapsed = False
    assert shown.visible
    assert not hidden.visible


@pytest.fixture
def a_selector(a_scene, a_volume):
    """A selector of four volumes, of which the second is chosen, and what it told since."""
    selector, told = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes, selector.noneEnabled = ["vtkMRMLScalarVolumeNode"], True
    selector.setMRMLScene(a_scene)
    nodes = [a_volume(name) for name in "abcd"]
    selector.setCurrentNode(nodes[1])
    selector.connect("currentNodeChanged(vtkMRMLNode*)", told.append)
    return selector, nodes, told


def test_removing_the_chosen_node_chooses_its_neighbor(a_selector, a_scene):
    selector, (a, b, c, d), told = a_selector
    seen = []
    a_scene.AddObserver(a_scene.NodeRemovedEvent, lambda *_: seen.append(selector.currentNode()))
    a_scene.RemoveNode(b)
    assert told == [c]
    assert seen == [c]  # it was chosen before the node had gone
    selector.setCurrentNode(d)
    a_scene.RemoveNode(d)
    assert told == [c, d, c]
    a_scene.RemoveNode(c)
    assert selector.currentNode() is a
    a_scene.RemoveNode(a)
    assert selector.currentNode() is None


def test_the_same_node_is_told_again_when_it_is_renamed_or_a_row_above_goes(a_selector, a_scene):
    _selector, (a, b, _c, d), told = a_selector
    b.SetName("renamed")
    assert told == [b]
    a_scene.RemoveNode(d)
    assert told == [b]
    a_scene.RemoveNode(a)
    assert told == [b, b]
