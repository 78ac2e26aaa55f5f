"""Two images in one volume, in squares or on either side of a curtain.

Slicer's views blend whole volumes; what changes from place to place has to be a volume of its own.
"""

from __future__ import annotations

import numpy as np
import slicer
from neuralreg.worker.parcel import Steps, slabs
from vtk.util.numpy_support import vtk_to_numpy

from .. import Volumes
from .Parameters import Overlay

_SQUARES = (4, 40)  # voxels of an edge, at both ends of the slider
_GRAYS = 255


class MixedVolume:
    """A hidden volume on the fixed image's grid, in gray levels as both images are displayed.

    Made by `mixedVolume`. fixed, warped: gray levels (z, y, x). volume: the node that is shown.
    """

    def __init__(self, fixed: np.ndarray, warped: np.ndarray, volume) -> None:
        self._fixed, self._warped, self.volume = fixed, warped, volume
        self._shown: tuple[Overlay, int] | None = None

    def mix(self, overlay: Overlay, fraction: float) -> None:
        """Show squares, or the fixed image left of a curtain and the other one right of it.

        fraction: 0 to 1, the size of the squares or the place of the curtain along the rows.
        """
        into = slicer.util.arrayFromVolume(self.volume)
        if overlay is Overlay.CURTAIN:
            wanted = (overlay, round(fraction * into.shape[2]))
            self._drawCurtain(into, wanted[1])
        else:
            small, large = _SQUARES
            wanted = (overlay, round(small + fraction * (large - small)))
            if wanted != self._shown:
                self._drawSquares(into, wanted[1])
        if wanted != self._shown:
            self._shown = wanted
            slicer.util.arrayFromVolumeModified(self.volume)

    def _drawCurtain(self, into: np.ndarray, place: int) -> None:
        """Only what the curtain passed since it was drawn last is copied."""
        known = self._shown is not None and self._shown[0] is Overlay.CURTAIN
        former = self._shown[1] if known else 0
        low, high = (0, into.shape[2]) if not known else sorted((former, place))
        into[:, :, low : max(place, low)] = self._fixed[:, :, low : max(place, low)]
        into[:, :, place:high] = self._warped[:, :, place:high]

    def _drawSquares(self, into: np.ndarray, edge: int) -> None:
        z, y, x = (np.arange(n) // edge % 2 for n in into.shape)
        inPlane = y[:, None] ^ x[None, :]
        for odd in (0, 1):
            into[z == odd] = np.where(inPlane == odd, self._fixed[z == odd], self._warped[z == odd])

    def remove(self) -> None:
        """Take the volume out of the scene."""
        if self.volume.GetScene() is not None:
            scene, display = self.volume.GetScene(), self.volume.GetDisplayNode()
            scene.RemoveNode(self.volume)
            scene.RemoveNode(display)


def mixedVolume(fixed, warped, moving) -> Steps:
    """A MixedVolume, in short steps.

    fixed: volume node. warped: VTK image on the same grid. moving: the volume node that it was.
    """
    levels = []
    for image, node in ((fixed.GetImageData(), fixed), (warped, moving)):
        levels.append((yield from _gray(image, node)))
    node = fixed.GetScene().CreateNodeByClass("vtkMRMLScalarVolumeNode")
    node.UnRegister(None)
    node.SetName("Both images")
    fixed.GetScene().AddNode(_hidden(node))
    node.SetAndObserveImageData((yield from Volumes.imageData(levels[0])))
    node.CopyOrientation(fixed)
    node.SetAndObserveTransformNodeID(fixed.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    display = _hidden(node.GetDisplayNode())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, _GRAYS)
    return MixedVolume(*levels, node)


def _hidden(node):
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return node


def _gray(image, node) -> Steps:
    """The values as gray levels, as the node's window shows them."""
    display = node.GetDisplayNode()
    if display is not None:
        low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    else:
        low, high = image.GetScalarRange()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    made = np.empty(values.shape, np.uint8)
    for part in slabs(values):
        unit = (values[part].astype(np.float32) - low) / max(high - low, 1e-6)
        made[part] = np.clip(unit, 0, 1) * _GRAYS
        yield
    return made
