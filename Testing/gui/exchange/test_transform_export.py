"""Export of a transform for a program that is chosen, through the real worker."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from neuralreg.io.exchange.families import WRITERS, read_content
from neuralreg.io.exchange.matrices import from_affine
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.itk_transforms import read_itk_transform

from Testing.support import foreign_transforms as foreign


@pytest.fixture
def export(the_application, a_scene, wait_until):
    """Writes a node, and gives what the status line said at last."""
    import qt
    from NeuralRegistrationLib.Exchange.TransformExport import TransformExport
    from NeuralRegistrationLib.Review import Jobs

    said: list[str] = []
    button = qt.QPushButton()
    menu = TransformExport(button, lambda: None, said.append, Jobs.queue)

    def write(node, path, program) -> str:
        said.clear()
        menu.write(node, str(path), program)
        wait_until(lambda: len(said) > 1)
        return said[-1]

    write.menu, write.said = menu, said
    yield write
    Jobs.queue().close()  # a warm worker's folder is in the way of tests that look for none


@pytest.fixture
def sides(tmp_path, a_scene):
    """Two files, and a transform node between the volumes that were read from them."""
    made = [
        foreign.make_side(tmp_path / "fixed.nii.gz", "oblique left"),
        foreign.make_side(tmp_path / "moving.nii.gz", "LAS", spacing=(2.2, 2.4, 3.1)),
    ]
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "moving to fixed")
    roles = node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()
    for side, role in zip(made, roles, strict=True):
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(side.path))
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", role)
        assert storage.ReadData(volume)
        volume.SetAndObserveStorageNodeID(storage.GetID())
        node.SetNodeReferenceID(role, volume.GetID())
    return made, node


def set_matrix(node) -> None:
    linear = vtk.vtkTransform()
    ras = foreign.FLIP @ foreign.MATRIX @ foreign.FLIP
    linear.SetMatrix(slicer.util.vtkMatrixFromArray(ras))
    node.SetAndObserveTransformFromParent(linear)


def set_field(node, fixed) -> None:
    """A constant displacement of one corner's neighborhood would do; here the whole bend."""
    from neuralreg.geometry.grid import Grid
    from neuralreg.worker.messages import Field
    from neuralreg.worker.serialization import at_once
    from NeuralRegistrationLib.Scene import Geometry

    grid = Grid.of(sitk.ReadImage(str(fixed.path)))
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij")[::-1], -1)
    points = grid.points_at(index.astype(float))
    field = Field((foreign.bent(points) - points).astype(np.float32), grid)
    node.SetAndObserveTransformFromParent(at_once(Geometry.gridTransformInSteps(field)))


def test_the_programs_are_those_that_can_be_written(the_application):
    from NeuralRegistrationLib.Exchange.TransformExport import PROGRAMS

    same = {"fsl-relative", "fsl-absolute", "mrtrix-deformation", "mrtrix-displacement"}
    assert set(PROGRAMS) == {"itk", *WRITERS} - same
    for program, (_, linear, field) in PROGRAMS.items():
        if program != "itk":
            writer = WRITERS[program]
            known = {*writer.linear_suffixes, *(writer.field_suffixes if writer.field else ())}
            assert {suffix.lower() for suffix in linear.split()} <= known
            assert {suffix.lower() for suffix in field.split()} <= set(writer.field_suffixes)
            assert bool(field) == (writer.field is not None)


@pytest.mark.parametrize(
    ("program", "name"),
    [("itk", "t.tfm"), ("fsl", "t.mat"), ("freesurfer", "t.lta"), ("elastix", "t.txt")],
)
def test_a_matrix_is_written_for_the_program_that_was_chosen(
    tmp_path, sides, export, program, name
):
    (fixed, moving), node = sides
    set_matrix(node)
    assert export(node, tmp_path / name, program).startswith(f"Written: {name}.")
    content, family = read_content(
        tmp_path / name, Sides(fixed.path, moving.path), source="fsl" if program == "fsl" else None
    )
    assert family == program
    np.testing.assert_allclose(from_affine(content), foreign.MATRIX, atol=1e-4)


def test_a_field_is_written_as_a_warp_of_fsl(tmp_path, sides, export):
    (fixed, moving), node = sides
    set_field(node, fixed)
    assert "Written: w.nii.gz." in export(node, tmp_path / "w.nii.gz", "fsl")
    assert nibabel.load(tmp_path / "w.nii.gz").header["intent_code"] == 2006
    moved = foreign.apply_warp("fsl-relative", fixed, moving, tmp_path / "w.nii.gz")
    np.testing.assert_allclose(moved, foreign.bent(fixed.points()), atol=0.02)


def test_what_the_program_cannot_have_is_said(tmp_path, sides, export):
    (fixed, _moving), node = sides
    set_field(node, fixed)
    export.menu._transformNode = lambda: node
    export.menu.export("freesurfer")
    assert export.said[-1] == "FreeSurfer has no file for a transform that bends."
    volume = node.GetNodeReference(node.GetFixedNodeReferenceRole())
    volume.SetAndObserveStorageNodeID(None)
    said = export(node, tmp_path / "w.nii.gz", "fsl")
    assert "has no file" in said
    assert "Save it as NIfTI" in said
    assert not (tmp_path / "w.nii.gz").exists()
    assert "Written" in export(node, tmp_path / "t.h5", "itk")
    point = fixed.points()[5, 5, 5]
    moved = read_itk_transform(tmp_path / "t.h5").TransformPoint(point.tolist())
    assert moved == pytest.approx(foreign.bent(point), abs=0.02)


def test_the_menu_asks_for_a_file_of_the_program(tmp_path, sides, export, monkeypatch, wait_until):
    import qt

    _, node = sides
    set_matrix(node)
    node.SetName("/Kopf: moving to fixed")
    asked = []

    def answer(parent, caption, start, filters):
        asked.append((caption, str(Path(start).relative_to(Path.home())), filters))
        return str(tmp_path / "t.xfm")

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", answer)
    export.menu._transformNode = lambda: node
    (action,) = [one for one in export.menu.menu.actions() if one.text == "MINC"]
    action.trigger()
    wait_until(lambda: len(export.said) > 1)
    assert asked == [("Transform for MINC", "_Kopf_ moving to fixed.xfm", "MINC (*.xfm)")]
    assert export.said[-1] == "Written: t.xfm."
