"""The structures of a brain beside its volume, as named and colored segments."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from NeuralRegistrationLib import findBrain, labelBrain
from NeuralRegistrationLib.Scene import Scripting
from NeuralRegistrationLib.Worker import RunJob

from Testing.support.band_network import phantom, write_band_network

GRID = Grid((46, 56, 46), (2.9, 2.9, 2.9), (-65, -75, -70), tuple(np.eye(3).ravel()))


@pytest.fixture
def a_head(a_scene, tmp_path, monkeypatch):
    write_band_network(tmp_path / "own")
    monkeypatch.setenv("NEURALREG_MODELS", str(tmp_path / "own"))
    # In this process, which sees that folder, also where tests of the panels left a worker behind.
    monkeypatch.setattr(RunJob, "applicationRuns", lambda: False)
    return Scripting.volumeNodeFromImage(phantom(GRID)[0], "head")


def center_ras(node, segment_id: str) -> np.ndarray:
    """Center of a segment, in the world."""
    image = node.GetBinaryLabelmapInternalRepresentation(segment_id)
    value = node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    extent = image.GetExtent()
    shape = [extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1]
    values = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
    middle = np.argwhere(values == value)[:, ::-1].mean(0) + extent[::2]
    return np.array(matrix.MultiplyPoint((*middle, 1.0))[:3])


def test_structures_become_segments_with_names_colors_and_places(a_scene, a_head):
    labeled = labelBrain(a_head)
    segmentation = labeled.node.GetSegmentation()
    left = segmentation.GetSegment("Segment_107")
    assert labeled.node.GetName() == "head structures"
    assert left.GetName() == "Left-Thalamus"
    assert np.allclose(np.array(left.GetColor()) * 255, (0, 118, 14), atol=0.01)
    assert segmentation.GetSegment("Segment_13").GetName() == "Brain-Stem"
    assert labeled.volumes["Left-Thalamus"] == pytest.approx(5.6, rel=0.2)
    cortex = center_ras(labeled.node, "Segment_102")
    assert np.allclose(cortex, (-34, 34, 22), atol=7)  # on the left and in front: LPS (34, -34, 22)
    labeled.revert()
    assert a_scene.GetFirstNodeByName("head structures") is None


def test_what_is_no_brain_leaves_the_scene_as_it_was(a_scene, a_volume_node):
    before = a_scene.GetNumberOfNodes()
    with pytest.raises(InvalidImage, match="too small for a human head"):
        labelBrain(a_volume_node)
    with pytest.raises(InvalidImage, match="too small for a human head"):
        findBrain(a_volume_node, model="mindgrab")
    assert a_scene.GetNumberOfNodes() == before
