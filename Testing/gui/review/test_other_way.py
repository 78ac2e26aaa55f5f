"""Consistency: the panel registers the other way and measures how well both directions agree."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.support.shifted_body import SHIFT, a_body, a_transform


@pytest.fixture(scope="module")
def real_reviewer(the_application):
    """The queue of reviews with a real worker."""
    from NeuralRegistrationLib.Review import Jobs

    former, Jobs._queues[:] = list(Jobs._queues), []
    yield Jobs.queue()
    Jobs.queue().close()
    Jobs._queues[:] = former


@pytest.fixture
def registered(real_worker, real_reviewer, a_scene, a_panel, wait_until):
    """A pair that was registered, and reviewed in the panel; the panel and the registration."""
    from NeuralRegistrationLib.Register.Logic import register

    def run(**settings):
        fixed, moving = a_body("fixed", 0.0), a_body("moving", SHIFT)
        job = register(fixed, moving, "convex", wait=False, refinement={"steps": 6}, **settings)
        wait_until(lambda: job.state in ("done", "failed"), 200)
        assert job.state == "done", job.error
        a_panel.openReview(job.result.transformNode)
        panel = a_panel.reviewPanel
        review(panel, wait_until)
        return panel, job.result

    return run


def review(panel, wait_until):
    panel.ui.reviewButton.click()
    wait_until(lambda: not panel.jobs, 120)
    assert panel.findings.report is not None, panel.ui.reviewStatusLabel.text


def line_of(panel, name):
    return next((line for line in panel.findings.report.lines if line.name == name), None)


def through(node, points):
    """Where points of the fixed side of a transform node come from."""
    way = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(way)
    return np.array([way.TransformPoint(point) for point in points])


def test_the_button_registers_the_other_way_and_measures_consistency(
    registered, wait_until, a_scene
):
    panel, done = registered(preset="abdomen CT")
    assert line_of(panel, "consistency_mean").verdict == "not measured"
    panel.parameters.movingVolume.SetAndObserveTransformNodeID(done.transformNode.GetID())
    panel.ui.reviewOtherWayButton.click()
    assert panel.ui.reviewCancelButton.enabled
    wait_until(lambda: not panel.jobs, 200)
    line = line_of(panel, "consistency_mean")
    assert line is not None, panel.ui.reviewStatusLabel.text
    assert line.verdict == "pass"
    assert panel.ui.reviewMapSelector.currentText == "Forward-backward error"
    names = [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLTransformNode")]
    back = slicer.util.getNode("fixed to moving")
    assert names.count("fixed to moving") == 1
    k, j, i = (np.mgrid[4:36:5, 4:36:5, 4:36:5] * 2.0).reshape(3, -1)
    points = np.stack([i, j, k], 1)
    inside = (((points - 39) / (26, 30, 24)) ** 2).sum(1) < 0.9
    again = through(back, through(done.transformNode, points[inside]))
    error = np.linalg.norm(again - points[inside], axis=1)
    assert line.value == pytest.approx(error.mean(), rel=0.3, abs=0.05)
    assert panel.ui.reviewWorklistTable.rowCount == 1  # the other one is no case of its own
    record = slicer.util.getNode("fixed to moving").GetAttribute("NeuralRegistration.Record")
    assert '"preset": "abdomen CT"' in record


def test_an_inverse_that_was_computed_is_not_taken_for_consistency(registered):
    panel, _done = registered(inverse=True)
    assert line_of(panel, "consistency_mean").verdict == "not measured"
    assert line_of(panel, "inverse_maximum").verdict == "shown"


def test_cancel_leaves_nothing_behind(registered, wait_until, a_scene):
    panel, _done = registered()
    before = [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLTransformNode")]
    panel.ui.reviewOtherWayButton.click()
    wait_until(lambda: panel.ui.reviewProgressBar.value > 0)
    panel.ui.reviewCancelButton.click()
    wait_until(lambda: not panel.jobs)
    assert panel.ui.reviewStatusLabel.text == "Cancelled."
    assert [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLTransformNode")] == before


def test_a_transform_that_does_not_say_how_it_was_made_is_refused(
    real_reviewer, a_scene, a_panel, wait_until
):
    from neuralreg.errors import InvalidOption
    from NeuralRegistrationLib.Review import RepeatRegistration

    pair = [a_body(name, shift) for name, shift in (("fixed", 0.0), ("moving", SHIFT))]
    a_panel.openReview(a_transform(a_scene, pair, folded=False))
    panel = a_panel.reviewPanel
    review(panel, wait_until)
    assert panel.ui.reviewSpreadButton.enabled
    assert not panel.ui.reviewOtherWayButton.enabled
    with pytest.raises(InvalidOption, match="how it was made"):
        RepeatRegistration.submitReverse(panel.subject)
