"""Nodes as images, labels and fields of the core, and back: for the Python console and scripts.

Panels never call this: it loads torch into the process. In Slicer's console, after

    from NeuralRegistrationLib.Scene import Scripting

`Scripting.imageFromVolumeNode(getNode("CT"))` is what `neuralreg.register` takes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import slicer
import torch
from neuralreg.errors import InvalidTransform
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.slicer_interpolation import (
    resample_for_cubic_readers,
    resample_for_linear_readers,
)
from neuralreg.worker.messages import Field
from neuralreg.worker.serialization import at_once
from neuralreg.worker.shared_images import field_of, image_of, record_of, warp_voxels
from vtk.util.numpy_support import vtk_to_numpy

from NeuralRegistrationLib.Scene import (
    Geometry,
    Segmentations,
    TransformRecords,
    Transforms,
    Volumes,
)

_log = logging.getLogger(__name__)


def imageFromVolumeNode(volumeNode) -> Image:
    """A copy of the volume as the core's image, in the world.

    Under transforms that bend or shear it is resampled onto a straight grid, and a warning logged.
    It comes in as a file with the same content: NaN and infinite values stay, padding becomes
    background, each with a remark.
    Raises InvalidImage as `Volumes.contentOf` does.
    """
    stored = Volumes.contentOf(volumeNode)
    if stored.grid is None:
        _log.warning(
            "%s is under a transform that bends or shears it; this is a resampled copy",
            volumeNode.GetName(),
        )
    image = image_of(at_once(stored.record()))
    return replace(image, data=image.data.clone())


def volumeNodeFromImage(image: Image, name: str, *, like=None):
    """A new volume node in the world. like: as in `Volumes.fill`, and its class."""
    values = image.data.detach().cpu()
    array = (values.movedim(0, -1) if image.channels > 1 else values[0]).contiguous().numpy()
    kind = "vtkMRMLVectorVolumeNode" if image.channels > 1 else "vtkMRMLScalarVolumeNode"
    kind = like.GetClassName() if like else kind
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    Volumes.fill(node, at_once(Volumes.imageData(array)), image.grid, like)
    return node


def labelsFromSegmentationNode(segmentationNode, grid: Grid) -> tuple[Image, dict[int, str]]:
    """Which segment each voxel of a grid in the world belongs to, and the segments' names.

    0 outside, else 1 for the first segment, 2 for the second, ...; where segments overlap the later
    one wins.
    """
    merged = np.zeros(grid.shape, np.int32)
    identity = DisplacementField.identity(grid)
    layers = [
        (warp_voxels(at_once(stored.record()), identity, grid), values)
        for stored, values in Segmentations.layersOf(segmentationNode)
    ]
    order, segmentation = (
        Segmentations.segmentIds(segmentationNode),
        segmentationNode.GetSegmentation(),
    )
    for number, segmentId in enumerate(order, start=1):
        for values, labels in layers:
            if segmentId in labels:
                merged[values == labels[segmentId]] = number
    names = {n: segmentation.GetSegment(each).GetName() for n, each in enumerate(order, start=1)}
    return Image(torch.from_numpy(merged)[None], grid), names


def segmentationNodeFromLabels(
    labels: Image, name: str, names: Mapping[int, str] | None = None, reference=None
):
    """A new segmentation node in the world with one segment per label, colored by label.

    names: of the labels; those that are not in it are left out. All if None.
    """
    present = [int(value) for value in labels.data.unique() if value != 0]
    names = {value: f"Label {value}" for value in present} if names is None else names
    (image,) = at_once(Segmentations.layerImages([labels.data[0].cpu().numpy()], labels.grid))
    node = Segmentations.newNode(slicer.mrmlScene, name, labels.grid, reference)
    for value in (value for value in present if value in names):
        segment = Segmentations.newSegment(image, value, names[value])
        node.GetSegmentation().AddSegment(segment, f"Segment_{value}")
    return node


def fieldFromTransform(transform) -> DisplacementField:
    """The core's field of a VTK grid transform, in double precision.

    Of a cubic one, as Slicer's are, it is sampled so finely that it is the same to programs that
    are linear between samples, as this core and ITK are. Raises InvalidTransform when it is of
    another kind.
    """
    isGrid = isinstance(transform, slicer.vtkOrientedGridTransform)
    image = transform.GetDisplacementGrid() if isGrid else None
    if image is None:
        raise InvalidTransform("a grid transform was asked for", got=transform.GetClassName())
    stored = vtk_to_numpy(image.GetPointData().GetScalars()).astype(float)
    stored = stored * transform.GetDisplacementScale() + transform.GetDisplacementShift()
    grid = Geometry.gridUnder(transform)
    vectors = np.ascontiguousarray(Geometry.flip(stored)).reshape(*grid.shape, 3)
    field = field_of(Field(vectors, grid))
    isCubic = transform.GetInterpolationMode() == TransformRecords.CUBIC
    return resample_for_linear_readers(field) if isCubic else field


def gridTransformFromField(field: DisplacementField):
    """A field as VTK's grid transform: RAS mm in the scalars, x fastest, linear as in the core.

    Slicer saves only the oriented kind, and reads it as cubic.
    """
    transform = at_once(Geometry.gridTransformInSteps(record_of(field)))
    transform.SetInterpolationModeToLinear()
    return transform


def transformNodeFromField(
    field: DisplacementField, name: str, *, fixed=None, moving=None, covered=None
):
    """A new transform node of a field, fixed to moving.

    It is resampled to mean the same to Slicer, which reads every saved field as cubic.
    covered: the fixed image's grid; beyond it the field need not be as exact.
    Raises InvalidTransform when the field is not finite.
    """
    transform = gridTransformFromField(resample_for_cubic_readers(field, covered))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    Transforms.fill(node, transform, fixed=fixed, moving=moving)
    return node
