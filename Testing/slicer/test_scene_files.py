"""Transforms in saved scenes, read without Slicer and compared with Slicer's own nodes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from neuralreg.errors import InvalidTransform, UnreadableFile
from neuralreg.io.itk_transforms import read_itk_transform
from NeuralRegistrationLib.Scene import Scripting

from Testing.slicer.conftest import wavy_field
from Testing.support.command_line import facts_of

RIGID, CHILD, FIELD = "Rigid, of today", "Child", "moving to fixed"
MATRIX = np.eye(4)
MATRIX[:3] = [[0.96, -0.28, 0, 12], [0.28, 0.96, 0, -7], [0, 0, 1.1, 3]]  # RAS, to parent
BELOW = np.eye(4)  # does not commute with it
BELOW[:3] = [[1, 0, 0, 4], [0, 0.8, -0.6, 9], [0, 0.6, 0.8, -5]]


@pytest.fixture
def scene(a_headless_scene, an_oblique_grid, tmp_path) -> Path:
    """A matrix, another one below it, and a field."""
    nodes = [
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        for name in (RIGID, CHILD)
    ]
    for node, matrix in zip(nodes, (MATRIX, BELOW), strict=True):
        own = vtk.vtkMatrix4x4()
        own.DeepCopy(matrix.ravel())
        node.SetMatrixTransformToParent(own)
    nodes[1].SetAndObserveTransformNodeID(nodes[0].GetID())
    Scripting.transformNodeFromField(wavy_field(an_oblique_grid), FIELD)
    a_headless_scene.save(tmp_path / "scene.mrb")
    return tmp_path / "scene.mrb"


def through_node(name: str, points_lps: np.ndarray) -> np.ndarray:
    """Points of the world in the frame below a node, by Slicer."""
    node = slicer.mrmlScene.GetFirstNodeByName(name)
    whole = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(whole)
    flip = np.array([-1.0, -1.0, 1.0])
    return np.array([whole.TransformPoint(p) for p in points_lps * flip]) * flip


@pytest.mark.parametrize("name", [RIGID, CHILD, FIELD])
def test_points_go_where_slicers_node_sends_them(scene, an_oblique_grid, name):
    transform = read_itk_transform(Path(f"{scene}::{name}"))
    index = np.random.default_rng(0).integers(1, np.subtract(an_oblique_grid.size, 2), (40, 3))
    points = an_oblique_grid.points_at(index.astype(float))  # samples, where fields are exact
    moved = np.array([transform.TransformPoint(point) for point in points])
    np.testing.assert_allclose(moved, through_node(name, points), atol=1e-3)


def test_a_node_has_to_be_named_and_the_names_are_said(scene, tmp_path):
    with pytest.raises(InvalidTransform, match=r"3 transform nodes.*'Rigid, of today' \(vtkMRML"):
        read_itk_transform(scene)
    with pytest.raises(InvalidTransform, match=r"no transform nodes.*called 'Other'.*'Child'"):
        read_itk_transform(Path(f"{scene}::Other"))
    facts = facts_of("info", f"{scene}::{RIGID}")
    assert facts["program"] == "3D Slicer, in a scene"
    out = tmp_path / "t.tfm"
    facts_of("convert", f"{scene}::{CHILD}", "-o", out)
    points = np.array([[0.0, 0, 0], [10, 20, 30]])
    moved = [sitk.ReadTransform(str(out)).TransformPoint(point) for point in points]
    np.testing.assert_allclose(moved, through_node(CHILD, points), atol=1e-3)


def test_damaged_and_empty_bundles_are_refused(scene, tmp_path):
    (tmp_path / "cut.mrb").write_bytes(scene.read_bytes()[:-200])
    with zipfile.ZipFile(tmp_path / "other.mrb", "w") as content:
        content.writestr("readme.txt", "no scene")
    with zipfile.ZipFile(scene) as whole, zipfile.ZipFile(tmp_path / "lost.mrb", "w") as lost:
        for name in whole.namelist():
            if not name.endswith(".h5"):
                lost.writestr(name, whole.read(name))
    for name in ("cut.mrb", "other.mrb", f"lost.mrb::{CHILD}"):
        with pytest.raises(UnreadableFile, match="scene"):
            read_itk_transform(tmp_path / name)
