"""The demo's pictures: what a person would look at in Slicer to believe a registration."""

from __future__ import annotations

from NeuralRegistrationLib.Scene.Headless import HeadlessScene
from NeuralRegistrationLib.Scene.SlicePictures import PLANES, SlicePictures

SIZE = (420, 420)
_BY_LENGTH_MM = ((0, 0.55, 0.62, 0.7), (2, 0.2, 0.85, 0.6), (5, 1.0, 0.85, 0.2), (9, 1.0, 0.3, 0.2))


class DemoPictures:
    """Pictures of the demo's scene through one point of the fixed head."""

    def __init__(self, world: HeadlessScene, fixed, point_ras, zoom: float = 1.12) -> None:
        self.scene, self.fixed, self.point, self.zoom = world.scene, fixed, point_ras, zoom
        self.view = SlicePictures(world.scene, world.application, SIZE)

    def planes(self, background, foreground=None) -> list[bytes]:
        self.view.show(background, foreground, add=True)
        taken = []
        for plane in PLANES:
            self.view.look(plane, self.fixed, self.point, zoom=self.zoom)
            taken.append(self.view.png())
        return taken

    def blend(self, other) -> list[bytes]:
        """Fixed green, other magenta: gray where they agree."""
        colors = [(self.fixed, "Green"), (other, "Magenta")]
        before = [node.GetDisplayNode().GetColorNodeID() for node, _ in colors]
        for node, color in colors:
            node.GetDisplayNode().SetAndObserveColorNodeID(f"vtkMRMLColorTableNode{color}")
        taken = self.planes(self.fixed, other)
        for (node, _), color in zip(colors, before, strict=True):
            node.GetDisplayNode().SetAndObserveColorNodeID(color)
        return taken

    def outlined(self, segmentation, volume) -> list[bytes]:
        """The outlines of a segmentation over a volume."""
        segmentation.GetSegmentation().SetConversionParameter("Smoothing factor", "0.6")
        segmentation.CreateClosedSurfaceRepresentation()
        display = segmentation.GetDisplayNode()
        display.SetPreferredDisplayRepresentationName2D("Closed surface")
        display.SetVisibility(True)
        display.SetVisibility2DFill(True)
        display.SetAllSegmentsOpacity2DFill(0.4)
        display.SetSliceIntersectionThickness(1)
        taken = self.planes(volume)
        display.SetVisibility(False)
        return taken

    def grid(self, transform, volume) -> list[bytes]:
        """The grid of the fixed space as the transform bends it, over a volume."""
        transform.CreateDefaultDisplayNodes()
        display = transform.GetDisplayNode()
        display.SetAndObserveColorNodeID(self._colors().GetID())
        display.SetVisualizationMode(display.VIS_MODE_GRID)
        display.SetGridSpacingMm(9)
        display.SetGridLineDiameterMm(0.6)
        display.SetGridResolutionMm(3)
        display.SetVisibility(True)
        display.SetVisibility2D(True)
        gray = volume.GetDisplayNode()
        low, high = gray.GetWindowLevelMin(), gray.GetWindowLevelMax()
        gray.SetWindowLevelMinMax(low, low + 2.5 * (high - low))  # the lines stand out
        taken = self.planes(volume)
        gray.SetWindowLevelMinMax(low, high)
        display.SetVisibility2D(False)
        display.SetVisibility(False)
        return taken

    def _colors(self):
        """Lines by the length of the displacement: gray, green, yellow, red."""
        colors = self.scene.AddNewNodeByClass("vtkMRMLProceduralColorNode", "Displacement")
        for length, *rgb in _BY_LENGTH_MM:
            colors.GetColorTransferFunction().AddRGBPoint(length, *rgb)
        return colors


def hide(nodes) -> None:
    """Keep nodes out of the views."""
    for node in nodes:
        if node.GetDisplayNode():
            node.GetDisplayNode().SetVisibility(False)
