"""Registration objects through the DICOM module: exported from nodes, loaded as nodes."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import slicer
import vtk
from pydicom.uid import generate_uid

from Testing.gui.standin import dicom_module
from Testing.support import foreign_transforms as foreign
from Testing.support.dicom_files import write_slices

NAME = "DICOMNeuralRegistrationPlugin"
POINTS = np.random.default_rng(4).uniform(2, 10, (40, 3))  # LPS mm, inside both images


@pytest.fixture
def two_series(tmp_path, monkeypatch, a_scene):
    """Volumes of two series of one patient, and the DICOM module's database of their files."""
    folders, volumes = [], []
    stored = np.arange(6 * 7 * 8, dtype=np.uint16).reshape(6, 7, 8)
    for name in ("fixed", "moving"):
        folder = tmp_path / name
        folder.mkdir()
        series = {key: generate_uid(entropy_srcs=[name, key]) for key in ("series", "frame")}
        write_slices(
            folder, stored, [1] * 6, FrameOfReferenceUID=series["frame"], PatientID="P1",
            PatientName="Doe^Jane", SeriesInstanceUID=series["series"],
        )  # fmt: skip
        for path in sorted(folder.glob("*.dcm")):  # each file has a UID of its own
            content = pydicom.dcmread(path)
            uid = generate_uid(entropy_srcs=[name, path.name])
            content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID = uid
            content.save_as(path)
        uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in sorted(folder.glob("*.dcm"))]
        image = vtk.vtkImageData()
        image.SetDimensions(8, 7, 6)
        image.AllocateScalars(vtk.VTK_SHORT, 1)
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        volume.SetAndObserveImageData(image)
        volume.SetSpacing(3, 3, 3)
        volume.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
        volume.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
        folders.append(folder)
        volumes.append(volume)
    (tmp_path / "out").mkdir()
    dicom_module.install(monkeypatch, folders)
    return SimpleNamespace(folders=folders, volumes=volumes, out=tmp_path / "out")


def linear_transform():
    """The matrix of `foreign_transforms`, RAS."""
    transform = vtk.vtkTransform()
    ras = foreign.FLIP @ foreign.MATRIX @ foreign.FLIP
    transform.SetMatrix(slicer.util.vtkMatrixFromArray(ras))
    return transform


def spline_transform():
    """Points that move by different amounts: no grid, no matrix."""
    ends = foreign.bent(CORNERS)
    sides = vtk.vtkPoints(), vtk.vtkPoints()
    for points, side in zip((CORNERS, ends), sides, strict=True):
        for point in foreign.in_ras(points):
            side.InsertNextPoint(point)
    transform = vtk.vtkThinPlateSplineTransform()
    transform.SetSourceLandmarks(sides[0])
    transform.SetTargetLandmarks(sides[1])
    transform.SetBasisToR()
    return transform


CORNERS = np.stack(np.meshgrid(*[[0.0, 9.0, 20.0]] * 3), -1).reshape(-1, 3)


def result_node(volumes, transform):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "moving to fixed")
    node.SetAndObserveTransformFromParent(transform)
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), volumes[0].GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), volumes[1].GetID())
    return node


def item_of(node) -> int:
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return tree.GetItemByDataNode(node) or tree.CreateItem(tree.GetSceneItemID(), node)


def a_plugin():
    """As the export dialog makes it: by the name that the exportable gives."""
    module = importlib.import_module(NAME)
    module.DICOMNeuralRegistrationPlugin(SimpleNamespace())
    return slicer.modules.dicomPlugins[NAME]()


def export(node, out: Path) -> str:
    (exportable,) = a_plugin().examineForExport(item_of(node))
    assert exportable.pluginClass in slicer.modules.dicomPlugins
    exportable.directory = str(out)
    return a_plugin().export([exportable])


def through(node) -> np.ndarray:
    """Where the points of the fixed image go by a node, LPS mm."""
    transform = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(transform)
    moved = [transform.TransformPoint(point) for point in foreign.in_ras(POINTS)]
    return foreign.in_ras(np.array(moved))


@pytest.mark.parametrize(
    ("make", "kind", "tolerance_mm"),
    [(linear_transform, "66.1", 1e-3), (spline_transform, "66.3", 0.02)],
)
def test_a_result_comes_back_as_the_transform_that_was_exported(
    two_series, make, kind, tolerance_mm
):
    node = result_node(two_series.volumes, make())
    expected = through(node)
    assert np.abs(expected - POINTS).max() > 1
    assert export(node, two_series.out) == ""
    (path,) = two_series.out.glob("*.dcm")
    content = pydicom.dcmread(path)
    assert str(content.SOPClassUID).endswith(kind)
    assert (content.SeriesDescription, content.PatientID) == ("moving to fixed", "P1")
    fixed_frame = pydicom.dcmread(next(two_series.folders[0].glob("*.dcm"))).FrameOfReferenceUID
    assert content.FrameOfReferenceUID == fixed_frame

    slicer.dicomDatabase = dicom_module.Database([*two_series.folders, two_series.out])
    plugin = a_plugin()
    images = [str(next(two_series.folders[0].glob("*.dcm")))]
    (loadable,) = plugin.examineForImport([images, [str(path)]])
    assert loadable.selected
    assert loadable.files == [str(path)]
    before = {each.GetID() for each in slicer.util.getNodesByClass("vtkMRMLTransformNode")}
    assert plugin.load(loadable)
    (loaded,) = (each for each in slicer.util.getNodesByClass("vtkMRMLTransformNode")
                 if each.GetID() not in before)  # fmt: skip
    np.testing.assert_allclose(through(loaded), expected, atol=tolerance_mm)
    roles = loaded.GetFixedNodeReferenceRole(), loaded.GetMovingNodeReferenceRole()
    assert [loaded.GetNodeReference(role) for role in roles] == two_series.volumes
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    uid = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName()
    assert tree.GetItemUID(item_of(loaded), uid) == str(content.SeriesInstanceUID)


def test_the_moving_volume_may_lie_under_the_result_but_under_nothing_else(two_series):
    node = result_node(two_series.volumes, linear_transform())
    two_series.volumes[1].SetAndObserveTransformNodeID(node.GetID())
    assert export(node, two_series.out) == ""
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "other")
    two_series.volumes[0].SetAndObserveTransformNodeID(other.GetID())
    assert "under the transform other" in export(node, two_series.out)


def test_what_is_no_transform_between_series_is_not_offered(two_series):
    plugin = a_plugin()
    assert plugin.examineForExport(item_of(two_series.volumes[0])) == []
    two_series.volumes[1].RemoveAttribute("DICOM.instanceUIDs")
    node = result_node(two_series.volumes, linear_transform())
    assert plugin.examineForExport(item_of(node)) == []


def test_a_series_that_the_database_lost_is_said(two_series, caplog):
    node = result_node(two_series.volumes, linear_transform())
    slicer.dicomDatabase = dicom_module.Database(two_series.folders[:1])
    assert "no such series" in export(node, two_series.out)
    assert list(two_series.out.iterdir()) == []


def test_a_damaged_object_is_not_loaded_and_the_log_says_why(two_series, caplog):
    node = result_node(two_series.volumes, linear_transform())
    assert export(node, two_series.out) == ""
    (path,) = two_series.out.glob("*.dcm")
    content = pydicom.dcmread(path)
    del content.RegistrationSequence
    content.save_as(path)
    slicer.dicomDatabase = dicom_module.Database([two_series.out])
    plugin = a_plugin()
    (loadable,) = plugin.examineForImport([[str(path)]])
    assert plugin.load(loadable) is False
    assert "damaged registration object" in caplog.text


def test_slicer_rt_goes_first_where_it_is_installed(two_series):
    node = result_node(two_series.volumes, spline_transform())
    assert export(node, two_series.out) == ""
    slicer.dicomDatabase = dicom_module.Database([two_series.out])
    plugin = a_plugin()
    slicer.modules.dicomPlugins["DicomSroImportExportPlugin"] = object
    try:
        (loadable,) = plugin.examineForImport([[str(next(two_series.out.iterdir()))]])
        (exportable,) = plugin.examineForExport(item_of(node))
    finally:
        del slicer.modules.dicomPlugins["DicomSroImportExportPlugin"]
    assert not loadable.selected
    assert exportable.confidence < 1
