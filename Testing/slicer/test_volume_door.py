"""Volume nodes come in as files with the same content do; judged by pydicom and NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import slicer
import torch
from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.remarks import RemarkKind
from neuralreg.io.image_files import read_image
from neuralreg.worker.messages import RegisterJob, ReviewJob, Voxels
from neuralreg.worker.register_job import run
from neuralreg.worker.review_job import run as run_review
from neuralreg.worker.serialization import at_once, pack, unpack
from NeuralRegistrationLib.Scene import Scripting, Volumes

from Testing.support.dicom_files import write_slices

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SLICES = Grid((12, 11, 10), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), STRAIGHT)  # as write_slices places
PADDING = -2000


class Database:
    """As Slicer's DICOM database answers: the file of an instance, "" for what it does not know."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.dcm"))
        self.files = {str(pydicom.dcmread(path).SOPInstanceUID): str(path) for path in files}

    def fileForInstance(self, uid: str) -> str:
        return self.files.get(uid, "")


@pytest.fixture
def a_padded_series(tmp_path):
    """A CT of 16 bits whose first rows are padding, as files."""
    stored = np.random.default_rng(0).integers(0, 2000, SLICES.shape).astype(np.int16)
    stored[:, :2] = PADDING
    folder = tmp_path / "series"
    folder.mkdir()
    return write_slices(folder, stored, np.ones(10), Modality="CT", PixelPaddingValue=PADDING)


def node_of_series(folder: Path, monkeypatch, units: tuple[str, str, str] | None = None):
    """What the loader of Slicer makes of a series: rescaled values, and the list of instances."""
    database = Database(folder)
    headers = [pydicom.dcmread(path) for path in database.files.values()]
    values = np.stack([h.pixel_array * h.RescaleSlope + h.RescaleIntercept for h in headers])
    plain = torch.from_numpy(values.astype(headers[0].pixel_array.dtype))
    node = Scripting.volumeNodeFromImage(Image(plain[None], SLICES), "CT")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(database.files))
    if units is not None:
        entry = slicer.vtkCodedEntry()
        entry.SetValueSchemeMeaning(*units)
        node.SetVoxelValueUnits(entry)
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    return node


def facts(image: Image) -> list[tuple]:
    return [(remark.kind, dict(remark.values)) for remark in image.remarks]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("number", [np.int16, np.float32, np.float64])
def test_a_node_is_the_image_of_the_same_content_as_a_file(a_scene, tmp_path, number, suffix):
    values = np.random.default_rng(1).integers(-900, 900, SLICES.shape).astype(number)
    if np.issubdtype(number, np.floating):
        values[0, 0, :3] = (np.nan, np.inf, -np.inf)
    made = sitk.GetImageFromArray(values)
    made.SetSpacing(SLICES.spacing)
    sitk.WriteImage(made, str(tmp_path / f"image{suffix}"))
    file = read_image(tmp_path / f"image{suffix}")
    node = Scripting.volumeNodeFromImage(Image(torch.from_numpy(values)[None], SLICES), "node")
    image = Scripting.imageFromVolumeNode(node)
    np.testing.assert_array_equal(image.data[0].numpy(), values)
    np.testing.assert_array_equal(image.data.numpy(), file.data.numpy())
    assert image.data.dtype == file.data.dtype
    assert image.grid.is_close(file.grid)
    expected = [(RemarkKind.NOT_FINITE, {"count": 3})] if values.dtype.kind == "f" else []
    assert facts(image) == facts(file) == expected


@pytest.mark.parametrize("units", [None, ("[hnsf'U]", "UCUM", "Hounsfield unit")])
def test_the_padding_of_a_node_is_background_as_in_its_files(
    a_scene, a_padded_series, monkeypatch, units
):
    node = node_of_series(a_padded_series, monkeypatch, units)
    stored = slicer.util.arrayFromVolume(node).copy()
    image, file = Scripting.imageFromVolumeNode(node), read_image(a_padded_series)
    np.testing.assert_array_equal(image.data[0].numpy(), np.maximum(stored, stored[:, 2:].min()))
    np.testing.assert_array_equal(image.data.numpy(), file.data.numpy())
    padded = {"count": int((stored == PADDING).sum()), "value": PADDING}
    assert facts(image) == facts(file) == [(RemarkKind.PADDED, padded)]
    assert str(image.remarks[0]).startswith("CT: ")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), stored)


@pytest.mark.parametrize("known", ["no database", "another database", "files deleted"])
def test_without_its_files_a_node_keeps_its_values_and_says_so(
    a_scene, a_padded_series, monkeypatch, known
):
    node = node_of_series(a_padded_series, monkeypatch)
    if known == "no database":
        monkeypatch.delattr(slicer, "dicomDatabase")
    elif known == "another database":
        slicer.dicomDatabase.files.clear()
    else:
        for path in a_padded_series.iterdir():
            path.unlink()
    image = Scripting.imageFromVolumeNode(node)
    assert float(image.data.min()) == PADDING
    assert [kind for kind, _values in facts(image)] == [RemarkKind.FILES_UNKNOWN]


@pytest.mark.parametrize(
    ("own", "said"),
    [(None, ["BQML"]), (("{SUVbw}g/ml", "UCUM", "body weight"), ["{SUVbw}g/ml"]),
     (("1", "UCUM", "no units"), [])],
)  # fmt: skip
def test_units_are_those_of_the_file_unless_a_loader_has_converted_them(
    a_scene, tmp_path, monkeypatch, own, said
):
    stored = np.random.default_rng(0).integers(0, 2000, SLICES.shape).astype(np.int16)
    write_slices(tmp_path, stored, np.ones(10), Modality="PT", Units="BQML")
    image = Scripting.imageFromVolumeNode(node_of_series(tmp_path, monkeypatch, own))
    assert facts(image) == [(RemarkKind.UNITS, {"units": one}) for one in said]
    assert [one["units"] for _kind, one in facts(read_image(tmp_path))] == ["BQML"]


def test_a_registration_takes_and_says_the_same_of_nodes_and_files(
    a_scene, a_padded_series, monkeypatch, a_known_engine
):
    node = node_of_series(a_padded_series, monkeypatch)
    record = at_once(Volumes.contentOf(node).record())
    path = str(a_padded_series)
    folder = a_padded_series.parent / "packed"
    folder.mkdir()
    handed = unpack(json.loads(json.dumps(at_once(pack(record, folder)))))
    seen = []

    def engine(fixed, moving, options, **more):
        seen.append((fixed, moving))
        return a_known_engine(fixed, moving)

    ofNodes, _ = run(RegisterJob(handed, handed), engine=engine)
    ofFiles, _ = run(RegisterJob(path, path), engine=engine)
    np.testing.assert_array_equal(seen[0][1].data.numpy(), seen[1][1].data.numpy())
    np.testing.assert_array_equal(ofNodes.warped, ofFiles.warped)
    assert [text.replace("CT: ", f"{path}: ") for text in ofNodes.warnings] == list(
        ofFiles.warnings
    )
    assert sum("padding value -2000" in text for text in ofNodes.warnings) == 2


@pytest.mark.parametrize("kind", ["vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode"])
def test_labels_that_are_no_integers_are_refused_alike(a_scene, tmp_path, a_known_engine, kind):
    values = np.ones(SLICES.shape, np.float32)
    values[3, 4, 5] = 1.5
    made = sitk.GetImageFromArray(values)
    made.SetSpacing(SLICES.spacing)
    path = str(tmp_path / "labels.nrrd")
    sitk.WriteImage(made, path)
    node = slicer.util.addVolumeFromArray(values, nodeClassName=kind, name="labels")
    image = Voxels(np.arange(SLICES.count).reshape(SLICES.shape), SLICES)
    messages = []
    for labels in (at_once(Volumes.contentOf(node).record()), path):
        with pytest.raises(InvalidImage, match="such as 1\\.5") as caught:
            run(RegisterJob(image, image, labels=(labels, labels)), engine=a_known_engine)
        messages.append(str(caught.value).replace(path, "labels"))
    assert messages[0] == messages[1]


def test_a_review_takes_and_says_the_same_of_nodes_and_files(a_scene, a_padded_series, monkeypatch):
    record = at_once(Volumes.contentOf(node_of_series(a_padded_series, monkeypatch)).record())
    path = str(a_padded_series)
    rows = tuple(tuple(row) for row in np.eye(4).tolist())
    ofNodes, ofFiles = (
        run_review(ReviewJob(rows, each, each, maps=("warped",))) for each in (record, path)
    )
    np.testing.assert_array_equal(ofNodes.maps["warped"].data, ofFiles.maps["warped"].data)
    notes = [text.replace("CT: ", f"{path}: ") for text in ofNodes.report["notes"]]
    assert sorted(notes) == sorted(ofFiles.report["notes"])
    assert any("padding value -2000" in text for text in notes)
