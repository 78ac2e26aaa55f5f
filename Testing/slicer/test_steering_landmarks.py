"""Lists of points in the scene steer, at the places where they are shown."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from neuralreg.errors import InvalidOption
from NeuralRegistrationLib.Register.Landmarks import landmarkGuide
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
