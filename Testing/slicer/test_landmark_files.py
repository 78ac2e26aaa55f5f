"""Landmarks that the review writes are what Slicer reads, and the other way around."""

from __future__ import annotations

import pytest
import slicer
from neuralreg.io.landmark_files import Landmarks, read_landmarks, write_landmarks

POINTS = Landmarks(("apex", "base"), ((1.5, -2.0, 3.25), (10.0, 20.0, -30.0)))


@pytest.fixture
def a_storage(a_scene):
    return a_scene.AddNewNodeByClass("vtkMRMLMarkupsJsonStorageNode")


def test_slicer_reads_the_markups_that_are_written(a_scene, a_storage, tmp_path):
    write_landmarks(POINTS, tmp_path / "p.mrk.json")
    node = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    a_storage.SetFileName(str(tmp_path / "p.mrk.json"))
    assert a_storage.ReadData(node)
    assert node.GetNthControlPointLabel(0) == "apex"
    assert node.GetNthControlPointPosition(0) == pytest.approx((-1.5, 2.0, 3.25))


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_markups_that_slicer_writes_are_read(a_scene, a_storage, tmp_path, system):
    node = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    node.AddControlPoint((-1.5, 2.0, 3.25), "apex")
    node.AddControlPoint((-10.0, -20.0, -30.0), "base")
    ras = slicer.vtkMRMLStorageNode.CoordinateSystemRAS
    lps = slicer.vtkMRMLStorageNode.CoordinateSystemLPS
    a_storage.SetCoordinateSystem(ras if system == "RAS" else lps)
    a_storage.SetFileName(str(tmp_path / "p.mrk.json"))
    assert a_storage.WriteData(node)
    found = read_landmarks(tmp_path / "p.mrk.json")
    assert found.names == POINTS.names
    for ours, theirs in zip(found.points, POINTS.points, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
