"""Slicer's space as the core's, and back: RAS stands in this file and nowhere else.

Both are in mm; LPS and RAS differ in the sign of x and y. The core's world is Slicer's world: the
parent transforms of a node count.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS <-> RAS, its own inverse
_RIGHT_ANGLES = 1e-4  # largest cosine between two axes of a grid that counts as straight
_POINTS_AT_ONCE = 1_000_000


def matrixToArray(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A 4x4 array of a vtk matrix."""
    return slicer.util.arrayFromVTKMatrix(matrix)


def parentToWorld(node) -> np.ndarray | None:
    """The matrix of what a node observes up to the world, in RAS; None if it bends."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        return None
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return matrixToArray(matrix)


def worldToParent(node) -> vtk.vtkAbstractTransform:
    """The transform of RAS points from the world into the space in which a node is stored."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        None, node.GetParentTransformNode(), transform
    )
    return transform


def gridOf(size, indexToRas: np.ndarray) -> Grid | None:
    """The core's grid of an index-to-RAS matrix; None if its axes are not at right angles.

    size: x y z.
    """
    axes = (_FLIP @ indexToRas)[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    cosines = axes / spacing
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > _RIGHT_ANGLES:
        return None
    origin = (_FLIP @ indexToRas)[:3, 3]
    return Grid(tuple(size), tuple(spacing), tuple(origin), tuple(cosines.ravel()))


def indexToRas(grid: Grid) -> vtk.vtkMatrix4x4:
    """The matrix that a volume node on this grid takes."""
    return slicer.util.vtkMatrixFromArray(_FLIP @ grid.index_to_world)


def boundsGrid(boundsRas, spacing_mm: float) -> Grid:
    """An axis-aligned grid that fills a box given as Slicer gives it: x min, x max, y min, ..."""
    low, high = np.reshape(boundsRas, (3, 2)).T
    corners = np.stack([low, high]) @ _FLIP[:3, :3]
    low, high = corners.min(0), corners.max(0)
    size = np.maximum(np.ceil((high - low) / spacing_mm), 1).astype(int)
    origin = (low + high) / 2 - (size - 1) / 2 * spacing_mm
    return Grid(tuple(size.tolist()), (spacing_mm,) * 3, tuple(origin), tuple(np.eye(3).ravel()))


def flipped(points: np.ndarray) -> np.ndarray:
    """The same points (..., 3) with the signs of the other convention; its own inverse."""
    return points @ _FLIP[:3, :3]


def throughVtk(transform: vtk.vtkAbstractTransform, lps: np.ndarray) -> np.ndarray:
    """LPS points (n, 3), moved by a transform that takes RAS points."""
    moved = np.empty(lps.shape)
    for start in range(0, len(lps), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        given, landed = vtk.vtkPoints(), vtk.vtkPoints()
        given.SetData(numpy_to_vtk(np.ascontiguousarray(flipped(lps[part])), deep=True))
        landed.SetDataTypeToDouble()
        transform.TransformPoints(given, landed)
        moved[part] = flipped(vtk_to_numpy(landed.GetData()))
    return moved


def gridTransform(field: DisplacementField):
    """A field as VTK's grid transform: RAS mm in the scalars, x fastest, linear as in the core.

    Slicer saves only the oriented kind.
    """
    vectors = field.vectors.detach().cpu().double().movedim(0, -1).reshape(-1, 3).numpy()
    image = vtk.vtkImageData()
    image.SetDimensions(field.grid.size)
    image.SetSpacing(field.grid.spacing)
    image.SetOrigin(flipped(np.array(field.grid.origin)))
    image.GetPointData().SetScalars(numpy_to_vtk(flipped(vectors), deep=True))
    directions = np.eye(4)
    directions[:3, :3] = np.reshape(field.grid.direction, (3, 3))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(_FLIP @ directions))
    transform.SetInterpolationModeToLinear()
    return transform


def fieldOf(transform) -> DisplacementField:
    """The core's field of a VTK grid transform, in double precision.

    Raises InvalidTransform when it is of another kind.
    """
    import torch

    image = transform.GetDisplacementGrid() if hasattr(transform, "GetDisplacementGrid") else None
    if image is None:
        raise InvalidTransform("a grid transform was asked for", got=transform.GetClassName())
    stored = vtk_to_numpy(image.GetPointData().GetScalars()).astype(float)
    stored = stored * transform.GetDisplacementScale() + transform.GetDisplacementShift()
    directions = np.eye(4)
    if transform.GetGridDirectionMatrix():
        directions = matrixToArray(transform.GetGridDirectionMatrix())
    directions[:3, :3] *= image.GetSpacing()
    directions[:3, 3] = image.GetOrigin()
    grid = gridOf(image.GetDimensions(), directions)
    if grid is None:
        raise InvalidTransform("the axes of a field are at right angles", got="sheared axes")
    vectors = np.ascontiguousarray(flipped(stored).reshape(*grid.shape, 3))
    return DisplacementField(torch.from_numpy(vectors).movedim(-1, 0).contiguous(), grid)
