"""A review is of the transform that Slicer shows, and knows it again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import torch
import vtk
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.worker.serialization import at_once
from neuralreg.worker.shared_images import record_of
from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Register.Request import Request
from NeuralRegistrationLib.Review.Jobs import review
from NeuralRegistrationLib.Review.Landmarks import LandmarkPairs
from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Scene import Geometry, Transforms
from NeuralRegistrationLib.Scene.Headless import HeadlessScene

from Testing.support.review_scene import a_segmentation


def a_volume(name, n=16, mm=3.0):
    values = np.random.default_rng(0).integers(0, 200, (n, n, n)).astype(np.int16)
    node = slicer.util.addVolumeFromArray(values, None, name)
    node.SetSpacing(mm, mm, mm)
    node.SetOrigin(*[-(n - 1) / 2 * mm] * 3)
    return node


def a_field_of_another_program(scene, folder, sd_mm=3.0):
    """As Slicer reads it from a file: cubic between samples 10 mm apart."""
    values = np.random.default_rng(2).normal(0, sd_mm, (9, 9, 9, 3))
    field = sitk.GetImageFromArray(values, isVector=True)
    field.SetSpacing((10, 10, 10))
    field.SetOrigin((-40, -40, -40))
    path = str(folder / "other.h5")
    sitk.WriteTransform(sitk.DisplacementFieldTransform(field), path)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "other program")
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(path)
    assert storage.ReadData(node)
    return node


def a_turn(scene, name="table", mm=4):
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    turn = vtk.vtkTransform()
    turn.Translate(mm, -3, 2)
    turn.RotateWXYZ(7, 0.3, 0.2, 0.9)
    node.SetMatrixTransformToParent(turn.GetMatrix())
    return node


def landmarks(scene, transform, count=6):
    """Pairs that the transform maps onto each other exactly, as Slicer sees it."""
    fromWorld = vtk.vtkGeneralTransform()
    transform.GetTransformFromWorld(fromWorld)
    points = np.random.default_rng(3).uniform(-18, 18, (count, 3))
    nodes = []
    for name, place in (("f", points), ("m", [fromWorld.TransformPoint(p) for p in points])):
        nodes.append(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name))
        for n, point in enumerate(place):
            nodes[-1].AddControlPoint(vtk.vtkVector3d(*point), f"L{n}")
    return dict(zip(("fixedPoints", "movingPoints"), nodes, strict=True))


@pytest.mark.parametrize("form", ["alone", "below a table", "hardened"])
def test_report_and_table_say_the_same_of_a_coarse_field_of_another_program(
    a_scene, tmp_path, form
):
    node = a_field_of_another_program(a_scene, tmp_path)
    if form != "alone":
        node.SetAndObserveTransformNodeID(a_turn(a_scene).GetID())
    if form == "hardened":
        node.HardenTransform()
    nodes = {"fixedVolume": a_volume("fixed"), "movingVolume": a_volume("moving")}
    nodes |= landmarks(a_scene, node)
    report = review(node, detail="quick", **nodes).report.as_record()
    table = [pair.after_mm for pair in LandmarkPairs.errors(Subject(node, **nodes))]
    assert max(table) < 1e-6
    assert max(report["landmarks"]["after_mm"]) < 0.1


def test_samples_of_which_both_readers_make_the_same_stay_as_they_are(a_scene, tmp_path):
    from neuralreg.worker.serialization import at_once

    for sd, size in ((0.05, 9), (3.0, 129)):
        node = a_field_of_another_program(a_scene, tmp_path, sd)
        assert at_once(Subject(node).record()).grid.size == (size,) * 3


FORMS = ("alone", "below", "inverted", "hardened", "spline", "spline below", "similar")


def in_form(scene, form, folder):
    if "spline" in form:
        source, target = vtk.vtkPoints(), vtk.vtkPoints()
        for point in np.random.default_rng(1).normal(0, 20, (8, 3)).tolist():
            source.InsertNextPoint(point)
            target.InsertNextPoint([c + 0.3 for c in point])
        spline = vtk.vtkThinPlateSplineTransform()
        spline.SetBasisToR()
        spline.SetSourceLandmarks(source)
        spline.SetTargetLandmarks(target)
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode", form)
        node.SetAndObserveTransformToParent(spline)
    elif form == "similar":
        node = a_turn(scene)
    else:
        node = a_field_of_another_program(scene, folder, 0.4)
        node.GetTransformFromParent().SetInterpolationModeToLinear()
    if form != "alone":
        node.SetName(form)
    if "below" in form or form == "hardened":
        node.SetAndObserveTransformNodeID(a_turn(scene).GetID())
    if form == "inverted":
        node.Inverse()
    if form == "hardened":
        node.HardenTransform()
    return node


@pytest.mark.parametrize("form", FORMS)
def test_a_transform_is_known_again_after_saving_and_by_another_volume(
    a_headless_scene, tmp_path, form
):
    scene = a_headless_scene.scene
    node = in_form(scene, form, tmp_path)
    node.SetName("reviewed")
    a_volume("fixed")
    a_volume("cropped", 11)

    def hash_of(scene, volume="fixed"):
        nodes = {"fixedVolume": scene.GetFirstNodeByName(volume)}
        found = scene.GetFirstNodeByName("reviewed")
        return review(found, detail="quick", **nodes).report.transform_hash

    before = hash_of(scene)
    assert hash_of(scene, "cropped") == before
    a_headless_scene.save(tmp_path / "scene.mrb")
    again = HeadlessScene()
    (tmp_path / "cache").mkdir()
    again.load(tmp_path / "scene.mrb", tmp_path / "cache")
    assert hash_of(again.scene) == before
    found = again.scene.GetFirstNodeByName("reviewed")
    found.SetAndObserveTransformNodeID(a_turn(again.scene, "moved", 5).GetID())
    assert hash_of(again.scene) != before


def test_a_field_in_the_scene_has_the_hash_of_its_file(a_scene, tmp_path):
    from neuralreg.review.geometry.deformation import Deformation

    node = a_field_of_another_program(a_scene, tmp_path)
    report = review(node, detail="quick", fixedVolume=a_volume("fixed")).report
    assert report.transform_hash == Deformation.of(tmp_path / "other.h5").sha256


def segmentation_of(like, name, parts):
    """Segments of one name, each with voxels of its own. parts: first voxel and edge."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    for n, (first, edge) in enumerate(parts):
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(edge, edge, edge)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        image.GetPointData().GetScalars().Fill(1)
        image.SetSpacing(like.GetSpacing())
        at = zip(like.GetOrigin(), like.GetSpacing(), first, strict=True)
        image.SetOrigin(*[o + s * f for o, s, f in at])
        segment = slicer.vtkSegment()
        segment.SetName("lesion")
        segment.SetLabelValue(1)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment, f"id{n}")
    return node


def test_each_of_two_segments_of_one_name_is_compared(a_scene):
    fixed, moving = a_volume("fixed", 24), a_volume("moving", 24)
    large, one, other = ((3, 3, 3), 9), ((16, 16, 16), 3), ((20, 4, 4), 3)
    transform = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "identity")
    report = review(
        transform,
        detail="quick",
        fixedVolume=fixed,
        movingVolume=moving,
        fixedSegments=segmentation_of(fixed, "f", [large, one]),
        movingSegments=segmentation_of(moving, "m", [large, other]),
    ).report
    assert {o.name: round(o.after.dice, 2) for o in report.overlaps} == {
        "lesion": 1.0,
        "lesion (2)": 0.0,
    }


@pytest.mark.parametrize("above", ["nothing", "a scale", "a spline"])
def test_an_error_in_voxels_counts_what_is_above_the_moving_volume(a_scene, tmp_path, above):
    moving = a_volume("moving", mm=2.0)
    if above == "a scale":
        parent = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "scale")
        parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([3, 3, 3, 1.0])))
        moving.SetAndObserveTransformNodeID(parent.GetID())
    elif above == "a spline":
        moving.SetAndObserveTransformNodeID(in_form(a_scene, "spline", tmp_path).GetID())
    identity = a_scene.AddNewNodeByClass("vtkMRMLTransformNode", "identity")
    nodes = landmarks(a_scene, identity, 1)
    point = np.array(nodes["fixedPoints"].GetNthControlPointPosition(0)) + [6, 0, 0]
    nodes["movingPoints"].SetNthControlPointPosition(0, *point)
    (error,) = LandmarkPairs.errors(Subject(identity, movingVolume=moving, **nodes))
    assert error.after_mm == pytest.approx(6)
    assert error.after_voxels == pytest.approx({"a scale": 1}.get(above, 3), rel=0.02)


def a_torn_result(scene, fixed, moving):
    """A field that jumps by 9 mm between both halves, with the record of a result that slid."""
    vectors = np.zeros((24, 24, 24, 3))
    vectors[..., 12:, 1] = 9.0
    grid = Grid((24,) * 3, (3.0,) * 3, (-34.5,) * 3, tuple(np.eye(3).ravel()))
    record = record_of(DisplacementField(torch.from_numpy(vectors).movedim(-1, 0), grid))
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "slid")
    transform = at_once(Geometry.gridTransformInSteps(record))
    Transforms.fill(node, transform, fixed=fixed, moving=moving)
    facts = {"model": "convex", "sliding": {"kept": True}, "labels": [1], "segments": {}}
    node.SetAttribute("NeuralRegistration.Record", json.dumps(facts))
    return node


def test_the_border_along_which_a_part_slid_is_no_seam_and_its_labels_are_no_proof(a_scene):
    fixed, moving = a_volume("fixed", 24), a_volume("moving", 24)
    node = a_torn_result(a_scene, fixed, moving)

    def reviewed(**nodes):
        report = review(node, **nodes).report
        verdict = next(line.verdict for line in report.lines if line.name == "roughness")
        return verdict, " ".join(report.notes)

    verdict, notes = reviewed()
    assert verdict == "attention"
    assert "without its mask that border is a seam" in notes
    assert "no proof" not in notes
    half = a_segmentation(fixed, "half", ("Left", "Right"))
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[..., :12] = 1  # the half with larger LPS x
    labelNode = slicer.util.addVolumeFromArray(labels, None, "l", "vtkMRMLLabelMapVolumeNode")
    labelNode.CopyOrientation(fixed)
    role = f"{Transforms.OWN_ROLES}slidingMask"
    node.SetNodeReferenceID(role, labelNode.GetID())
    verdict, notes = reviewed(fixedSegments=half, movingSegments=half)
    assert verdict == "shown"
    assert "border is a seam" not in notes
    assert "labels drove the registration" in notes
    labels[:] = 0
    labels[:3] = 1  # elsewhere
    slicer.util.updateVolumeFromArray(labelNode, labels)
    assert reviewed()[0] == "attention"


def test_a_mask_that_slid_belongs_to_one_direction(a_scene):
    fixed, moving = a_volume("fixed"), a_volume("moving")
    mask = a_segmentation(fixed, "mask")
    torn = [
        n.GetNodeReference(f"{Transforms.OWN_ROLES}slidingMask")
        for n in (
            written(a_scene, fixed, moving, mask, pair)
            for pair in ((fixed, moving), (moving, fixed))
        )
    ]
    assert torn == [mask, None]


def written(scene, fixed, moving, mask, pair):
    """A transform node of a pair with the record of a request."""
    node = a_turn(scene)
    roles = node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()
    for role, volume in zip(roles, pair, strict=True):
        node.SetNodeReferenceID(role, volume.GetID())
    request = Request(fixed, moving, "convex", {"slidingMask": mask})
    facts = SimpleNamespace(model="convex", warnings=(), provenance={})
    RegistrationRecord.write(node, request, facts)
    return node
