"""Label map volumes as structures of the Review panel, beside segmentations."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from neuralreg.errors import InvalidImage
from neuralreg.worker.serialization import at_once

from Testing.support.review_scene import a_segmentation, nodes_in


def a_label_map(volume, name, labels=(1, 2), names=None):
    """Cubes of 3 x 5 x 5 voxels, one per label. names: of the labels, in a color table."""
    values = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.int16)
    for n, label in enumerate(labels):
        values[2 + 4 * n : 5 + 4 * n, 3:8, 3:8] = label
    node = slicer.util.addVolumeFromArray(values, None, name, "vtkMRMLLabelMapVolumeNode")
    node.CopyOrientation(volume)
    table = volume.GetScene().AddNewNodeByClass("vtkMRMLColorTableNode", f"colors of {name}")
    table.SetTypeToUser()
    table.SetNumberOfColors(max(labels) + 1)
    for label, title in (names or {}).items():
        table.SetColor(label, title, 1.0, 0.0, 0.0, 1.0)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    return node


def counted(voxels) -> dict[int, int]:
    values, counts = np.unique(voxels.data, return_counts=True)
    return {v: n for v, n in zip(values.tolist(), counts.tolist(), strict=True) if v}


def chosen(panel, fixed=None, moving=None, mask=None):
    ui = panel.ui
    for selector, node in (
        (ui.reviewFixedSegmentsSelector, fixed),
        (ui.reviewMovingSegmentsSelector, moving),
        (ui.reviewMaskSelector, mask),
    ):
        selector.setCurrentNode(node)
    return at_once(panel.subject.job("quick"))


def test_labels_are_called_as_in_the_color_table_else_by_their_number(panel, a_pair):
    fixed = a_label_map(a_pair[0], "fixed labels", (1, 3), {1: "Liver"})
    moving = a_label_map(a_pair[1], "moving labels", (1, 3), {1: "Liver"})
    job = chosen(panel, fixed, moving)
    assert job["names"] == {"1": "Liver", "2": "label 3"}
    assert counted(job["fixed_labels"]) == counted(job["moving_labels"]) == {1: 75, 2: 75}
    assert job["fixed_labels"].labels


def test_a_label_without_a_name_takes_that_of_the_other_side(panel, a_pair):
    fixed = a_label_map(a_pair[0], "fixed labels", (7,), {7: "Heart"})
    moving = a_label_map(a_pair[1], "moving labels", (7, 9))
    job = chosen(panel, fixed, moving)
    assert job["names"] == {"1": "Heart", "2": "label 9"}
    assert (counted(job["fixed_labels"]), counted(job["moving_labels"])) == (
        {1: 75},
        {1: 75, 2: 75},
    )


def test_a_label_map_is_compared_with_a_segmentation_by_name(panel, a_pair):
    drawn = a_segmentation(a_pair[0], "drawn", ("Liver", "Spleen"))
    labels = a_label_map(a_pair[1], "labels", (4, 5), {4: "Spleen", 5: "Kidney"})
    job = chosen(panel, drawn, labels)
    assert job["names"] == {"1": "Liver", "2": "Spleen", "3": "Kidney"}
    assert counted(job["moving_labels"]) == {2: 75, 3: 75}


def test_all_labels_of_a_mask_count(panel, a_pair):
    job = chosen(panel, mask=a_label_map(a_pair[0], "mask", (2, 5)))
    assert counted(job["mask"]) == {1: 150}
    empty = a_label_map(a_pair[0], "empty", (1,))
    slicer.util.arrayFromVolume(empty)[:] = 0
    with pytest.raises(InvalidImage, match="not empty"):
        chosen(panel, mask=empty)


def test_values_that_are_no_labels_are_refused_with_the_node_s_name(panel, a_pair):
    node = a_label_map(a_pair[0], "broken", (1,))
    slicer.util.arrayFromVolume(node)[0, 0, 0] = -3
    with pytest.raises(InvalidImage, match="broken"):
        chosen(panel, fixed=node)


def test_a_brought_label_map_is_taken_from_below_the_transform(panel, a_pair, a_transform):
    labels = a_label_map(a_pair[1], "labels")
    before = chosen(panel, moving=labels)["moving_labels"]
    labels.SetAndObserveTransformNodeID(a_transform.GetID())
    after = at_once(panel.subject.job("quick"))["moving_labels"]
    assert (after.bend, after.grid) == (None, before.grid)


def test_labels_are_in_the_report_and_can_be_decided_on_and_are_restored(
    panel, review, a_pair, a_scene
):
    labels = a_label_map(a_pair[0], "labels", (1, 3), {1: "Liver"})
    panel.ui.reviewFixedSegmentsSelector.setCurrentNode(labels)
    review()
    about = panel.ui.reviewAboutSelector
    assert [about.itemText(n) for n in range(about.count)] == [
        "The whole transform",
        "Liver",
        "label 3",
    ]
    assert panel.parameters.fixedSegments is labels
    panel.renew()  # as after a scene was read
    assert panel.ui.reviewFixedSegmentsSelector.currentNode() is labels


def test_a_label_map_that_is_drawn_on_meanwhile_drops_the_review(panel, a_pair, wait_until):
    labels = a_label_map(a_pair[0], "labels")
    panel.ui.reviewFixedSegmentsSelector.setCurrentNode(labels)
    panel.ui.reviewButton.click()
    slicer.util.arrayFromVolume(labels)[0] = 1
    slicer.util.arrayFromVolumeModified(labels)
    wait_until(lambda: not panel.jobs)
    assert "no longer fits" in panel.ui.reviewStatusLabel.text
    assert panel.findings.report is None


def test_outlines_of_label_maps_are_drawn_and_their_layer_comes_back(panel, a_pair, views, a_scene):
    fixed = a_label_map(a_pair[0], "one", (1, 3), {1: "Liver"})
    drawn = a_segmentation(a_pair[1], "other")
    composite = views["Red"][1]
    composite.SetLabelVolumeID(fixed.GetID())
    panel.ui.reviewFixedSegmentsSelector.setCurrentNode(fixed)
    panel.ui.reviewMovingSegmentsSelector.setCurrentNode(drawn)
    before = nodes_in(a_scene)
    panel.ui.reviewOutlinesCheckBox.checked = True
    assert composite.GetLabelVolumeID() is None
    copy = next(
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if node.GetName() == "one (outline)"
    )
    segments = copy.GetSegmentation()
    names = [segments.GetNthSegment(n).GetName() for n in range(segments.GetNumberOfSegments())]
    assert names == ["Liver", "label 3"]
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    back = a_scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "back")
    assert logic.ExportAllSegmentsToLabelmapNode(copy, back)
    ras = np.zeros(6)
    back.GetRASBounds(ras)
    expected = np.zeros(6)
    fixed.GetRASBounds(expected)
    assert (ras[::2] >= expected[::2] - 1e-6).all()
    assert (ras[1::2] <= expected[1::2] + 1e-6).all()
    assert np.count_nonzero(slicer.util.arrayFromVolume(back)) == 150
    a_scene.RemoveNode(back)
    panel.ui.reviewOutlinesCheckBox.checked = False
    assert composite.GetLabelVolumeID() == fixed.GetID()
    panel.close()
    assert {
        n for n in nodes_in(a_scene) - before if "Display" not in n and "Color" not in n
    } == set()


def test_a_script_reviews_with_label_maps(known_reviewer, a_pair, a_transform):
    from NeuralRegistrationLib.Review.Jobs import review

    sides = [a_label_map(v, "labels", (1, 3), {1: "Liver"}) for v in a_pair]
    reviewed = review(a_transform, fixedSegments=sides[0], movingSegments=sides[1])
    assert [one.name for one in reviewed.report.overlaps] == ["Liver", "label 3"]
