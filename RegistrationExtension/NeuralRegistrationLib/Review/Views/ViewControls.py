"""The controls of the Review panel for looking: views, overlay, deformation, maps, outlines."""

from __future__ import annotations

from dataclasses import replace

from slicer.i18n import tr as _

from NeuralRegistrationLib.Review import Jobs
from NeuralRegistrationLib.Review.Parameters import ColorMap, Drawing, Layout, Overlay
from NeuralRegistrationLib.Review.Views import ColorMaps
from NeuralRegistrationLib.Review.Views.Checkerboard import BACKWARD, FORWARD, makeCheckerboards
from NeuralRegistrationLib.Review.Views.MappedCursor import MappedCursor
from NeuralRegistrationLib.Review.Views.Outlines import Outlines
from NeuralRegistrationLib.Review.Views.ViewLayouts import UPPER, jump
from NeuralRegistrationLib.Review.Views.Views import MIXING, ReviewViews
from NeuralRegistrationLib.Scene import Revert
from NeuralRegistrationLib.Widgets.Shortcuts import key
from NeuralRegistrationLib.Worker.IncrementalWork import InSteps

_MODES = {
    Drawing.GRID: "VIS_MODE_GRID",
    Drawing.ARROWS: "VIS_MODE_GLYPH",
    Drawing.CONTOURS: "VIS_MODE_CONTOUR",
}
_MIX = {Layout.ASIS: 50, Layout.BROUGHT: 0, Layout.OWN: 0}  # percent: each row alone at first
_MAP_MIX = 50  # percent of a map: it is seen when it is chosen
KEY = "X"


class ViewControls:
    """Lets the slice views follow the parameters and sliders, from the first use on."""

    def __init__(self, ui, widget) -> None:
        self.ui = ui
        self.views: ReviewViews | None = None
        self._subject = self.cursor = self._outlines = self._mixing = self._mixedFor = None
        self._fetching = None
        self.images, self._changes, self._mapNode = {}, None, None
        self._mappedImage = None
        self._drawnNode = None
        self._suspended = False
        ui.reviewMixSlider.connect("valueChanged(double)", lambda value: self._overlay())
        ui.reviewWarpSlider.connect("valueChanged(double)", self._warp)
        ui.reviewBeforeButton.connect("toggled(bool)", self._before)
        ui.reviewOutlinesCheckBox.connect("toggled(bool)", lambda on: self._outline())
        self.shortcut = key(KEY, widget, ui.reviewBeforeButton.toggle)
        self.parameters = None

    def active(self, on: bool) -> None:
        """React to the key, or leave it to others."""
        self.shortcut.setEnabled(on)

    def follow(self, subject, images: dict) -> None:
        """Show this subject, with these maps, from now on."""
        if subject is not None:  # landmarks change while they are placed
            others = {"fixedPoints": None, "movingPoints": None, "mask": None, "profile": ""}
            subject = replace(subject, **others)
        same = self._subject == subject
        if not same:
            self.stop()
        self._subject = subject
        self.images = images
        if self.views is not None:
            self.apply()

    def start(self) -> None:
        """Begin to show both images, unless that has begun."""
        subject = self._subject
        if self.views is not None or subject is None or not subject.isThere:
            return
        if None in (subject.transform, subject.fixedVolume, subject.movingVolume):
            return
        self.views = ReviewViews(subject)

    def stop(self) -> None:
        """Restore the views as they were; maps are removed."""
        self._stopMixing()
        for part in (self.cursor, self._outlines, self.views):
            if part is not None:
                part.remove()
        self.cursor = self._outlines = self.views = None
        self._removeMap()
        self._draw(Drawing.NONE)
        self._subject, self.images = None, {}
        self._note("")
        for control in (self.ui.reviewBeforeButton, self.ui.reviewOutlinesCheckBox):
            control.blockSignals(True)
            control.checked = False
            control.blockSignals(False)

    def suspend(self) -> None:
        """Give the views back while the scene is saved: what they show is not saved with it."""
        self._suspended = self.views is not None
        subject, images = self._subject, self.images
        self.stop()
        self._subject, self.images = subject, images

    def resume(self) -> None:
        """Show again what was shown before the scene was saved."""
        if self._suspended:
            self.begin()
        self._suspended = False

    def renew(self) -> None:
        """The transform is another one: what was made for display of the former one goes."""
        self.suspend()
        self.resume()

    def forget(self) -> None:
        """The scene closes, with all nodes of the views."""
        if self._changes is not None:
            self._changes = None
        self.stop()

    # Checkerboard and curtain

    def _mix(self) -> None:
        """Make the volumes for checkerboard and curtain, when they are chosen and can be made."""
        p = self.parameters
        request = (p.layout, *map(id, self.images.values()))
        if p.overlay not in MIXING or request == self._mixedFor:
            return
        self._stopMixing()
        self._mixedFor = request
        if p.layout is Layout.OWN and FORWARD in self.images and BACKWARD not in self.images:
            self._fetching = Jobs.submitFixedOnMoving(self._subject, onDone=self._takeFixedOnMoving)
            self._note(_("Preparing checkerboard and curtain ..."))
            return
        steps = makeCheckerboards(self._subject, p.layout, self.images)
        self._mixing = InSteps(steps, self._takeMixed, lambda error: self._note(str(error)))
        self._note(_("Preparing checkerboard and curtain ..."))

    def _takeFixedOnMoving(self, job) -> None:
        """The fixed image was resampled onto the moving one's voxels."""
        if job is not self._fetching:
            return
        self._fetching = None
        if job.state == "done":
            self.images.update(job.result)
            self._mix()
        else:
            self._note(str(job.error or ""))

    def _stopMixing(self) -> None:
        if self._fetching is not None:
            job, self._fetching = self._fetching, None
            job.cancel()
        if self._mixing is not None:
            self._mixing.stop()
        self._mixing = self._mixedFor = None

    def _takeMixed(self, mixed) -> None:
        self._mixing = None
        if self.views is None:
            for one in filter(None, mixed):
                one.remove()
            return
        self.views.take(mixed)
        self._note(self._whyNotMixed())

    def _whyNotMixed(self) -> str:
        if self.parameters.overlay not in MIXING or self.views is None or self.views.canMix:
            return ""
        if FORWARD not in self.images:
            return _("Checkerboard and curtain need each image on the other's grid: review first.")
        return _("No checkerboard or curtain: the image has more voxels than a review examines.")

    def _note(self, text: str) -> None:
        self.ui.reviewLookLabel.text = text
        self.ui.reviewLookLabel.visible = bool(text)

    # The controls

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
            if p.layout is not self.views.layout and p.overlay is Overlay.FADE:
                percent = _MIX[p.layout] if self._mapNode is None else _MAP_MIX
                self.ui.reviewMixSlider.value = percent
            self.views.arrange(p.layout)
            self._follow(p.layout)
            self._mix()
            self._overlay()

    def begin(self) -> None:
        """The user chose something to see: begin to show it."""
        self.start()
        if self.views is not None:
            self.apply()

    def _overlay(self) -> None:
        if self.views is not None:
            if self._mixing is None and self._fetching is None:
                self._note(self._whyNotMixed())
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
        maps = layout is Layout.OWN
        if maps and self.cursor is None:
            self.cursor = MappedCursor(self._subject)
        elif not maps and self.cursor is not None:
            self.cursor.remove()
            self.cursor = None
        if self._outlines is not None:
            self._outline()

    def _draw(self, drawing: Drawing) -> None:
        """Draw the deformation itself in the slice views."""
        node = self._subject.transform if self._subject is not None else self._drawnNode
        if node is None or node.GetScene() is None:
            return
        if drawing is Drawing.NONE:
            if self._drawnNode is not None and self._drawnNode.GetDisplayNode() is not None:
                self._drawnNode.GetDisplayNode().SetVisibility(False)
            self._drawnNode = None
            return
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetVisualizationMode(getattr(display, _MODES[drawing]))
        display.SetVisibility(True)
        display.SetVisibility2D(True)
        self._drawnNode = node

    def _showMap(self, kind: ColorMap) -> None:
        mapped = self.images.get(kind.value)
        if mapped is self._mappedImage and (self._mapNode is None or self._mapNode.GetScene()):
            return
        self._removeMap()
        if mapped is not None:
            image, grid = mapped
            subject = self._subject
            self._changes = Revert.Changes(subject.transform.GetScene())
            self._mapNode = ColorMaps.show(self._changes, image, grid, kind, subject.transform)
            self._mappedImage = mapped
            if self.ui.reviewMixSlider.value == 0:
                self.ui.reviewMixSlider.value = _MAP_MIX
        if self.views is not None:
            self.views.color(self._mapNode)

    def _removeMap(self) -> None:
        if self._changes is not None:
            self._changes.revert()
        self._changes = self._mapNode = None
        self._mappedImage = None

    def jump(self, pointRas) -> None:
        """Let all views cut through a point of the fixed image."""
        if self.cursor is None:
            jump(pointRas)
            return
        jump(pointRas, group=0)
        self.cursor.at(UPPER, pointRas)
