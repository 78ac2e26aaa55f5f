"""A textured body as volume nodes, and the transform that shifts it."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

SPACING = 2.0
SHIFT = 6.0  # mm, to the left


def a_body(name: str, shift_mm: float):
    """A textured ellipsoid in 40 voxels of 2 mm, shifted to the left."""
    k, j, i = (np.mgrid[:40, :40, :40] - 19.5) * SPACING
    x = i - shift_mm
    inside = (x / 26) ** 2 + (j / 30) ** 2 + (k / 24) ** 2 < 1
    values = inside * (100 + 30 * np.sin(x / 4) * np.cos(j / 5) + 20 * np.sin(k / 3 + 1))
    node = slicer.util.addVolumeFromArray(values.astype(np.float32), None, name)
    node.SetSpacing(*(SPACING,) * 3)
    return node


def a_transform(scene, pair, folded: bool):
    """The shift, as a registration leaves it; folded: with a fold in the middle of the body."""
    size, spacing = 21, 4.0
    vectors = np.zeros((size, size, size, 3))
    vectors[..., 0] = SHIFT
    if folded:
        k, j, i = np.mgrid[:size, :size, :size] - 10
        near = np.exp(-(i**2 + j**2 + k**2) / 4.0)
        vectors[..., 0] += -3.0 * spacing * i * near
    image = vtk.vtkImageData()
    image.SetDimensions(size, size, size)
    image.SetSpacing(*(spacing,) * 3)
    image.GetPointData().SetScalars(numpy_to_vtk(vectors.reshape(-1, 3), deep=True))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    grid.SetInterpolationModeToLinear()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "moving to fixed")
    node.SetAndObserveTransformFromParent(grid)
    roles = node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()
    for role, volume in zip(roles, pair, strict=True):
        node.SetNodeReferenceID(role, volume.GetID())
    return node
