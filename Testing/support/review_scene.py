"""What the tests of the Review panel make and press."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

SHIFT = np.array([3.0, -5.0, 7.0])  # LPS mm, fixed to moving


def a_grid_transform(scene, name="moving to fixed"):
    """A constant shift as a registration leaves it: from the parent, RAS, on a grid of its own."""
    image = vtk.vtkImageData()
    image.SetDimensions(6, 7, 8)
    image.SetSpacing(8, 8, 8)
    vectors = np.tile(SHIFT * [-1, -1, 1], (6 * 7 * 8, 1))
    image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=True))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    node.SetAndObserveTransformFromParent(grid)
    return node


def a_segmentation(volume, name, segments=("Liver", "Spleen")):
    scene = volume.GetScene()
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    for number in range(len(segments)):
        labels[2 + 4 * number : 5 + 4 * number, 3:8, 3:8] = number + 1
    node = slicer.util.addVolumeFromArray(labels, None, "l", "vtkMRMLLabelMapVolumeNode")
    node.CopyOrientation(volume)
    made = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    made.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(node, made)
    for number, title in enumerate(segments):
        made.GetSegmentation().GetNthSegment(number).SetName(title)
    scene.RemoveNode(node)
    return made


def nodes_in(scene) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


def pick(selector, text: str) -> None:
    selector.currentIndex = selector.findText(text)
    selector.activated.emit(selector.currentIndex)
