"""Slicer's space as the core's, and back: RAS is known in this file and nowhere else.

Both are in mm; LPS and RAS differ in the sign of x and y. The core's world is Slicer's world: the
parent transforms of a node count.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from neuralreg.errors import InvalidTransform
from neuralreg.geometry.grid import Grid
from neuralreg.worker.messages import Field
from neuralreg.worker.serialization import Steps, slabs
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk, vtk_to_numpy

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS <-> RAS, its own inverse
_RIGHT_ANGLES = 1e-4  # largest cosine between two axes of a grid that counts as straight
_MARGIN = 0.1  # of the extent, around what is sampled
_POINTS_IN_A_STEP = 2_000  # an inverse takes VTK up to a few microseconds each


def matrixToArray(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A 4x4 array of a vtk matrix."""
    return slicer.util.arrayFromVTKMatrix(matrix)


def matrixInLps(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A 4x4 array that moves LPS points as the matrix moves RAS points."""
    return flipMatrix(matrixToArray(matrix))


def flipMatrix(matrix: np.ndarray) -> np.ndarray:
    """A 4x4 array that moves points of the other convention in the same way; its own inverse."""
    return _FLIP @ matrix @ _FLIP


def between(first, then) -> vtk.vtkGeneralTransform:
    """The transform of RAS points from the space below a transform node to that below another.

    None stands for the world.
    """
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(first, then, transform)
    return transform


def linearBetween(first, then) -> np.ndarray | None:
    """The matrix of `between`; None if it bends."""
    linear = vtk.vtkTransform()
    kind = slicer.vtkMRMLTransformNode
    isLinear = kind.IsGeneralTransformLinear(between(first, then), linear)
    return matrixToArray(linear.GetMatrix()) if isLinear else None


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


def movedGrid(grid: Grid, matrix: np.ndarray) -> Grid | None:
    """A grid after a matrix of LPS points; None if its axes are not at right angles then."""
    return gridOf(grid.size, _FLIP @ matrix @ grid.index_to_world)


def indexToRas(grid: Grid) -> vtk.vtkMatrix4x4:
    """The matrix that a volume node on this grid takes."""
    return slicer.util.vtkMatrixFromArray(_FLIP @ grid.index_to_world)


def gridAround(points: np.ndarray, spacing_mm: float) -> Grid:
    """An axis-aligned grid whose voxels fill the box around points (n, 3), LPS mm."""
    low, high = points.min(0), points.max(0)
    size = np.maximum(np.ceil((high - low) / spacing_mm), 1).astype(int)
    origin = (low + high) / 2 - (size - 1) / 2 * spacing_mm
    return Grid(tuple(size.tolist()), (spacing_mm,) * 3, tuple(origin), tuple(np.eye(3).ravel()))


def coarse(grid: Grid, mostSamples: int) -> Grid:
    """A grid around another one, with a margin, for transforms that are sampled once."""
    grid = grid.pad([int(np.ceil(_MARGIN * n)) + 2 for n in grid.size])
    if grid.count <= mostSamples:
        return grid
    return grid.with_spacing([float(np.cbrt(grid.extent_mm.prod() / mostSamples))] * 3)


def flip(points: np.ndarray) -> np.ndarray:
    """The same points (..., 3) with the signs of the other convention; its own inverse."""
    return points @ _FLIP[:3, :3]


def throughVtk(transform: vtk.vtkAbstractTransform, lps: np.ndarray) -> np.ndarray:
    """LPS points (n, 3), moved by a transform that takes RAS points."""
    points, moved = vtk.vtkPoints(), vtk.vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(flip(lps)), deep=True))
    moved.SetDataTypeToDouble()
    transform.TransformPoints(points, moved)
    return flip(vtk_to_numpy(moved.GetData()))


def gridTransformInSteps(field: Field) -> Steps:
    """A field as VTK's grid transform: RAS mm in the scalars, x fastest, in the field's precision.

    Cubic between its samples, as Slicer makes it of every file. Slicer saves only the oriented
    kind. In short steps.
    """
    grid, vectors = field.grid, field.vectors
    image = vtk.vtkImageData()
    image.SetDimensions(grid.size)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(flip(np.array(grid.origin)))
    image.AllocateScalars(get_vtk_array_type(vectors.dtype), 3)
    ras = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*grid.shape, 3)
    for part in slabs(vectors):
        np.multiply(vectors[part], _FLIP.diagonal()[:3].astype(vectors.dtype), out=ras[part])
        yield
    directions = np.eye(4)
    directions[:3, :3] = np.reshape(grid.direction, (3, 3))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(_FLIP @ directions))
    transform.SetInterpolationModeToCubic()
    return transform


def gridUnder(transform) -> Grid:
    """The core's grid of a VTK grid transform. Raises InvalidTransform if it is sheared."""
    image = transform.GetDisplacementGrid()
    directions = np.eye(4)
    if transform.GetGridDirectionMatrix():
        directions = matrixToArray(transform.GetGridDirectionMatrix())
    directions[:3, :3] *= image.GetSpacing()
    directions[:3, 3] = image.GetOrigin()
    grid = gridOf(image.GetDimensions(), directions)
    if grid is None:
        raise InvalidTransform("the axes of a field are at right angles", got="sheared axes")
    return grid


def sample(transform: vtk.vtkAbstractTransform, grid: Grid) -> Steps:
    """The record of any VTK transform of RAS points, sampled on a grid, in double precision."""
    index = np.indices(grid.shape)[::-1].reshape(3, -1).T
    vectors = np.empty((grid.count, 3))
    for start in range(0, grid.count, _POINTS_IN_A_STEP):
        part = slice(start, start + _POINTS_IN_A_STEP)
        points = grid.points_at(index[part])
        vectors[part] = throughVtk(transform, points) - points
        yield
    return Field(vectors.reshape(*grid.shape, 3), grid)
