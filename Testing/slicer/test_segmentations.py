"""Segmentations: labels for the core, and copies that were warped once."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer
import torch
import vtk
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_to_itk, to_itk
from NeuralRegistrationLib.Scene import Scripting, Segmentations

from Testing.support.warped_nodes import warped_segmentation


def exported(node, grid, segments=None):
    """What Slicer itself exports, on a grid of our choice."""
    reference = Scripting.volumeNodeFromImage(Image(torch.zeros(1, *grid.shape), grid), "reference")
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "exported")
    ids = vtk.vtkStringArray()
    for segment in segments or Segmentations.segmentIds(node):
        ids.InsertNextValue(segment)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ExportSegmentsToLabelmapNode(node, ids, labels, reference)
    return slicer.util.arrayFromVolume(labels)


def facts(node):
    segmentation = node.GetSegmentation()
    found = []
    for segmentId in Segmentations.segmentIds(node):
        segment = segmentation.GetSegment(segmentId)
        found.append((segmentId, segment.GetName(), segment.GetColor(), segment.GetLabelValue()))
    return found


def test_a_warped_segmentation_keeps_ids_names_colors_values_order_and_tags(
    a_segmentation_node, wavy_field, an_oblique_grid
):
    copy = warped_segmentation(
        a_segmentation_node, wavy_field(an_oblique_grid), an_oblique_grid, "w"
    )
    assert facts(copy) == facts(a_segmentation_node)
    assert [name for _, name, _, _ in facts(copy)] == ["Liver", "Spleen", "Tumor"]
    note = vtk.reference("")
    assert copy.GetSegmentation().GetSegment("Tumor_1").GetTag("note", note)
    assert str(note) == "seen by nobody"


def test_each_segment_is_what_one_nearest_resampling_by_itk_gives(
    a_segmentation_node, wavy_field, a_fixed_node
):
    grid = Scripting.imageFromVolumeNode(a_fixed_node).grid
    field = wavy_field(grid.pad(2))
    copy = warped_segmentation(a_segmentation_node, field, grid, "w", a_fixed_node)
    original = Scripting.imageFromVolumeNode(slicer.mrmlScene.GetFirstNodeByName("moving")).grid
    for segmentId in Segmentations.segmentIds(a_segmentation_node):
        before = exported(a_segmentation_node, original, [segmentId])
        itk = image_to_itk(Image(torch.from_numpy(before.copy())[None], original))
        reference = image_to_itk(Image(torch.zeros(1, *grid.shape), grid))
        expected = sitk.Resample(itk, reference, to_itk(field), sitk.sitkNearestNeighbor)
        expected = sitk.GetArrayFromImage(expected) > 0
        found = exported(copy, grid, [segmentId]) > 0
        assert expected.sum() > 20
        assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.999


def test_overlapping_segments_stay_whole(a_segmentation_node, an_oblique_grid):
    identity = DisplacementField.identity(an_oblique_grid)
    copy = warped_segmentation(a_segmentation_node, identity, an_oblique_grid, "w")
    assert copy.GetSegmentation().GetNumberOfLayers() == 2
    for segmentId in Segmentations.segmentIds(copy):
        before = exported(a_segmentation_node, an_oblique_grid, [segmentId])
        assert np.array_equal(exported(copy, an_oblique_grid, [segmentId]) > 0, before > 0)


def test_warping_leaves_the_original_as_it_was(a_segmentation_node, wavy_field, an_oblique_grid):
    before, voxels = facts(a_segmentation_node), exported(a_segmentation_node, an_oblique_grid)
    warped_segmentation(a_segmentation_node, wavy_field(an_oblique_grid), an_oblique_grid, "w")
    assert facts(a_segmentation_node) == before
    assert np.array_equal(exported(a_segmentation_node, an_oblique_grid), voxels)


def test_labels_on_a_grid_number_the_segments_and_name_them(a_segmentation_node, an_oblique_grid):
    labels, names = Scripting.labelsFromSegmentationNode(a_segmentation_node, an_oblique_grid)
    assert names == {1: "Liver", 2: "Spleen", 3: "Tumor"}
    assert labels.data[0, 3, 4, 4] == 1
    assert labels.data[0, 3, 4, 14] == 2
    assert labels.data[0, 5, 7, 9] == 3  # the later segment wins where they overlap
    assert labels.data[0, 0, 0, 0] == 0


def test_a_transform_above_the_segmentation_counts(a_segmentation_node, an_oblique_grid):
    here, _ = Scripting.labelsFromSegmentationNode(a_segmentation_node, an_oblique_grid)
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "parent")
    shift = np.eye(4)
    shift[:3, 3] = (np.diag([-1, -1, 1]) @ an_oblique_grid.index_to_world[:3, :3])[:, 0] * 2
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    a_segmentation_node.SetAndObserveTransformNodeID(parent.GetID())
    moved, _ = Scripting.labelsFromSegmentationNode(a_segmentation_node, an_oblique_grid)
    assert torch.equal(moved.data[..., 2:], here.data[..., :-2])


def test_a_segmentation_made_of_surfaces_only_is_voxelized_in_a_copy(
    a_segmentation_node, an_oblique_grid
):
    labels, _ = Scripting.labelsFromSegmentationNode(a_segmentation_node, an_oblique_grid)
    segmentation = a_segmentation_node.GetSegmentation()
    segmentation.SetConversionParameter("Smoothing factor", "0.0")
    assert a_segmentation_node.CreateClosedSurfaceRepresentation()
    segmentation.SetSourceRepresentationName("Closed surface")
    segmentation.RemoveRepresentation("Binary labelmap")
    again, _ = Scripting.labelsFromSegmentationNode(a_segmentation_node, an_oblique_grid)
    assert not segmentation.ContainsRepresentation("Binary labelmap")
    both = ((labels.data > 0) & (again.data > 0)).sum()
    assert 2 * both / ((labels.data > 0).sum() + (again.data > 0).sum()) > 0.8


def test_a_segmentation_without_segments_gives_no_labels(a_scene, an_oblique_grid):
    node = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    labels, names = Scripting.labelsFromSegmentationNode(node, an_oblique_grid)
    assert names == {}
    assert not labels.data.any()


def test_an_empty_segment_stays_in_the_list(a_segmentation_node, an_oblique_grid):
    a_segmentation_node.GetSegmentation().AddEmptySegment("Empty_1", "Not drawn yet")
    copy = warped_segmentation(
        a_segmentation_node, DisplacementField.identity(an_oblique_grid), an_oblique_grid, "w"
    )
    assert facts(copy)[-1][:2] == ("Empty_1", "Not drawn yet")


def test_labels_become_segments_at_their_place(a_scene, a_grid):
    values = torch.zeros(1, *a_grid.shape, dtype=torch.int64)
    values[0, 2:6, 3:9, 4:12] = 300
    values[0, 7:9, 3:9, 4:12] = 12
    node = Scripting.segmentationNodeFromLabels(Image(values, a_grid), "s", {300: "A", 12: "B"})
    assert [(name, value) for _, name, _, value in facts(node)] == [("B", 12), ("A", 300)]
    back = exported(node, a_grid, [Segmentations.segmentIds(node)[1]])
    assert np.array_equal(back > 0, values[0].numpy() == 300)


def test_the_display_of_a_segmentation_is_kept(a_segmentation_node, an_oblique_grid):
    display = a_segmentation_node.GetDisplayNode()
    display.SetSegmentOpacity2DFill("Tumor_1", 0.25)
    display.SetVisibility2DFill(False)
    copy = warped_segmentation(
        a_segmentation_node, DisplacementField.identity(an_oblique_grid), an_oblique_grid, "w"
    )
    assert copy.GetDisplayNode().GetSegmentOpacity2DFill("Tumor_1") == 0.25
    assert not copy.GetDisplayNode().GetVisibility2DFill()


def test_a_surface_follows_from_a_warped_segmentation(a_segmentation_node, an_oblique_grid):
    copy = warped_segmentation(
        a_segmentation_node, DisplacementField.identity(an_oblique_grid), an_oblique_grid, "w"
    )
    assert copy.CreateClosedSurfaceRepresentation()
