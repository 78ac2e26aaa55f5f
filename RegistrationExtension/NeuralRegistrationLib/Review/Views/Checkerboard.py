"""Which images are mixed in which row of the slice views, before and after the transform."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from neuralreg.worker.serialization import Steps, slabs
from vtk.util.numpy_support import vtk_to_numpy

from NeuralRegistrationLib.Review.Jobs import FIXED_ON_MOVING
from NeuralRegistrationLib.Review.Parameters import Layout
from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Review.Views.CheckerboardVolume import (
    Grays,
    grayLevels,
    imageArray,
    makeCheckerboard,
)

FORWARD, BACKWARD = (
    "warped",
    FIXED_ON_MOVING,
)  # the worker's maps: each image on the other one's voxels


def makeCheckerboards(subject: Subject, layout: Layout, images: dict) -> Steps:
    """The volumes that mix both images, for both rows of a layout, in short steps.

    images: the worker's maps. None in place of a volume that these maps do not allow, or that the
    layout does not show.
    """
    fixed, moving = subject.fixedVolume, subject.movingVolume
    upper = yield from _grays(subject, fixed, moving, images.get(FORWARD))
    if layout is Layout.OWN:
        lower = yield from _grays(subject, moving, fixed, images.get(BACKWARD))
    elif layout is Layout.BROUGHT and upper:
        lower = tuple(Grays(one.other, one.own) for one in upper)
    else:
        lower = None
    volumes = []
    for onto, grays in ((fixed, upper), (moving if layout is Layout.OWN else fixed, lower)):
        volumes.append((yield from makeCheckerboard(onto, *grays)) if grays else None)
    return volumes


def _grays(subject: Subject, onto, source, image) -> Steps:
    """Of both images on the voxels of one, after and before; None without the worker's image."""
    if image is None or image[0].GetDimensions() != onto.GetImageData().GetDimensions():
        return None
    own = yield from grayLevels(imageArray(onto.GetImageData()), onto)
    after = yield from grayLevels(imageArray(image[0]), source)
    values = yield from _withoutTransform(subject, onto, source)
    before = yield from grayLevels(values, source)
    return Grays(own, after), Grays(own, before)


def _withoutTransform(subject: Subject, onto, source) -> Steps:
    """An image on the voxels of the other one, both without the transform."""
    toSource = vtk.vtkGeneralTransform()
    toSource.PostMultiply()
    toSource.Concatenate(_ijkToRas(onto))
    toSource.Concatenate(subject.toMovingSide(onto))
    toNode = subject.toMovingSide(source)
    toNode.Inverse()
    toSource.Concatenate(toNode)
    toVoxels = _ijkToRas(source)
    toVoxels.Invert()
    toSource.Concatenate(toVoxels)
    size = onto.GetImageData().GetDimensions()
    return (yield from _reslice(source.GetImageData(), size, toSource))


def _reslice(image, size: tuple[int, int, int], transform: vtk.vtkGeneralTransform) -> Steps:
    """VTK's image (voxels of 1, at 0) at the voxels of a grid of this size: (z, y, x).

    transform: from voxel indices to those of the image. Its smallest value beyond it.
    """
    linear = vtk.vtkTransform()
    isLinear = slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(transform, linear)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(linear if isLinear else transform)
    reslice.SetInterpolationModeToLinear()
    reslice.SetBackgroundLevel(image.GetScalarRange()[0])
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    values = np.empty(size[::-1], vtk_to_numpy(image.GetPointData().GetScalars()).dtype)
    parts = slabs(values) if isLinear else [slice(n, n + 1) for n in range(size[2])]
    for part in parts:
        first, last = part.start, min(part.stop, size[2]) - 1
        reslice.SetOutputExtent(0, size[0] - 1, 0, size[1] - 1, first, last)
        reslice.Update()
        values[part] = imageArray(reslice.GetOutput())
        yield
    return values


def _ijkToRas(node) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix
