"""What the Review panel hands over, and how it shows the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.support.review_scene import SHIFT, a_grid_transform, a_segmentation


def test_the_volumes_that_a_transform_refers_to_are_chosen(panel, a_pair):
    p = panel.parameters
    assert (p.fixedVolume, p.movingVolume) == a_pair
    assert panel.ui.reviewButton.enabled


def test_first_numbers_come_before_all_numbers(panel, wait_until):
    told = []
    show = panel.findings.show
    panel.findings.show = lambda report, *more: (
        told.append(report and report.detail) or show(report, *more)
    )
    panel.ui.reviewButton.click()
    assert panel.ui.reviewCancelButton.enabled
    wait_until(lambda: not panel.jobs)
    assert told == [None, "quick", "full"]
    assert not panel.ui.reviewProgressBar.visible


def test_lines_are_shown_with_verdicts_in_words_what_is_wrong_first(panel, review):
    review()
    table = panel.ui.reviewLinesTable
    cells = [[table.item(row, c).text() for c in range(2)] for row in range(table.rowCount)]
    assert cells == [
        ["Folding\n1.5 %  (0)", "✕ fail"],
        ["Consistency\n0.4 mm  (3)", "✓ pass"],
        ["Similarity\n0.2 → 0.8", "· shown"],
        ["Landmarks\n-", "- not measured"],
    ]
    colors = {table.item(row, 1).foreground().color().name() for row in range(3)}
    assert len(colors) == 3
    assert "1 of 2 findings need a look: Folding" in panel.ui.reviewVerdictLabel.text
    assert "1 could not be measured" in panel.ui.reviewVerdictLabel.text
    table.selectRow(0)
    assert "1234 voxels, the body" in panel.ui.reviewLineLabel.text
    assert "known beforehand" in panel.ui.reviewLineLabel.text


def test_the_transform_is_handed_over_in_lps_from_fixed_to_moving(panel, review):
    (told, _points) = review().notes
    assert told == f"way {SHIFT.tolist()}"


def test_a_linear_transform_with_parents_is_handed_over_as_one_matrix(panel, review, a_scene):
    nodes = [a_scene.AddNewNodeByClass("vtkMRMLTransformNode", n) for n in ("inner", "outer")]
    for node, shift in zip(nodes, ((1, 0, 0), (0, 2, 0)), strict=True):
        matrix = np.eye(4)
        matrix[:3, 3] = shift
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    nodes[0].SetAndObserveTransformNodeID(nodes[1].GetID())
    panel.choose(nodes[0])
    told = review().notes[0]
    rows = np.array(eval(told.removeprefix("way "), {}))  # fixed to moving: the shift taken back
    assert rows[:3, 3].tolist() == [1.0, 2.0, 0.0]


def test_a_transform_of_another_kind_is_sampled_over_the_fixed_volume(panel, review, a_scene):
    inner = a_grid_transform(a_scene, "inner")
    outer = a_grid_transform(a_scene, "outer")
    inner.SetAndObserveTransformNodeID(outer.GetID())
    panel.choose(inner)
    found = np.array(eval(review().notes[0].removeprefix("way "), {}))
    assert found == pytest.approx(2 * SHIFT, abs=1e-5)


def test_a_moving_side_that_was_brought_along_is_taken_from_below_the_transform(
    panel, a_pair, a_transform
):
    from neuralreg.worker.serialization import at_once

    before = at_once(panel.subject.job("quick"))
    organs = a_segmentation(a_pair[1], "organs")
    a_pair[1].SetAndObserveTransformNodeID(a_transform.GetID())
    organs.SetAndObserveTransformNodeID(a_transform.GetID())
    panel.ui.reviewMovingSegmentsSelector.setCurrentNode(organs)
    after = at_once(panel.subject.job("quick"))
    assert after["moving"].bend is None
    assert after["moving"].grid == before["moving"].grid
    assert after["moving_labels"].grid.spacing == before["moving"].grid.spacing


def test_segments_of_one_name_get_one_number_on_both_sides(panel, a_pair):
    from neuralreg.worker.serialization import at_once

    ui = panel.ui
    fixed = a_segmentation(a_pair[0], "fixed organs", ("Liver", "Spleen"))
    moving = a_segmentation(a_pair[1], "moving organs", ("Spleen", "Kidney"))
    ui.reviewFixedSegmentsSelector.setCurrentNode(fixed)
    ui.reviewMovingSegmentsSelector.setCurrentNode(moving)
    job = at_once(panel.subject.job("quick"))
    assert job["names"] == {"1": "Liver", "2": "Spleen", "3": "Kidney"}
    sides = {}
    for side in ("fixed_labels", "moving_labels"):
        found = job[side]
        values, counts = np.unique(found.data, return_counts=True)
        sides[side] = dict(zip(values.tolist(), counts.tolist(), strict=True))
        sides[side].pop(0, None)
    assert sides == {"fixed_labels": {1: 75, 2: 75}, "moving_labels": {2: 75, 3: 75}}


def test_a_mask_and_limits_of_one_s_own_are_handed_over(panel, a_pair, monkeypatch):
    import qt
    from neuralreg.worker.serialization import at_once

    ui = panel.ui
    assert ui.reviewLimitsButton.text == "AAPM TG-132"
    ui.reviewMaskSelector.setCurrentNode(a_segmentation(a_pair[0], "bones"))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "/my/limits.json")
    ui.reviewLimitsButton.click()
    job = at_once(panel.subject.job("quick"))
    assert (np.unique(job["mask"].data).tolist(), job["mask"].data.sum()) == ([0, 1], 150)
    assert (job["profile"], ui.reviewLimitsButton.text) == ("/my/limits.json", "limits.json")
