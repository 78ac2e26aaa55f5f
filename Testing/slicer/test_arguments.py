"""What is not the node that was asked for is refused at once, by argument, node and kind."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import torch
from neuralreg.errors import InvalidImage, InvalidOption, RegistrationError
from NeuralRegistrationLib.Register.BrainMask import findBrain
from NeuralRegistrationLib.Register.Logic import register
from NeuralRegistrationLib.Review.Jobs import review

WRONG = {
    "fixed": "a sequence",
    "moving": "nothing",
    "segmentations": "a label map",
    "volumes": "a segmentation",
    "carried": "a table",
    "fixedMask": "a box",
    "movingMask": "a name",
    "initialTransform": "a volume",
    "outputTransform": "a label map",
    "outputVolume": "a transform",
}
KINDS = {
    "a sequence": "vtkMRMLSequenceNode",
    "a label map": "vtkMRMLLabelMapVolumeNode",
    "a segmentation": "vtkMRMLSegmentationNode",
    "a table": "vtkMRMLTableNode",
    "a box": "vtkMRMLMarkupsROINode",
    "a volume": "vtkMRMLScalarVolumeNode",
    "a transform": "vtkMRMLTransformNode",
}


def a_node(scene, what):
    if what in KINDS:
        return scene.AddNewNodeByClass(KINDS[what], what)
    return None if what == "nothing" else what


def never(*args, **options):
    raise AssertionError("the engine was asked")


@pytest.mark.parametrize(("argument", "what"), WRONG.items())
def test_a_node_of_another_kind_is_refused_by_argument_and_name(
    a_scene, a_fixed_node, a_volume_node, argument, what
):
    pair = {"fixedNode": a_fixed_node, "movingNode": a_volume_node}
    name = f"{argument}Node" if argument in ("fixed", "moving") else argument
    given = {name: a_node(a_scene, what)}
    if argument in ("segmentations", "volumes", "carried"):
        given = {argument: [*given.values()]}
    before = a_scene.GetNumberOfNodes()
    with pytest.raises(RegistrationError) as caught:
        register(**{**pair, **given}, engine=never)
    assert argument.removesuffix("s") in str(caught.value)
    assert what in str(caught.value)
    assert caught.value.got
    assert a_scene.GetNumberOfNodes() == before


def test_one_node_is_a_list_of_one(
    a_fixed_node, a_volume_node, a_segmentation_node, a_known_engine
):
    done = register(
        a_fixed_node,
        a_volume_node,
        segmentations=a_segmentation_node,
        volumes=a_volume_node,
        engine=a_known_engine,
    )
    assert len(done.warpedSegmentationNodes) == len(done.warpedVolumeNodes) == 1


def test_the_fixed_image_is_not_carried_along(a_fixed_node, a_volume_node):
    with pytest.raises(InvalidOption, match="belongs to the moving image"):
        register(a_fixed_node, a_volume_node, carried=[a_fixed_node], engine=never)


def test_a_node_that_was_deleted_is_refused(a_scene, a_fixed_node, a_volume_node):
    a_scene.RemoveNode(a_volume_node)
    with pytest.raises(InvalidImage, match="is in a scene"):
        register(a_fixed_node, a_volume_node, engine=never)


@pytest.mark.parametrize(
    ("role", "what"),
    {
        "fixedVolume": "a segmentation",
        "movingSegments": "a volume",
        "fixedPoints": "a transform",
        "mask": "a box",
        "movingVolume": "a name",
    }.items(),
)
def test_a_review_refuses_nodes_of_another_kind(a_scene, role, what):
    transform = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "T")
    with pytest.raises(RegistrationError, match=role):
        review(transform, **{role: a_node(a_scene, what)})


def test_a_review_of_no_transform_and_with_unknown_nodes_is_refused(a_scene, a_fixed_node):
    with pytest.raises(InvalidOption, match="transform is a transform"):
        review(a_fixed_node)
    transform = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "T")
    with pytest.raises(InvalidOption, match="fixedVolume"):
        review(transform, fixed=a_fixed_node)


def test_a_brain_is_found_in_volumes_only(a_segmentation_node):
    with pytest.raises(InvalidImage, match="organs"):
        findBrain(a_segmentation_node)


def masks(fixed, moving, mask, segments, engine):
    seen = {}

    def watching(*args, **options):
        seen.update(options)
        return engine(*args)

    register(fixed, moving, movingMask=mask, movingMaskSegments=segments, engine=watching)
    return seen["moving_mask"].data


@pytest.mark.parametrize("asked", [["Liver"], "Liver", ["Segment_4"], "Segment_4", ("Liver",)])
def test_segments_of_a_mask_are_taken_by_name_and_by_id(
    a_fixed_node, a_volume_node, a_segmentation_node, a_known_engine, asked
):
    pair = a_fixed_node, a_volume_node
    mask = masks(*pair, a_segmentation_node, asked, a_known_engine)
    assert mask.sum() == 5 * 7 * 6
    both = masks(*pair, a_segmentation_node, ["Segment_4", "Spleen"], a_known_engine)
    assert both.sum() == 5 * 7 * 11
    every = masks(*pair, a_segmentation_node, None, a_known_engine)
    assert torch.count_nonzero(every) == 5 * 7 * 11


@pytest.mark.parametrize("asked", ["Livre", ["Livre"], ["Liver", "Livre"], ["Segment_4", "Livre"]])
def test_a_mistyped_segment_is_named_with_those_that_are_there(
    a_fixed_node, a_volume_node, a_segmentation_node, asked
):
    with pytest.raises(InvalidOption, match=r"organs.*'Livre'.*'Liver' \(id 'Segment_4'\)"):
        masks(a_fixed_node, a_volume_node, a_segmentation_node, asked, never)


def test_a_name_of_two_segments_is_refused_and_an_id_is_not(
    a_fixed_node, a_volume_node, a_segmentation_node, a_known_engine
):
    a_segmentation_node.GetSegmentation().GetNthSegment(1).SetName("Liver")
    pair = a_fixed_node, a_volume_node
    with pytest.raises(InvalidOption, match="2 segments are called 'Liver'"):
        masks(*pair, a_segmentation_node, "Liver", never)
    assert masks(*pair, a_segmentation_node, "Segment_9", a_known_engine).sum() == 5 * 7 * 5


def test_an_empty_segment_is_named(a_fixed_node, a_volume_node, a_segmentation_node):
    a_segmentation_node.GetSegmentation().AddEmptySegment("Empty_1", "Not drawn yet")
    with pytest.raises(InvalidImage, match="'Not drawn yet', which is empty"):
        masks(a_fixed_node, a_volume_node, a_segmentation_node, "Not drawn yet", never)


def test_segments_of_a_label_map_are_refused(a_fixed_node, a_volume_node):
    labels = slicer.util.addVolumeFromArray(
        np.ones((3, 3, 3), np.uint8), None, "labels", "vtkMRMLLabelMapVolumeNode"
    )
    with pytest.raises(InvalidOption, match="labels"):
        masks(a_fixed_node, a_volume_node, labels, ["Liver"], never)
