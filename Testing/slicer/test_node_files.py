"""Volume nodes that 3D Slicer itself loaded: what their files are doubted for is said."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import slicer
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.image_files import read_image
from NeuralRegistrationLib.Scene import Scripting

from Testing.support.dicom_files import write_slices

VALUES = np.random.default_rng(0).integers(0, 999, (8, 7, 6)).astype(np.float32)
PLACE = nibabel.affines.from_matvec(np.diag([2.0, 2.0, 3.0]), (-5.0, 4.0, 3.0))
SHIFT_MM = 8.0


def nifti(path: Path, values: np.ndarray = VALUES, **elements: object) -> Path:
    """A file with both placements alike, then elements of its header set to something else."""
    image = nibabel.Nifti1Image(values, PLACE)
    image.set_qform(PLACE, 1)
    image.set_sform(PLACE, 1)
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in elements.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(raw)
    return path


def load(scene, path: Path, kind: str = "vtkMRMLScalarVolumeNode"):
    node = scene.AddNewNodeByClass(kind, "head")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    node.SetAndObserveStorageNodeID(storage.GetID())
    assert storage.ReadData(node)
    return node


def facts(image) -> list[tuple]:
    return [(remark.kind, dict(remark.values)) for remark in image.remarks]


@pytest.mark.parametrize(
    ("elements", "kind"),
    [
        ({}, None),
        ({"qoffset_x": -5 + SHIFT_MM}, RemarkKind.PLACEMENTS_DISAGREE),
        ({"xyzt_units": 3}, RemarkKind.LENGTH_UNIT),
        ({"qform_code": 0, "sform_code": 0}, RemarkKind.NO_PLACEMENT),
        ({"sform_code": 17}, RemarkKind.HEADER_REPAIRED),
    ],
)
@pytest.mark.parametrize("node_kind", ["vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode"])
def test_a_node_is_doubted_as_its_file_is(a_scene, tmp_path, elements, kind, node_kind):
    path = nifti(tmp_path / "head.nii", **elements)
    node = load(a_scene, path, node_kind)
    image, file = Scripting.imageFromVolumeNode(node), read_image(path)
    assert facts(image) == facts(file)
    assert [fact[0] for fact in facts(image)] == ([kind] if kind else [])
    assert image.grid.is_close(file.grid, 1e-3)
    assert all(str(remark).startswith("head: ") for remark in image.remarks)


def test_a_node_that_slicer_places_by_pixdim_is_said_to_lie_elsewhere(a_scene, tmp_path):
    pixdim = [1, 1, 1, 3, 1, 0, 0, 0]
    node = load(a_scene, nifti(tmp_path / "head.nii", qform_code=0, pixdim=pixdim))
    (remark,) = Scripting.imageFromVolumeNode(node).remarks
    assert remark.kind is RemarkKind.PLACED_OTHERWISE
    assert node.GetSpacing() == (1, 1, 3)
    assert remark.values["voxels"] == pytest.approx(np.hypot(7.5, 6.5))  # at 2 mm, not 1


def test_what_slicer_adds_to_the_values_or_takes_from_them_is_said(a_scene, tmp_path):
    values = VALUES.copy()
    values[1, 2, 3], values[4, 5, 5] = np.nan, np.inf
    path = nifti(tmp_path / "head.nii", values, scl_slope=0, scl_inter=100)
    node = load(a_scene, path)
    stored = slicer.util.arrayFromVolume(node).T
    assert stored[0, 0, 0] == VALUES[0, 0, 0] + 100
    assert np.isfinite(stored).all()
    said = dict(facts(Scripting.imageFromVolumeNode(node)))
    assert said[RemarkKind.INTERCEPT_ADDED] == {"intercept": 100}
    assert said[RemarkKind.NOT_FINITE_LOST] == {"count": 2}


def test_a_node_that_was_moved_is_not_said_to_be_misplaced(a_scene, tmp_path):
    node = load(a_scene, nifti(tmp_path / "head.nii", xyzt_units=1))
    node.SetOrigin(1, 2, 3)
    assert [fact[0] for fact in facts(Scripting.imageFromVolumeNode(node))] == [
        RemarkKind.LENGTH_UNIT
    ]


@pytest.mark.parametrize("change", ["other size", "deleted", "damaged"])
def test_why_the_file_of_a_node_says_nothing(a_scene, tmp_path, change):
    path = nifti(tmp_path / "head.nii")
    node = load(a_scene, path)
    if change == "other size":
        nifti(path, VALUES[:4])
    elif change == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"nothing")
    (remark,) = Scripting.imageFromVolumeNode(node).remarks
    assert remark.kind is RemarkKind.FILES_UNKNOWN
    assert str(path) in str(remark)


@pytest.mark.parametrize(
    ("heights", "kinds"),
    [
        ([0, 3, 6, 9, 12], []),
        ([0, 3, 6.2, 9, 12], [RemarkKind.SHIFTED_SLICES]),
        ([0, 3, 6, 12, 15], [RemarkKind.SLICES_DOUBTED]),
        (None, [RemarkKind.NO_PLACEMENT]),
    ],
)
def test_slices_of_a_node_are_doubted_as_those_of_its_folder(
    a_scene, tmp_path, monkeypatch, heights, kinds
):
    stored = np.random.default_rng(0).integers(0, 999, (5, 7, 6)).astype(np.int16)
    write_slices(tmp_path, stored, np.ones(5))
    files = {}
    for k, path in enumerate(sorted(tmp_path.iterdir())):
        made = pydicom.dcmread(path)
        if heights is None:
            del made.ImagePositionPatient
        else:
            made.ImagePositionPatient = [0, 0, heights[k]]
        made.save_as(path)
        files[str(made.SOPInstanceUID)] = str(path)
    node = slicer.util.addVolumeFromArray(stored, name="CT")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(reversed(files)))
    database = type("Database", (), {"fileForInstance": lambda self, uid: files[uid]})()
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    image = Scripting.imageFromVolumeNode(node)
    assert [fact[0] for fact in facts(image)] == kinds
    if kinds == [RemarkKind.SLICES_DOUBTED]:
        assert "not evenly spaced" in str(image.remarks[0])
    else:
        assert facts(image) == facts(read_image(tmp_path))
