"""The moving image in its own space, and the fixed one warped there by the inverse."""

from __future__ import annotations

from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Scene import SliceViews


class MovingSpaceView:
    """Hidden volumes that share the voxels of the originals.

    The fixed volume is under the inverse, which Slicer computes where it is drawn.
    """

    def __init__(self, subject: Subject) -> None:
        self._moving = SliceViews.WarpPreview(subject.movingVolume, subject.transform)
        self._moving.warp(0.0)
        scene = subject.transform.GetScene()
        node = scene.CreateNodeByClass("vtkMRMLTransformNode")
        node.UnRegister(None)
        node.SetName("From fixed to moving")
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        self._inverse = scene.AddNode(node)
        inverse = subject.fromWorld()
        inverse.Inverse()
        node.SetAndObserveTransformFromParent(inverse)
        self._fixed = SliceViews.WarpPreview(subject.fixedVolume, node)

    @property
    def movingVolume(self):
        """The moving volume without the transform."""
        return self._moving.volume

    @property
    def fixedVolume(self):
        """The fixed volume, warped to the moving one."""
        return self._fixed.volume

    def before(self, on: bool) -> None:
        """Show the fixed image without the inverse, or warped to the moving one."""
        self._fixed.warp(0.0 if on else 1.0)

    def remove(self) -> None:
        """Remove the hidden nodes."""
        self._fixed.remove()
        self._moving.remove()
        if self._inverse.GetScene() is not None:
            self._inverse.GetScene().RemoveNode(self._inverse)
