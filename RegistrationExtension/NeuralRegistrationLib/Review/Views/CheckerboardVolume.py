"""Two images in one volume, in squares or on either side of a curtain.

Slicer's views blend whole volumes; what changes from place to place has to be a volume of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
from neuralreg.worker.serialization import Steps, slabs
from vtk.util.numpy_support import vtk_to_numpy

from NeuralRegistrationLib.Review.Parameters import Overlay
from NeuralRegistrationLib.Scene import Volumes

_SQUARES = (4, 40)  # voxels of an edge, at both ends of the slider
_GRAYS = 255


@dataclass(frozen=True, eq=False)
class Grays:
    """Gray levels (z, y, x) of a row's own image and of the one that is laid over it."""

    own: np.ndarray
    other: np.ndarray


class CheckerboardVolume:
    """A hidden volume in gray levels, as both images are displayed.

    after, before: with the transform and without it. volume: the node in the views.
    """

    def __init__(self, after: Grays, before: Grays, volume) -> None:
        self._grays = {False: after, True: before}
        self.volume = volume
        self._drawn: tuple[Overlay, int, bool] | None = None

    def grays(self, before: bool = False) -> Grays:
        """What is mixed."""
        return self._grays[before]

    def mix(self, overlay: Overlay, fraction: float, before: bool = False) -> None:
        """Show squares, or the own image left of a curtain and the other one right of it.

        fraction: 0 to 1, the size of the squares or the position of the curtain along the rows.
        """
        into = slicer.util.arrayFromVolume(self.volume)
        small, large = _SQUARES
        isCurtain = overlay is Overlay.CURTAIN
        amount = fraction * into.shape[2] if isCurtain else small + fraction * (large - small)
        pattern = (overlay, round(amount), before)
        if pattern == self._drawn:
            return
        grays = self._grays[before]
        if isCurtain:
            self._drawCurtain(into, grays, pattern)
        else:
            _drawSquares(into, grays, pattern[1])
        self._drawn = pattern
        slicer.util.arrayFromVolumeModified(self.volume)

    def _drawCurtain(self, into: np.ndarray, grays: Grays, pattern) -> None:
        """Only what the curtain passed since it was drawn last is copied."""
        _overlay, column, before = pattern
        same = self._drawn is not None and self._drawn[::2] == (Overlay.CURTAIN, before)
        low, high = sorted((self._drawn[1], column)) if same else (0, into.shape[2])
        into[:, :, low : max(column, low)] = grays.own[:, :, low : max(column, low)]
        into[:, :, column:high] = grays.other[:, :, column:high]

    def remove(self) -> None:
        """Take the volume out of the scene."""
        if self.volume.GetScene() is not None:
            scene, display = self.volume.GetScene(), self.volume.GetDisplayNode()
            scene.RemoveNode(self.volume)
            scene.RemoveNode(display)


def _drawSquares(into: np.ndarray, grays: Grays, edge: int) -> None:
    z, y, x = (np.arange(n) // edge % 2 for n in into.shape)
    inPlane = y[:, None] ^ x[None, :]
    for odd in (0, 1):
        into[z == odd] = np.where(inPlane == odd, grays.own[z == odd], grays.other[z == odd])


def makeCheckerboard(onto, after: Grays, before: Grays) -> Steps:
    """A CheckerboardVolume, in short steps. onto: the volume node whose voxels it has."""
    scene = onto.GetScene()
    image = yield from Volumes.imageData(after.own)
    node = scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    node.UnRegister(None)
    node.SetName("Both images")
    scene.AddNode(_hide(node))
    node.SetAndObserveImageData(image)
    node.CopyOrientation(onto)
    node.SetAndObserveTransformNodeID(onto.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    display = _hide(node.GetDisplayNode())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, _GRAYS)
    return CheckerboardVolume(after, before, node)


def _hide(node):
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return node


def grayLevels(values: np.ndarray, node) -> Steps:
    """Values (z, y, x) as gray levels, as the node's window shows them."""
    display = node.GetDisplayNode()
    if display is not None:
        low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    else:
        low, high = node.GetImageData().GetScalarRange()
    grays = np.empty(values.shape, np.uint8)
    for part in slabs(values):
        unit = (values[part].astype(np.float32) - low) / max(high - low, 1e-6)
        grays[part] = np.clip(unit, 0, 1) * _GRAYS
        yield
    return grays


def imageArray(image) -> np.ndarray:
    """A view of VTK's image, (z, y, x)."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
