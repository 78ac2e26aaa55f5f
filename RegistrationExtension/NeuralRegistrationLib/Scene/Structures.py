"""Structures drawn on an image: the segments of a segmentation, or the labels of a label map.

Structures of the same name on both sides are compared; where several have one name, in their order.
The name of a label is that in its color table, or in that of the other side's label map, or its
number.
"""

from __future__ import annotations

import numpy as np
import slicer
from neuralreg.errors import InvalidImage
from neuralreg.worker.serialization import Steps, at_once, slabs

from NeuralRegistrationLib.Scene import Segmentations, Volumes

_LABELS = "Binary labelmap"
_SAME_VOXEL = 1e-3  # of a voxel, by which the voxels of two layers may be apart
_MOST_LABELS = 1 << 16  # what a label map for the core can tell apart


def numberNames(fixed, moving) -> Steps:
    """A number for each name of a structure on either side, and the names of labels by value.

    fixed, moving: nodes, or None. Gives a dict of numbers by name, from 1, the same for both sides,
    and for each side a dict of names by label (empty for segmentations). Raises InvalidImage.
    """
    labels = []
    for node in (fixed, moving):
        labels.append((yield from labelsIn(node)) if _isLabelMap(node) else [])
    own = [
        {value: _nameInTable(node, value) for value in values}
        for node, values in zip((fixed, moving), labels, strict=True)
    ]
    named = [
        {value: name or other.get(value) or f"label {value}" for value, name in names.items()}
        for names, other in (own, own[::-1])
    ]
    named = [_apart(names) for names in named]
    every = [
        name
        for node, names in zip((fixed, moving), named, strict=True)
        for name in (names if _isLabelMap(node) else _namesOfSegments(node)).values()
    ]
    return {name: n for n, name in enumerate(dict.fromkeys(every), start=1)}, named


def _isLabelMap(node) -> bool:
    return node is not None and not node.IsA("vtkMRMLSegmentationNode")


def _namesOfSegments(node) -> dict[str, str]:
    """The names of segments by their ids, each another one."""
    if node is None:
        return {}
    segmentation = node.GetSegmentation()
    ids = Segmentations.segmentIds(node)
    return _apart({each: segmentation.GetSegment(each).GetName() for each in ids})


def _apart(names: dict) -> dict:
    """The same names, of which those that are there twice are numbered in their order."""
    apart: dict = {}
    for key, name in names.items():
        others = (f"{name} ({n})" for n in range(2, len(names) + 2))
        free = (each for each in (name, *others) if each not in apart.values())
        isTaken = name in apart.values()
        apart[key] = next(each for each in free if not isTaken or each not in names.values())
    return apart


def labelsIn(node) -> Steps:
    """The labels of a label map that have voxels, without 0. Raises InvalidImage."""
    data = Volumes.contentOf(node).data
    used = np.zeros(_MOST_LABELS, bool)
    for part in slabs(data):
        some = data[part]
        if not (np.array_equal(some, np.trunc(some)) and 0 <= some.min() <= some.max() < len(used)):
            raise InvalidImage(
                "labels are whole numbers",
                where=node.GetName(),
                got=f"values from {some.min()} to {some.max()}",
                wanted=f"0 to {_MOST_LABELS - 1}",
            )
        counts = np.bincount(some.ravel().astype(np.intp))
        used[: len(counts)] |= counts > 0
        yield
    return [int(value) for value in np.flatnonzero(used) if value]


def _nameInTable(node, value: int) -> str:
    """The name of a label in the color table of its label map; "" if there is none."""
    display = node.GetDisplayNode()
    table = display.GetColorNode() if display is not None else None
    if table is None or not 0 <= value < table.GetNumberOfColors():
        return ""
    name = table.GetColorName(value) or ""
    return "" if name in (table.GetNoName(), str(value)) else name


def labelMap(node, numbers: dict[str, int], names: dict[int, str]) -> Steps:
    """All structures of a node in one label map, by these numbers; None if there are none.

    names: of the labels, where the node is a label map. Where segments overlap, the later one
    wins; where layers have voxels of their own, the finest ones are taken.
    """
    if _isLabelMap(node):
        return (yield from _renumber(node, {v: numbers[name] for v, name in names.items()}))
    return (yield from _merge(node, _numbersById(node, numbers)))


def labelChannels(node, numbers: dict[str, int], names: dict[int, str]) -> Steps:
    """As `labelMap`, but segments that overlap are kept apart, in channels: (z, y, x, c)."""
    if _isLabelMap(node):
        return (yield from labelMap(node, numbers, names))
    return (yield from _merge(node, _numbersById(node, numbers), isApart=True))


def _numbersById(node, numbers: dict[str, int]) -> dict[str, int]:
    return {each: numbers[name] for each, name in _namesOfSegments(node).items()}


def asMask(node, segments=None) -> Steps:
    """All structures of a node, or some segments by their ids, as one mask; None without any."""
    if _isLabelMap(node):
        return (yield from _renumber(node, dict.fromkeys((yield from labelsIn(node)), 1)))
    ids = Segmentations.segmentIds(node) if segments is None else segments
    return (yield from _merge(node, dict.fromkeys(ids, 1)))


def segmentLabels(node, segments=None) -> Steps:
    """Segments, all or some by their ids, in one label map, numbered in their order from 1."""
    ids = Segmentations.segmentIds(node)
    chosen = [each for each in ids if segments is None or each in segments]
    return (yield from _merge(node, {each: n for n, each in enumerate(chosen, start=1)}))


def _renumber(node, values: dict[int, int]) -> Steps:
    stored = Volumes.contentOf(node)
    if not values:
        return None
    table = np.zeros(max(values) + 1, np.uint16)
    for value, number in values.items():
        table[value] = number
    labels = np.empty(stored.data.shape, np.uint16)
    for part in slabs(labels):
        labels[part] = table[stored.data[part].astype(np.intp)]
        yield
    return Volumes.Content(labels, stored.indexToParent, node, labels=True)


def _merge(segmentationNode, numbers: dict[str, int], isApart: bool = False) -> Steps:
    """Segments in one label map; where some overlap, the later one wins. None if empty.

    numbers: by the segments' ids. isApart: segments that overlap get channels of their own.
    """
    every = Segmentations.layersOf(segmentationNode)
    layers = [(stored, values) for stored, values in every if numbers.keys() & values.keys()]
    if not layers:
        return None
    first = min((stored for stored, _values in layers), key=_voxelSize)
    fitted = []
    for stored, values in layers:
        fitted.append(((yield from _onVoxelsOf(first, stored)), values))
    layers = fitted
    corners = [_offset(first, stored) for stored, _values in layers]
    low = np.min(corners, axis=0)
    high = np.max([c + s.size for c, (s, _v) in zip(corners, layers, strict=True)], axis=0)
    channels = [np.zeros((high - low)[::-1], np.uint16)]
    for corner, (stored, values) in zip(corners, layers, strict=True):
        table = np.zeros(max([*values.values(), 0]) + 2, np.uint16)  # the last: other labels
        for segmentId, value in values.items():
            table[value] = numbers.get(segmentId, 0)
        x, y, z = corner - low
        nx, ny, nz = stored.size
        box = slice(z, z + nz), slice(y, y + ny), slice(x, x + nx)
        if isApart:
            into = yield from _freeChannel(channels, box, stored.data, table)
        else:
            into = channels[0][box]
        for part in slabs(stored.data):
            labels = table[np.clip(stored.data[part], 0, len(table) - 1)]
            into[part] = np.where(labels > 0, labels, into[part])
            yield
    shift = np.eye(4)
    shift[:3, 3] = low
    data = channels[0] if len(channels) == 1 else np.stack(channels, -1)
    return Volumes.Content(data, first.indexToParent @ shift, segmentationNode, labels=True)


def _freeChannel(channels: list, box: tuple, data: np.ndarray, table: np.ndarray) -> Steps:
    """The box in the first channel in which no label meets these, or in a new one."""
    for channel in channels:
        into, isFree = channel[box], True
        for part in slabs(data):
            labels = table[np.clip(data[part], 0, len(table) - 1)]
            isFree = isFree and not (into[part][labels > 0] > 0).any()
            yield
        if isFree:
            return into
    channels.append(np.zeros_like(channels[0]))
    return channels[-1][box]


def _voxelSize(stored) -> float:
    return abs(float(np.linalg.det(stored.indexToParent[:3, :3])))


def _offset(first, other) -> np.ndarray:
    """Where a layer begins in the voxels of another one, which it shares."""
    between = np.linalg.inv(first.indexToParent) @ other.indexToParent
    return np.rint(between[:3, 3]).astype(int)


def _onVoxelsOf(first, other) -> Steps:
    """A layer on the voxels of another one, as far as it reaches: the nearest label of each.

    Segments that were imported from images of their own have voxels of their own.
    """
    toFirst = np.linalg.inv(first.indexToParent) @ other.indexToParent
    isShared = np.allclose(toFirst[:3, :3], np.eye(3), atol=1e-4)
    if isShared and np.allclose(toFirst[:3, 3], np.rint(toFirst[:3, 3]), atol=_SAME_VOXEL):
        return other
    ends = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in other.size]), -1).reshape(-1, 3)
    reach = ends @ toFirst[:3, :3].T + toFirst[:3, 3]
    low, high = np.floor(reach.min(0)).astype(int), np.ceil(reach.max(0)).astype(int) + 1
    labels = np.zeros((high - low)[::-1], other.data.dtype)
    toOther, size = np.linalg.inv(toFirst), np.array(other.size)
    plane = np.indices((1, *labels.shape[1:]))[::-1].reshape(3, -1).T + low
    for z in range(len(labels)):
        exact = (plane + np.array([0, 0, z])) @ toOther[:3, :3].T + toOther[:3, 3]
        index = np.floor(exact + 0.5).astype(int)  # half way always upward, so that widths stay
        isInside = ((index >= 0) & (index < size)).all(1)
        labels[z].ravel()[isInside] = other.data[tuple(index[isInside].T[::-1])]
        yield
    shift = np.eye(4)
    shift[:3, 3] = low
    return Volumes.Content(labels, first.indexToParent @ shift, other.node, labels=True)


def segmentation(node):
    """The segments of a node, to be drawn; those of a label map share its voxels."""
    if not _isLabelMap(node):
        return node.GetSegmentation()
    stored = Volumes.contentOf(node)
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(node.GetImageData())
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(stored.indexToParent))
    copy = slicer.vtkSegmentation()
    copy.SetSourceRepresentationName(_LABELS)
    for value in at_once(labelsIn(node)):
        segment = slicer.vtkSegment()
        segment.SetName(_nameInTable(node, value) or f"label {value}")
        segment.SetLabelValue(value)
        segment.AddRepresentation(_LABELS, image)
        copy.AddSegment(segment, f"label {value}")
    return copy
