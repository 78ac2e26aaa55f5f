"""A node that is removed is never replaced by its neighbor in the list, in any selector."""

from __future__ import annotations

import pytest
import slicer

from Testing.support.review_scene import a_segmentation

SINGLE = {
    "fixedVolume": "volume",
    "movingVolume": "volume",
    "outputVolume": "volume",
    "initialTransform": "transform",
    "outputTransform": "transform",
    "fixedMask": "segmentation",
    "movingMask": "segmentation",
    "fixedLabels": "segmentation",
    "movingLabels": "segmentation",
    "rigidParts": "segmentation",
    "slidingMask": "segmentation",
    "fixedLandmarks": "points",
    "movingLandmarks": "points",
}
REVIEW = {
    "fixedVolume": "volume",
    "movingVolume": "volume",
    "fixedSegments": "segmentation",
    "movingSegments": "segmentation",
    "mask": "segmentation",
    "fixedPoints": "points",
    "movingPoints": "points",
    "transform": "transform",
}


@pytest.fixture
def three(a_scene, a_pair, a_volume):
    """Three nodes of each kind."""

    def nodes(kind):
        if kind == "volume":
            return [a_volume(f"v{n}") for n in range(3)]
        if kind == "segmentation":
            return [a_segmentation(a_pair[0], f"s{n}") for n in range(3)]
        name = {"transform": "TransformNode", "points": "MarkupsFiducialNode"}[kind]
        return [a_scene.AddNewNodeByClass(f"vtkMRML{name}", f"{kind}{n}") for n in range(3)]

    return nodes


@pytest.mark.parametrize(("parameter", "kind"), SINGLE.items())
def test_a_removed_node_is_chosen_no_more_and_no_other_is(
    a_panel, a_pair, a_scene, three, parameter, kind
):
    a_panel.enter()
    nodes, parameters = three(kind), a_panel.registerPanel.parameters
    for chosen in nodes[1:]:
        setattr(parameters, parameter, chosen)
        a_scene.RemoveNode(chosen)
        assert getattr(parameters, parameter) is None


@pytest.mark.parametrize(("parameter", "kind"), REVIEW.items())
def test_a_removed_node_is_reviewed_no_more_and_no_other_is(
    a_panel, a_pair, a_scene, three, parameter, kind
):
    a_panel.reviewPanel.open()
    nodes, parameters = three(kind), a_panel.reviewPanel.parameters
    setattr(parameters, parameter, nodes[1])
    a_scene.RemoveNode(nodes[1])
    assert getattr(parameters, parameter) is None


def test_a_reverted_brain_leaves_no_mask_of_the_other_image(
    known_worker, a_panel, a_pair, wait_until
):
    a_panel.enter()
    panel = a_panel.registerPanel
    panel.findBrains()
    wait_until(lambda: not panel.jobs)
    assert panel.parameters.fixedMask is not panel.parameters.movingMask is not None
    kept = panel.parameters.fixedMask
    panel.revert()
    assert panel.parameters.movingMask is None
    assert panel.parameters.fixedMask is kept
    panel.revert()
    assert panel.parameters.fixedMask is None


def test_a_chosen_segment_stays_when_nodes_are_renamed_or_others_removed(a_panel, a_pair, a_scene):
    a_panel.enter()
    panel = a_panel.registerPanel
    first, second = (a_segmentation(a_pair[0], name) for name in "ab")
    segment = second.GetSegmentation().GetNthSegmentID(1)
    panel.set({"movingMask": second, "movingMaskSegment": segment})
    second.SetName("renamed")
    assert panel.parameters.movingMaskSegment == segment
    a_scene.RemoveNode(first)
    assert panel.parameters.movingMaskSegment == segment
    assert panel.ui.movingMaskSegmentSelector.currentText == "Spleen"


def test_a_segment_that_was_removed_is_not_all_segments(a_panel, a_pair):
    a_panel.enter()
    panel = a_panel.registerPanel
    mask = a_segmentation(a_pair[0], "mask")
    segment = mask.GetSegmentation().GetNthSegmentID(1)
    panel.set({"movingMask": mask, "movingMaskSegment": segment})
    mask.GetSegmentation().RemoveSegment(segment)
    panel.refresh()
    assert panel.ui.movingMaskSegmentSelector.currentText == "(removed segment)"
    panel.apply()
    assert "renamed" not in panel.ui.statusLabel.text
    assert "Spleen" in panel.ui.statusLabel.text or segment in panel.ui.statusLabel.text
    assert not slicer.util.getNodesByClass("vtkMRMLTransformNode")
