"""Small structures under parents that bend or shear are where MRML's transforms say."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.worker.serialization import at_once
from neuralreg.worker.shared_images import mask_of, warp_voxels
from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Scene import Geometry, Segmentations, Volumes

GRID = Grid((24, 22, 20), (3.0,) * 3, (-34.5, -31.5, -28.5), tuple(np.eye(3).ravel()))
LOW, HIGH = np.array([5, 6, 4]), np.array([12, 11, 9])  # of the drawn box, in voxels of 2 mm
AT = np.array([-19.0, -19.0, -19.0])  # of the first voxel of the drawn image, RAS


def transform_node(name, to_parent, below=None):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    if isinstance(to_parent, np.ndarray):
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(to_parent))
    else:
        node.SetAndObserveTransformToParent(to_parent)
    if below is not None:
        node.SetAndObserveTransformNodeID(below.GetID())
    return node


def spline(mm=5.0):
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for x, y, z in np.stack(np.meshgrid(*[[-30, 0, 30]] * 3), -1).reshape(-1, 3).tolist():
        source.InsertNextPoint(x, y, z)
        target.InsertNextPoint(
            x + mm * np.sin(y / 20 + 1), y + mm * np.cos(z / 25), z - mm * np.sin(x / 22)
        )
    made = vtk.vtkThinPlateSplineTransform()
    made.SetBasisToR()
    made.SetSourceLandmarks(source)
    made.SetTargetLandmarks(target)
    return made


def shear():
    matrix = np.eye(4)
    matrix[0, 1], matrix[2, 0], matrix[1, 3] = 0.6, -0.4, 8
    return matrix


def turn():
    angle = np.radians(35)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [6, -9, 4]
    return matrix


PARENTS = {
    "spline": lambda: transform_node("spline", spline()),
    "shear": lambda: transform_node("shear", shear()),
    "spline below a turn": lambda: transform_node("s", spline(), transform_node("t", turn())),
    "turn below scales that differ": lambda: transform_node(
        "t", turn(), transform_node("scaled", np.diag([1.4, 0.8, 1.0, 1.0]))
    ),
}


@pytest.fixture(params=PARENTS)
def a_parent(request, a_scene):
    return PARENTS[request.param]()


def a_label_map():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[tuple(slice(*ends) for ends in zip(LOW[::-1], HIGH[::-1], strict=True))] = 1
    node = slicer.util.addVolumeFromArray(labels, None, "drawn", "vtkMRMLLabelMapVolumeNode")
    node.SetSpacing(2, 2, 2)
    node.SetOrigin(*AT)
    return node


def segments_of(labels):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segments")
    node.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, node)
    return node


def what_mrml_says(parent, grid=GRID) -> np.ndarray:
    """Which voxels of the grid lie in the drawn box, by TransformPoint."""
    index = np.indices(grid.shape)[::-1].reshape(3, -1).T
    world = vtk.vtkGeneralTransform()
    parent.GetTransformFromWorld(world)
    ras = Geometry.flip(grid.points_at(index))
    own = (np.array([world.TransformPoint(p) for p in ras]) - AT) / 2
    inside = ((own >= LOW - 0.5) & (own < HIGH - 0.5)).all(1)
    return inside.reshape(grid.shape)


def dice(one, other) -> float:
    return 2 * np.sum(one & other) / (one.sum() + other.sum())


def test_segments_whose_voxels_are_cropped_are_nowhere_but_where_they_were_drawn(a_parent):
    node = segments_of(a_label_map())
    node.SetAndObserveTransformNodeID(a_parent.GetID())
    ((stored, _values),) = Segmentations.layersOf(node)
    assert max(stored.size) < 12  # Slicer crops them
    seen = warp_voxels(at_once(stored.record()), DisplacementField.identity(GRID), GRID) > 0
    wanted = what_mrml_says(a_parent)
    assert wanted.sum() > 40
    assert dice(seen, wanted) > 0.97


def test_a_mask_of_segments_counts_where_they_were_drawn(a_parent):
    node = segments_of(a_label_map())
    node.SetAndObserveTransformNodeID(a_parent.GetID())
    layers = at_once(Segmentations.maskLayers(node))
    seen = mask_of(layers, GRID).data[0].numpy()
    assert dice(seen, what_mrml_says(a_parent)) > 0.97


def test_a_field_that_leads_far_away_finds_nothing_there(a_parent):
    node = segments_of(a_label_map())
    node.SetAndObserveTransformNodeID(a_parent.GetID())
    ((stored, _values),) = Segmentations.layersOf(node)
    far = DisplacementField.identity(GRID)
    for shift in (-700.0, -90.0, 90.0, 700.0):
        far.vectors[:] = shift
        assert not warp_voxels(at_once(stored.record()), far, GRID).any()


def test_a_small_volume_has_no_ghost_outside_of_itself(a_parent):
    values = np.full((6, 7, 8), 50, np.int16)
    values[2:4, 2:5, 3:6] = 200
    node = slicer.util.addVolumeFromArray(values, None, "small")
    node.SetSpacing(2, 2, 2)
    node.SetAndObserveTransformNodeID(a_parent.GetID())
    grid = Grid((40,) * 3, (4.0,) * 3, (-78.0,) * 3, GRID.direction)
    seen = warp_voxels(
        at_once(Volumes.contentOf(node).record()), DisplacementField.identity(grid), grid
    )
    bright = grid.points_at(np.argwhere(seen > 55)[:, ::-1])
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    low, high = np.reshape(bounds, (3, 2)).T
    assert len(bright) > 1
    assert ((Geometry.flip(bright) > low - 4) & (Geometry.flip(bright) < high + 4)).all()


def test_structures_of_a_review_are_where_they_were_drawn(a_parent):
    node = segments_of(a_label_map())
    node.SetAndObserveTransformNodeID(a_parent.GetID())
    identity = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "reviewed")
    job = at_once(Subject(identity, movingSegments=node, mask=node).job("quick"))
    for record in (job["moving_labels"], job["mask"]):
        seen = warp_voxels(record, DisplacementField.identity(GRID), GRID) > 0
        assert dice(seen, what_mrml_says(a_parent)) > 0.97


def test_structures_under_a_bend_below_the_reviewed_transform_are_taken_without_that(a_parent):
    reviewed = transform_node("reviewed", turn())
    top = a_parent.GetParentTransformNode() or a_parent
    wanted = what_mrml_says(a_parent)
    top.SetAndObserveTransformNodeID(reviewed.GetID())
    node = segments_of(a_label_map())
    node.SetAndObserveTransformNodeID(a_parent.GetID())
    job = at_once(Subject(reviewed, movingSegments=node).job("quick"))
    seen = warp_voxels(job["moving_labels"], DisplacementField.identity(GRID), GRID) > 0
    assert dice(seen, wanted) > 0.97
