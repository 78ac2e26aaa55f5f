"""The controls of the Review panel for looking: views, overlay, deformation, maps, outlines."""

from __future__ import annotations

from dataclasses import replace

from .. import Revert
from ..Keys import key
from ..Steps import InSteps
from . import Maps
from .MappedCursor import MappedCursor
from .MixedVolume import mixedVolume
from .Outlines import Outlines
from .Parameters import ColorMap, Drawing, Layout
from .Views import UPPER, ReviewViews, jump

_MODES = {
    Drawing.GRID: "VIS_MODE_GRID",
    Drawing.ARROWS: "VIS_MODE_GLYPH",
    Drawing.CONTOURS: "VIS_MODE_CONTOUR",
}
KEY = "X"


class ReviewLook:
    """Lets the slice views show what the parameters and sliders say, from the first look on."""

    def __init__(self, ui, widget) -> None:
        self.ui = ui
        self.views: ReviewViews | None = None
        self._subject = self._cursor = self._outlines = self._mixing = None
        self._images, self._changes, self._mapNode = {}, None, None
        self._shownMap = ColorMap.NONE
        self._drawn = None
        ui.reviewMixSlider.connect("valueChanged(double)", lambda value: self._overlay())
        ui.reviewWarpSlider.connect("valueChanged(double)", self._warp)
        ui.reviewBeforeButton.connect("toggled(bool)", self._before)
        ui.reviewOutlinesCheckBox.connect("toggled(bool)", lambda on: self._outline())
        self.shortcut = key(KEY, widget, ui.reviewBeforeButton.toggle)
        self.parameters = None

    def active(self, on: bool) -> None:
        """Listen to the key, or leave it to others."""
        self.shortcut.setEnabled(on)

    def follow(self, subject, images: dict) -> None:
        """Look at this subject, with these maps, from now on."""
        if subject is not None:  # landmarks change while they are placed
            others = {"fixedPoints": None, "movingPoints": None, "mask": None, "profile": ""}
            subject = replace(subject, **others)
        same = self._subject == subject
        if not same:
            self.stop()
        self._subject = subject
        self._images = images
        if self.views is not None:
            self._takeMixed()
            self.apply()

    def start(self) -> None:
        """Begin to show both images, if that has not begun."""
        subject = self._subject
        if self.views is not None or subject is None or not subject.isThere:
            return
        if None in (subject.transform, subject.fixedVolume, subject.movingVolume):
            return
        self.views = ReviewViews(subject.fixedVolume, subject.movingVolume, subject.transform)
        self._takeMixed()

    def stop(self) -> None:
        """Show again what was shown before; maps go away."""
        if self._mixing is not None:
            self._mixing.stop()
        for part in (self._cursor, self._outlines, self.views):
            if part is not None:
                part.remove()
        self._cursor = self._outlines = self.views = self._mixing = None
        self._removeMap()
        self._draw(Drawing.NONE)
        self._subject, self._images = None, {}
        for control in (self.ui.reviewBeforeButton, self.ui.reviewOutlinesCheckBox):
            control.blockSignals(True)
            control.checked = False
            control.blockSignals(False)

    def forget(self) -> None:
        """The scene closes, with all that was made."""
        if self._changes is not None:
            self._changes = None
        self.stop()

    def _takeMixed(self) -> None:
        """Make squares and curtain possible, as soon as the moving image is there on the grid."""
        if "warped" not in self._images or self.views is None or self.views.canMix:
            return
        subject, image = self._subject, self._images["warped"][0]
        if image.GetDimensions() != subject.fixedVolume.GetImageData().GetDimensions():
            return  # a grid of more samples than are looked at
        steps = mixedVolume(subject.fixedVolume, image, subject.movingVolume)
        self._mixing = InSteps(steps, self._tookMixed, lambda error: None)

    def _tookMixed(self, mixed) -> None:
        self._mixing = None
        if self.views is None:
            mixed.remove()
        else:
            self.views.take(mixed)
            self._overlay()

    # What the controls say

    def apply(self) -> None:
        """Bring the views in step with the parameters."""
        p = self.parameters
        usual = (Layout.ASIS, Drawing.NONE, ColorMap.NONE)
        if self.views is None and (p.layout, p.drawing, p.colorMap) == usual:
            return
        self.start()
        self._draw(p.drawing)
        self._showMap(p.colorMap)
        if self.views is not None:
            self.views.arrange(p.layout)
            self._follow(p.layout)
            self._overlay()

    def touched(self) -> None:
        """The user wants to see something: begin to show it."""
        self.start()
        if self.views is not None:
            self.apply()

    def _overlay(self) -> None:
        if self.views is not None:
            self.views.overlay(self.parameters.overlay, self.ui.reviewMixSlider.value)

    def _warp(self, percent: float) -> None:
        self.start()
        if self.views is not None:
            self.views.warp(percent / 100)

    def _before(self, on: bool) -> None:
        self.start()
        if self.views is not None:
            self.views.before(on)

    def _outline(self) -> None:
        self.start()
        if self._outlines is not None:
            self._outlines.remove()
            self._outlines = None
        if self.ui.reviewOutlinesCheckBox.checked and self._subject is not None:
            own = self.parameters.layout is Layout.OWN
            self._outlines = Outlines(self._subject, own)

    def _follow(self, layout: Layout) -> None:
        """The cursor is mapped where each image lies in its own space."""
        wanted = layout is Layout.OWN
        if wanted and self._cursor is None:
            self._cursor = MappedCursor(self._subject)
        elif not wanted and self._cursor is not None:
            self._cursor.remove()
            self._cursor = None
        if self._outlines is not None:
            self._outline()

    def _draw(self, drawing: Drawing) -> None:
        """Draw the deformation itself in the slice views."""
        node = self._subject.transform if self._subject is not None else self._drawn
        if node is None or node.GetScene() is None:
            return
        if drawing is Drawing.NONE:
            if self._drawn is not None and self._drawn.GetDisplayNode() is not None:
                self._drawn.GetDisplayNode().SetVisibility(False)
            self._drawn = None
            return
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetVisualizationMode(getattr(display, _MODES[drawing]))
        display.SetVisibility(True)
        display.SetVisibility2D(True)
        self._drawn = node

    def _showMap(self, kind: ColorMap) -> None:
        if kind is self._shownMap and (self._mapNode is None or self._mapNode.GetScene()):
            return
        self._removeMap()
        if kind is not ColorMap.NONE and kind.value in self._images:
            image, grid = self._images[kind.value]
            subject = self._subject
            self._changes = Revert.Changes(subject.transform.GetScene())
            self._mapNode = Maps.show(self._changes, image, grid, kind, subject.transform)
            self._shownMap = kind
        if self.views is not None:
            self.views.color(self._mapNode)

    def _removeMap(self) -> None:
        if self._changes is not None:
            self._changes.revert()
        self._changes = self._mapNode = None
        self._shownMap = ColorMap.NONE

    def jump(self, pointRas) -> None:
        """Let all views cut through a place of the fixed image."""
        if self._cursor is None:
            jump(pointRas)
            return
        jump(pointRas, group=0)
        self._cursor.at(UPPER, pointRas)
