"""Which images are mixed in which row of the slice views, before and after the transform."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from neuralreg.worker.serialization import Steps, slabs
from vtk.util.numpy_support import vtk_to_numpy

from NeuralRegistrationLib.Review.Jobs import CARRIED_BACK
from NeuralRegistrationLib.Review.Parameters import Layout
from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Review.Views.CheckerboardVolume import (
    Grays,
    grayLevels,
    mixedVolume,
    voxelsOf,
)

FORWARD, BACK = "warped", CARRIED_BACK  # the worker's maps: each image on the other one's voxels


def mixedVolumes(subject: Subject, layout: Layout, images: dict) -> Steps:
    """The mixed volumes of the upper and the lower row of a layout, in short steps.

    images: the worker's maps. None in place of a volume that these maps do not allow, or that the
    layout does not show.
    """
    fixed, moving = subject.fixedVolume, subject.movingVolume
    upper = yield from _grays(subject, fixed, moving, images.get(FORWARD))
    if layout is Layout.OWN:
        lower = yield from _grays(subject, moving, fixed, images.get(BACK))
    elif layout is Layout.BROUGHT and upper:
        lower = tuple(Grays(one.other, one.own) for one in upper)
    else:
        lower = None
    found = []
    for onto, grays in ((fixed, upper), (moving if layout is Layout.OWN else fixed, lower)):
        found.append((yield from mixedVolume(onto, *grays)) if grays else None)
    return found


def _grays(subject: Subject, onto, source, image) -> Steps:
    """Of both images on the voxels of one, after and before; None without the worker's image."""
    if image is None or image[0].GetDimensions() != onto.GetImageData().GetDimensions():
        return None
    own = yield from grayLevels(voxelsOf(onto.GetImageData()), onto)
    after = yield from grayLevels(voxelsOf(image[0]), source)
    unmoved = yield from _unmoved(subject, onto, source)
    before = yield from grayLevels(unmoved, source)
    return Grays(own, after), Grays(own, before)


def _unmoved(subject: Subject, onto, source) -> Steps:
    """An image on the voxels of the other one, each where it lies without the transform."""
    way = vtk.vtkGeneralTransform()
    way.PostMultiply()
    way.Concatenate(_ijkToRas(onto))
    way.Concatenate(subject.toMovingSide(onto))
    back = subject.toMovingSide(source)
    back.Inverse()
    way.Concatenate(back)
    toVoxels = _ijkToRas(source)
    toVoxels.Invert()
    way.Concatenate(toVoxels)
    return (yield from _resliced(source.GetImageData(), onto.GetImageData().GetDimensions(), way))


def _resliced(image, size: tuple[int, int, int], way: vtk.vtkGeneralTransform) -> Steps:
    """VTK's image (voxels of 1, at 0) at the voxels of a grid of this size: (z, y, x).

    way: of voxel indices, to those of the image. Its smallest value beyond it.
    """
    straight = vtk.vtkTransform()
    isStraight = slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(way, straight)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(straight if isStraight else way)
    reslice.SetInterpolationModeToLinear()
    reslice.SetBackgroundLevel(image.GetScalarRange()[0])
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    made = np.empty(size[::-1], vtk_to_numpy(image.GetPointData().GetScalars()).dtype)
    parts = slabs(made) if isStraight else [slice(n, n + 1) for n in range(size[2])]
    for part in parts:
        first, last = part.start, min(part.stop, size[2]) - 1
        reslice.SetOutputExtent(0, size[0] - 1, 0, size[1] - 1, first, last)
        reslice.Update()
        made[part] = voxelsOf(reslice.GetOutput())
        yield
    return made


def _ijkToRas(node) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix
