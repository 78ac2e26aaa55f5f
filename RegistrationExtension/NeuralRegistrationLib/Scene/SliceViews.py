"""What the slice views show after a registration: fading, the gradual deformation, the grid.

Nothing here changes the inputs or the results; nodes made for display are never saved.
"""

from __future__ import annotations

import slicer

from NeuralRegistrationLib.Scene import Transforms


def layers() -> list[tuple]:
    """What the slice views show now, for `restore`."""
    return [
        (
            composite,
            composite.GetBackgroundVolumeID(),
            composite.GetForegroundVolumeID(),
            composite.GetForegroundOpacity(),
            composite.GetCompositing(),
            composite.GetLinkedControl(),
        )
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    ]


def restore(former: list[tuple]) -> None:
    """Restore what the slice views showed before."""
    for composite, *_ in former:  # linked views hand their opacity on to each other
        composite.SetLinkedControl(False)
    for composite, background, foreground, opacity, compositing, _linked in former:
        composite.SetBackgroundVolumeID(background)
        composite.SetForegroundVolumeID(foreground)
        composite.SetForegroundOpacity(opacity)
        composite.SetCompositing(compositing)
    for composite, *_, linked in former:
        composite.SetLinkedControl(linked)


def show(background, foreground, opacity: float) -> None:
    """Lay one volume over another in all slice views; opacity: 0 to 1 of the upper one."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(background.GetID())
        composite.SetForegroundVolumeID(foreground.GetID())
        composite.SetForegroundOpacity(opacity)


def showGrid(transformNode, visible: bool) -> None:
    """Draw the grid that a transform deforms, or not."""
    transformNode.CreateDefaultDisplayNodes()
    display = transformNode.GetDisplayNode()
    display.SetVisualizationMode(slicer.vtkMRMLTransformDisplayNode.VIS_MODE_GRID)
    display.SetVisibility(visible)
    display.SetVisibility2D(visible)


class WarpPreview:
    """The moving volume with any part of the deformation, from none to all of it.

    It shares the voxels and the displacements of the nodes it was made from.
    """

    def __init__(self, movingNode, transformNode) -> None:
        self._nodes = []
        self._full = transformNode
        self._grid = _copyGrid(transformNode)
        scene = movingNode.GetScene()
        self._transform = self._temporary(scene, "vtkMRMLTransformNode", "Deformation preview")
        if self.gradual:
            self._transform.SetAndObserveTransformFromParent(self._grid)
        self.volume = self._temporary(scene, movingNode.GetClassName(), "Moving preview")
        self.volume.CopyOrientation(movingNode)
        self._copyLook(movingNode)
        self.volume.SetAndObserveImageData(movingNode.GetImageData())
        self.volume.SetAndObserveTransformNodeID(movingNode.GetTransformNodeID())
        isWarped = transformNode in Transforms.nodesAbove(movingNode)
        between = Transforms.carryAlong(
            self.volume, self._transform, instead=transformNode if isWarped else None
        )
        if between is not None:
            self._hide(between)

    @property
    def gradual(self) -> bool:
        """Whether parts of the deformation can be shown; else only none or all of it."""
        return self._grid is not None

    def warp(self, fraction: float) -> None:
        """Apply a part of the deformation, 0 to 1."""
        if self.gradual:
            self._grid.SetDisplacementScale(fraction)
        else:
            full = self._full.GetID() if fraction > 0 else None
            self._transform.SetAndObserveTransformNodeID(full)

    def remove(self) -> None:
        """Remove the nodes made for display.

        The volume first: a view that still shows it would make another display node for it.
        """
        for node in sorted(self._nodes, key=lambda node: node is not self.volume):
            if node.GetScene() is not None:
                node.GetScene().RemoveNode(node)
        self._nodes.clear()

    def _temporary(self, scene, kind: str, name: str):
        node = scene.CreateNodeByClass(kind)
        node.UnRegister(None)
        node.SetName(name)
        self._hide(node)
        return scene.AddNode(node)

    def _hide(self, node) -> None:
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        self._nodes.append(node)

    def _copyLook(self, movingNode) -> None:
        """Before there are voxels: choosing a window from them takes long."""
        self.volume.CreateDefaultDisplayNodes()
        look, original = self.volume.GetDisplayNode(), movingNode.GetDisplayNode()
        if original is not None:
            look.CopyContent(original)
            if look.IsA("vtkMRMLScalarVolumeDisplayNode"):  # labels have no window
                look.SetAutoWindowLevel(False)
                look.SetWindowLevel(original.GetWindow(), original.GetLevel())
        self._hide(look)


def _copyGrid(transformNode):
    """The node's grid transform once more, sharing its displacements; None if it is more."""
    held = transformNode.GetTransformFromParent()
    alone = transformNode.GetParentTransformNode() is None
    if not alone or not isinstance(held, slicer.vtkOrientedGridTransform) or held.GetInverseFlag():
        return None
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(held.GetDisplacementGrid())
    grid.SetGridDirectionMatrix(held.GetGridDirectionMatrix())
    grid.SetInterpolationMode(held.GetInterpolationMode())
    return grid
