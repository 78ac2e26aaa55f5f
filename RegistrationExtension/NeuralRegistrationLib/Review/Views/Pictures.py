"""Pictures for the report of a review, drawn by Slicer's own slice views off the screen."""

from __future__ import annotations

import numpy as np
import slicer
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Review.Parameters import ColorMap
from NeuralRegistrationLib.Review.Views import ColorMaps
from NeuralRegistrationLib.Scene import Geometry, Revert
from NeuralRegistrationLib.Scene.SlicePictures import PLANES, SlicePictures
from NeuralRegistrationLib.Scene.SliceViews import WarpPreview

_SIZE = (420, 420)
_PLACES = 6
_CLOSE = 3.0  # zoom at a location
_GREEN, _MAGENTA = "vtkMRMLColorTableNodeGreen", "vtkMRMLColorTableNodeMagenta"


def pictures(subject, reviewed) -> Steps:
    """PNGs by the names that the core's report knows, a picture in each step.

    Before and after show the fixed image in green and the moving one in magenta, gray where they
    agree. Empty without both volumes.
    """
    if subject.fixedVolume is None or subject.movingVolume is None:
        return {}
    studio = _Studio(subject, reviewed)
    try:
        yield from studio.furnish()
        return (yield from studio.pictures())
    finally:
        studio.close()


class _Studio:
    """Hidden copies in colors, and a view to draw them."""

    def __init__(self, subject, reviewed) -> None:
        self._subject, self._reviewed = subject, reviewed
        self._changes = Revert.Changes(subject.transform.GetScene())
        self._fixed = self._moving = self._view = self._display = None

    def furnish(self) -> Steps:
        """Make the copies and the view, in short steps."""
        identity = slicer.vtkMRMLTransformNode()
        self._fixed = WarpPreview(self._subject.fixedVolume, identity)
        self._fixed.warp(0.0)
        yield
        self._moving = WarpPreview(self._subject.movingVolume, self._subject.transform)
        yield
        for preview, color in ((self._fixed, _GREEN), (self._moving, _MAGENTA)):
            preview.volume.GetDisplayNode().SetAndObserveColorNodeID(color)
            yield
        scene = self._subject.transform.GetScene()
        self._view = SlicePictures(scene, slicer.app.applicationLogic(), _SIZE)
        yield
        self._view.begin()
        yield
        self._display = self._prepareDisplay()

    def _prepareDisplay(self):
        """The transform's display, switched off until it is needed; remembers how it was."""
        node = self._subject.transform
        self._hadDisplay = node.GetDisplayNode() is not None
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        self._former = (
            display.GetVisibility(),
            display.GetVisibility2D(),
            display.GetVisualizationMode(),
        )
        display.SetVisibility(False)
        return display

    def pictures(self) -> Steps:
        pictures = {}
        bounds = np.zeros(6)
        self._subject.fixedVolume.GetRASBounds(bounds)
        middle = bounds.reshape(3, 2).mean(1)
        for name, prepare in (
            ("before", lambda: self._both(0.0)),
            ("after", lambda: self._both(1.0)),
            ("grid", self._grid),
            ("jacobian", self._map),
        ):
            yield
            if not prepare():
                continue
            for plane in PLANES:
                yield
                pictures[f"{name}/{plane.lower()}"] = yield from self._png(plane, middle)
        self._display.SetVisibility(False)
        self._both(1.0)
        for number, location in enumerate(self._reviewed.report.worst[:_PLACES], start=1):
            point = Geometry.flip([*location.point_lps, 0.0][:3])
            pictures[f"place/{number}"] = yield from self._png("Axial", point, _CLOSE)
            yield
        return pictures

    def _png(self, plane: str, point, zoom: float = 1.0) -> Steps:
        self._view.look(plane, self._subject.fixedVolume, point, zoom=zoom)
        yield
        return (yield from self._view.pngInSteps())

    def _both(self, fraction: float) -> bool:
        self._moving.warp(fraction)
        self._view.show(self._fixed.volume, self._moving.volume, add=True)
        return True

    def _grid(self) -> bool:
        self._view.show(self._subject.fixedVolume)
        self._display.SetVisualizationMode(self._display.VIS_MODE_GRID)
        self._display.SetVisibility(True)
        self._display.SetVisibility2D(True)
        return True

    def _map(self) -> bool:
        self._display.SetVisibility(False)
        kind = ColorMap.JACOBIAN
        if kind.value not in self._reviewed.images:
            return False
        image, grid = self._reviewed.images[kind.value]
        node = ColorMaps.show(self._changes, image, grid, kind, self._subject.transform)
        self._view.show(self._subject.fixedVolume, node, opacity=0.6)
        return True

    def close(self) -> None:
        if self._view is not None:
            self._view.close()
        self._changes.revert()
        for preview in filter(None, (self._fixed, self._moving)):
            preview.remove()
        if self._display is not None:
            self._restoreDisplay()

    def _restoreDisplay(self) -> None:
        visible, in2D, mode = self._former
        self._display.SetVisualizationMode(mode)
        self._display.SetVisibility2D(in2D)
        self._display.SetVisibility(visible)
        if not self._hadDisplay:
            scene, colors = self._subject.transform.GetScene(), self._display.GetColorNode()
            for node in filter(None, (self._display, colors)):
                scene.RemoveNode(node)
