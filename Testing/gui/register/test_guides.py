"""The section Guides: what it shows, what it refuses, and what reaches the core."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
import vtk

from Testing.support.review_scene import a_segmentation


@pytest.fixture
def panel(known_worker, a_pair, a_panel):
    a_panel.registerPanel.parameters.model = "convex"
    return a_panel.registerPanel


@pytest.fixture
def job(panel, monkeypatch):
    """What Apply hands to the worker."""
    from neuralreg.worker.serialization import at_once
    from NeuralRegistrationLib.Register import Logic

    def press():
        jobs = []
        monkeypatch.setattr(
            Logic, "runJob", lambda kind, steps, *a, **k: jobs.append(at_once(steps))
        )
        panel.ui.applyButton.click()
        panel.jobs.clear()
        panel.refresh()
        return jobs[0]

    return press


def a_model(scene, name, at):
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*at)
    sphere.Update()
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(sphere.GetOutput())
    return node


def choose(panel, **nodes):
    for name, node in nodes.items():
        getattr(panel.ui, f"{name}Selector").setCurrentNode(node)


def test_nothing_steers_at_first(panel, job):
    ui = panel.ui
    assert ui.guidesSection.collapsed
    assert ui.guidesSection.text == "Guides"
    given = job()
    assert (given.labels, given.channels, given.surfaces) == ((None, None), (), ())
    assert (given.rigid, given.sliding, given.options.landmarks) == (None, (), None)
    assert given.options.label_weight == 0


def test_segments_that_drive_reach_the_worker_with_their_weight(panel, job, a_pair):
    fixed, moving = (
        a_segmentation(volume, name) for volume, name in zip(a_pair, "FM", strict=True)
    )
    choose(panel, fixedLabels=fixed)
    assert not panel.ui.applyButton.enabled
    assert panel.ui.precheckLabel.text == "Labels: choose those of the moving image, too."
    choose(panel, movingLabels=moving)
    panel.ui.labelWeightSlider.value = 2.5
    given = job()
    assert given.options.label_weight == 2.5
    assert given.options.label_source == "given"
    for voxels, node in zip(given.labels, (fixed, moving), strict=True):
        for number, name in enumerate(("Liver", "Spleen"), start=1):
            segment = node.GetSegmentation().GetSegmentIdBySegmentName(name)
            drawn = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segment)
            value = node.GetSegmentation().GetSegment(segment).GetLabelValue()
            assert (voxels.data == number).sum() == (drawn == value).sum() > 0
    assert panel.ui.labelsFold.text == "Labels (1 in use)"
    assert panel.ui.guidesSection.text == "Guides (1 in use)"


def test_labels_of_a_network_replace_those_that_were_chosen(panel, job, a_pair):
    choose(panel, fixedLabels=a_segmentation(a_pair[0], "F"))
    panel.ui.networkLabelsCheckBox.checked = True
    assert not panel.ui.fixedLabelsSelector.enabled
    given = job()
    assert given.options.label_source == "auto"
    assert given.options.label_weight == 1.0
    assert given.labels == (None, None)


def test_one_segment_is_rigid_and_another_one_slides_but_not_both(panel, job, a_pair):
    ui, node = panel.ui, a_segmentation(a_pair[0], "F")
    choose(panel, rigidParts=node)
    ui.rigidPartsSegmentSelector.currentIndex = ui.rigidPartsSegmentSelector.findText("Spleen")
    rigid = job().rigid
    choose(panel, slidingMask=node)
    assert not ui.applyButton.enabled
    assert "cannot be used together" in ui.precheckLabel.text
    choose(panel, rigidParts=None)
    ui.slidingMaskSegmentSelector.currentIndex = ui.slidingMaskSegmentSelector.findText("Spleen")
    ((layer,),) = (job().sliding,)
    assert (rigid.data > 0).sum() == np.isin(layer.data, layer.only).sum() > 0
    ui.slidingMaskSegmentSelector.currentIndex = 0
    whole = job().sliding
    assert sum(np.isin(one.data, one.only).sum() for one in whole) > (rigid.data > 0).sum()


def test_channels_are_added_changed_and_removed(panel, job, a_volume):
    ui = panel.ui
    assert not ui.channelBox.visible
    ui.addChannelButton.click()
    assert ui.precheckLabel.text == "Channel 1: choose the volume of the fixed image."
    t2, t2Moving, pd = map(a_volume, ("T2", "T2 moving", "proton density"))
    choose(panel, fixedChannel=t2)
    assert ui.precheckLabel.text == "Channel 1: choose the volume of the moving image."
    assert not ui.applyButton.enabled
    choose(panel, movingChannel=t2Moving)
    ui.channelWeightSlider.value = 0.5
    ui.addChannelButton.click()
    assert ui.fixedChannelSelector.currentNode() is None
    choose(panel, fixedChannel=pd, movingChannel=t2)
    texts = [[ui.channelsTable.item(r, c).text() for c in range(3)] for r in range(2)]
    assert texts == [["T2", "T2 moving", "0.5"], ["proton density", "T2", "1.0"]]
    given = job()
    assert given.options.channel_weights == (0.5, 1.0)
    names = [[voxels.name for voxels in pair] for pair in given.channels]
    assert names == [["T2", "T2 moving"], ["proton density", "T2"]]
    ui.channelsTable.setCurrentCell(0, 0)
    assert ui.movingChannelSelector.currentNode() is t2Moving
    assert ui.channelWeightSlider.value == 0.5
    ui.removeChannelButton.click()
    assert job().options.channel_weights == (1.0,)
    assert ui.channelsFold.text == "Channels (1 in use)"


def test_a_removed_volume_leaves_its_channel_without_a_neighbor(panel, a_scene, a_volume):
    ui = panel.ui
    nodes = [a_volume(name) for name in "abcd"]
    for one, two in (nodes[:2], nodes[2:]):
        ui.addChannelButton.click()
        choose(panel, fixedChannel=one, movingChannel=two)
    a_scene.RemoveNode(nodes[2])
    assert list(panel.parameters.fixedChannels) == [nodes[0], None]
    assert list(panel.parameters.movingChannels) == [nodes[1], nodes[3]]
    assert ui.precheckLabel.text == "Channel 2: choose the volume of the fixed image."


def test_a_model_and_a_segment_pull_each_other(panel, job, a_pair, a_scene):
    ui, node = panel.ui, a_segmentation(a_pair[1], "M")
    ui.addSurfaceButton.click()
    choose(panel, fixedSurface=a_model(a_scene, "bone", (-10.0, -12.0, 14.0)))
    assert "Surface 1" in ui.precheckLabel.text
    choose(panel, movingSurface=node)
    whole = job().surfaces[0][1]
    selector = ui.movingSurfaceSegmentSelector
    selector.currentIndex = selector.findText("Spleen")
    ui.surfaceWeightSlider.value = 3.0
    given = job()
    ((fixed, moving),) = given.surfaces
    assert fixed.mean(0) == pytest.approx([10, 12, 14], abs=0.2)  # LPS
    assert 12 < len(moving) < len(whole)
    assert given.options.surface_weight == 3.0
    assert not ui.fixedSurfaceSegmentSelector.visible


def test_one_list_of_points_is_not_enough(panel, a_scene):
    points = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    choose(panel, movingLandmarks=points)
    assert panel.ui.precheckLabel.text == "Landmarks: choose the list of the fixed image, too."
    assert not panel.ui.applyButton.enabled


def a_list_of_points(scene, name, shift):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for n in range(4):
        node.AddControlPoint(vtk.vtkVector3d(-2.0 * n, -n * n - shift, 3.0 * n), f"P{n}")
    return node


def choose_points(panel, scene):
    choose(panel, fixedLandmarks=a_list_of_points(scene, "F", 0.0))
    choose(panel, movingLandmarks=a_list_of_points(scene, "M", 1.0))


def test_weight_and_tolerance_of_landmarks_reach_the_core(panel, job, a_pair, a_scene):
    ui = panel.ui
    assert (ui.landmarkWeightSlider.value, ui.landmarkToleranceSlider.value) == (1.0, 2.0)
    choose_points(panel, a_scene)
    assert (job().options.landmarks.weight, job().options.landmarks.tolerance_mm) == (1.0, 2.0)
    ui.landmarkWeightSlider.value, ui.landmarkToleranceSlider.value = 0.0, 3.5
    given = job().options.landmarks
    assert (given.weight, given.tolerance_mm) == (0.0, 3.5)
    ui.guidesClearButton.click()
    assert (ui.landmarkWeightSlider.value, ui.landmarkToleranceSlider.value) == (1.0, 2.0)


def test_weight_and_tolerance_of_landmarks_are_in_the_record_and_the_call(
    panel, a_pair, a_scene, wait_until, the_application
):
    ui = panel.ui
    choose_points(panel, a_scene)
    ui.landmarkWeightSlider.value, ui.landmarkToleranceSlider.value = 0.0, 3.5
    ui.applyButton.click()
    wait_until(lambda: not panel.jobs)
    (done,) = panel.history
    asked = json.loads(done.transformNode.GetAttribute("NeuralRegistration.Record"))["asked"]
    assert "weight=0.0, tolerance_mm=3.5" in asked["landmarks"]  # what the worker was given
    panel.ui.copyButton.click()
    text = the_application.clipboard().text()
    assert "landmarkWeight=0.0" in text
    assert "landmarkToleranceMm=3.5" in text


def test_without_guides_everything_is_taken_out(panel, job, a_pair, a_scene, a_volume):
    ui = panel.ui
    choose(panel, slidingMask=a_segmentation(a_pair[0], "F"))
    ui.addChannelButton.click()
    ui.networkLabelsCheckBox.checked = True
    assert ui.guidesSection.text == "Guides (3 in use)"
    ui.guidesClearButton.click()
    assert ui.guidesSection.text == "Guides"
    assert ui.applyButton.enabled
    assert (job().channels, job().sliding) == ((), ())


def test_swap_exchanges_the_guides_with_the_volumes(panel, job, a_pair, a_volume):
    one, two = a_volume("one"), a_volume("two")
    panel.ui.addChannelButton.click()
    choose(panel, fixedChannel=one, movingChannel=two)
    panel.ui.swapButton.click()
    given = job()
    assert given.fixed.name == "moving"
    assert [voxels.name for voxels in given.channels[0]] == ["two", "one"]


def test_guides_are_saved_with_the_scene(panel, a_pair, a_scene, a_volume, tmp_path):
    ui = panel.ui
    ui.addChannelButton.click()
    choose(panel, fixedChannel=a_volume("T2"), movingChannel=a_volume("T2 moving"))
    ui.channelWeightSlider.value = 0.4
    ui.landmarkWeightSlider.value, ui.landmarkToleranceSlider.value = 2.5, 0.5
    ui.addSurfaceButton.click()
    choose(panel, fixedSurface=a_model(a_scene, "bone", (0, 0, 0)), slidingMask=None)
    a_scene.SetURL(str(tmp_path / "scene.mrml"))
    a_scene.SetRootDirectory(str(tmp_path))
    assert a_scene.Commit()
    text = (tmp_path / "scene.mrml").read_text()
    a_scene.Clear(False)
    assert panel.ui.guidesSection.text == "Guides"
    a_scene.SetLoadFromXMLString(1)
    a_scene.SetSceneXMLString(text)
    a_scene.Import()
    p = panel.parameters
    assert [n.GetName() for n in (*p.fixedChannels, *p.movingChannels)] == ["T2", "T2 moving"]
    assert list(p.channelWeights) == [0.4]
    assert (ui.landmarkWeightSlider.value, ui.landmarkToleranceSlider.value) == (2.5, 0.5)
    assert p.fixedSurfaces[0].GetName() == "bone"
    assert ui.channelsTable.item(0, 1).text() == "T2 moving"


def test_copy_as_python_names_the_guides(panel, a_pair, a_scene, wait_until, the_application):
    node = a_segmentation(a_pair[1], "M")
    panel.ui.addSurfaceButton.click()
    choose(panel, fixedSurface=a_model(a_scene, "bone", (-10.0, -12.0, 14.0)), movingSurface=node)
    selector = panel.ui.movingSurfaceSegmentSelector
    selector.currentIndex = selector.findText("Spleen")
    panel.ui.applyButton.click()
    wait_until(lambda: not panel.jobs)
    panel.ui.copyButton.click()
    segment = node.GetSegmentation().GetSegmentIdBySegmentName("Spleen")
    text = the_application.clipboard().text()
    assert f"surfaces=[[getNode('bone'), [getNode('M'), '{segment}']]]" in text
