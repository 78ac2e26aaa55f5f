"""The Register panel: what it knows, sends and says. The answers of the worker are known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import slicer

from Testing.support.paths import TEST_DATA


@pytest.fixture
def panel(known_worker, a_pair, a_panel):
    a_panel.registerPanel.parameters.model = "convex"
    return a_panel.registerPanel


@pytest.fixture
def run(panel, wait_until):
    """Presses Apply and waits; what came of it."""

    def press():
        panel.ui.applyButton.click()
        wait_until(lambda: not panel.jobs)
        return panel.history[-1] if panel.history else None

    return press


def asked_options(result) -> dict:
    """The options that the engine was called with, as texts."""
    return result.result.provenance["asked"]


def pick(selector, label: str) -> None:
    selector.currentIndex = selector.findText(label)


def a_segmentation(volume, scene):
    """Two segments, of 8 and of 27 voxels."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    labels[2:4, 2:4, 2:4], labels[6:9, 6:9, 6:9] = 1, 2
    map_node = slicer.util.addVolumeFromArray(labels, None, "labels", "vtkMRMLLabelMapVolumeNode")
    map_node.CopyOrientation(volume)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(map_node, node)
    scene.RemoveNode(map_node)
    return node


def test_the_first_two_volumes_are_chosen(panel, a_pair):
    ui = panel.ui
    assert (ui.fixedVolumeSelector.currentNode(), ui.movingVolumeSelector.currentNode()) == a_pair
    assert ui.applyButton.enabled


def test_swap_lets_the_volumes_change_places(panel, a_pair):
    panel.ui.swapButton.click()
    ui = panel.ui
    chosen = (ui.fixedVolumeSelector.currentNode(), ui.movingVolumeSelector.currentNode())
    assert chosen == a_pair[::-1]


def test_without_a_moving_volume_the_panel_says_what_is_missing(panel):
    panel.ui.movingVolumeSelector.setCurrentNode(None)
    assert not panel.ui.applyButton.enabled
    assert panel.ui.precheckLabel.text == "Choose a moving volume."


def test_apply_leaves_a_transform_and_a_volume_and_says_so(panel, run, a_scene):
    done = run()
    ui = panel.ui
    assert done.transformNode.GetScene() is a_scene
    assert done.warpedVolumeNode.GetScene() is a_scene
    assert ui.statusLabel.text.startswith("Done in")
    assert "0.50" in ui.summaryLabel.text
    assert "This was known" in ui.warningsLabel.text
    assert not ui.outcomeSection.collapsed
    assert ui.revertButton.enabled
    assert not ui.cancelButton.enabled


def test_revert_takes_all_of_it_away(panel, run, a_scene):
    before = {a_scene.GetNthNode(i).GetID() for i in range(a_scene.GetNumberOfNodes())}
    run()
    panel.ui.gridCheckBox.checked = True
    panel.ui.revertButton.click()
    after = {a_scene.GetNthNode(i).GetID() for i in range(a_scene.GetNumberOfNodes())}
    assert after == before
    assert not panel.ui.outcomeSection.visible
    panel.ui.revertButton.click()
    assert panel.ui.statusLabel.text == "There is nothing left to take back."
    assert {a_scene.GetNthNode(i).GetID() for i in range(a_scene.GetNumberOfNodes())} == before


CONTROLS = [
    (lambda ui: pick(ui.presetSelector, "Lung (CT)"), "preset", "lung CT"),
    (lambda ui: pick(ui.prealignSelector, "Move and turn"), "linear", "rigid"),
    (lambda ui: pick(ui.deviceSelector, "Processor"), "device", "cpu"),
    (lambda ui: pick(ui.precisionSelector, "Half (float16)"), "precision", "float16"),
    (lambda ui: setattr(ui.fullResolutionCheckBox, "checked", True), "full_resolution", True),
]


@pytest.mark.parametrize(("move", "option", "value"), CONTROLS, ids=[c[1] for c in CONTROLS])
def test_a_control_that_is_moved_reaches_the_engine(panel, run, move, option, value):
    move(panel.ui)
    found = run().result.provenance["asked"][option]
    assert repr(value).strip("'") in found


def test_a_refinement_of_one_s_own_reaches_the_engine(panel, run):
    ui = panel.ui
    assert asked_options(run()).get("refinement", "None") == "None"
    ui.ownRefinementCheckBox.checked = True
    pick(ui.similaritySelector, "Local correlation, one kind of image")
    ui.stepsSpinBox.value, ui.regularitySlider.value = 7, 2.5
    found = asked_options(run())["refinement"]
    assert "similarity='lncc'" in found
    assert "steps=7" in found
    assert "regularity=2.5" in found
    assert "FieldRefinement" in found


def test_fitting_the_network_reaches_the_engine(panel, run):
    panel.ui.ownRefinementCheckBox.checked = True
    panel.ui.fitWeightsCheckBox.checked = True
    assert "WeightRefinement" in asked_options(run())["refinement"]


def test_the_refinement_can_be_changed_only_where_it_counts(panel):
    ui = panel.ui
    controls = (ui.similaritySelector, ui.stepsSpinBox, ui.regularitySlider, ui.fitWeightsCheckBox)
    assert not any(control.enabled for control in controls)
    ui.ownRefinementCheckBox.checked = True
    assert all(control.enabled for control in controls)


def test_an_anatomy_fills_in_its_refinement(panel):
    pick(panel.ui.presetSelector, "Prostate (several kinds of images)")
    assert panel.ui.regularitySlider.value == 2.0
    assert panel.ui.similaritySelector.currentText.startswith("Structure")


def test_a_label_map_masks_the_fixed_image(panel, run, a_pair):
    labels = np.zeros(slicer.util.arrayFromVolume(a_pair[0]).shape, np.uint8)
    labels[3:6, 3:6, 3:6] = 1
    node = slicer.util.addVolumeFromArray(labels, None, "mask", "vtkMRMLLabelMapVolumeNode")
    node.CopyOrientation(a_pair[0])
    panel.ui.fixedMaskSelector.setCurrentNode(node)
    assert not panel.ui.fixedMaskSegmentSelector.visible
    assert asked_options(run())["fixed_mask"] == 27


def test_one_segment_masks_the_moving_image(panel, run, a_pair, a_scene):
    ui, node = panel.ui, a_segmentation(a_pair[1], a_scene)
    ui.movingMaskSelector.setCurrentNode(node)
    assert [ui.movingMaskSegmentSelector.itemText(i) for i in (0,)] == ["All segments"]
    assert asked_options(run())["moving_mask"] == 35
    ui.movingMaskSegmentSelector.currentIndex = 2
    assert asked_options(run())["moving_mask"] == 27
    assert asked_options(run())["fixed_mask"] is None


def test_an_initial_transform_reaches_the_engine(panel, run, a_scene):
    node = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "start")
    matrix = np.eye(4)
    matrix[:3, 3] = [-4, -5, 6]  # carries the moving image to the left, back and up
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    panel.ui.initialTransformSelector.setCurrentNode(node)
    landed = asked_options(run())["initial"]
    assert landed == pytest.approx([-10 - 4, -10 - 5, 10 - 6])


def test_outputs_that_were_chosen_are_filled_and_revert_empties_them(panel, run, a_scene):
    ui = panel.ui
    transform = ui.outputTransformSelector.addNode()
    volume = ui.outputVolumeSelector.addNode()
    assert run().transformNode is transform
    assert volume.GetImageData() is not None
    ui.revertButton.click()
    assert transform.GetScene() is a_scene
    assert volume.GetImageData() is None


def test_what_is_ticked_comes_along(panel, run, a_pair, a_scene):
    import qt

    ui = panel.ui
    brought = [
        a_segmentation(a_pair[1], a_scene),
        a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks"),
        a_scene.AddNewNodeByClass("vtkMRMLModelNode", "surface"),
    ]
    for node in brought:
        ui.bringAlongSelector.setCheckState(node, qt.Qt.Checked)
    done = run()
    assert [n.GetName() for n in done.warpedSegmentationNodes] == ["organs on fixed"]
    assert all(n.GetTransformNodeID() == done.transformNode.GetID() for n in brought[1:])
    ui.revertButton.click()
    assert all(n.GetTransformNodeID() is None for n in brought)


def test_a_further_volume_of_the_moving_side_comes_along(panel, run, a_volume):
    import qt

    panel.ui.bringAlongSelector.setCheckState(a_volume("dose"), qt.Qt.Checked)
    assert [n.GetName() for n in run().warpedVolumeNodes] == ["dose on fixed"]


def test_the_volumes_themselves_cannot_be_ticked(panel, a_pair, a_volume):
    other = a_volume("other")
    offered = [n.GetName() for n in panel.ui.bringAlongSelector.uncheckedNodes()]
    assert offered == [other.GetName()]


def test_the_opposite_transform_is_made_on_demand(panel, run):
    assert run().inverseTransformNode is None
    panel.ui.inverseCheckBox.checked = True
    assert run().inverseTransformNode is not None


def test_defaults_are_restored(panel, a_scene):
    ui = panel.ui
    from NeuralRegistrationLib.Register.Parameters import ADVANCED

    before = {name: getattr(panel.parameters, name) for name in ADVANCED}
    pick(ui.deviceSelector, "Processor")
    ui.ownRefinementCheckBox.checked = True
    ui.stepsSpinBox.value = 3
    ui.fixedMaskSelector.setCurrentNode(a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "s"))
    ui.defaultsButton.click()
    assert {name: getattr(panel.parameters, name) for name in ADVANCED} == before
    assert ui.fixedMaskSelector.currentNode() is None


def test_several_registrations_wait_in_order_and_each_can_be_cancelled(panel, wait_until):
    ui = panel.ui
    for steps in (1, 2, 3):
        ui.ownRefinementCheckBox.checked = True
        ui.stepsSpinBox.value = steps
        ui.applyButton.click()
    assert ui.jobList.count == 3
    ui.jobList.currentRow = 1
    ui.cancelButton.click()
    wait_until(lambda: not panel.jobs)
    done = [asked_options(result)["refinement"] for result in panel.history]
    assert ["steps=1" in text for text in done] == [True, False]
    assert "steps=3" in done[1]
    assert ui.jobList.count == 0


def test_pressing_apply_twice_does_not_register_twice(panel, wait_until):
    panel.ui.applyButton.click()
    assert not panel.ui.applyButton.enabled
    wait_until(lambda: not panel.jobs)
    assert panel.ui.applyButton.enabled
    assert len(panel.history) == 1


def test_a_refusal_is_shown_with_what_to_do(panel, a_pair):
    ui = panel.ui
    ui.outputVolumeSelector.setCurrentNode(a_pair[1])
    ui.applyButton.click()
    assert "another one than the inputs (moving)" in ui.statusLabel.text
    assert "Choose another output volume" in ui.statusLabel.text
    assert ui.statusIcon.visible
    assert not ui.cancelButton.enabled


def test_parameters_are_saved_with_the_scene_and_restored(
    panel, a_pair, a_scene, tmp_path, a_panel
):
    import qt

    ui = panel.ui
    marks = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    ui.bringAlongSelector.setCheckState(marks, qt.Qt.Checked)
    ui.swapButton.click()
    pick(ui.presetSelector, "Lung (CT)")
    ui.ownRefinementCheckBox.checked = True
    ui.regularitySlider.value, ui.stepsSpinBox.value = 3.3, 11
    a_scene.SetURL(str(tmp_path / "scene.mrml"))
    a_scene.SetRootDirectory(str(tmp_path))
    assert a_scene.Commit()
    text = (tmp_path / "scene.mrml").read_text()
    a_scene.Clear(False)
    assert ui.fixedVolumeSelector.currentNode() is None
    assert ui.regularitySlider.value == 1.0
    a_scene.SetLoadFromXMLString(1)
    a_scene.SetSceneXMLString(text)
    a_scene.Import()
    p = panel.parameters
    assert (p.fixedVolume.GetName(), p.movingVolume.GetName()) == ("moving", "fixed")
    assert ui.fixedVolumeSelector.currentNode().GetName() == "moving"
    assert p.preset.value == "lung CT"
    assert (ui.regularitySlider.value, ui.stepsSpinBox.value) == (3.3, 11)
    assert [n.GetName() for n in ui.bringAlongSelector.checkedNodes()] == ["landmarks"]
    assert p.model == "convex"


def test_a_scene_that_is_closed_takes_the_results_and_leaves_a_fresh_panel(panel, run, a_scene):
    run()
    a_scene.Clear(False)
    ui = panel.ui
    assert not ui.revertButton.enabled
    assert not ui.outcomeSection.visible
    assert ui.precheckLabel.text == "Choose a fixed volume."


def test_a_scene_that_is_closed_during_a_job_ends_it(panel, a_scene, wait_until):
    panel.ui.applyButton.click()
    a_scene.Clear(False)
    wait_until(lambda: not panel.jobs)
    assert panel.history == []
    assert a_scene.GetFirstNodeByClass("vtkMRMLTransformNode") is None
    assert "Cancelled" in panel.ui.statusLabel.text


def test_a_result_on_which_a_node_was_deleted_can_still_be_looked_at(panel, run, a_scene):
    done = run()
    a_scene.RemoveNode(done.warpedVolumeNode)
    for control in (panel.ui.fadeSlider, panel.ui.warpSlider):
        control.value = 20
    a_scene.RemoveNode(done.transformNode)
    panel.ui.warpSlider.value = 60
    panel.ui.gridCheckBox.checked = True
    panel.ui.revertButton.click()


ODD = [sys.executable, str(TEST_DATA / "odd_jobs.py"), "--cold"]


@pytest.fixture
def misbehave(the_application, panel, wait_until):
    """Presses Apply and lets the worker do something else instead."""
    from NeuralRegistrationLib.Worker import Queue

    class Odd(Queue.Queue):
        def submit(self, kind, *arguments, **more):
            return super().submit(self.kind, *arguments, **more)

    former = list(Queue._queues)

    def press(kind, **options):
        Queue._queues[:] = [Odd(options.pop("worker", ODD), **options)]
        Queue.queue().kind = kind
        panel.ui.applyButton.click()
        wait_until(lambda: not panel.jobs)

    yield press
    Queue.queue().close()
    Queue._queues[:] = former


@pytest.mark.parametrize(
    ("kind", "words", "logged"),
    [
        ("garbage", "unreadable message", ""),
        ("hog", "too little memory", "MemoryError"),
        ("stumble", "for an unforeseen reason", "ZeroDivisionError"),
        ("freeze", "no sign of life", ""),
    ],
)
def test_whatever_befalls_the_worker_is_one_message_with_its_log(
    panel, misbehave, a_scene, kind, words, logged
):
    before = {a_scene.GetNthNode(i).GetID() for i in range(a_scene.GetNumberOfNodes())}
    misbehave(kind, silentSeconds=3.0)
    ui = panel.ui
    assert words in ui.statusLabel.text
    assert ui.statusIcon.visible
    assert ui.logButton.visible == bool(logged)
    if logged:
        ui.logButton.click()
        assert ui.logText.visible
        assert logged in ui.logText.plainText
    assert {a_scene.GetNthNode(i).GetID() for i in range(a_scene.GetNumberOfNodes())} == before
    assert ui.applyButton.enabled
    assert not ui.cancelButton.enabled


def test_a_python_without_torch_is_one_message_with_what_to_do(
    panel, misbehave, tmp_path, monkeypatch
):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('none', name='torch')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    misbehave("register", worker=[sys.executable, "-m", "neuralreg.worker", "--cold"])
    assert "lacks the package torch" in panel.ui.statusLabel.text
    assert "set-up card" in panel.ui.statusLabel.text
    assert panel.ui.applyButton.enabled


def test_copy_as_python_gives_the_call_that_repeats_the_settings(
    panel, run, the_application, monkeypatch
):
    from NeuralRegistrationLib.Register import Logic

    panel.ui.ownRefinementCheckBox.checked = True
    panel.ui.stepsSpinBox.value = 9
    first = run()
    panel.ui.copyButton.click()
    text = the_application.clipboard().text()
    calls, register = [], Logic.register

    def watch(*nodes, **settings):
        calls.append(register(*nodes, **settings))
        return calls[-1]

    monkeypatch.setattr(Logic, "register", watch)
    exec(text, {"getNode": slicer.util.getNode, "slicer": slicer})
    assert asked_options(calls[0]) == asked_options(first)
