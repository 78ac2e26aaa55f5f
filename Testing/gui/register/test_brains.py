"""Finding and labeling brains from the panel: the choice of a model, the structures, and undo."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.gui.register.test_auto_model import an_ellipsoid


@pytest.fixture
def panel(known_worker, a_scene, a_panel):
    for name in ("fixed", "moving"):
        an_ellipsoid(name, spacing=6.0, rim=20.0)
    a_panel.enter()
    return a_panel.registerPanel


def node_ids(scene) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


@pytest.mark.parametrize("model", ["mindgrab", "template"])
def test_brains_are_found_by_the_model_that_was_chosen(panel, wait_until, model):
    selector = panel.ui.brainModelSelector
    texts = [selector.itemText(i) for i in range(selector.count)]
    selector.setCurrentIndex(["auto", "mindgrab", "template"].index(model))
    assert texts == ["Automatic", "Network (mindgrab)", "Template"]
    assert panel.parameters.brainModel.value == model
    panel.ui.brainsButton.click()
    wait_until(lambda: not panel.jobs)
    assert f"made by {model}." in panel.ui.statusLabel.text


def test_the_structures_of_the_fixed_volume_become_segments_beside_it(panel, wait_until, a_scene):
    before = node_ids(a_scene)
    panel.ui.labelBrainsButton.click()
    assert not panel.ui.labelBrainsButton.enabled
    assert panel.ui.cancelButton.enabled
    wait_until(lambda: not panel.jobs)
    assert panel.ui.labelBrainsButton.enabled
    assert "“fixed structures” holds 2 structures" in panel.ui.statusLabel.text
    assert "Look at the labels." in panel.ui.statusLabel.text
    segmentation = a_scene.GetFirstNodeByName("fixed structures").GetSegmentation()
    segments = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    assert [segment.GetName() for segment in segments] == ["Left-Thalamus", "Right-Thalamus"]
    assert np.allclose(np.array(segments[0].GetColor()) * 255, (0, 118, 14), atol=0.01)
    assert a_scene.GetFirstNodeByName("moving structures") is None
    assert panel.parameters.fixedMask is None
    panel.ui.revertButton.click()
    assert node_ids(a_scene) == before


def test_both_volumes_are_labeled_where_that_was_chosen(panel, wait_until, a_scene):
    panel.ui.labeledVolumesSelector.setCurrentIndex(1)
    panel.ui.labelBrainsButton.click()
    listed = [panel.ui.jobList.item(i).text() for i in range(panel.ui.jobList.count)]
    assert listed == ["Structures of fixed", "Structures of moving"]
    wait_until(lambda: not panel.jobs)
    for name in ("fixed", "moving"):
        assert a_scene.GetFirstNodeByName(f"{name} structures") is not None


def test_labeling_can_be_cancelled_and_leaves_nothing(panel, wait_until, a_scene):
    before = node_ids(a_scene)
    panel.ui.labelBrainsButton.click()
    panel.ui.cancelButton.click()
    wait_until(lambda: not panel.jobs)
    assert "Cancelled" in panel.ui.statusLabel.text
    assert node_ids(a_scene) == before
    assert panel.ui.labelBrainsButton.enabled


def test_labels_of_a_volume_that_was_changed_meanwhile_are_dropped(panel, wait_until, a_scene):
    volume = panel.parameters.fixedVolume
    panel.ui.labelBrainsButton.click()
    slicer.util.arrayFromVolume(volume)[:] = 3
    slicer.util.arrayFromVolumeModified(volume)
    wait_until(lambda: not panel.jobs)
    assert "no longer fits the volume" in panel.ui.statusLabel.text
    assert a_scene.GetFirstNodeByName("fixed structures") is None


def test_only_what_there_is_can_be_pressed(panel):
    ui, p = panel.ui, panel.parameters
    p.movingVolume = None
    assert not ui.brainsButton.enabled
    assert ui.labelBrainsButton.enabled
    ui.labeledVolumesSelector.setCurrentIndex(1)
    assert not ui.labelBrainsButton.enabled
    ui.labeledVolumesSelector.setCurrentIndex(0)
    p.fixedVolume = None
    assert not ui.labelBrainsButton.enabled


def test_the_choices_are_among_the_defaults_that_can_be_restored(panel):
    panel.ui.brainModelSelector.setCurrentIndex(2)
    panel.ui.labeledVolumesSelector.setCurrentIndex(1)
    panel.ui.defaultsButton.click()
    assert panel.parameters.brainModel.value == "auto"
    assert panel.parameters.labeledVolumes.value == "fixed"
