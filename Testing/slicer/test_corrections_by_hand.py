"""`correct` on real MRML: the points are met, the rest stays, and all of it can be taken back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
import vtk
from neuralreg.errors import InvalidOption, InvalidTransform
from neuralreg.geometry.inverse import invert
from NeuralRegistrationLib import correct
from NeuralRegistrationLib.Register.Logic import register
from NeuralRegistrationLib.Scene import Scripting

from Testing.support.known_results import known_result

RADIUS_MM = 12.0
MOVE = np.array([1.0, -3.0, 2.0])  # RAS mm


@pytest.fixture
def registration(a_scene, a_fixed_node, a_volume_node, wavy_field):
    """A known deformation as a result in the scene, both ways."""

    def engine(fixed, moving, options, **given):
        field = wavy_field(fixed.grid.pad(4))
        return known_result(field, invert(field, grid=moving.grid.pad(4)))

    return register(a_fixed_node, a_volume_node, inverse=True, engine=engine)


def through(node, points):
    """RAS points of the side that a transform node comes from, where it takes them."""
    way = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(way)
    return np.array([way.TransformPoint(point) for point in points])


def middle(volume):
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    return bounds.reshape(3, 2).mean(1)


def lattice(volume):
    """Points in the inner part of a volume, RAS."""
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    axes = [np.linspace(low + 4, high - 4, 9) for low, high in bounds.reshape(3, 2)]
    return np.stack(np.meshgrid(*axes), -1).reshape(-1, 3)


def state(registration):
    """Everything that a correction changes."""
    nodes = (registration.transformNode, registration.inverseTransformNode)
    grids = [slicer.util.arrayFromGridTransform(node).copy() for node in nodes]
    records = [node.GetAttribute("NeuralRegistration.Record") for node in nodes]
    return grids, slicer.util.arrayFromVolume(registration.warpedVolumeNode).copy(), records


def same(one, two):
    grids = all(np.array_equal(a, b) for a, b in zip(one[0], two[0], strict=True))
    return grids and np.array_equal(one[1], two[1]) and one[2] == two[2]


def names_in(scene):
    return sorted(scene.GetNthNode(n).GetName() or "" for n in range(scene.GetNumberOfNodes()))


def isIn(volume, points):
    """Whether RAS points are in a volume."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(matrix)
    index = np.c_[points, np.ones(len(points))] @ slicer.util.arrayFromVTKMatrix(matrix).T
    size = np.array(volume.GetImageData().GetDimensions())
    return ((index[:, :3] > 0) & (index[:, :3] < size - 1)).all(1)


def test_a_point_is_met_both_ways_and_the_rest_stays(registration, a_fixed_node, a_volume_node):
    node, points = registration.transformNode, lattice(a_fixed_node)
    place = middle(a_fixed_node)
    before = through(node, points)
    partner = through(node, [place]) + MOVE
    corrected = correct(registration, [place], partner, radius_mm=RADIUS_MM, by="A. Reader")
    assert corrected.before_mm[0] == pytest.approx(np.linalg.norm(MOVE), abs=0.05)
    assert np.linalg.norm(through(node, [place]) - partner) < 0.1
    assert np.linalg.norm(through(registration.inverseTransformNode, partner) - place) < 0.2
    change = np.linalg.norm(through(node, points) - before, axis=1)
    far = np.linalg.norm(points - place, axis=1) > 2 * RADIUS_MM
    assert far.sum() > 50
    assert change[far].max() < 0.05
    assert change.max() <= corrected.largest_change_mm + 0.05
    moved = through(node, points)
    again = np.linalg.norm(through(registration.inverseTransformNode, moved) - points, axis=1)
    inside = isIn(a_volume_node, moved)  # elsewhere the other direction knows nothing
    assert inside.sum() > 300
    assert again[inside].max() < 0.1


def test_the_warped_volume_is_what_the_corrected_transform_shows(
    registration, a_fixed_node, a_volume_node
):
    import SimpleITK as sitk

    place = middle(a_fixed_node)
    partner = through(registration.transformNode, [place]) + MOVE
    former = slicer.util.arrayFromVolume(registration.warpedVolumeNode).copy()
    correct(registration, [place], partner, radius_mm=RADIUS_MM)
    warped = slicer.util.arrayFromVolume(registration.warpedVolumeNode).astype(float)
    assert np.abs(warped - former).max() > 5
    # VTK's own transform of each voxel, and SimpleITK's interpolation there.
    matrix = vtk.vtkMatrix4x4()
    registration.warpedVolumeNode.GetIJKToRASMatrix(matrix)
    index = np.random.default_rng(0).integers(3, 13, (200, 3))
    ras = index @ slicer.util.arrayFromVTKMatrix(matrix)[:3, :3].T
    ras = ras + slicer.util.arrayFromVTKMatrix(matrix)[:3, 3]
    image = Scripting.imageFromVolumeNode(a_volume_node)
    moving = sitk.GetImageFromArray(image.data[0].double().numpy())
    moving.SetSpacing(image.grid.spacing)
    moving.SetOrigin(image.grid.origin)
    moving.SetDirection(image.grid.direction)
    moved = through(registration.transformNode, ras) * [-1, -1, 1]
    pairs = [
        (moving.EvaluateAtPhysicalPoint(tuple(p), sitk.sitkLinear), warped[k, j, i])
        for p, (i, j, k) in zip(moved, index, strict=True)
        if all(0 <= c < n for c, n in zip(
            moving.TransformPhysicalPointToContinuousIndex(tuple(p)),
            [n - 1 for n in moving.GetSize()], strict=True))
    ]  # fmt: skip
    assert len(pairs) > 50
    assert max(abs(a - b) for a, b in pairs) < 2


def test_corrections_add_up_and_each_can_be_taken_back(registration, a_fixed_node, a_scene):
    node, places = (
        registration.transformNode,
        [middle(a_fixed_node) - [9, 0, 0], middle(a_fixed_node)],
    )
    before = state(registration)
    untouched = through(node, places)
    partners = untouched + np.array([MOVE, -MOVE])
    first = correct(node, places[:1], partners[:1], radius_mm=8, by="A. Reader")
    one = through(node, places[:1])
    second = correct(node, places[1:], partners[1:], radius_mm=8, by="B. Reader")
    assert np.linalg.norm(through(node, places) - partners, axis=1).max() < 0.15
    record = json.loads(node.GetAttribute("NeuralRegistration.Record"))
    assert [each["by"] for each in record["corrections"]] == ["A. Reader", "B. Reader"]
    back = correct(node, takeBack=[2])
    assert np.allclose(through(node, places[:1]), one, atol=0.02)
    assert back.revert() == ()
    assert second.revert() == ()
    assert first.revert() == ()
    assert same(state(registration), before)
    assert not any("uncorrected" in name for name in names_in(a_scene))
    assert registration.revert() == ()


def test_without_any_correction_left_the_transform_is_the_registered_one(
    registration, a_fixed_node
):
    before = state(registration)
    place = middle(a_fixed_node)
    partner = through(registration.transformNode, [place]) + MOVE
    correct(registration, [place], partner, radius_mm=RADIUS_MM)
    correct(registration, takeBack=[1])
    after = state(registration)
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert np.abs(after[1].astype(float) - before[1]).max() <= 1
    assert [json.loads(text) for text in after[2]] == [json.loads(text) for text in before[2]]
    correct(registration, [place], partner, radius_mm=RADIUS_MM)  # and it can be corrected again
    assert np.linalg.norm(through(registration.transformNode, [place]) - partner) < 0.1


def test_a_locked_segment_stays_as_it_is(registration, a_fixed_node, a_scene):
    labels = np.zeros(slicer.util.arrayFromVolume(a_fixed_node).shape, np.uint8)
    labels[:, :, 13:] = 1
    lock = slicer.util.addVolumeFromArray(labels, None, "lock", "vtkMRMLLabelMapVolumeNode")
    lock.CopyOrientation(a_fixed_node)
    node, place = registration.transformNode, middle(a_fixed_node)
    matrix = vtk.vtkMatrix4x4()
    a_fixed_node.GetIJKToRASMatrix(matrix)
    inside = np.array([matrix.MultiplyPoint((14, j, 8, 1))[:3] for j in range(4, 13)])
    before = through(node, inside)
    partner = through(node, [place]) + MOVE
    free = correct(node, [place], partner, radius_mm=RADIUS_MM)
    assert np.linalg.norm(through(node, inside) - before, axis=1).max() > 0.2
    free.revert()
    correct(node, [place], partner, radius_mm=RADIUS_MM, lock=lock)
    assert np.linalg.norm(through(node, inside) - before, axis=1).max() < 0.02
    assert np.linalg.norm(through(node, [place]) - partner) < 0.1


def test_a_saved_scene_keeps_what_the_corrections_began_with(
    registration, a_fixed_node, a_headless_scene, tmp_path
):
    before = through(registration.transformNode, lattice(a_fixed_node))
    place, name = middle(a_fixed_node), registration.transformNode.GetName()
    partner = through(registration.transformNode, [place]) + MOVE
    correct(registration, [place], partner, radius_mm=RADIUS_MM)
    a_headless_scene.save(tmp_path / "s.mrb")
    a_headless_scene.scene.Clear(True)
    a_headless_scene.load(tmp_path / "s.mrb", tmp_path / "cache")
    node = slicer.util.getNode(name)
    correct(node, takeBack=[1])
    assert np.allclose(through(node, lattice(slicer.util.getNode("fixed"))), before, atol=0.01)


def test_a_transform_that_others_changed_since_is_not_overwritten(registration, a_fixed_node):
    node, place = registration.transformNode, middle(a_fixed_node)
    partner = through(node, [place]) + MOVE
    correct(node, [place], partner, radius_mm=RADIUS_MM)
    slicer.util.arrayFromGridTransform(node)[:] += 0.5
    slicer.util.arrayFromGridTransformModified(node)
    with pytest.raises(InvalidTransform, match="changed since it was last corrected"):
        correct(node, takeBack=[1])


def test_a_rigid_transform_can_be_corrected_too(a_scene, a_fixed_node, a_volume_node):
    node = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "by hand")
    matrix = np.eye(4)
    matrix[:3, 3] = [2, 1, -1]
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), a_fixed_node.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), a_volume_node.GetID())
    place = middle(a_fixed_node)
    partner = through(node, [place]) + MOVE
    corrected = correct(node, [place], partner, radius_mm=RADIUS_MM)
    assert np.linalg.norm(through(node, [place]) - partner) < 0.1
    assert corrected.inverseTransformNode is None
    assert corrected.revert() == ()
    assert np.allclose(slicer.util.arrayFromTransformMatrix(node), matrix)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"takeBack": [3]}, "no such correction"),
        ({}, "needs points"),
        ({"fixedPoints": [[0, 0]], "movingPoints": [[0, 0]]}, "x y z in RAS"),
        ({"fixedPoints": [[500, 0, 0]], "movingPoints": [[0, 0, 0]]}, "outside of the fixed"),
    ],
)
def test_what_cannot_be_corrected_is_said_and_nothing_changes(registration, how, words):
    before = state(registration)
    with pytest.raises(InvalidOption, match=words):
        correct(registration, **how)
    assert same(state(registration), before)


def test_the_direction_that_follows_is_not_corrected_itself(registration, a_fixed_node):
    place = middle(a_fixed_node)
    correct(
        registration,
        [place],
        through(registration.transformNode, [place]) + MOVE,
        radius_mm=RADIUS_MM,
    )
    with pytest.raises(InvalidOption, match="the direction that follows"):
        correct(registration.inverseTransformNode, takeBack=[1])


def test_a_review_says_that_the_result_was_corrected_and_by_whom(
    registration, a_fixed_node, a_scene
):
    from NeuralRegistrationLib import review

    place = middle(a_fixed_node)
    partner = through(registration.transformNode, [place]) + MOVE
    points = [a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name) for name in "fm"]
    for node, at in zip(points, (place, partner[0]), strict=True):
        node.AddControlPoint(vtk.vtkVector3d(*at), "stem")
    correct(registration, *points, radius_mm=RADIUS_MM, by="A. Reader")
    report = review(
        registration.transformNode, fixedPoints=points[0], movingPoints=points[1]
    ).report
    assert any("corrected by hand by A. Reader at 1 point: stem" in note for note in report.notes)
    assert any("did not count: stem" in note for note in report.notes)
