"""A transform node as the core reads it: the one deformation that Slicer shows.

Slicer is cubic between the samples of a field that comes from a file, the core is linear between
them. Where that makes a difference, the cubic field is sampled more finely.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from neuralreg.errors import InvalidOption
from neuralreg.geometry.finer_grid import halve_steps, sample_cubic
from neuralreg.geometry.grid import Grid
from neuralreg.worker.messages import Field, TransformPart, rows_of
from neuralreg.worker.serialization import Steps, slabs
from vtk.util.numpy_support import vtk_to_numpy

from NeuralRegistrationLib.Scene import Geometry, Volumes

_MOST_SAMPLES = 500_000  # of a transform that is no grid
_MOST_CUBIC_SAMPLES = 16_000_000
_MOST_SAMPLES_OF_A_CHAIN = 4_000_000  # VTK takes a microsecond for each
CUBIC = 2  # as VTK counts interpolations
_AGREE_MM = 0.1  # samples of which linear and cubic readers make the same stay as they are
_TOLERANCE_MM = 0.01  # along each axis, else
_MOST_HALVINGS = 4


def recordOf(node, volume) -> Steps:
    """A transform node with everything above it, fixed to moving: a matrix, or a field.

    volume: what a transform that is no grid is sampled over. Raises InvalidOption without one.
    """
    transform, linear = Geometry.between(None, node), vtk.vtkTransform()
    if slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(transform, linear):
        return rows_of(Geometry.matrixInLps(linear.GetMatrix()))
    parts = flatten(transform)
    if len(parts) == 1 and _isGrid(parts[0]):
        return (yield from _gridRecord(parts[0]))
    if volume is None:
        raise InvalidOption(
            "a transform of this kind is sampled over its image",
            where=node.GetName(),
            got="no volume",
            remedy="Choose the fixed and the moving volume.",
        )
    around = Volumes.contentOf(volume).straightGrid
    grid = yield from _gridThrough(parts, around)
    return (yield from Geometry.sample(transform, grid))


def flatten(transform: vtk.vtkGeneralTransform) -> list[vtk.vtkAbstractTransform]:
    """The transforms that points pass one after the other."""
    collection = vtk.vtkCollection()
    slicer.vtkMRMLTransformNode.FlattenGeneralTransform(collection, transform)
    parts = [collection.GetItemAsObject(n) for n in range(collection.GetNumberOfItems())]
    for part in parts:
        part.Update()
    return parts


def contentOf(node) -> Steps:
    """What a node and those above it hold, so that it can be recognized; () for other kinds.

    It stays the same when the scene is saved and loaded, or another volume is looked at, while
    samples of the transform do not.
    """
    parts: list[TransformPart] = []
    for part in flatten(Geometry.between(None, node)):
        if isinstance(part, vtk.vtkHomogeneousTransform):
            matrix = Geometry.matrixInLps(part.GetMatrix())
            if parts and parts[-1].kind == "matrix":
                matrix = matrix @ np.array(parts.pop().moves)
            parts.append(TransformPart(rows_of(matrix), "matrix"))
        elif isinstance(part, slicer.vtkOrientedGridTransform):
            samples = yield from _samples(part)
            parts.append(TransformPart(samples, "field", bool(part.GetInverseFlag())))
        elif (numbers := _numbersOf(part)) is not None:
            inverse = bool(part.GetInverseFlag())
            parts.append(TransformPart(numbers, part.GetClassName(), inverse))
        else:
            return ()
    return tuple(parts)


def _numbersOf(part) -> np.ndarray | None:
    """The numbers of a spline, one after the other; None for other kinds."""
    if isinstance(part, slicer.vtkOrientedBSplineTransform):
        image, matrices = part.GetCoefficientData(), (part.GetGridDirectionMatrix(),)
        matrices += (part.GetBulkTransformMatrix(),)
        numbers = [image.GetOrigin(), image.GetSpacing(), image.GetDimensions()]
        numbers += [Geometry.matrixToArray(matrix).ravel() for matrix in matrices if matrix]
        numbers.append(vtk_to_numpy(image.GetPointData().GetScalars()).ravel())
        return np.concatenate([np.asarray(each, float) for each in numbers])
    if isinstance(part, vtk.vtkThinPlateSplineTransform):
        sides = part.GetSourceLandmarks(), part.GetTargetLandmarks()
        points = [vtk_to_numpy(side.GetData()).ravel().astype(float) for side in sides]
        return np.concatenate([[float(part.GetBasis())], *points])
    return None


def _isGrid(part) -> bool:
    return isinstance(part, slicer.vtkOrientedGridTransform) and not part.GetInverseFlag()


def _samples(held) -> Steps:
    """The samples of a grid transform, turned into LPS slab by slab, single precision."""
    image, grid = held.GetDisplacementGrid(), Geometry.gridUnder(held)
    stored = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*grid.shape, 3)
    vectors = np.empty(stored.shape, np.float32)
    scale, shift = held.GetDisplacementScale(), held.GetDisplacementShift()
    for part in slabs(stored):
        vectors[part] = Geometry.flip(stored[part] * scale + shift)
        yield
    return Field(vectors, grid)


def _gridRecord(held) -> Steps:
    """The samples of a grid transform; of a cubic one more of them, where it needs them."""
    field = yield from _samples(held)
    times = yield from _halvings(held, field, _MOST_CUBIC_SAMPLES)
    if not any(times):
        return field
    grid = halve_steps(field.grid, times)
    vectors = np.empty((*grid.shape, 3), np.float32)
    yield from sample_cubic(field.vectors, times, vectors)
    return Field(vectors, grid)


def _halvings(held, field: Field, mostSamples: int) -> Steps:
    """How often the steps of a cubic field along x y z are halved for a linear reader."""
    if held.GetInterpolationMode() != CUBIC:
        return (0, 0, 0)
    gaps = yield from _gaps(field.vectors)
    if gaps.sum() <= _AGREE_MM:
        return (0, 0, 0)
    times = np.ceil(np.log2(np.maximum(gaps / _TOLERANCE_MM, 1)) / 2).astype(int)
    times = np.minimum(times, _MOST_HALVINGS)
    while times.any() and halve_steps(field.grid, times).count > mostSamples:
        times = np.maximum(times - 1, 0)
    return tuple(times.tolist())


def _gaps(vectors: np.ndarray) -> Steps:
    """How far a cubic and a linear reader differ at most along each axis x y z, mm.

    Half-way between b and c of neighbors a b c d it is (b + c - a - d) / 16.
    """
    largest = np.zeros(3)
    for part in slabs(vectors):
        for axis, n in enumerate(vectors.shape[:3]):
            first = part.start if axis == 0 else 0
            middle = np.arange(first, min(part.stop if axis == 0 else n, n - 1))
            rows = vectors if axis == 0 else vectors[part]
            a, b, c, d = (
                rows.take(np.clip(middle + k, 0, n - 1), axis=axis) for k in (-1, 0, 1, 2)
            )
            gaps = np.linalg.norm(b + c - a - d, axis=-1)
            largest[2 - axis] = max(largest[2 - axis], gaps.max(initial=0) / 16)
            yield
    return largest


def _gridThrough(parts: list, around: Grid) -> Steps:
    """Where a chain of transforms is sampled over an image: where its only field has its samples,
    between which it is linear, or in steps of its own."""
    fields = [part for part in parts if not isinstance(part, vtk.vtkHomogeneousTransform)]
    coarse = Geometry.coarse(around, _MOST_SAMPLES)
    if len(fields) != 1 or not _isGrid(fields[0]):
        return coarse
    (field,) = fields
    samples = yield from _samples(field)
    times = yield from _halvings(field, samples, _MOST_SAMPLES_OF_A_CHAIN)
    fine = halve_steps(samples.grid, times)
    before = np.eye(4)
    for part in parts[: parts.index(field)]:
        before = Geometry.matrixInLps(part.GetMatrix()) @ before
    grid = Geometry.movedGrid(fine, np.linalg.inv(before))
    if grid is None:
        return coarse
    corners = grid.indices_at(around.corners())
    beyond = np.maximum(-corners.min(0), corners.max(0) - np.array(grid.size) + 1)
    grid = grid.pad(np.maximum(np.ceil(beyond), 0).astype(int).tolist())
    return grid if grid.count <= _MOST_SAMPLES_OF_A_CHAIN else coarse
