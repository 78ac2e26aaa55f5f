"""Segmentations: their labels for the core, and warped copies made by one label resampling.

Slicer's own ways of hardening a segmentation clip oblique data or resample twice; here each layer
is resampled once, straight from the labels of the original. Segments that overlap stay apart.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping

import numpy as np
import slicer
import torch
import vtk
from neuralreg.errors import InvalidImage
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from . import Geometry
from .Volumes import Voxels

_LABELS = "Binary labelmap"


def layersOf(segmentationNode) -> Iterator[tuple[Voxels, dict[str, int]]]:
    """Each layer of labels that do not overlap, with the label of each segment it holds.

    Segments without a voxel in any layer are left out.

    The node stays as it is: where it holds only surfaces, a copy is voxelized.
    Raises InvalidImage when it cannot be.
    """
    segmentation = _withLabels(segmentationNode)
    for layer in range(segmentation.GetNumberOfLayers(_LABELS)):
        image = segmentation.GetLayerDataObject(layer, _LABELS)
        if image is not None and min(image.GetDimensions()) > 0:
            ids = segmentation.GetSegmentIDsForLayer(layer, _LABELS)
            values = {each: segmentation.GetSegment(each).GetLabelValue() for each in ids}
            yield _voxels(image, segmentationNode), values


def _withLabels(segmentationNode):
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.ContainsRepresentation(_LABELS) or not segmentation.GetNumberOfSegments():
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    if not copy.CreateRepresentation(_LABELS):
        raise InvalidImage(
            "a segmentation can be turned into labels",
            where=segmentationNode.GetName(),
            got=f"only {segmentation.GetSourceRepresentationName()}",
            remedy="Create its binary labelmap representation in the Segmentations module.",
        )
    return copy


def _voxels(image, node) -> Voxels:
    labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    labels = labels if labels.dtype.kind == "i" or labels.dtype == np.uint8 else labels.astype(int)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)  # "world" means the segmentation's own space here
    firstIndex = np.eye(4)
    firstIndex[:3, 3] = image.GetExtent()[::2]
    return Voxels(
        torch.from_numpy(labels.copy())[None], Geometry.matrixToArray(matrix) @ firstIndex, node
    )


def labelsOnGrid(segmentationNode, grid: Grid) -> tuple[Image, dict[int, str]]:
    """Which segment each voxel of a grid in the world belongs to, and the segments' names.

    Values are 0 outside, else 1 for the first segment, 2 for the second, ...; where segments
    overlap the later one wins.
    """
    order = segmentIds(segmentationNode)
    merged = torch.zeros(1, *grid.shape, dtype=torch.int32)
    segmentation = segmentationNode.GetSegmentation()
    identity = DisplacementField.identity(grid)
    layers = [
        (v.warped(identity, grid, labels=True).data, ids) for v, ids in layersOf(segmentationNode)
    ]
    for number, segmentId in enumerate(order, start=1):
        for values, labels in layers:
            if segmentId in labels:
                merged[values == labels[segmentId]] = number
    return Image(merged, grid), {
        number: segmentation.GetSegment(segmentId).GetName()
        for number, segmentId in enumerate(order, start=1)
    }


def segmentIds(segmentationNode) -> list[str]:
    """The segments in the order of the list."""
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]


def warpedSegmentation(
    segmentationNode, field: DisplacementField, grid: Grid, name: str, reference=None
):
    """A new segmentation node in the world, on `grid`: the same segments, warped.

    Ids, names, colors, tags, label values, order, overlaps and display settings stay.
    field: from the world at `grid` to the world in which the segmentation lies.
    reference: the volume node that the copy names as the one it belongs to.
    """
    source, layers = segmentationNode.GetSegmentation(), {}
    for voxels, labels in layersOf(segmentationNode):
        image = _orientedImage(voxels.warped(field, grid, labels=True))
        layers.update({segmentId: (image, value) for segmentId, value in labels.items()})
    node = _newNode(segmentationNode.GetScene(), name, grid, reference)
    for segmentId in segmentIds(segmentationNode):
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(source.GetSegment(segmentId))
        if segmentId in layers:
            image, value = layers[segmentId]
            segment.SetLabelValue(value)
            segment.AddRepresentation(_LABELS, image)
        node.GetSegmentation().AddSegment(segment, segmentId)
    if segmentationNode.GetDisplayNode():
        node.GetDisplayNode().CopyContent(segmentationNode.GetDisplayNode())
    return node


def segmentationFromLabels(
    labels: Image, name: str, names: Mapping[int, str] | None = None, reference=None
):
    """A new segmentation node in the world with one segment per label, colored by label.

    names: what to call them; labels that are not in it are left out. All if None.
    """
    present = [int(value) for value in labels.data.unique() if value != 0]
    names = {value: f"Label {value}" for value in present} if names is None else names
    image = _orientedImage(labels)
    node = _newNode(slicer.mrmlScene, name, labels.grid, reference)
    for value in (value for value in present if value in names):
        segment = slicer.vtkSegment()
        segment.SetName(names[value])
        segment.SetColor(*_color(value))
        segment.SetLabelValue(value)
        segment.AddRepresentation(_LABELS, image)
        node.GetSegmentation().AddSegment(segment, f"Segment_{value}")
    return node


def _color(value: int) -> tuple[float, float, float]:
    """Colors that neighbors can be told apart by: hues a golden section apart."""
    return colorsys.hsv_to_rgb(value * 0.618034 % 1.0, 0.45 + 0.2 * (value % 3), 0.95)


def _newNode(scene, name: str, grid: Grid, reference):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    if reference is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    # The reference may lie under a transform; the segmentation is in the world.
    node.GetSegmentation().SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(
            Geometry.indexToRas(grid), _emptyImage(grid)
        ),
    )
    return node


def _emptyImage(grid: Grid):
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(grid.size)
    image.SetImageToWorldMatrix(Geometry.indexToRas(grid))
    return image


def _orientedImage(labels: Image):
    highest = int(labels.data.max())
    kind = next(t for t in (np.uint8, np.int16, np.int32) if highest <= np.iinfo(t).max)
    image = _emptyImage(labels.grid)
    array = labels.data[0].cpu().numpy().astype(kind)
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    return image
