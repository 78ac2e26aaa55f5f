"""Nodes warped in this process, by the parts that deliver the results of the worker."""

from __future__ import annotations

from neuralreg.geometry.grid import Grid
from neuralreg.worker.serialization import at_once
from neuralreg.worker.shared_images import warp_voxels
from NeuralRegistrationLib.Scene import Segmentations, Volumes


def warped_volume(moving_node, field, grid: Grid, name: str):
    """A new volume node: the moving volume on `grid`, in its own type, looking as it does.

    field: the core's, from the world at `grid` to the world in which the moving volume lies.
    """
    array = warp_voxels(at_once(Volumes.contentOf(moving_node).record()), field, grid)
    node = moving_node.GetScene().AddNewNodeByClass(moving_node.GetClassName(), name)
    Volumes.fill(node, at_once(Volumes.imageData(array)), grid, moving_node)
    return node


def warped_segmentation(segmentation_node, field, grid: Grid, name: str, reference=None):
    """A copy of a segmentation, warped by a field of the core to where the segmentation lies."""
    layers = [
        (warp_voxels(at_once(stored.record()), field, grid), values)
        for stored, values in Segmentations.layersOf(segmentation_node)
    ]
    images = at_once(Segmentations.layerImages([labels for labels, _ in layers], grid))
    values = [values for _, values in layers]
    return Segmentations.copyOnto(segmentation_node, images, values, grid, name, reference)
