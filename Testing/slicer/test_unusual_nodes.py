"""Nodes as other modules and scripts leave them: what they hold is taken as Slicer takes it."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from neuralreg.errors import InputsChanged, InvalidImage, InvalidOption
from neuralreg.worker.serialization import at_once
from NeuralRegistrationLib.Register.Guides.GuideNodes import pointsOf
from NeuralRegistrationLib.Register.Guides.LandmarkPull import landmarkGuide
from NeuralRegistrationLib.Register.Logic import register
from NeuralRegistrationLib.Register.Request import Request
from NeuralRegistrationLib.Review.Landmarks.LandmarkPairs import LandmarkPairs
from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Scene import Scripting, Segmentations, Structures, Volumes
from NeuralRegistrationLib.Scene.Headless import HeadlessScene


def a_volume(name, size=(16, 18, 20), spacing=2.0, kind="vtkMRMLScalarVolumeNode"):
    array = np.random.default_rng(len(name)).integers(1, 200, size).astype(np.int16)
    node = slicer.util.addVolumeFromArray(array, None, name, kind)
    node.SetSpacing(spacing, spacing, spacing)
    return node


@pytest.fixture
def a_pair(a_scene):
    return a_volume("fixed"), a_volume("moving")


def a_list(scene, name, *labels):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for n, label in enumerate(labels):
        node.AddControlPoint(vtk.vtkVector3d(7.0 * n, n * n, 20.0 - 3 * n), label)
    return node


def a_segment(volume, name, low, high):
    """A segmentation with a cube of voxels, in the volume's own voxels."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    labels[low:high, low:high, low:high] = 1
    drawn = slicer.util.addVolumeFromArray(labels, None, name, "vtkMRMLLabelMapVolumeNode")
    drawn.CopyOrientation(volume)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name}s")
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(drawn, node)
    node.GetSegmentation().GetNthSegment(0).SetName(name)
    slicer.mrmlScene.RemoveNode(drawn)
    return node


def test_voxels_whose_indices_begin_elsewhere_are_where_slicer_resamples_them(a_scene):
    whole = a_volume("whole")
    cut = vtk.vtkExtractVOI()
    cut.SetInputData(whole.GetImageData())
    cut.SetVOI(5, 12, 4, 12, 6, 15)
    cut.Update()
    part = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "part")
    part.CopyOrientation(whole)
    part.SetAndObserveImageData(cut.GetOutput())
    assert part.GetImageData().GetExtent()[0] == 5
    logic = slicer.vtkSlicerVolumesLogic
    resampled = logic.ResampleVolumeToReferenceVolume(part, whole)
    seen = np.argwhere(slicer.util.arrayFromVolume(resampled) > 0)
    grid = Scripting.imageFromVolumeNode(part).grid
    assert grid.origin == pytest.approx(seen.min(0)[::-1] * (-2.0, -2.0, 2.0))
    assert tuple(grid.size) == tuple((np.ptp(seen, axis=0) + 1)[::-1])


def test_segments_with_voxels_of_their_own_go_together_on_the_finest(a_scene):
    coarse, fine = a_volume("coarse"), a_volume("fine", (32, 36, 40), 1.0)
    node = a_segment(coarse, "Liver", 3, 8)
    other = a_segment(fine, "Vessel", 20, 25).GetSegmentation()
    node.GetSegmentation().CopySegmentFromSegmentation(other, other.GetNthSegmentID(0))
    assert node.GetSegmentation().GetNumberOfLayers() == 2
    record = at_once(Structures.segmentLabels(node))
    content = Segmentations.layersOf(node)
    assert len(list(content)) == 2
    for number, (low, high, step) in {1: (3, 8, 2.0), 2: (20, 25, 1.0)}.items():
        index = np.argwhere(record.data == number)[:, ::-1]
        assert len(index) * 1.0 == pytest.approx(((high - low) * step) ** 3)
        center = record.indexToParent @ [*index.mean(0), 1]
        assert center[:3] == pytest.approx((low + high - 1) / 2 * step, abs=0.5)


def test_what_is_carried_in_another_scene_keeps_its_own_transform(a_scene, a_pair, a_known_engine):
    points = a_list(a_scene, "points", "A")
    above = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "above")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 40.0)
    above.SetMatrixTransformToParent(matrix)
    points.SetAndObserveTransformNodeID(above.GetID())
    kept = HeadlessScene()  # is slicer.mrmlScene from now on
    done = register(*a_pair, engine=a_known_engine, carried=[points])
    place, toParent = np.zeros(3), vtk.vtkGeneralTransform()
    points.GetNthControlPointPositionWorld(0, place)
    done.transformNode.GetTransformToWorld(toParent)
    assert place == pytest.approx(toParent.TransformPoint(40.0, 0.0, 20.0), abs=0.02)
    assert kept.scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 0
    slicer.mrmlScene = a_scene


def test_two_scenes_are_told_before_anything_is_computed(a_scene, a_pair):
    other = HeadlessScene()
    stranger = a_volume("stranger")
    with pytest.raises(InvalidOption, match=r"in one scene.*stranger"):
        register(a_pair[0], stranger, engine=None)
    del other
    slicer.mrmlScene = a_scene


def test_a_point_on_the_mouse_is_no_landmark_yet(a_scene, a_pair):
    fixed, moving = (a_list(a_scene, name, *"ABCD") for name in ("F", "M"))
    n = fixed.AddControlPoint(vtk.vtkVector3d(1, 2, 3), "E")
    fixed.SetNthControlPointPosition(n, 1, 2, 3, fixed.PositionPreview)
    assert landmarkGuide(fixed, moving, *a_pair).names == tuple("ABCD")
    fixed.SetNthControlPointPosition(n, 1, 2, 3, fixed.PositionDefined)
    with pytest.raises(InvalidOption, match="without a partner: E"):
        landmarkGuide(fixed, moving, *a_pair)


@pytest.fixture
def follow(a_scene, a_pair):
    """Lets the review follow two lists of points under an identity."""
    transform = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "result")

    def start(fixed, moving):
        subject = Subject(transform, *a_pair, fixedPoints=fixed, movingPoints=moving)
        pairs = LandmarkPairs(lambda: None)
        pairs.follow(subject)
        return subject

    return start


def test_a_partner_that_was_placed_before_stays_the_partner(a_scene, follow):
    fixed, moving = a_list(a_scene, "F"), a_list(a_scene, "M", "A", "B")
    subject = follow(fixed, moving)
    fixed.AddControlPoint(vtk.vtkVector3d(5, 5, 5), "B")
    assert moving.GetNumberOfControlPoints() == 2
    ((name, _point, partner),) = subject.pairs()
    assert name == "B"
    assert partner == pytest.approx([-7, -1, 17])  # LPS
    assert subject.unpaired() == ["A"]


def test_a_partner_that_waits_for_its_place_gets_it(a_scene, follow):
    fixed, moving = a_list(a_scene, "F"), a_list(a_scene, "M", "A", "B")
    for n in range(2):
        moving.SetNthControlPointPosition(n, 0, 0, 0, moving.PositionUndefined)
    moving.SetFixedNumberOfControlPoints(True)
    subject = follow(fixed, moving)
    fixed.AddControlPoint(vtk.vtkVector3d(5, 6, 7), "B")
    assert moving.GetNumberOfControlPoints() == 2
    assert moving.GetNthControlPointPosition(1) == pytest.approx((5, 6, 7))
    assert subject.unpaired() == []


def test_points_of_one_name_get_a_partner_each(a_scene, follow):
    fixed, moving = a_list(a_scene, "F"), a_list(a_scene, "M")
    subject = follow(fixed, moving)
    for x in (5, 9):
        fixed.AddControlPoint(vtk.vtkVector3d(x, 6, 7), "P")
    assert [partner[0] for _name, _point, partner in subject.pairs()] == [-5, -9]


@pytest.mark.parametrize(("row", "column", "value"), [(2, 2, 0.0), (0, 3, np.nan)])
def test_a_transform_that_makes_nothing_of_an_image_is_told_with_its_name(
    a_scene, a_pair, a_known_engine, row, column, value
):
    above = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "above")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(row, column, value)
    above.SetMatrixTransformToParent(matrix)
    a_pair[1].SetAndObserveTransformNodeID(above.GetID())
    with pytest.raises(InvalidImage, match=r"can be inverted.*moving"):
        register(*a_pair, engine=a_known_engine)


def a_model(scene, mesh):
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    node.SetAndObserveMesh(mesh)
    return node


def test_a_surface_has_no_points_that_belong_to_no_cell(a_scene):
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    mesh = vtk.vtkPolyData()
    mesh.DeepCopy(sphere.GetOutput())
    count = mesh.GetNumberOfPoints()
    mesh.GetPoints().InsertNextPoint(500, 500, 500)  # as after clipping
    points = pointsOf(a_model(a_scene, mesh))
    assert len(points) == count
    assert np.abs(points).max() < 1


def test_of_a_volumetric_mesh_the_outside_pulls(a_scene):
    box = vtk.vtkImageData()
    box.SetDimensions(4, 4, 4)
    cells = vtk.vtkAppendFilter()
    cells.AddInputData(box)
    cells.Update()
    points = pointsOf(a_model(a_scene, cells.GetOutput()))
    assert len(points) == 4**3 - 2**3  # without those inside


def test_what_a_person_hid_under_a_result_is_not_lost_by_revert(a_scene, a_pair, a_known_engine):
    done = register(*a_pair, engine=a_known_engine)
    hidden = a_list(a_scene, "hidden", "A")
    hidden.SetHideFromEditors(True)
    hidden.SetAndObserveTransformNodeID(done.transformNode.GetID())
    assert any("hidden" in sentence for sentence in done.revert())
    assert hidden.GetParentTransformNode() is done.transformNode


def test_a_start_that_moves_the_moving_image_already_would_count_twice(
    a_scene, a_pair, a_known_engine
):
    start = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "by hand")
    register(*a_pair, engine=a_known_engine, initialTransform=start)
    a_pair[1].SetAndObserveTransformNodeID(start.GetID())
    with pytest.raises(InvalidOption, match=r"count twice.*by hand.*above moving"):
        register(*a_pair, engine=a_known_engine, initialTransform=start)


def erase(segmentation):
    segment = segmentation.GetSegmentation().GetNthSegment(0)
    labels = segment.GetRepresentation("Binary labelmap")
    labels.GetPointData().GetScalars().Fill(0)
    labels.Modified()


def turn(transform):
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 30.0)
    transform.SetMatrixTransformToParent(matrix)


def thin(model):
    model.GetPolyData().GetPoints().SetPoint(0, 1, 2, 3)
    model.GetPolyData().GetPoints().Modified()
    model.GetPolyData().Modified()


@pytest.mark.parametrize("role", ["fixedMask", "movingLabels", "initialTransform", "surfaces"])
def test_what_changes_while_a_job_waits_ends_it_by_name(a_scene, a_pair, role):
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    model = a_model(a_scene, sphere.GetOutput())
    drawn = a_segment(a_pair[1], "Liver", 3, 8)
    start = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "start")
    given, change = {
        "fixedMask": ({"fixedMask": drawn}, lambda: erase(drawn)),
        "movingLabels": (
            {"fixedLabels": drawn, "movingLabels": drawn, "label_weight": 1.0},
            lambda: a_scene.RemoveNode(drawn),
        ),
        "initialTransform": ({"initialTransform": start}, lambda: turn(start)),
        "surfaces": ({"surfaces": [(model, model)]}, lambda: thin(model)),
    }[role]
    request = Request(*a_pair, "convex", given)
    at_once(request.job())
    change()
    name = {"initialTransform": "start", "surfaces": "model"}.get(role, "Livers")
    with pytest.raises(InputsChanged, match=f"waited.*{name}"):
        at_once(request.job())


def test_a_volume_that_is_only_shown_otherwise_is_the_same(a_scene, a_pair):
    request = Request(*a_pair, "convex", {"fixedMask": a_segment(a_pair[0], "Liver", 3, 8)})
    request.settings.fixedMask.CreateClosedSurfaceRepresentation()
    a_pair[0].CreateDefaultDisplayNodes()
    a_pair[0].SetName("another name")
    assert len(at_once(request.job()).fixed_mask) == 1
    assert Volumes.contentOf(a_pair[0]).name == "another name"
