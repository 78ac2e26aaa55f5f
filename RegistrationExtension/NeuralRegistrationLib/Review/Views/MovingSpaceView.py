"""The moving image where it lies itself, and the fixed one carried there by the inverse."""

from __future__ import annotations

from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Scene import SliceViews


class OwnSpace:
    """Hidden volumes that share the voxels of the originals.

    moving: the moving volume as it is without the transform. fixed: the fixed volume, under the
    inverse that Slicer computes where it is drawn.
    """

    def __init__(self, subject: Subject) -> None:
        self._moving = SliceViews.WarpPreview(subject.movingVolume, subject.transform)
        self._moving.to(0.0)
        scene = subject.transform.GetScene()
        node = scene.CreateNodeByClass("vtkMRMLTransformNode")
        node.UnRegister(None)
        node.SetName("From fixed to moving")
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        self._back = scene.AddNode(node)
        way = subject.fromWorld()
        way.Inverse()
        node.SetAndObserveTransformFromParent(way)
        self._fixed = SliceViews.WarpPreview(subject.fixedVolume, node)

    @property
    def moving(self):
        return self._moving.volume

    @property
    def fixed(self):
        return self._fixed.volume

    def before(self, on: bool) -> None:
        """Show the fixed image where it was, or carried to the moving one."""
        self._fixed.to(0.0 if on else 1.0)

    def remove(self) -> None:
        """Take away what was made for showing."""
        self._fixed.remove()
        self._moving.remove()
        if self._back.GetScene() is not None:
            self._back.GetScene().RemoveNode(self._back)
