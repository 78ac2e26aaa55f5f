"""Segmentations: their labels for the core, and copies of them from warped labels.

Slicer's own ways of hardening a segmentation clip oblique data or resample twice; here each layer
is resampled once, straight from the labels of the original. Segments that overlap stay apart.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator

import numpy as np
import slicer
import vtk
from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.worker.serialization import Steps, slabs
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from NeuralRegistrationLib.Scene import Geometry
from NeuralRegistrationLib.Scene.Volumes import Content, contentOf

_LABELS, _SURFACES = "Binary labelmap", "Closed surface"
_SURFACE_PARAMETERS = (
    slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule.GetDecimationFactorParameterName(),
    slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule.GetSmoothingFactorParameterName(),
)


def layersOf(segmentationNode) -> Iterator[tuple[Content, dict[str, int]]]:
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


def _voxels(image, node) -> Content:
    labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)  # "world" means the segmentation's own space here
    firstIndex = np.eye(4)
    firstIndex[:3, 3] = image.GetExtent()[::2]
    return Content(labels, Geometry.matrixToArray(matrix) @ firstIndex, node, labels=True)


def surfacesOf(segmentationNode, segments=None) -> list:
    """The closed surface of each segment, all or some by their ids, in the node's own space.

    The node stays as it is: where it holds only labels, the surfaces of a copy are made.
    Raises InvalidImage when they cannot be.
    """
    source = segmentationNode.GetSegmentation()
    ids = segmentIds(segmentationNode) if segments is None else segments
    if not source.ContainsRepresentation(_SURFACES):
        copy = slicer.vtkSegmentation()
        copy.SetSourceRepresentationName(source.GetSourceRepresentationName())
        for each in ids:
            copy.CopySegmentFromSegmentation(source, each)
        if ids and not copy.CreateRepresentation(_SURFACES):
            raise InvalidImage(
                "segments have surfaces",
                where=segmentationNode.GetName(),
                got="some from which none can be made",
                remedy="Press Show 3D in the Segment Editor, and see what it says.",
            )
        source = copy
    surfaces = (source.GetSegmentRepresentation(each, _SURFACES) for each in ids)
    return [surface for surface in surfaces if surface is not None]


def segmentIds(segmentationNode) -> list[str]:
    """The segments in the order of the list."""
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]


def chosenSegments(node, asked) -> tuple[str, ...] | None:
    """The ids of the segments of a mask that are asked for by id or by name; None for all.

    asked: one text or several. Raises InvalidOption for those that are not there, for a name of
    several segments, and for a mask that has no segments.
    """
    if asked is None:
        return None
    asked = (asked,) if isinstance(asked, str) else tuple(asked)
    if not node.IsA("vtkMRMLSegmentationNode"):
        raise InvalidOption(
            "only a segmentation has segments to choose from",
            where=node.GetName(),
            got=", ".join(map(repr, asked)),
            remedy="Leave the segments out, or give a segmentation as the mask.",
        )
    segmentation, ids = node.GetSegmentation(), segmentIds(node)
    names = {each: segmentation.GetSegment(each).GetName() for each in ids}
    chosen = []
    for text in asked:
        fitting = [text] if text in ids else [each for each in ids if names[each] == text]
        if len(fitting) != 1:
            several = f"{len(fitting)} segments are called {text!r}"
            raise InvalidOption(
                "segments of a mask are named by their names or ids",
                where=node.GetName(),
                got=several if fitting else repr(text),
                wanted=", ".join(f"{name!r} (id {each!r})" for each, name in names.items())
                or "a segmentation that has segments",
            )
        chosen += fitting
    return tuple(dict.fromkeys(chosen))


def maskLayers(node, segments=None, below=None) -> Steps:
    """The layers for a mask, from a label map or a segmentation; none without a node.

    segments: those that count, as `chosenSegments` takes them. below: the transform without whose
    effect the mask is meant. Raises InvalidImage when all that count are empty.
    """
    if node is None:
        return ()
    segments = chosenSegments(node, segments)
    if not node.IsA("vtkMRMLSegmentationNode"):
        return ((yield from contentOf(node).within(below).record()),)
    layers = []
    for stored, values in layersOf(node):
        chosen = tuple(v for each, v in values.items() if segments is None or each in segments)
        if (yield from _contains(stored.data, chosen)):
            layers.append((yield from stored.within(below).record(chosen)))
    if not layers:
        names = (node.GetSegmentation().GetSegment(each).GetName() for each in segments or ())
        raise InvalidImage(
            "a mask has a segment that is not empty",
            where=node.GetName(),
            got=", ".join(f"{name!r}, which is empty" for name in names),
            remedy="Draw the region that counts, or choose another mask.",
        )
    return tuple(layers)


def _contains(data: np.ndarray, labels: tuple[int, ...]) -> Steps:
    """Whether any of some labels is drawn."""
    for part in slabs(data) if labels else ():
        if np.isin(data[part], labels).any():
            return True
        yield
    return False


def layerImages(warped, grid: Grid) -> Steps:
    """The labels of each layer on `grid`, as what segments hold."""
    images = []
    for labels in warped:
        images.append((yield from _labelImage(labels, grid)))
    return images


def copyOnto(segmentationNode, images, values, grid: Grid, name: str, reference=None):
    """A new segmentation node in the world, on `grid`: the same segments, warped.

    Ids, names, colors, tags, label values, order, overlaps and display settings stay; where the
    original has surfaces, the copy has them, too.
    images: of each layer, from `layerImages`. values: for each layer, the labels by segment id.
    reference: the volume node that the copy names as the one it belongs to.
    """
    layers = {
        segmentId: (image, value)
        for image, ofLayer in zip(images, values, strict=True)
        for segmentId, value in ofLayer.items()
    }
    source = segmentationNode.GetSegmentation()
    node = newNode(segmentationNode.GetScene(), name, grid, reference)
    for segmentId in segmentIds(segmentationNode):
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(source.GetSegment(segmentId))
        if segmentId in layers:
            image, value = layers[segmentId]
            segment.SetLabelValue(value)
            segment.AddRepresentation(_LABELS, image)
        node.GetSegmentation().AddSegment(segment, segmentId)
    if source.ContainsRepresentation(_SURFACES):
        _makeSurfaces(node.GetSegmentation(), source)
    if segmentationNode.GetDisplayNode():
        node.GetDisplayNode().CopyContent(segmentationNode.GetDisplayNode())
    return node


def _makeSurfaces(segmentation, like) -> None:
    """Surfaces of the labels, smoothed as those of another segmentation."""
    for name in _SURFACE_PARAMETERS:
        if value := like.GetConversionParameter(name):
            segmentation.SetConversionParameter(name, value)
    segmentation.CreateRepresentation(_SURFACES)


def ofOneSegment(image, grid: Grid, name: str, segmentName: str, reference):
    """A new segmentation node in the world with one segment: the ones of an image.

    image: from `layerImages`. reference: the volume node that it belongs to.
    """
    node = newNode(reference.GetScene(), name, grid, reference)
    node.GetSegmentation().AddSegment(newSegment(image, 1, segmentName), segmentName)
    return node


def newSegment(image, value: int, name: str):
    """A segment of the voxels of an image that have a value, colored by the value.

    image: from `layerImages`.
    """
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*_color(value))
    segment.SetLabelValue(value)
    segment.AddRepresentation(_LABELS, image)
    return segment


def _color(value: int) -> tuple[float, float, float]:
    """Colors that neighbors can be told apart by: hues a golden section apart."""
    return colorsys.hsv_to_rgb(value * 0.618034 % 1.0, 0.45 + 0.2 * (value % 3), 0.95)


def newNode(scene, name: str, grid: Grid, reference):
    """A new segmentation node in the world, whose labels are on a grid.

    reference: the volume node that it belongs to, or None.
    """
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


def _labelImage(labels: np.ndarray, grid: Grid) -> Steps:
    kind = _smallestType(labels)
    image = _emptyImage(grid)
    image.AllocateScalars(get_vtk_array_type(kind), 1)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(grid.shape)
    for part in slabs(labels):
        voxels[part] = labels[part]
        yield
    return image


def _smallestType(labels: np.ndarray) -> type:
    """A type that Slicer knows for labels, and that holds all of them."""
    if labels.dtype == np.uint8:
        return np.uint8
    highest = max(int(labels[part].max()) for part in slabs(labels))
    return next(t for t in (np.uint8, np.int16, np.int32) if highest <= np.iinfo(t).max)
