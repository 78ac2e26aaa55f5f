"""The losses of a training as charts of the scene, for Slicer's plot views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

_MOST = 400  # points of a curve
STEP = "step"
Points = list[tuple[float, dict[str, float]]]


class Curve:
    """Numbers by name over steps; long ones are thinned by taking means, so that both ends stay."""

    def __init__(self) -> None:
        self.points: Points = []
        self._each, self._waiting = 1, []

    def add(self, step: float, values: Mapping[str, float]) -> None:
        """One more point."""
        self._waiting.append((step, dict(values)))
        if len(self._waiting) < self._each:
            return
        self.points.append(_mean(self._waiting))
        self._waiting = []
        if len(self.points) >= _MOST:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [_mean(list(pair)) for pair in pairs]
            self._each *= 2

    def names(self) -> list[str]:
        """All numbers that some point has."""
        return list(dict.fromkeys(name for _step, values in self.points for name in values))

    def array(self, names: Sequence[str]) -> np.ndarray:
        """A row per point: its step, and the numbers; what is missing is what it was before."""
        rows, last = [], dict.fromkeys(names, 0.0)
        for step, values in self.points:
            last |= {name: value for name, value in values.items() if name in last}
            rows.append([step, *(last[name] for name in names)])
        return np.array(rows, float).reshape(len(rows), len(names) + 1)


def _mean(points: Points) -> tuple[float, dict[str, float]]:
    names = dict.fromkeys(name for _step, values in points for name in values)
    values = {n: [v[n] for _step, v in points if n in v] for n in names}
    return points[-1][0], {name: float(np.mean(steps)) for name, steps in values.items()}


class Chart:
    """A chart with a table and a series for each curve, made when there is something to show.

    title: also of the nodes. dashed: for validations, to be told from the training's lines.
    """

    def __init__(self, title: str, yTitle: str) -> None:
        self.title, self._yTitle = title, yTitle
        self.node, self._tables = None, {}

    def draw(self, curves: Mapping[str, Curve]) -> None:
        """Show curves. Their keys go before the names of the numbers; one key may be empty."""
        filled = {head: curve for head, curve in curves.items() if curve.points}
        if not filled:
            return
        scene = slicer.mrmlScene
        if self.node is None or self.node.GetScene() is None:  # the user may have deleted it
            self.node = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", self.title)
            self.node.SetTitle(self.title)
            self.node.SetXAxisTitle(_("step"))
            self.node.SetYAxisTitle(self._yTitle)
            self._tables = {}
        for head, curve in filled.items():
            self._drawCurve(head, curve)

    def _drawCurve(self, head: str, curve: Curve) -> None:
        names = curve.names()
        table = self._tables.get(head)
        if table is None or table.GetScene() is None:
            title = f"{self.title}: {head}" if head else self.title
            table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", title)
            self._tables[head] = table
        lossNames = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
        columns = {STEP: None, **{f"{head} {name}".strip(): name for name in names}}
        _fill(table, list(columns), curve.array(names))
        for column in columns:
            if column not in (STEP, *lossNames):
                self._addSeries(table, column, dashed=bool(head))

    def _addSeries(self, table, column: str, *, dashed: bool) -> None:
        series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", column)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(STEP)
        series.SetYColumnName(column)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleCircle if dashed else series.MarkerStyleNone)
        series.SetLineStyle(series.LineStyleDash if dashed else series.LineStyleSolid)
        series.SetUniqueColor()
        self.node.AddAndObservePlotSeriesNodeID(series.GetID())


def _fill(table, names: Sequence[str], values: np.ndarray) -> None:
    newTable = vtk.vtkTable()
    for number, name in enumerate(names):
        column = numpy_to_vtk(np.ascontiguousarray(values[:, number]), deep=True)
        column.SetName(name)
        newTable.AddColumn(column)
    table.SetAndObserveTable(newTable)


class Curves:
    """What a training has said so far, and the two charts that show it."""

    def __init__(self, name: str) -> None:
        self.losses, self.validLosses, self.figures = Curve(), Curve(), Curve()
        self._charts = (
            Chart(_("Training of {name}: losses").format(name=name), _("loss")),
            Chart(_("Training of {name}: validation").format(name=name), _("value")),
        )
        self._changed = False

    def restore(self, epochs: Sequence[Mapping[str, float]]) -> None:
        """Begin with the epochs that a run has written, see `RunFolder.curves`."""
        for line in epochs:
            for head, add in (("train ", self._addLosses), ("valid ", self._addValidation)):
                values = {k.removeprefix(head): v for k, v in line.items() if k.startswith(head)}
                if values:
                    add(line["step"], values)

    def add(self, report: Mapping) -> None:
        """One more line of the training."""
        if report["ended"]:
            if report["validation"]:
                self._addValidation(report["step"], report["validation"])
        else:
            self._addLosses(report["step"], report["losses"])

    def _addLosses(self, step: float, losses: Mapping[str, float]) -> None:
        self.losses.add(step, losses)
        self._changed = True

    def _addValidation(self, step: float, values: Mapping[str, float]) -> None:
        lossNames = self.losses.names()
        self.validLosses.add(step, {n: v for n, v in values.items() if n in lossNames})
        others = {n: v for n, v in values.items() if n not in lossNames}
        if others:
            self.figures.add(step, others)
        self._changed = True

    def draw(self) -> None:
        """Bring the nodes of the scene up to date."""
        if self._changed:
            self._changed = False
            self._charts[0].draw({"": self.losses, _("validation"): self.validLosses})
            self._charts[1].draw({"": self.figures})

    def show(self, validation: bool = False) -> bool:
        """Show a chart in a plot view of the application; False if there is none yet."""
        self.draw()
        chart = self._charts[validation].node
        if chart is not None:
            slicer.modules.plots.logic().ShowChartInLayout(chart)
        return chart is not None
