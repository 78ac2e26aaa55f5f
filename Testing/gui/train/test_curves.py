"""Curves: Slicer's own tables, series and charts, thinned but never cut."""

from __future__ import annotations

import numpy as np
import pytest
import slicer


@pytest.fixture
def curves(a_scene):
    from NeuralRegistrationLib.Train.Curves import Curves

    return Curves("knees")


def step(number: int, **losses: float) -> dict:
    return {"step": number, "losses": losses, "ended": False, "validation": {}}


def epoch(number: int, **validation: float) -> dict:
    return {"step": number, "losses": {}, "ended": True, "validation": validation}


def column(table, name: str) -> np.ndarray:
    found = table.GetTable().GetColumnByName(name)
    return np.array([found.GetValue(n) for n in range(found.GetNumberOfTuples())])


def test_losses_become_a_chart_that_shows_in_a_plot_view(curves, plots, a_scene):
    layout = a_scene.AddNode(slicer.vtkMRMLLayoutNode())
    for number in range(1, 6):
        curves.add(step(number, loss=1 / number, ssd=0.5 / number))
    curves.add(epoch(5, loss=0.3, dice=0.8))
    assert curves.show()
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpPlotView
    chart, figures = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetTitle() == "Training of knees: losses"
    names = [chart.GetNthPlotSeriesNode(n).GetName() for n in range(3)]
    assert names == ["loss", "ssd", "validation loss"]
    first = chart.GetNthPlotSeriesNode(0)
    table = first.GetTableNode()
    assert column(table, first.GetXColumnName()) == pytest.approx([1, 2, 3, 4, 5])
    assert column(table, first.GetYColumnName()) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert curves.show(validation=True)
    series = figures.GetNthPlotSeriesNode(0)
    assert series.GetName() == "dice"
    assert column(series.GetTableNode(), "dice") == pytest.approx([0.8])


def test_long_curves_are_thinned_by_means_and_keep_their_ends(curves):
    for number in range(1, 5001):
        curves.add(step(number, loss=float(number)))
    points = curves.losses.array(["loss"])
    assert len(points) <= 400
    assert points[0, 1] < 20
    assert points[-1, 0] > 4950
    assert np.all(np.diff(points[:, 0]) > 0)
    assert np.abs(points[:, 1] - points[:, 0]).max() <= 16  # a mean over what it stands for


def test_new_points_change_the_nodes_and_make_no_others(curves, a_scene):
    curves.add(step(1, loss=1.0))
    curves.draw()
    before = a_scene.GetNumberOfNodes()
    curves.add(step(2, loss=0.5))
    curves.draw()
    assert a_scene.GetNumberOfNodes() == before
    table = slicer.util.getNodesByClass("vtkMRMLTableNode")[-1]
    assert column(table, "loss") == pytest.approx([1.0, 0.5])


def test_charts_that_the_user_deleted_come_back(curves, a_scene):
    curves.add(step(1, loss=1.0))
    curves.draw()
    for kind in ("Chart", "Series"):
        for node in slicer.util.getNodesByClass(f"vtkMRMLPlot{kind}Node"):
            a_scene.RemoveNode(node)
    a_scene.RemoveNode(slicer.util.getNodesByClass("vtkMRMLTableNode")[-1])
    curves.add(step(2, loss=0.5))
    curves.draw()
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetNthPlotSeriesNode(0).GetName() == "loss"


def test_a_run_that_goes_on_shows_its_epochs_so_far(curves, a_run):
    from NeuralRegistrationLib.Train import RunFolder

    curves.restore(RunFolder.curves(str(a_run)))
    assert [number for number, _values in curves.losses.points] == list(range(4, 64, 4))
    assert curves.figures.names() == ["dice", "folding_percent"]


def test_the_small_picture_goes_down_where_the_loss_does(the_application):
    from NeuralRegistrationLib.Train.CurvePicture import picture

    train = np.array([[n, 100.0 - n] for n in range(100)])
    drawn = picture(train, train[::25]).toImage()
    assert (drawn.width(), drawn.height()) == (600, 84)

    def highest(columns) -> float:
        found = [y for x in columns for y in range(84) if drawn.pixelColor(x, y).alpha() > 60]
        return sum(found) / len(found)

    assert highest(range(16, 80)) + 40 < highest(range(520, 584))


def test_the_curve_is_drawn_while_its_tab_is_not_looked_at(a_panel, plots):
    view = a_panel.trainPanel.view
    assert not view.ui.trainCurveLabel.visible  # another tab is open
    for number in range(1, 6):
        view.curves.add(step(number, loss=1 / number))
    view._draw()
    assert not view.ui.trainCurveLabel.pixmap.isNull()
    assert not view.ui.trainCurveLabel.isHidden()
