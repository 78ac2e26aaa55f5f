"""What the panel says about a pair before Apply."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import slicer


@pytest.fixture
def check(the_application):
    from NeuralRegistrationLib.Register.Precheck import precheck

    return precheck


def volume(name="v", shift=0.0, size=(20, 20, 20), spacing=(2.0, 2.0, 2.0), low=0, turn=0.0):
    """size: z y x. shift: mm to the right. low: the lowest gray value. turn: degrees about S."""
    array = np.full(size, low, np.int16)
    array.flat[0] = 100
    node = slicer.util.addVolumeFromArray(array, None, name)
    matrix = np.diag([*spacing, 1.0])
    angle = np.radians(turn)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]] @ matrix[
        :2, :2
    ]
    matrix[0, 3] = shift
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


def card(**changes):
    made = {"modalities": ("any",), "dimensions": (2, 3), "content": "any", **changes}
    inputs = SimpleNamespace(
        dimensions=made.pop("dimensions"), content=made.pop("content"), spacing_mm=None
    )
    return SimpleNamespace(input=inputs, name="m", output=SimpleNamespace(kind="voxel"), **made)


def test_a_good_pair_is_called_good_in_one_line(a_scene, check):
    (found,) = check(volume(), volume(shift=10.0))
    assert found.level == "good"
    assert "75 %" in found.text
    assert "2.0 and 2.0 mm" in found.text


def test_the_same_volume_twice_is_bad(a_scene, check):
    node = volume()
    assert check(node, node)[0].level == "bad"


def test_a_volume_without_voxels_is_named(a_scene, check):
    empty = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing yet")
    (found,) = check(volume(), empty)
    assert (found.level, "nothing yet" in found.text) == ("bad", True)


def test_images_apart_are_bad_only_where_nothing_brings_them_together(a_scene, check):
    pair = volume(), volume(shift=500.0)
    assert check(*pair)[0].level == "note"
    assert check(*pair, prealigned=False)[0].level == "bad"


def test_a_transform_above_a_volume_counts(a_scene, check):
    pair = volume(), volume(shift=500.0)
    parent = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "back")
    matrix = np.eye(4)
    matrix[0, 3] = -500
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    pair[1].SetAndObserveTransformNodeID(parent.GetID())
    assert "100 %" in check(*pair)[0].text


def test_a_turn_is_told_in_degrees(a_scene, check):
    texts = [f.text for f in check(volume(), volume(turn=35.0))]
    assert any("35 degrees" in text for text in texts)


def test_the_same_axes_in_another_order_are_no_turn(a_scene, check):
    sagittal = volume()
    matrix = np.zeros((4, 4))
    matrix[0, 2] = matrix[1, 0] = matrix[2, 1] = 2.0
    matrix[3, 3] = 1
    sagittal.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    assert check(volume(), sagittal)[0].level == "good"


def test_thick_slices_are_named(a_scene, check):
    thick = volume("axial", size=(6, 20, 20), spacing=(1.0, 1.0, 6.0))
    texts = " ".join(f.text for f in check(volume(), thick))
    assert "“axial” has thick slices (6.0 mm)" in texts


def test_one_slice_and_a_volume_do_not_go_together(a_scene, check):
    (found,) = check(volume(), volume("flat", size=(1, 20, 20)))
    assert (found.level, "flat" in found.text) == ("bad", True)


def test_a_model_for_volumes_refuses_slices(a_scene, check):
    flat = volume(size=(1, 20, 20)), volume(size=(1, 20, 20), shift=1.0)
    assert check(*flat, card=card())[0].level == "good"
    assert check(*flat, card=card(dimensions=(3,)))[0].level == "bad"


def test_a_model_for_mr_is_not_sure_about_ct(a_scene, check):
    ct = volume(low=-1000), volume(low=-1000, shift=2.0)
    assert check(*ct, card=card(modalities=("MR",)))[0].level == "note"
    assert check(*ct, card=card(modalities=("CT",)))[0].level == "good"
    mr = volume(), volume(shift=2.0)
    assert check(*mr, card=card(modalities=("CT",)))[0].level == "note"


def test_ct_with_something_else_is_told(a_scene, check):
    texts = " ".join(f.text for f in check(volume(low=-1000), volume(shift=1.0)))
    assert "looks like CT" in texts


def test_a_model_for_brains_says_that_the_skull_must_go(a_scene, check):
    found = check(volume(), volume(shift=1.0), card=card(content="brain"))
    assert "skull" in found[0].text
