"""What belongs to the moving image is moved once, however often the images are registered."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import torch
from neuralreg.geometry.field import DisplacementField
from NeuralRegistrationLib.Register.Logic import register
from NeuralRegistrationLib.Review.Request import Subject

from Testing.support.known_results import known_result

SHIFT = np.array([5.0, -4.0, 3.0])  # LPS mm, fixed to moving; of the second run twice as much
TO_FIXED_RAS = SHIFT * [1, 1, -1]


def shift_by(mm):
    def engine(fixed, moving, *args, **options):
        def field(grid, vector):
            grid = grid.pad(20)
            values = torch.tensor(np.asarray(vector, np.float32)).view(3, 1, 1, 1)
            return DisplacementField(values.repeat(1, *grid.shape), grid)

        engine.options = options
        return known_result(field(fixed.grid, mm), field(moving.grid, -np.asarray(mm)))

    return engine


@pytest.fixture
def a_pair(a_fixed_node, a_volume_node):
    return a_fixed_node, a_volume_node


@pytest.fixture
def points(a_scene):
    node = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    node.AddControlPoint(1, 2, 3)
    return node


def world(points):
    return slicer.util.arrayFromMarkupsControlPoints(points, world=True)[0]


def table(scene, *shift):
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "table")
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def test_the_second_result_takes_the_place_of_the_first(a_pair, points):
    first = register(*a_pair, carried=[points], engine=shift_by(SHIFT))
    assert world(points) == pytest.approx([1, 2, 3] + TO_FIXED_RAS, abs=1e-3)
    second = register(*a_pair, carried=[points], engine=shift_by(2 * SHIFT))
    assert world(points) == pytest.approx([1, 2, 3] + 2 * TO_FIXED_RAS, abs=1e-3)
    second.revert()
    assert points.GetParentTransformNode() is first.transformNode
    first.revert()
    assert points.GetParentTransformNode() is None


@pytest.mark.parametrize("first_first", [True, False])
def test_a_transform_of_their_own_stays_through_two_results_and_both_reverts(
    a_scene, a_pair, points, first_first
):
    own = table(a_scene, 0, 10, 0)
    points.SetAndObserveTransformNodeID(own.GetID())
    done = [
        register(*a_pair, carried=[points], engine=shift_by(n * SHIFT), linear="none")
        for n in (1, 2)
    ]
    assert world(points) == pytest.approx([1, 12, 3] + 2 * TO_FIXED_RAS, abs=1e-3)
    before = world(points)
    for result in done if first_first else done[::-1]:
        result.revert()
        if first_first and result is done[0]:
            assert world(points) == pytest.approx(before)
    assert points.GetParentTransformNode() is own
    kinds = slicer.util.getNodesByClass("vtkMRMLTransformNode")
    assert [node.GetName() for node in kinds] == ["table"]


def test_carrying_along_twice_is_carrying_once(a_pair, points):
    done = register(*a_pair, carried=[points, points], engine=shift_by(SHIFT))
    done.carryAlong(points)
    assert world(points) == pytest.approx([1, 2, 3] + TO_FIXED_RAS, abs=1e-3)
    done.revert()
    assert points.GetParentTransformNode() is None


def test_one_chosen_transform_for_two_runs_moves_what_is_under_it_once(a_scene, a_pair, points):
    own = table(a_scene, 0, 0, 4)
    points.SetAndObserveTransformNodeID(own.GetID())
    chosen = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "chosen")
    for n in (1, 2):
        register(*a_pair, carried=[points], outputTransform=chosen, engine=shift_by(n * SHIFT))
        assert world(points) == pytest.approx([1, 2, 7] + n * TO_FIXED_RAS, abs=1e-3)


def test_copies_and_masks_of_what_a_first_result_carries_are_taken_at_their_own_place(
    a_pair, a_segmentation_node
):
    def look(engine):
        done = register(
            *a_pair,
            segmentations=[a_segmentation_node],
            movingMask=a_segmentation_node,
            engine=engine,
        )
        (copy,) = done.warpedSegmentationNodes
        bounds = np.zeros(6)
        copy.GetRASBounds(bounds)
        return bounds, engine.options["moving_mask"].data.clone()

    bounds, mask = look(shift_by(SHIFT))
    register(*a_pair, carried=[a_segmentation_node], engine=shift_by(SHIFT))
    again, same = look(shift_by(SHIFT))
    assert again == pytest.approx(bounds)
    assert torch.equal(mask, same)


def test_what_lies_under_a_result_together_with_the_moving_image_follows_both(a_pair, points):
    first = register(*a_pair, carried=[points], engine=shift_by(SHIFT))
    first.carryAlong(a_pair[1])
    register(*a_pair, carried=[points], engine=shift_by(SHIFT))
    assert world(points) == pytest.approx([1, 2, 3] + 2 * TO_FIXED_RAS, abs=1e-3)


def test_a_result_of_another_fixed_image_is_replaced_as_well(a_scene, a_pair, points):
    register(*a_pair, carried=[points], engine=shift_by(SHIFT))
    other = slicer.util.addVolumeFromArray(np.zeros((9, 9, 9)), None, "another fixed one")
    register(other, a_pair[1], carried=[points], engine=shift_by(2 * SHIFT))
    assert world(points) == pytest.approx([1, 2, 3] + 2 * TO_FIXED_RAS, abs=1e-3)


def test_a_review_takes_landmarks_at_their_own_place_under_another_result(a_pair, points):
    first = register(*a_pair, carried=[points], engine=shift_by(SHIFT))
    second = register(*a_pair, engine=shift_by(2 * SHIFT))
    for done in (first, second):
        fixed, moving = a_pair
        subject = Subject(done.transformNode, fixed, moving, movingPoints=points)
        assert subject.movingPoint(points, 0) == pytest.approx([-1, -2, 3])


def test_what_was_carried_is_still_known_after_saving_and_loading(
    a_headless_scene, a_pair, points, tmp_path
):
    from NeuralRegistrationLib.Scene.Headless import HeadlessScene

    register(*a_pair, carried=[points], engine=shift_by(SHIFT))
    a_headless_scene.save(tmp_path / "scene.mrb")
    again = HeadlessScene()
    (tmp_path / "cache").mkdir()
    again.load(tmp_path / "scene.mrb", tmp_path / "cache")
    fixed, moving, points = map(again.scene.GetFirstNodeByName, ("fixed", "moving", "landmarks"))
    register(fixed, moving, carried=[points], engine=shift_by(2 * SHIFT))
    assert world(points) == pytest.approx([1, 2, 3] + 2 * TO_FIXED_RAS, abs=1e-3)


@pytest.mark.parametrize("what", ["segmentations", "volumes", "carried"])
def test_one_that_fails_does_not_cost_the_result(
    a_scene, a_pair, a_segmentation_node, what, monkeypatch
):
    from NeuralRegistrationLib.Register.ResultNodes import Registered
    from NeuralRegistrationLib.Scene import Segmentations, Volumes

    def fails(*args, **named):
        raise RuntimeError("no such luck")

    fill = Volumes.fill
    monkeypatch.setattr(Segmentations, "copyOnto", fails)
    monkeypatch.setattr(Registered, "carryAlong", fails)
    monkeypatch.setattr(
        Volumes, "fill", lambda node, *_: ("color" in node.GetName() and fails()) or fill(node, *_)
    )
    color = slicer.util.addVolumeFromArray(
        np.zeros((4, 5, 6, 3), np.uint8), None, "color", "vtkMRMLVectorVolumeNode"
    )
    node = color if what == "volumes" else a_segmentation_node
    done = register(*a_pair, engine=shift_by(SHIFT), **{what: [node]})
    assert done.warpedVolumeNode.GetScene() is a_scene
    (warning,) = done.result.warnings
    assert node.GetName() in warning
    assert "no such luck" in warning
    assert a_scene.GetFirstNodeByName(f"{node.GetName()} on fixed") is None


def test_a_color_volume_comes_along_in_color(a_pair):
    gray = slicer.util.arrayFromVolume(a_pair[1])
    color = np.stack([gray, gray // 2, gray // 3], -1).astype(np.uint8)
    node = slicer.util.addVolumeFromArray(color, None, "photo", "vtkMRMLVectorVolumeNode")
    node.CopyOrientation(a_pair[1])
    done = register(*a_pair, volumes=[node], engine=shift_by(SHIFT))
    copy = slicer.util.arrayFromVolume(done.warpedVolumeNodes[0])
    twin = slicer.util.arrayFromVolume(done.warpedVolumeNode)
    assert copy.shape == (*twin.shape, 3)
    assert np.abs(copy[..., 0].astype(int) - twin).max() <= 1


def test_the_copy_of_a_segmentation_has_surfaces_where_the_original_has(
    a_pair, a_segmentation_node
):
    segmentation = a_segmentation_node.GetSegmentation()
    segmentation.SetConversionParameter("Smoothing factor", "0.25")
    for surfaces in (False, True):
        if surfaces:
            a_segmentation_node.CreateClosedSurfaceRepresentation()
        done = register(*a_pair, segmentations=[a_segmentation_node], engine=shift_by(SHIFT))
        (copy,) = done.warpedSegmentationNodes
        assert copy.GetSegmentation().ContainsRepresentation("Closed surface") == surfaces
    assert copy.GetDisplayNode().GetDisplayRepresentationName3D() == "Closed surface"
    assert copy.GetSegmentation().GetConversionParameter("Smoothing factor") == "0.25"
