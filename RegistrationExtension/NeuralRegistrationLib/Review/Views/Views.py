"""What the slice views show while a transform is reviewed.

Nothing here changes the images or the transform; nodes made for display are hidden, never saved,
and removed again.
"""

from __future__ import annotations

import qt
import slicer

from NeuralRegistrationLib.Review.Parameters import Layout, Overlay
from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Review.Views import ViewLayouts
from NeuralRegistrationLib.Review.Views.CheckerboardVolume import CheckerboardVolume
from NeuralRegistrationLib.Review.Views.MovingSpaceView import MovingSpaceView
from NeuralRegistrationLib.Review.Views.ViewLayouts import LOWER, UPPER
from NeuralRegistrationLib.Scene import SliceViews

MIXING = (Overlay.CHECKERBOARD, Overlay.CURTAIN)  # what needs both images in one volume
_FLICKER_MS = 600


class ReviewViews:
    """Both images on each other or side by side, before and after.

    Each row of the layouts shows an image of its own, and the other one over it in the chosen way.
    All views get one opacity, whether they have an upper volume or not: linked views hand theirs on
    to each other, and the last one would win.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject, self._fixed = subject, subject.fixedVolume
        self._former = SliceViews.layers()
        self._arrangement = ViewLayouts.arrangement()
        self.preview = SliceViews.WarpPreview(subject.movingVolume, subject.transform)
        self._own: MovingSpaceView | None = None
        self.checkerboards: list[CheckerboardVolume | None] = [None, None]
        self._map = None
        self._layout, self._overlay, self._percent = Layout.ASIS, Overlay.FADE, 50.0
        self._fraction, self._before, self._upperOn = 1.0, False, True
        self._flicker = qt.QTimer()
        self._flicker.interval = _FLICKER_MS
        self._flicker.connect("timeout()", self._swapLayers)

    @property
    def movingVolume(self):
        """The moving volume as the views show it."""
        return self.preview.volume

    @property
    def layout(self) -> Layout:
        """How the views are arranged."""
        return self._layout

    def remove(self) -> None:
        """Restore the views as they were, and remove what was made for display."""
        self._flicker.stop()
        self._forgetMixed()
        self._leaveOwnSpace()
        self.preview.remove()
        if self._arrangement is not None and self._layout is not Layout.ASIS:
            ViewLayouts.arrange(Layout.ASIS, self._arrangement)
        SliceViews.restore(self._former)

    def take(self, mixed: list[CheckerboardVolume | None]) -> None:
        """Use these volumes, of the upper and of the lower row, for checkerboard and curtain."""
        self._forgetMixed()
        self.checkerboards = mixed
        self.update()

    def _forgetMixed(self) -> None:
        for mixed in filter(None, self.checkerboards):
            mixed.remove()
        self.checkerboards = [None, None]

    def _leaveOwnSpace(self) -> None:
        if self._own is not None:
            self._own.remove()
        self._own = None

    @property
    def canMix(self) -> bool:
        """Whether checkerboard and curtain can be shown in all rows."""
        return None not in (
            self.checkerboards if self._layout is not Layout.ASIS else self.checkerboards[:1]
        )

    def arrange(self, layout: Layout) -> None:
        """Choose how the views are arranged."""
        changed = layout is not self._layout
        if changed:
            ViewLayouts.arrange(layout, self._arrangement)
        self._layout = layout
        if layout is not Layout.OWN:
            self._leaveOwnSpace()
        elif self._own is None:
            self._own = MovingSpaceView(self._subject)
        if changed:
            self._forgetMixed()
        self.update()
        if changed:
            ViewLayouts.fit()
            qt.QTimer.singleShot(0, ViewLayouts.fit)  # once they have their size on the screen

    def overlay(self, overlay: Overlay, percent: float) -> None:
        """Choose how both are shown on each other. percent: of the slider."""
        self._overlay, self._percent = overlay, percent
        if overlay is Overlay.FLICKER:
            self._flicker.start()
        else:
            self._flicker.stop()
            self._upperOn = True
        self.update()

    def color(self, mapNode) -> None:
        """Lay a map over the fixed image instead of the moving one; None for the moving one."""
        self._map = mapNode
        self.update()

    def warp(self, fraction: float) -> None:
        """Show a part of the deformation, 0 to 1."""
        self._fraction = fraction
        self.update()

    def before(self, on: bool) -> None:
        """Show the moving image without the transform, or warped."""
        self._before = on
        self.update()

    def _swapLayers(self) -> None:
        self._upperOn = not self._upperOn
        self.update()

    def update(self) -> None:
        """Bring the views up to date with what was chosen."""
        self.preview.warp(0.0 if self._before else self._fraction)
        if self._own is not None:
            self._own.before(self._before)
        if self._map is not None and self._map.GetScene() is None:
            self._map = None
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            row = composite.GetLayoutName() or ""
            if row.startswith(LOWER):
                self._showLower(composite)
            elif self._map is not None:
                _show(composite, self._fixed, self._map, self._percent / 100)
            else:
                self._showBoth(composite, self._fixed, self.preview.volume, self.checkerboards[0])
            if row.startswith((UPPER, LOWER)):
                composite.SetLinkedControl(True)

    def _showLower(self, composite) -> None:
        if self._own is not None:
            own, other = self._own.movingVolume, self._own.fixedVolume
        else:
            own, other = self.preview.volume, self._fixed
        if self._map is not None:
            _show(composite, own, None, self._percent / 100)
        else:
            self._showBoth(composite, own, other, self.checkerboards[1])

    def _showBoth(self, composite, own, other, mixed) -> None:
        if self._overlay in MIXING:
            if mixed is None:
                _show(composite, own, None, 1.0)
            else:
                mixed.mix(self._overlay, self._percent / 100, self._before)
                _show(composite, own, mixed.volume, 1.0)
            return
        opacity = {Overlay.FADE: self._percent / 100, Overlay.FLICKER: float(self._upperOn)}
        _show(composite, own, other, opacity.get(self._overlay, 1.0))
        if self._overlay is Overlay.DIFFERENCE:
            composite.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Subtract)


def _show(composite, background, foreground, opacity: float) -> None:
    composite.SetBackgroundVolumeID(background.GetID())
    composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
    composite.SetForegroundOpacity(opacity)
    composite.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)
