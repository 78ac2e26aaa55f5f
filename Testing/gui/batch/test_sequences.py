"""Register a sequence in the Batch panel: a browser's frames, cancelled, registered, reverted."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.slicer.test_sequence_motion import SHIFTS, SPACING, a_frame


@pytest.fixture
def section(a_panel, real_worker):
    a_panel.tabs.currentIndex = 4
    return a_panel.batchPanel.sequences


@pytest.fixture
def a_sequence(a_scene):
    """Two frames in a browser that shows the first one."""
    node = a_scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Cine")
    for time, shift in enumerate(SHIFTS[:2]):
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetSpacing(SPACING, SPACING, SPACING)
        slicer.util.updateVolumeFromArray(volume, a_frame(shift))
        node.SetDataNodeAtValue(volume, str(time))
    browser = a_scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(node.GetID())
    browser.SetSelectedItemNumber(0)
    if browser.GetProxyNode(node) is None:
        browser.AddProxyNode(node.GetNthDataNode(0), node, True)
    return node


def test_a_sequence_is_registered_while_the_window_lives_and_reverted(
    section, a_sequence, wait_until, late_ticks
):
    ui = section.ui
    assert not ui.batchSequenceButton.enabled
    ui.batchSequenceSelector.setCurrentNode(a_sequence)
    ui.batchSequenceToSelector.currentIndex = 1
    browser = slicer.util.getNode("Browser")
    volume = browser.GetProxyNode(a_sequence)
    ui.batchSequenceButton.click()
    assert ui.batchSequenceCancelButton.enabled
    wait_until(lambda: section.job is None, 100)
    assert "stands still now" in ui.batchSequenceLabel.text
    assert late_ticks.count() == 0
    transform = volume.GetParentTransformNode()
    motion = section.history[-1].transformSequenceNode
    moved = slicer.util.arrayFromTransformMatrix(motion.GetNthDataNode(1))
    assert moved[0, 3] == pytest.approx(SHIFTS[0] - SHIFTS[1], abs=0.3)
    assert browser.GetProxyNode(motion) is transform
    ui.batchSequenceRevertButton.click()
    assert volume.GetParentTransformNode() is None
    assert transform.GetScene() is None
    assert not ui.batchSequenceRevertButton.enabled


def test_cancelling_leaves_nothing(section, a_sequence, a_scene, wait_until):
    before = a_scene.GetNumberOfNodes()
    section.ui.batchSequenceSelector.setCurrentNode(a_sequence)
    section.ui.batchSequenceButton.click()
    section.ui.batchSequenceCancelButton.click()
    wait_until(lambda: section.job is None)
    assert section.ui.batchSequenceLabel.text == "Cancelled."
    assert a_scene.GetNumberOfNodes() == before


def test_only_a_chain_can_be_a_cycle_and_a_chain_does_not_bend(section, a_sequence):
    ui = section.ui
    ui.batchSequenceSection.collapsed = False
    ui.batchSequenceSelector.setCurrentNode(a_sequence)
    assert not ui.batchSequencePeriodicBox.isVisibleTo(ui.batchSequenceSection)
    ui.batchSequenceToSelector.currentIndex = 2
    assert ui.batchSequencePeriodicBox.isVisibleTo(ui.batchSequenceSection)
    ui.batchSequenceDeformationSelector.currentIndex = 2
    ui.batchSequenceButton.click()
    assert "do not bend" in ui.batchSequenceLabel.text
    assert section.job is None


def test_frames_that_are_changed_meanwhile_make_the_result_void(
    section, a_sequence, a_scene, wait_until
):
    before = a_scene.GetNumberOfNodes()
    section.ui.batchSequenceSelector.setCurrentNode(a_sequence)
    section.ui.batchSequenceButton.click()
    values = np.zeros_like(a_frame(0.0))
    slicer.util.updateVolumeFromArray(a_sequence.GetNthDataNode(1), values)
    wait_until(lambda: section.job is None, 100)
    assert "no longer fits the sequence" in section.ui.batchSequenceLabel.text
    assert a_scene.GetNumberOfNodes() == before
