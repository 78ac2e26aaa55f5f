"""What a registration leaves in the scene, and that Revert takes exactly that away."""

from __future__ import annotations

import neuralreg
import numpy as np
import pytest
import slicer
import torch
from neuralreg.errors import Cancelled, InvalidImage, InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.registration.options import (
    FieldRefinement,
    LinearAlignment,
    RegistrationOptions,
    WeightRefinement,
)
from NeuralRegistrationLib.Register.Logic import register
from NeuralRegistrationLib.Scene import Geometry, Scripting
from NeuralRegistrationLib.Scene.Headless import HeadlessScene

from Testing.support.known_results import known_result

CHANGED = RegistrationOptions(
    model="other",
    model_options={"smoothness": 0.2},
    linear=LinearAlignment.NONE,
    start="search",
    preset="cardiac",
    refinement=FieldRefinement("lncc", 3, 2.0, 0.5),
    extract_brain=True,
    device="cpu",
    precision="float16",
    full_resolution=True,
)


@pytest.fixture
def a_registration(a_fixed_node, a_volume_node, a_segmentation_node, a_known_engine):
    return register(
        a_fixed_node,
        a_volume_node,
        segmentations=[a_segmentation_node],
        inverse=True,
        engine=a_known_engine,
    )


def tree_of(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def everything_in(scene):
    """The scene as Slicer would save it, its voxels, and its subject hierarchy."""
    scene.SetSaveToXMLString(1)
    scene.Commit()
    voxels = {
        node.GetID(): slicer.util.arrayFromVolume(node).tobytes()
        for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode")
    }
    tree = tree_of(scene)
    items = [
        (node.GetName(), tree.GetItemName(tree.GetItemParent(item)))
        for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode")
        if (item := tree.GetItemByDataNode(node))
    ]
    return scene.GetSceneXMLString(), voxels, sorted(items)


def test_three_lines_give_a_transform_a_volume_and_a_segmentation(a_registration):
    assert a_registration.transformNode.GetName() == "moving to fixed"
    assert a_registration.inverseTransformNode.GetName() == "fixed to moving"
    assert a_registration.warpedVolumeNode.GetName() == "moving on fixed"
    assert [n.GetName() for n in a_registration.warpedSegmentationNodes] == ["organs on fixed"]


def test_a_saved_scene_shows_one_deformation_in_a_small_file(
    a_headless_scene, a_fixed_node, a_volume_node, wavy_field, tmp_path, points_inside
):
    """The transform and the warped volume agree as Slicer reads the file: as cubic."""

    def engine(fixed, moving, *options, **more):
        grid = fixed.grid.with_spacing([10.0] * 3).pad(2)
        field = wavy_field(grid, height_mm=6.0, wave_mm=7.0)
        return known_result(field, DisplacementField(-field.vectors, grid))

    done = register(a_fixed_node, a_volume_node, engine=engine)
    fixed = Scripting.imageFromVolumeNode(a_fixed_node)
    warped = Scripting.imageFromVolumeNode(done.warpedVolumeNode)
    a_headless_scene.save(tmp_path / "scene.mrb")
    again = HeadlessScene()
    (tmp_path / "cache").mkdir()
    again.load(tmp_path / "scene.mrb", tmp_path / "cache")
    loaded = again.scene.GetFirstNodeByName("moving to fixed").GetTransformFromParent()
    assert np.prod(loaded.GetDisplacementGrid().GetDimensions()) <= done.result.field.grid.count
    points = points_inside(fixed.grid, 2000, margin=0.0)
    moved = Geometry.throughVtk(loaded, points)
    assert np.linalg.norm(moved - done.result.field(points), axis=1).max() > 0.5
    linear = Scripting.fieldFromTransform(loaded)
    assert np.linalg.norm(moved - linear(points), axis=1).max() < 0.1
    expected = neuralreg.warp(Scripting.imageFromVolumeNode(a_volume_node), linear, fixed.grid)
    assert (warped.data - expected.data).abs().max() <= 1.0  # rounded to whole numbers


def test_a_second_registration_gets_names_of_its_own(
    a_registration, a_fixed_node, a_volume_node, a_known_engine
):
    again = register(a_fixed_node, a_volume_node, engine=a_known_engine)
    assert again.warpedVolumeNode.GetName() == "moving on fixed_1"


def test_results_stand_beside_the_fixed_volume(
    a_scene, a_fixed_node, a_volume_node, a_known_engine
):
    tree = tree_of(a_scene)
    study = tree.CreateFolderItem(tree.GetSceneItemID(), "Study of May")
    tree.SetItemParent(
        tree.GetItemByDataNode(a_fixed_node) or tree.CreateItem(study, a_fixed_node), study
    )
    done = register(a_fixed_node, a_volume_node, engine=a_known_engine)
    for node in (done.transformNode, done.warpedVolumeNode):
        assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study


def test_nothing_that_was_there_changes(
    a_scene, a_fixed_node, a_volume_node, a_segmentation_node, a_known_engine
):
    voxels = everything_in(a_scene)[1]
    ids = {node.GetID(): node.GetMTime() for node in (a_fixed_node, a_volume_node)}
    register(
        a_fixed_node, a_volume_node, segmentations=[a_segmentation_node], engine=a_known_engine
    )
    after = everything_in(a_scene)[1]
    assert {key: after[key] for key in voxels} == voxels
    assert all(a_scene.GetNodeByID(key).GetTransformNodeID() is None for key in ids)


def test_revert_brings_the_scene_back_to_the_letter(
    a_scene, a_fixed_node, a_volume_node, a_segmentation_node, a_known_engine
):
    curve = a_scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", "curve")
    parent = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "table")
    curve.SetAndObserveTransformNodeID(parent.GetID())
    before = everything_in(a_scene)
    done = register(
        a_fixed_node,
        a_volume_node,
        segmentations=[a_segmentation_node],
        carried=[a_segmentation_node, curve],
        inverse=True,
        engine=a_known_engine,
    )
    assert everything_in(a_scene) != before
    assert curve.GetTransformNodeID() != parent.GetID()
    done.revert()
    assert everything_in(a_scene) == before


def test_revert_leaves_alone_what_the_user_moved_since(
    a_registration, a_scene, a_segmentation_node
):
    a_registration.carryAlong(a_segmentation_node)
    own = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "own")
    a_segmentation_node.SetAndObserveTransformNodeID(own.GetID())
    a_scene.RemoveNode(a_registration.warpedVolumeNode)
    a_registration.revert()
    assert a_segmentation_node.GetTransformNodeID() == own.GetID()


def test_a_cancelled_registration_leaves_the_scene_as_it_was(a_scene, a_fixed_node, a_volume_node):
    def cancelled(*args, **options):
        raise Cancelled("stopped")

    before = everything_in(a_scene)
    with pytest.raises(Cancelled):
        register(a_fixed_node, a_volume_node, engine=cancelled)
    assert everything_in(a_scene) == before


def test_a_failure_on_the_way_into_the_scene_leaves_nothing_behind(
    a_scene, a_fixed_node, a_volume_node, a_known_engine
):
    nothing = a_scene.AddNewNodeByClass("vtkMRMLTableNode", "table")
    before = everything_in(a_scene)
    with pytest.raises(InvalidOption, match="carried along"):
        register(a_fixed_node, a_volume_node, carried=[nothing], engine=a_known_engine)
    assert everything_in(a_scene) == before


def test_landmarks_land_where_the_anatomy_lies(a_registration, a_scene, points_inside):
    field = a_registration.result.field
    on_fixed = points_inside(field.grid, 40, margin=5)
    on_moving = field(on_fixed)
    node = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    slicer.util.updateMarkupsControlPointsFromArray(node, Geometry.flip(on_moving))
    a_registration.carryAlong(node)
    found = slicer.util.arrayFromMarkupsControlPoints(node, world=True)
    assert np.abs(Geometry.flip(found) - on_fixed).max() < 0.02


def test_a_model_lands_where_the_anatomy_lies(a_registration, a_scene, points_inside):
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    field = a_registration.result.field
    on_fixed = points_inside(field.grid, 40, margin=5)
    surface, points = vtk.vtkPolyData(), vtk.vtkPoints()
    points.SetData(numpy_to_vtk(Geometry.flip(field(on_fixed)), deep=True))
    surface.SetPoints(points)
    node = a_scene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    node.SetAndObserveMesh(surface)
    a_registration.carryAlong(node)
    assert node.HardenTransform()
    found = slicer.util.arrayFromModelPoints(node)
    assert np.abs(Geometry.flip(found) - on_fixed).max() < 0.02


def test_a_node_under_a_transform_of_its_own_lands_right_too(
    a_registration, a_scene, points_inside
):
    field = a_registration.result.field
    on_fixed = points_inside(field.grid, 20, margin=5)
    matrix = np.eye(4)
    matrix[:3, 3] = [5, -6, 7]
    parent = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "table")
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    slicer.util.updateMarkupsControlPointsFromArray(
        node, Geometry.flip(field(on_fixed)) - matrix[:3, 3]
    )
    node.SetAndObserveTransformNodeID(parent.GetID())
    a_registration.carryAlong(node)
    found = slicer.util.arrayFromMarkupsControlPoints(node, world=True)
    assert np.abs(Geometry.flip(found) - on_fixed).max() < 0.02
    assert parent.GetTransformNodeID() is None  # what else lies under it stays


def test_transforms_above_both_volumes_reach_the_engine(
    a_scene, a_fixed_node, a_volume_node, a_known_engine
):
    seen = {}

    def watching(fixed, moving, model, **options):
        seen.update(fixed=fixed.grid, moving=moving.grid)
        return a_known_engine(fixed, moving, model)

    alone = Scripting.imageFromVolumeNode(a_fixed_node).grid
    matrix = np.eye(4)
    matrix[:3, 3] = [10, 20, 30]
    parent = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "couch")
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    a_fixed_node.SetAndObserveTransformNodeID(parent.GetID())
    done = register(a_fixed_node, a_volume_node, engine=watching)
    assert np.allclose(seen["fixed"].origin, np.add(alone.origin, [-10, -20, 30]))
    assert Scripting.imageFromVolumeNode(done.warpedVolumeNode).grid.is_close(seen["fixed"])


def test_masks_reach_the_engine_on_the_grid_of_their_volume(
    a_fixed_node, a_volume_node, a_segmentation_node, a_known_engine
):
    seen = {}

    def watching(fixed, moving, model, **options):
        seen.update(options)
        return a_known_engine(fixed, moving, model)

    register(a_fixed_node, a_volume_node, movingMask=a_segmentation_node, engine=watching)
    assert seen["fixed_mask"] is None
    assert seen["moving_mask"].grid.is_close(Scripting.imageFromVolumeNode(a_volume_node).grid)
    assert torch.count_nonzero(seen["moving_mask"].data) > 100


def test_every_option_reaches_the_engine(a_fixed_node, a_volume_node, a_known_engine):
    seen = []

    def watching(fixed, moving, options, **given):
        seen.append(options)
        return a_known_engine(fixed, moving, options)

    register(a_fixed_node, a_volume_node, "other", preset="lung CT", device="cpu", engine=watching)
    assert seen == [RegistrationOptions(model="other", preset="lung CT", device="cpu")]
    for options in (CHANGED, CHANGED.replace(refinement=WeightRefinement(steps=4))):
        register(a_fixed_node, a_volume_node, options, engine=watching)
        assert seen.pop() == options
    register(a_fixed_node, a_volume_node, prealign="rigid", engine=watching)  # an earlier name
    assert seen.pop() == RegistrationOptions(linear=LinearAlignment.RIGID)


def test_an_option_that_does_not_exist_is_refused(a_fixed_node, a_volume_node, a_known_engine):
    with pytest.raises(InvalidOption, match="'nonsense'"):
        register(a_fixed_node, a_volume_node, nonsense=1, engine=a_known_engine)


def test_a_volume_under_a_bending_transform_is_named_in_the_warnings(
    a_fixed_node, a_volume_node, a_registration, a_known_engine
):
    a_volume_node.SetAndObserveTransformNodeID(a_registration.transformNode.GetID())
    done = register(a_fixed_node, a_volume_node, engine=a_known_engine)
    assert "moving image was resampled" in done.result.warnings[0]


def test_a_missing_volume_is_refused_before_anything_is_computed(a_scene, a_fixed_node):
    def never(*args, **options):
        raise AssertionError("the engine was asked")

    with pytest.raises(InvalidImage):
        register(a_fixed_node, None, engine=never)


def test_a_copied_call_leaves_no_list_of_nodes_behind(a_scene, a_fixed_node, monkeypatch):
    from NeuralRegistrationLib.Register.AsPython import asPython

    made = []

    class Watched:
        def GetNodesByName(self, name):
            made.append(a_scene.GetNodesByName(name))
            return made[-1]

    monkeypatch.setattr(slicer, "mrmlScene", Watched())
    assert 'getNode("fixed")' in asPython(a_fixed_node, a_fixed_node).replace("'", '"')
    assert [nodes.GetReferenceCount() for nodes in made] == [1, 1]  # ours alone
