"""`neuralreg warp` of what 3D Slicer wrote, and what 3D Slicer makes of the answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from Testing.support.command_line import neuralreg
from Testing.support.itk_points import transform_points

FLIP = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A rotation and a smooth field on a turned grid, as files, and both as ITK has them."""
    folder = tmp_path_factory.mktemp("chain")
    rotation = sitk.Euler3DTransform((5.0, -8.0, 3.0), 0.1, -0.2, 0.15, (4.0, -3.0, 2.0))
    grid = sitk.Image((30, 31, 32), sitk.sitkVectorFloat64)
    grid.SetSpacing((4.0, 4.0, 4.0))
    grid.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix())
    grid.SetOrigin(np.negative(grid.TransformContinuousIndexToPhysicalPoint((14.5, 15.0, 15.5))))
    z, y, x = np.indices((32, 31, 30))
    waves = np.stack([np.sin(y / 4), np.cos(z / 5), np.sin((x + y) / 6)], -1)
    field = sitk.GetImageFromArray(2.5 * waves, isVector=True)
    field.CopyInformation(grid)
    paths = folder / "rotation.tfm", folder / "field.nrrd"
    sitk.WriteTransform(rotation, str(paths[0]))
    sitk.WriteImage(field, str(paths[1]))
    whole = sitk.CompositeTransform([sitk.DisplacementFieldTransform(field), rotation])
    return paths, whole


@pytest.fixture(scope="module")
def pairs(chain):
    """Points of the fixed image inside of the field, and where they lie in the moving one (LPS)."""
    fixed = np.random.default_rng(0).uniform(-20, 20, (40, 3))
    return fixed, transform_points(chain[1], fixed)


def a_mesh(points_ras):
    """A surface over points, with normals and a color for each."""
    points, colors = vtk.vtkPoints(), vtk.vtkUnsignedCharArray()
    points.SetDataTypeToDouble()
    colors.SetNumberOfComponents(3)
    colors.SetName("RGB")
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.Allocate()
    for n, point in enumerate(points_ras):
        points.InsertNextPoint(point)
        colors.InsertNextTuple3(n, 2 * n, 3 * n)
    for n in range(0, len(points_ras) - 2):
        mesh.InsertNextCell(vtk.VTK_TRIANGLE, 3, [n, n + 1, n + 2])
    mesh.GetPointData().AddArray(colors)
    return mesh


def storage_of(scene, kind, storage, node=None):
    node = node or scene.AddNewNodeByClass(kind)
    store = scene.AddNewNodeByClass(storage)
    return node, store


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("suffix", [".vtk", ".vtp", ".ply", ".stl"])
def test_a_model_comes_to_where_its_points_belong(a_scene, chain, pairs, tmp_path, suffix, system):
    fixed, moving = pairs
    model, store = storage_of(a_scene, "vtkMRMLModelNode", "vtkMRMLModelStorageNode")
    model.SetAndObservePolyData(a_mesh(moving * FLIP))
    store.SetCoordinateSystem(getattr(slicer.vtkMRMLStorageNode, f"CoordinateSystem{system}"))
    store.SetFileName(str(tmp_path / f"moving{suffix}"))
    assert store.WriteData(model)
    out = tmp_path / f"fixed{suffix}"
    done = neuralreg("warp", tmp_path / f"moving{suffix}", *chain[0], "-o", out, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"output": str(out), "points": 40, "warnings": []}
    moved, store = storage_of(a_scene, "vtkMRMLModelNode", "vtkMRMLModelStorageNode")
    store.SetFileName(str(out))
    assert store.ReadData(moved)
    assert store.GetCoordinateSystem() == getattr(
        slicer.vtkMRMLStorageNode, f"CoordinateSystem{system}"
    )
    points = vtk_to_numpy(moved.GetPolyData().GetPoints().GetData()) * FLIP
    assert moved.GetPolyData().GetNumberOfCells() == 38
    if suffix == ".stl":  # whose points have no order
        points = points[np.lexsort(points.T)]
        fixed = fixed[np.lexsort(fixed.T)]
    assert np.abs(points - fixed).max() < 2e-3
    if suffix != ".stl":
        colors = moved.GetPolyData().GetPointData().GetArray("RGB")
        assert colors is not None
        assert colors.GetTuple3(7) == (7, 14, 21)


def test_a_curve_keeps_all_but_its_positions(a_scene, chain, pairs, tmp_path):
    fixed, moving = pairs
    curve, store = storage_of(a_scene, "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsJsonStorageNode")
    for n, point in enumerate(moving[:6] * FLIP):
        curve.AddControlPoint(point, f"p{n}")
    curve.SetNthControlPointLocked(2, True)
    store.SetFileName(str(tmp_path / "moving.mrk.json"))
    assert store.WriteData(curve)
    out = tmp_path / "fixed.mrk.json"
    done = neuralreg("warp", tmp_path / "moving.mrk.json", *chain[0], "-o", out)
    assert done.exit_code == 0, done.stderr
    moved, store = storage_of(a_scene, "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsJsonStorageNode")
    store.SetFileName(str(out))
    assert store.ReadData(moved)
    points = np.array([moved.GetNthControlPointPosition(n) for n in range(6)]) * FLIP
    assert np.abs(points - fixed[:6]).max() < 2e-3
    assert moved.GetNthControlPointLocked(2)
    assert moved.GetNthControlPointLabel(5) == "p5"


@pytest.mark.parametrize("suffix", [".fcsv", ".csv", ".mrk.json"])
def test_a_list_of_slicer_4_comes_in_every_format(a_scene, chain, pairs, tmp_path, suffix):
    fixed, moving = pairs
    points, store = storage_of(
        a_scene, "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsFiducialStorageNode"
    )
    for n, point in enumerate(moving[:5] * FLIP):
        points.AddControlPoint(point, f"p{n}")
    store.SetFileName(str(tmp_path / "moving.fcsv"))
    assert store.WriteData(points)
    out = tmp_path / f"fixed{suffix}"
    done = neuralreg("warp", tmp_path / "moving.fcsv", *chain[0], "-o", out)
    assert done.exit_code == 0, done.stderr
    if suffix == ".csv":
        lines = [line.split(",") for line in out.read_text().splitlines()[1:]]
        assert np.abs(np.array([line[1:] for line in lines], float) - fixed[:5]).max() < 2e-3
        return
    kind = "Json" if suffix == ".mrk.json" else "Fiducial"
    moved, store = storage_of(
        a_scene, "vtkMRMLMarkupsFiducialNode", f"vtkMRMLMarkups{kind}StorageNode"
    )
    store.SetFileName(str(out))
    assert store.ReadData(moved)
    found = np.array([moved.GetNthControlPointPosition(n) for n in range(5)]) * FLIP
    assert np.abs(found - fixed[:5]).max() < 2e-3
    assert [moved.GetNthControlPointLabel(n) for n in range(5)] == [f"p{n}" for n in range(5)]


def test_a_plane_is_refused_because_it_is_more_than_its_points(a_scene, chain, tmp_path):
    plane, store = storage_of(a_scene, "vtkMRMLMarkupsPlaneNode", "vtkMRMLMarkupsJsonStorageNode")
    plane.AddControlPoint((1.0, 2.0, 3.0))
    store.SetFileName(str(tmp_path / "plane.mrk.json"))
    assert store.WriteData(plane)
    out = tmp_path / "fixed.mrk.json"
    done = neuralreg("warp", tmp_path / "plane.mrk.json", *chain[0], "-o", out)
    assert done.exit_code == 1
    assert "Plane" in done.output
    assert not out.exists()


def a_segment(extent, spacing=2.0):
    """A box of ones as a segment's own labels, on the grid that all share."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(20, 22, 24)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(24, 22, 20)
    values[:] = 0
    values[extent] = 1
    image.SetSpacing(spacing, spacing, spacing)
    image.SetOrigin(-20.0, -22.0, -24.0)
    return image, values.copy()


BOXES = {
    "liver": (slice(5, 14), slice(6, 15), slice(4, 12)),
    "lesion": (slice(10, 18), slice(8, 12), slice(8, 16)),  # overlaps the liver
    "spleen": (slice(19, 22), slice(3, 6), slice(3, 9)),
}


def test_overlapping_segments_stay_whole_and_keep_names_and_colors(a_scene, chain, tmp_path):
    node, store = storage_of(a_scene, "vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode")
    truths = {}
    for n, (name, box) in enumerate(BOXES.items()):
        image, truths[name] = a_segment(box)
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(0.1 * n, 0.5, 0.9)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment, name)
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    store.SetFileName(str(tmp_path / "moving.seg.nrrd"))
    assert store.WriteData(node)

    reference = sitk.Image((24, 26, 28), sitk.sitkUInt8)
    reference.SetOrigin((-22.0, -25.0, -26.0))
    reference.SetSpacing((1.9, 1.9, 1.9))
    sitk.WriteImage(reference, str(tmp_path / "fixed.nrrd"))
    out = tmp_path / "fixed.seg.nrrd"
    options = "-r", tmp_path / "fixed.nrrd", "-o", out
    done = neuralreg("warp", tmp_path / "moving.seg.nrrd", *chain[0], *options)
    assert done.exit_code == 0, done.stderr
    moved, store = storage_of(a_scene, "vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode")
    store.SetFileName(str(out))
    assert store.ReadData(moved)
    segmentation = moved.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    for n, (name, values) in enumerate(truths.items()):
        assert segmentation.GetSegment(name).GetName() == name
        assert segmentation.GetSegment(name).GetColor() == pytest.approx((0.1 * n, 0.5, 0.9))
        labels = sitk.GetImageFromArray(values)  # on RAS axes
        labels.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        labels.SetOrigin((20.0, 22.0, -24.0))
        labels.SetSpacing((2.0, 2.0, 2.0))
        theirs = sitk.Resample(labels, reference, chain[1], sitk.sitkNearestNeighbor)
        expected = sitk.GetArrayFromImage(theirs).sum()
        assert expected > 50
        image = slicer.vtkOrientedImageData()
        moved.GetBinaryLabelmapRepresentation(name, image)
        found = vtk_to_numpy(image.GetPointData().GetScalars())
        assert abs(int((found > 0).sum()) - int(expected)) <= 0.03 * expected
        bounds, matrix = np.argwhere(sitk.GetArrayFromImage(theirs)), vtk.vtkMatrix4x4()
        middle = theirs.TransformContinuousIndexToPhysicalPoint(bounds.mean(0)[::-1].tolist())
        image.GetImageToWorldMatrix(matrix)
        shape = image.GetDimensions()[::-1]
        start = image.GetExtent()[::2]
        index = np.argwhere(found.reshape(shape) > 0).mean(0)[::-1] + start
        ours = np.array(matrix.MultiplyPoint((*index, 1.0)))[:3] * FLIP
        assert np.linalg.norm(ours - middle) < 0.3
