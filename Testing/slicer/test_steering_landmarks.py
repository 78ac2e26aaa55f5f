"""Lists of points in the scene steer, at the places where they are shown."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from neuralreg.errors import InvalidImage, InvalidOption
from NeuralRegistrationLib.Register.Guides.LandmarkPull import landmarkGuide
from NeuralRegistrationLib.Register.Logic import register
from NeuralRegistrationLib.Register.RegistrationRecord import read, steeringPoints

FIXED = {"A": (1.0, 2.0, 3.0), "B": (4.0, 5.0, 6.0), "C": (3.0, 1.0, 2.0)}
MOVING = {"C": (13.0, 1.0, 2.0), "A": (11.0, 2.0, 3.0), "B": (14.0, 5.0, 6.0)}


def points_node(scene, name, points):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for label, position in points.items():
        node.AddControlPoint(vtk.vtkVector3d(*position), label)
    return node


@pytest.fixture
def lists(a_scene):
    return points_node(a_scene, "F", FIXED), points_node(a_scene, "M", MOVING)


def test_points_are_paired_by_name_and_turned_to_lps(lists, a_fixed_node, a_volume_node):
    guide = landmarkGuide(*lists, a_fixed_node, a_volume_node)
    assert guide.names == ("A", "B", "C")
    assert guide.fixed[0] == (-1.0, -2.0, 3.0)
    assert guide.moving == ((-11.0, -2.0, 3.0), (-14.0, -5.0, 6.0), (-13.0, -1.0, 2.0))


def test_a_transform_above_the_points_counts(a_scene, lists, a_fixed_node, a_volume_node):
    above = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    above.SetMatrixTransformToParent(matrix)
    lists[1].SetAndObserveTransformNodeID(above.GetID())
    guide = landmarkGuide(*lists, a_fixed_node, a_volume_node)
    np.testing.assert_allclose(guide.moving[0], (-111.0, -2.0, 3.0))


def test_the_lists_reach_the_engine_and_the_record(
    lists, a_fixed_node, a_volume_node, a_known_engine
):
    seen = {}

    def engine(fixed, moving, options, **given):
        seen["landmarks"] = options.landmarks
        return a_known_engine(fixed, moving, options.model, **given)

    names = {"fixedLandmarks": lists[0], "movingLandmarks": lists[1]}
    register(a_fixed_node, a_volume_node, engine=engine, **names)
    assert seen["landmarks"].names == ("A", "B", "C")


def test_one_list_alone_and_points_without_a_partner_are_refused(
    a_scene, lists, a_fixed_node, a_volume_node
):
    volumes = a_fixed_node, a_volume_node
    with pytest.raises(InvalidOption, match="only F"):
        landmarkGuide(lists[0], None, *volumes)
    other = points_node(a_scene, "O", {"A": (0.0, 0.0, 0.0), "X": (1.0, 1.0, 1.0)})
    with pytest.raises(InvalidOption, match=r"F, O.*without a partner: B, C, X"):
        landmarkGuide(lists[0], other, *volumes)
    assert landmarkGuide(None, None, *volumes) is None


def test_weight_and_tolerance_reach_the_engine_and_are_checked(
    lists, a_fixed_node, a_volume_node, seen, a_known_engine
):
    names = {"fixedLandmarks": lists[0], "movingLandmarks": lists[1]}
    usual = seen(**names)["options"].landmarks
    assert (usual.weight, usual.tolerance_mm) == (1.0, 2.0)
    given = seen(landmarkWeight=0.5, landmarkToleranceMm=4.0, **names)["options"].landmarks
    assert (given.weight, given.tolerance_mm) == (0.5, 4.0)
    done = register(
        a_fixed_node, a_volume_node, engine=a_known_engine, landmarkWeight=0.5,
        landmarkToleranceMm=4.0, **names,
    )  # fmt: skip
    assert read(done.transformNode).options.landmarks == given
    for wrong in ({"landmarkWeight": -1.0}, {"landmarkToleranceMm": "2 mm"}):
        with pytest.raises(InvalidOption, match="of landmarks is a number"):
            register(a_fixed_node, a_volume_node, **wrong, **names)
    with pytest.raises(InvalidOption, match="comes with landmarks"):
        register(a_fixed_node, a_volume_node, landmarkWeight=1.0)


def test_a_result_knows_which_points_steered_it(a_scene):
    node = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "result")
    assert steeringPoints(node) == []
    node.SetAttribute("NeuralRegistration.Record", "{}")
    assert steeringPoints(node) == []


def test_channels_reach_the_engine_and_a_repetition(a_scene, a_fixed_node, a_volume_node):
    seen = {}

    def engine(fixed, moving, options, **given):
        seen.update(given, options=options)
        raise InvalidOption("seen")

    pairs = [(a_volume_node, a_fixed_node)]
    with pytest.raises(InvalidOption, match="seen"):
        register(a_fixed_node, a_volume_node, engine=engine, channels=pairs, channel_weights=(0.5,))
    ((one, two),) = seen["channels"]
    assert one.grid.size == a_volume_node.GetImageData().GetDimensions()
    assert two.grid.size == a_fixed_node.GetImageData().GetDimensions()
    assert seen["options"].channel_weights == (0.5,)
    with pytest.raises(InvalidOption, match="one of the moving side"):
        register(a_fixed_node, a_volume_node, engine=engine, channels=[a_fixed_node])


def test_a_record_knows_the_channels(a_scene, a_fixed_node, a_volume_node, a_known_engine):
    pairs = [(a_volume_node, a_fixed_node)] * 2
    done = register(a_fixed_node, a_volume_node, engine=a_known_engine, channels=pairs)
    assert read(done.transformNode).nodes["channels"] == tuple(pairs)


def model_node(scene, name, points):
    data = vtk.vtkPolyData()
    data.SetPoints(vtk.vtkPoints())
    for point in points:
        data.GetPoints().InsertNextPoint(point)
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(data)
    return node


def test_models_and_label_maps_reach_the_engine_in_lps(a_scene, a_fixed_node, a_volume_node):
    seen = {}

    def engine(fixed, moving, options, **given):
        seen.update(given, options=options)
        raise InvalidOption("seen")

    models = [model_node(a_scene, name, [(1.0, 2.0, 3.0)] * 20) for name in "AB"]
    guides = dict.fromkeys(("rigidParts", "fixedLabels", "slidingMask"), a_fixed_node)
    with pytest.raises(InvalidOption, match="seen"):
        register(a_fixed_node, a_volume_node, engine=engine, surfaces=[models],
                 movingLabels=a_volume_node, label_weight=1.0, **guides)  # fmt: skip
    np.testing.assert_allclose(seen["surfaces"][0][1][0], (-1, -2, 3))
    assert seen["rigid"].grid.size == a_fixed_node.GetImageData().GetDimensions()
    assert seen["sliding"].grid.size == seen["rigid"].grid.size
    assert seen["labels"][1].grid.size == a_volume_node.GetImageData().GetDimensions()
    with pytest.raises(InvalidOption, match="one of the surfaces"):
        register(a_fixed_node, a_volume_node, engine=engine, surfaces=[(a_fixed_node, models[0])])


def segments_node(scene, like, boxes, name="organs"):
    """A segmentation with a box of voxels (i from, i to) for each name; each in its own layer."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    shape = like.GetImageData().GetDimensions()[::-1]
    for number, (title, (low, high)) in enumerate(boxes.items(), start=1):
        labels = np.zeros(shape, np.uint8)
        labels[1:-1, 1:-1, low:high] = number
        drawn = slicer.util.addVolumeFromArray(labels, None, title, "vtkMRMLLabelMapVolumeNode")
        drawn.CopyOrientation(like)
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.ImportLabelmapToSegmentationNode(drawn, node)
        node.GetSegmentation().GetNthSegment(number - 1).SetName(title)
        scene.RemoveNode(drawn)
    return node


@pytest.fixture
def seen(a_fixed_node, a_volume_node):
    """What reaches the engine, for keywords of `register`."""

    def ask(**guides):
        arguments = {}

        def engine(fixed, moving, options, **given):
            arguments.update(given, options=options)
            raise InvalidOption("seen")

        with pytest.raises(InvalidOption, match="seen"):
            register(a_fixed_node, a_volume_node, engine=engine, **guides)
        return arguments

    return ask


def test_segments_pull_by_their_names_and_overlaps_are_kept(
    a_scene, a_fixed_node, a_volume_node, seen
):
    fixed = segments_node(a_scene, a_fixed_node, {"Liver": (1, 4), "Tumor": (2, 3)}, "F")
    moving = segments_node(a_scene, a_volume_node, {"Tumor": (1, 2), "Liver": (2, 4)}, "M")
    labels = seen(fixedLabels=fixed, movingLabels=moving, label_weight=1.0)["labels"]
    assert labels[0].data.shape[0] == 2  # they overlap there
    for side, volume, widths in zip(
        labels, (a_fixed_node, a_volume_node), ((3, 1), (2, 1)), strict=True
    ):
        rows = np.prod([n - 2 for n in volume.GetImageData().GetDimensions()[1:]])
        assert [int((side.data == n).sum()) / rows for n in (1, 2)] == list(widths)


def test_one_segment_is_a_rigid_part_or_slides(a_scene, a_fixed_node, a_volume_node, seen):
    node = segments_node(a_scene, a_fixed_node, {"Bone": (1, 2), "Lung": (2, 4)})
    both = seen(rigidParts=node)["rigid"]
    assert {1, 2} <= set(both.data.unique().tolist())
    part = seen(rigidParts=node, rigidPartsSegments=["Lung"])["rigid"]
    sliding = seen(slidingMask=node, slidingMaskSegments=["Lung"])["sliding"]
    assert int((part.data == 1).sum()) == int((both.data == 2).sum())
    assert int((sliding.data > 0).sum()) == int((both.data == 2).sum())
    with pytest.raises(InvalidOption, match="named by their names"):
        register(a_fixed_node, a_volume_node, rigidParts=node, rigidPartsSegments=["Skull"])


def test_a_segment_pulls_by_its_surface(a_scene, a_fixed_node, a_volume_node, seen):
    node = segments_node(a_scene, a_fixed_node, {"Bone": (1, 2), "Lung": (2, 4)})
    model = model_node(a_scene, "A", [(1.0, 2.0, 3.0)] * 20)
    ((points, _),) = seen(surfaces=[((node, "Lung"), model)])["surfaces"]
    ((every, _),) = seen(surfaces=[(node, model)])["surfaces"]
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras(a_fixed_node))
    ras = np.c_[points * (-1, -1, 1), np.ones(len(points))]
    i = (np.linalg.inv(matrix) @ ras.T)[0]
    assert 1.0 < i.min() < i.max() < 4.0
    assert len(every) > len(points)


def ijk_to_ras(volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def test_an_empty_segmentation_is_named(a_scene, a_fixed_node, a_volume_node, a_known_engine):
    node = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    other = segments_node(a_scene, a_volume_node, {"Bone": (1, 2)})
    for guides in ({"fixedLabels": node, "movingLabels": other}, {"rigidParts": node}):
        with pytest.raises(InvalidImage, match=r"not empty.*nothing"):
            register(a_fixed_node, a_volume_node, engine=a_known_engine, **guides)


def test_a_record_knows_segments_and_names(a_scene, a_fixed_node, a_volume_node, a_known_engine):
    node = segments_node(a_scene, a_fixed_node, {"Bone": (1, 2), "Lung": (2, 4)})
    other = segments_node(a_scene, a_volume_node, {"Lung": (1, 3)}, "M")
    lung = node.GetSegmentation().GetNthSegmentID(1)
    given = {"fixedLabels": node, "movingLabels": other, "slidingMask": node}
    done = register(
        a_fixed_node, a_volume_node, engine=a_known_engine, label_weight=1.0,
        slidingMaskSegments="Lung", surfaces=[((node, "Lung"), other)], **given,
    )  # fmt: skip
    record = read(done.transformNode)
    assert record.nodes["surfaces"] == (((node, lung), other),)
    assert record.segments["slidingMaskSegments"] == [lung]
    assert {name: record.nodes[name] for name in given} == given
    assert any("1 Bone, 2 Lung" in warning for warning in done.result.warnings)
