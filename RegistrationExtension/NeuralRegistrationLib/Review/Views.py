"""What the slice views show while a transform is looked at.

Nothing here changes the images or the transform; what is made for showing is hidden, never saved,
and goes away again.
"""

from __future__ import annotations

import qt
import slicer

from .. import SliceViews
from .MixedVolume import MixedVolume
from .Parameters import Layout, Overlay

_LAYOUTS = {Layout.BROUGHT: 6731, Layout.OWN: 6732}  # above vtkMRMLLayoutNode.SlicerLayoutUserView
_PLANES = ("Axial", "Coronal", "Sagittal")
UPPER, LOWER = "ReviewFixed", "ReviewMoving"  # rows of the layouts, by the names of their views
_LOWER_GROUP = 1  # of views that are not linked with the others
_FLICKER_MS = 600
_VIEW = (
    '<item><view class="vtkMRMLSliceNode" singletontag="{row}{plane}">'
    '<property name="orientation" action="default">{plane}</property>'
    '<property name="viewlabel" action="default">{label}</property>'
    '<property name="viewcolor" action="default">{color}</property>'
    '<property name="viewgroup" action="default">{group}</property>'
    "</view></item>"
)


class ReviewViews:
    """Both images on each other or side by side, before and after.

    fixed, moving: volume nodes. transformNode: from fixed to moving, any kind.
    """

    def __init__(self, fixed, moving, transformNode) -> None:
        self._fixed, self._moving = fixed, moving
        self._former = SliceViews.layers()
        self._arrangement = _layoutNode() and _layoutNode().GetViewArrangement()
        self._preview = SliceViews.WarpPreview(moving, transformNode)
        self._mixed: MixedVolume | None = None
        self._map = None
        self._layout, self._overlay, self._percent = Layout.ASIS, Overlay.FADE, 50.0
        self._fraction, self._before, self._upperOn = 1.0, False, True
        self._flicker = qt.QTimer()
        self._flicker.interval = _FLICKER_MS
        self._flicker.connect("timeout()", self._flickered)

    @property
    def brought(self):
        """The moving volume as the views show it."""
        return self._preview.volume

    def remove(self) -> None:
        """Show again what was shown before, and take away what was made."""
        self._flicker.stop()
        if self._mixed is not None:
            self._mixed.remove()
        self._preview.remove()
        if self._arrangement is not None and self._layout is not Layout.ASIS:
            _layoutNode().SetViewArrangement(self._arrangement)
        SliceViews.restore(self._former)

    def take(self, mixed: MixedVolume | None) -> None:
        """Use this volume for squares and curtain; None for no more."""
        if self._mixed is not None:
            self._mixed.remove()
        self._mixed = mixed
        self.update()

    @property
    def canMix(self) -> bool:
        """Whether squares and curtain can be shown."""
        return self._mixed is not None

    def arrange(self, layout: Layout) -> None:
        """Choose how the views are arranged."""
        node = _layoutNode()
        if node is not None and layout is not self._layout:
            if layout is Layout.ASIS:
                node.SetViewArrangement(self._arrangement)
            else:
                _requireDescription(node, layout)
                node.SetViewArrangement(_LAYOUTS[layout])
        changed, self._layout = layout is not self._layout, layout
        self.update()
        if changed:
            _fit()

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
        """Show the moving image where it was, or as it is brought."""
        self._before = on
        self.update()

    def _flickered(self) -> None:
        self._upperOn = not self._upperOn
        self.update()

    def update(self) -> None:
        """Bring the views in step with what was chosen."""
        own = self._layout is Layout.OWN
        self._preview.to(0.0 if self._before or own else self._fraction)
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            row = composite.GetLayoutName() or ""
            if self._map is not None and self._map.GetScene() is None:
                self._map = None
            if row.startswith(UPPER) and self._layout is not Layout.ASIS:
                _show(composite, self._fixed, self._map, self._percent / 100)
            elif row.startswith(LOWER):
                _show(composite, self._preview.volume, None, 0.0)
            else:
                self._showBoth(composite)
            if row.startswith((UPPER, LOWER)):
                composite.SetLinkedControl(True)

    def _showBoth(self, composite) -> None:
        if self._map is not None:
            _show(composite, self._fixed, self._map, self._percent / 100)
            return
        mixing = self._overlay in (Overlay.CHECKERBOARD, Overlay.CURTAIN)
        if mixing and self._mixed is not None and not self._before:
            self._mixed.mix(self._overlay, self._percent / 100)
            _show(composite, self._fixed, self._mixed.volume, 1.0)
            return
        opacity = {Overlay.FADE: self._percent / 100, Overlay.FLICKER: float(self._upperOn)}
        _show(composite, self._fixed, self._preview.volume, opacity.get(self._overlay, 1.0))
        if self._overlay is Overlay.DIFFERENCE:
            composite.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Subtract)


def _show(composite, background, foreground, opacity: float) -> None:
    composite.SetBackgroundVolumeID(background.GetID())
    composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
    composite.SetForegroundOpacity(opacity)
    composite.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)


def _fit() -> None:
    """Show all of the volumes in views that are new."""
    application = slicer.app.applicationLogic()
    logics = application.GetSliceLogics() if application is not None else None
    for number in range(logics.GetNumberOfItems() if logics is not None else 0):
        logics.GetItemAsObject(number).FitSliceToBackground()


def _layoutNode():
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _requireDescription(node, layout: Layout) -> None:
    """Let the application know a layout of three planes of each image, one row above the other."""
    if node.IsLayoutDescription(_LAYOUTS[layout]):
        return
    rows = ((UPPER, "F", "#8ab4f8", 0), (LOWER, "M", "#f6b26b", _LOWER_GROUP))
    if layout is Layout.BROUGHT:
        rows = (rows[0], (*rows[1][:3], 0))  # one group: they scroll together
    texts = [
        "".join(
            _VIEW.format(row=row, plane=plane, label=label + plane[0], color=color, group=group)
            for plane in _PLANES
        )
        for row, label, color, group in rows
    ]
    inner = "".join(f'<item><layout type="horizontal">{text}</layout></item>' for text in texts)
    node.AddLayoutDescription(_LAYOUTS[layout], f'<layout type="vertical">{inner}</layout>')


def inRow(row: str) -> list:
    """The slice views of one row of the layouts."""
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [view for view in views if (view.GetLayoutName() or "").startswith(row)]


def jump(pointRas, group: int = -1) -> None:
    """Let all slice views, or those of a group, cut through a point; the crosshair goes there."""
    kind = slicer.vtkMRMLSliceNode
    kind.JumpAllSlices(slicer.mrmlScene, *pointRas, kind.CenteredJumpSlice, group)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None:
        crosshair.SetCrosshairRAS(*pointRas)
        if crosshair.GetCrosshairMode() == crosshair.NoCrosshair:
            crosshair.SetCrosshairMode(crosshair.ShowBasic)
