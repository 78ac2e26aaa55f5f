"""A whole review from the panel: the real worker, on a Python that has no torch."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.support.shifted_body import SHIFT, a_body, a_transform


@pytest.fixture(scope="module")
def a_python_without_torch(the_application, tmp_path_factory):
    """The queue of reviews, whose worker cannot import torch."""
    import os

    from NeuralRegistrationLib.Review import Jobs

    folder = tmp_path_factory.mktemp("modules")
    (folder / "torch.py").write_text("raise ModuleNotFoundError('no torch here', name='torch')")
    former, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH", ""), str(folder)
    kept, Jobs._queues[:] = list(Jobs._queues), []
    yield Jobs.queue()
    Jobs.queue().close()
    Jobs._queues[:] = kept
    os.environ["PYTHONPATH"] = former


@pytest.fixture
def reviewed(a_python_without_torch, a_scene, a_panel, wait_until):
    """Reviews a transform in the panel; the panel."""

    def run(folded: bool, **nodes):
        pair = [a_body(name, shift) for name, shift in (("fixed", 0.0), ("moving", SHIFT))]
        panel = a_panel.reviewPanel
        a_panel.openReview(a_transform(a_scene, pair, folded))
        panel.set(nodes)
        panel.ui.reviewButton.click()
        wait_until(lambda: not panel.jobs, 120)
        assert panel.findings.report is not None, panel.ui.reviewStatusLabel.text
        return panel

    return run


def test_a_good_transform_passes_without_torch_and_its_direction_is_right(reviewed):
    report = reviewed(folded=False).findings.report
    assert report.verdict == "pass", [line.words for line in report.lines]
    before_after = [(line.before, line.value) for line in report.lines if line.before is not None]
    assert before_after
    folding = next(line for line in report.lines if line.name.startswith("folding"))
    assert (folding.value, folding.verdict) == (0.0, "pass")


def test_a_fold_fails_and_the_first_place_is_where_it_is(reviewed, a_scene, late_ticks):
    crosshair = a_scene.AddNode(slicer.vtkMRMLCrosshairNode())
    panel = reviewed(folded=True)
    report = panel.findings.report
    assert report.verdict == "fail"
    kinds = [place.kind for place in report.worst]
    panel.ui.reviewPlacesTable.selectRow(kinds.index("folding"))
    middle = 10 * 4.0
    assert np.array(crosshair.GetCrosshairRAS()) == pytest.approx([middle] * 3, abs=9.0)
    assert late_ticks.count() <= 2  # for a machine on which others work
    assert set(panel.reviewed.images) >= {"jacobian", "magnitude", "warped"}


def test_landmarks_in_slicer_s_space_are_judged_in_the_core_s(reviewed, a_scene):
    points = {}
    for name, shift in (("fixedPoints", 0.0), ("movingPoints", SHIFT)):
        node = points[name] = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for n, place in enumerate(((30, 40, 44), (50, 36, 40), (40, 50, 30))):
            node.AddControlPoint(vtk.vtkVector3d(place[0] + shift, *place[1:]), f"p{n}")
    panel = reviewed(folded=False, **points)
    line = next(line for line in panel.findings.report.lines if line.name == "tre_mean")
    assert (line.before, line.value) == (pytest.approx(SHIFT), pytest.approx(0.0, abs=1e-3))
    assert panel.ui.reviewPointsTable.item(0, 2).text() == "0 mm"
