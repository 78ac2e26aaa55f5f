"""The layouts of a review: three planes of each image, one row above the other."""

from __future__ import annotations

import slicer

from NeuralRegistrationLib.Review.Parameters import Layout

UPPER, LOWER = "ReviewFixed", "ReviewMoving"  # rows of the layouts, by the names of their views
_LAYOUTS = {Layout.BROUGHT: 6731, Layout.OWN: 6732}  # above vtkMRMLLayoutNode.SlicerLayoutUserView
_PLANES = ("Axial", "Coronal", "Sagittal")
_LOWER_GROUP = 1  # of views that are not linked with the others
_VIEW = (
    '<item><view class="vtkMRMLSliceNode" singletontag="{row}{plane}">'
    '<property name="orientation" action="default">{plane}</property>'
    '<property name="viewlabel" action="default">{label}</property>'
    '<property name="viewcolor" action="default">{color}</property>'
    '<property name="viewgroup" action="default">{group}</property>'
    '<property name="viewgroup" action="relayout">{group}</property>'  # both layouts share views
    "</view></item>"
)


def arrangement():
    """The current arrangement of the views; None without a layout."""
    node = _layoutNode()
    return node and node.GetViewArrangement()


def arrange(layout: Layout, usual) -> None:
    """Arrange the views. usual: the arrangement of `Layout.ASIS`."""
    node = _layoutNode()
    if node is None:
        return
    if layout is Layout.ASIS:
        node.SetViewArrangement(usual)
    else:
        _requireDescription(node, layout)
        node.SetViewArrangement(_LAYOUTS[layout])


def introduce() -> None:
    """Let the application know the layouts, so that a scene that was saved with one opens with it.

    A scene keeps the number of its layout, not the description.
    """
    node = _layoutNode()
    for layout in _LAYOUTS if node is not None else ():
        _requireDescription(node, layout)


def fit() -> None:
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
