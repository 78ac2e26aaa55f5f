"""Rows of `benchmarks.transforms`: normalizations of SPM, and nodes in scenes of 3D Slicer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy
from neuralreg.io.itk_transforms import read_itk_transform

from benchmarks.transform_rows import Row, gap
from Testing.support import foreign_transforms as foreign
from Testing.support import spm_files
from Testing.support.itk_points import transform_points

_SHAPE = (14, 12, 11)


def by_scipy(folder: Path) -> Iterator[Row]:
    """`*_sn.mat` at voxels of a straight and of an oblique template."""
    rng = np.random.default_rng(11)
    worst = 0.0
    for template in (spm_files.STRAIGHT, spm_files.OBLIQUE):
        coefficients = rng.normal(0, 12, (5, 4, 6, 3))
        transform = read_itk_transform(
            spm_files.write(folder / "t1_sn.mat", template, coefficients)
        )
        index = np.stack([rng.integers(0, n, 500) for n in spm_files.SIZE], -1)
        start, end = spm_files.normalize_by_definition(template, coefficients, index)
        worst = max(worst, gap(transform_points(transform, start), end))
    yield Row("SPM", "*_sn.mat", worst, None, f"SciPy {scipy.__version__} (idctn), 2 templates")


def by_slicer(folder: Path) -> Iterator[Row]:
    """What the nodes of a saved scene do, by kind of node."""
    import slicer
    import vtk
    from NeuralRegistrationLib.Scene.Headless import HeadlessScene

    scene = HeadlessScene()
    affine = np.eye(4)
    affine[:3, :3] = foreign.AXES["oblique"] * [2.0, 2.5, 3.0]
    side = foreign.Side(folder / "none", _SHAPE, affine)
    outer, inner, field = (
        slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{kind}TransformNode", name)
        for kind, name in (("Linear", "outer"), ("Linear", "inner"), ("Grid", "field"))
    )
    for node, matrix in ((outer, foreign.MATRIX), (inner, foreign.MATRIX.T.copy())):
        matrix[3] = [0, 0, 0, 1]
        own = vtk.vtkMatrix4x4()
        own.DeepCopy(matrix.ravel())
        node.SetMatrixTransformToParent(own)
    inner.SetAndObserveTransformNodeID(outer.GetID())
    field.SetAndObserveTransformFromParent(_grid_transform(side))
    scene.save(folder / "scene.mrb")
    points = side.points()[1:-1:2, 1:-1:2, 1:-1:2].reshape(-1, 3)  # samples, where fields are exact
    kinds = {"outer": "matrix", "inner": "matrices below each other", "field": "field, at samples"}
    for name, kind in kinds.items():
        whole = vtk.vtkGeneralTransform()
        slicer.mrmlScene.GetFirstNodeByName(name).GetTransformFromWorld(whole)
        theirs = foreign.in_ras(np.array([whole.TransformPoint(p) for p in foreign.in_ras(points)]))
        ours = transform_points(read_itk_transform(Path(f"{folder / 'scene.mrb'}::{name}")), points)
        yield Row("3D Slicer", f".mrb::NODE, {kind}", gap(ours, theirs), None,
                  "Slicer's nodes (slicer-core)")  # fmt: skip


def _grid_transform(side: foreign.Side):
    """The bend of `foreign_transforms` as a transform of Slicer, in RAS, on an oblique grid."""
    import vtk
    from slicer import vtkOrientedGridTransform
    from vtk.util.numpy_support import numpy_to_vtk

    vectors = foreign.in_ras(foreign.bent(side.points()) - side.points())
    image = vtk.vtkImageData()
    image.SetDimensions(side.size)
    image.SetSpacing(side.spacing)
    image.SetOrigin(side.affine[:3, 3])
    flat = np.ascontiguousarray(vectors.transpose(2, 1, 0, 3).reshape(-1, 3))
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    cosines = np.eye(4)
    cosines[:3, :3] = side.affine[:3, :3] / side.spacing
    direction = vtk.vtkMatrix4x4()
    direction.DeepCopy(cosines.ravel())
    transform = vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetGridDirectionMatrix(direction)
    transform.SetInterpolationModeToCubic()
    return transform
