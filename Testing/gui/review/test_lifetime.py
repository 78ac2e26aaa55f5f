"""What happens to a review when the world around it changes."""

from __future__ import annotations

import pytest
import slicer
import vtk

from Testing.support.review_scene import a_segmentation, nodes_in, pick


def test_cancel_ends_the_review_and_leaves_nothing(panel, wait_until, a_scene):
    before = nodes_in(a_scene)
    panel.ui.reviewButton.click()
    panel.ui.reviewCancelButton.click()
    assert panel.jobs == []
    assert panel.findings.report is None
    assert nodes_in(a_scene) == before
    assert panel.ui.reviewButton.enabled


def test_a_transform_that_changes_meanwhile_gets_no_report(panel, a_transform, wait_until):
    panel.ui.reviewButton.click()
    a_transform.SetAndObserveTransformFromParent(vtk.vtkTransform())
    wait_until(lambda: not panel.jobs)
    assert panel.findings.report is None
    assert "no longer fits" in panel.ui.reviewStatusLabel.text


def test_a_scene_that_is_closed_leaves_a_fresh_panel(panel, review, a_scene, views):
    review()
    panel.viewControls.begin()
    panel.ui.reviewButton.click()
    a_scene.Clear(False)
    assert panel.ui.reviewLinesTable.rowCount == 0
    assert panel.ui.reviewDecisionLabel.text == "No decision yet."
    assert panel.viewControls.views is None


@pytest.mark.parametrize("which", ["transform", "fixedVolume", "movingVolume", "fixedSegments"])
def test_nodes_that_are_deleted_while_they_are_looked_at_do_no_harm(
    panel, review, views, a_scene, a_pair, which
):
    panel.ui.reviewFixedSegmentsSelector.setCurrentNode(a_segmentation(a_pair[0], "one"))
    panel.ui.reviewMovingSegmentsSelector.setCurrentNode(a_segmentation(a_pair[1], "other"))
    review()
    panel.ui.reviewOutlinesCheckBox.checked = True
    pick(panel.ui.reviewArrowsSelector, "Arrows")
    pick(panel.ui.reviewMapSelector, "Forward-backward error")
    a_scene.RemoveNode(getattr(panel.parameters, which))
    panel.ui.reviewMixSlider.value = 20
    panel.ui.reviewBeforeButton.click()
    panel.ui.reviewWarpSlider.value = 30
    assert getattr(panel.parameters, which) is None
    panel.close()


def test_leaving_the_panel_gives_the_views_back(panel, review, views, a_panel, a_scene):
    composite = views["Red"][1]
    composite.SetBackgroundVolumeID(panel.parameters.movingVolume.GetID())
    review()
    before = nodes_in(a_scene)
    panel.viewControls.begin()
    assert composite.GetBackgroundVolumeID() == panel.parameters.fixedVolume.GetID()
    pick(panel.ui.reviewOverlaySelector, "Difference")
    a_panel.tabs.currentIndex = 0
    assert composite.GetBackgroundVolumeID() == panel.parameters.movingVolume.GetID()
    assert composite.GetCompositing() == composite.Alpha
    assert nodes_in(a_scene) == before
    assert not panel.viewControls.shortcut.isEnabled()


def test_a_result_of_the_register_panel_opens_its_review(
    known_reviewer, a_pair, a_panel, wait_until
):
    register = a_panel.registerPanel
    a_panel.enter()
    register.parameters.model = "convex"
    register.ui.applyButton.click()
    wait_until(lambda: not register.jobs)
    register.ui.openReviewButton.click()
    assert a_panel.tabs.tabText(a_panel.tabs.currentIndex) == "Review"
    p = a_panel.reviewPanel.parameters
    assert p.transform is register.history[-1].transformNode
    assert (p.fixedVolume, p.movingVolume) == a_pair


def test_the_examples_of_the_console_run(known_reviewer, a_transform, capsys):
    from textwrap import dedent

    from NeuralRegistrationLib.Review import Jobs

    blocks = Jobs.__doc__.split("\n\n")
    code = "\n".join(dedent(block) for block in blocks if block.startswith("    "))
    exec(code, {"getNode": slicer.util.getNode})
    assert capsys.readouterr().out.startswith("fail ['folding is 1.5'")
