"""Revert takes back what one result did, and nothing that came from others."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from NeuralRegistrationLib.Register.Logic import register


@pytest.fixture
def a_pair(a_fixed_node, a_volume_node):
    return a_fixed_node, a_volume_node


def outputs(scene):
    return {
        "outputTransform": scene.AddNewNodeByClass("vtkMRMLTransformNode", "T"),
        "outputVolume": scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "V"),
    }


def names_in(scene) -> list[str]:
    kinds = ("vtkMRMLVolumeNode", "vtkMRMLTransformNode", "vtkMRMLSegmentationNode")
    return sorted(n.GetName() for kind in kinds for n in slicer.util.getNodesByClass(kind))


def draw(volume, value=7):
    voxels = slicer.util.arrayFromVolume(volume).copy()
    voxels[3:5] = value
    slicer.util.updateVolumeFromArray(volume, voxels)


def shifted(node, mm=9.0):
    matrix = np.eye(4)
    matrix[0, 3] = mm
    node.SetAndObserveTransformFromParent(None)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))


def test_after_close_scene_revert_leaves_the_next_patient_alone(a_scene, a_pair, a_known_engine):
    done = register(*a_pair, inverse=True, engine=a_known_engine)
    made = done.transformNode.GetID(), done.warpedVolumeNode.GetID()
    a_scene.Clear(0)
    for n in range(4):
        slicer.util.addVolumeFromArray(np.zeros((3, 3, 3)), None, f"other {n}")
        a_scene.AddNewNodeByClass("vtkMRMLTransformNode", f"plan {n}")
    assert all(a_scene.GetNodeByID(nodeId) for nodeId in made)  # ids begin anew
    before = names_in(a_scene)
    done.revert()
    assert names_in(a_scene) == before


def test_a_carried_node_of_the_next_scene_keeps_its_transform(a_scene, a_pair, a_known_engine):
    points = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    done = register(*a_pair, carried=[points], engine=a_known_engine)
    a_scene.Clear(0)
    points = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    for n in range(3):
        plan = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", f"plan {n}")
    points.SetAndObserveTransformNodeID(plan.GetID())
    done.revert()
    assert points.GetParentTransformNode() is plan


def test_what_was_drawn_into_chosen_outputs_stays_and_is_named(a_scene, a_pair, a_known_engine):
    chosen = outputs(a_scene)
    done = register(*a_pair, engine=a_known_engine, **chosen)
    draw(chosen["outputVolume"])
    drawn = slicer.util.arrayFromVolume(chosen["outputVolume"]).copy()
    shifted(chosen["outputTransform"])
    left = done.revert()
    assert np.array_equal(slicer.util.arrayFromVolume(chosen["outputVolume"]), drawn)
    matrix = slicer.util.arrayFromTransformMatrix(chosen["outputTransform"])
    assert matrix[0, 3] == 9
    assert ["“V”" in left[0], "“T”" in left[1]] == [True, True]


def test_one_changed_output_does_not_keep_the_other(a_scene, a_pair, a_known_engine):
    chosen = outputs(a_scene)
    done = register(*a_pair, engine=a_known_engine, **chosen)
    draw(chosen["outputVolume"])
    left = done.revert()
    assert len(left) == 1
    assert chosen["outputTransform"].GetTransformFromParent() is None


def test_the_first_of_two_runs_into_the_same_nodes_leaves_the_second(
    a_scene, a_pair, a_known_engine
):
    chosen = outputs(a_scene)
    first = register(*a_pair, engine=a_known_engine, **chosen)
    second = register(*a_pair[::-1], engine=a_known_engine, **chosen)
    result = slicer.util.arrayFromVolume(chosen["outputVolume"]).copy()
    assert len(first.revert()) == 2
    assert np.array_equal(slicer.util.arrayFromVolume(chosen["outputVolume"]), result)
    assert second.revert() == ()
    assert chosen["outputVolume"].GetImageData() is not None  # the first one's
    assert first.revert() == second.revert() == ()


@pytest.mark.parametrize("what", ["volume", "segmentation", "transform"])
def test_results_that_a_person_worked_on_stay(
    a_scene, a_pair, a_segmentation_node, a_known_engine, what
):
    done = register(*a_pair, segmentations=[a_segmentation_node], engine=a_known_engine)
    if what == "volume":
        draw(node := done.warpedVolumeNode)
    elif what == "segmentation":
        node = done.warpedSegmentationNodes[0]
        segment = node.GetSegmentation().GetNthSegment(0)
        image = segment.GetRepresentation("Binary labelmap")
        image.SetScalarComponentFromDouble(*image.GetExtent()[::2], 0, 4)
        image.Modified()
    else:
        shifted(node := done.transformNode)
    name = node.GetName()
    (left,) = done.revert()
    assert node.GetScene() is a_scene
    assert f"“{name}”" in left
    made = {"moving to fixed", "moving on fixed", "organs on fixed"}
    assert made & set(names_in(a_scene)) == {name}


def test_looking_at_a_result_is_no_change_of_it(a_scene, a_pair, a_known_engine):
    before = names_in(a_scene)
    done = register(*a_pair, inverse=True, engine=a_known_engine)
    node = done.transformNode
    slicer.util.arrayFromGridTransform(node)
    node.GetTransformToParent().TransformPoint(1, 2, 3)
    node.CreateDefaultDisplayNodes()
    done.warpedVolumeNode.SetName("renamed")
    done.warpedVolumeNode.GetDisplayNode().SetWindowLevel(3, 4)
    bounds = np.zeros(6)
    done.warpedVolumeNode.GetRASBounds(bounds)
    slicer.util.arrayFromVolume(done.warpedVolumeNode).max()
    assert done.revert() == ()
    assert names_in(a_scene) == before


def test_a_transform_that_a_person_put_something_under_stays(a_scene, a_pair, a_known_engine):
    done = register(*a_pair, engine=a_known_engine)
    model = a_scene.AddNewNodeByClass("vtkMRMLModelNode", "plan")
    model.SetAndObserveTransformNodeID(done.transformNode.GetID())
    (left,) = done.revert()
    assert model.GetParentTransformNode() is done.transformNode
    assert "“plan”" in left
    assert "“moving to fixed”" in left


def test_a_chosen_output_stays_in_the_folder_of_its_owner(a_scene, a_pair, a_known_engine):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "Study")
    mine = tree.CreateFolderItem(tree.GetSceneItemID(), "My results")
    chosen = outputs(a_scene)
    for node, folder in ((a_pair[0], study), *((each, mine) for each in chosen.values())):
        item = tree.GetItemByDataNode(node) or tree.CreateItem(folder, node)
        tree.SetItemParent(item, folder)
    done = register(*a_pair, engine=a_known_engine, **chosen)
    for _ in range(2):
        for node in chosen.values():
            assert tree.GetItemParent(tree.GetItemByDataNode(node)) == mine
        done.revert()


def test_a_brain_that_was_corrected_stays(a_scene, a_volume_node):
    from neuralreg.worker.serialization import at_once
    from NeuralRegistrationLib.Register.BrainMask import _MaskRequest
    from NeuralRegistrationLib.Scene import Volumes

    grid = Volumes.contentOf(a_volume_node).grid
    mask = np.zeros(grid.shape, np.uint8)
    mask[2:5, 3:9, 3:9] = 1
    answer = {"grid": grid, "mask": mask, "liters": 1.2, "warnings": []}
    for corrected in (False, True):
        brain = at_once(_MaskRequest(a_volume_node, device="cpu").deliver(answer))
        if corrected:
            brain.node.GetSegmentation().RemoveSegment("Brain")
        assert len(brain.revert()) == corrected
        assert (brain.node.GetScene() is not None) == corrected
