"""Packed NIfTI is read as what it holds, whoever packed it and by whichever way it is unpacked."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import UnreadableFile
from neuralreg.io.encodings import packed_files
from neuralreg.io.formats import nifti
from neuralreg.io.itk_images import open_volume

VALUES = np.random.default_rng(0).integers(-900, 900, (7, 6, 5)).astype(np.int16)


@pytest.fixture
def image_bytes(tmp_path):
    """A NIfTI of 16 bits as nibabel writes it, not yet packed."""
    path = tmp_path / "plain.nii"
    nibabel.save(nibabel.Nifti1Image(VALUES, np.diag([2.0, 2.0, 3.0, 1.0])), path)
    return path.read_bytes()


@pytest.fixture(autouse=True, params=["zlib", "isal"])
def a_library(request, monkeypatch):
    """Python's zlib with ITK, and isal where it is installed."""
    if request.param == "isal":
        pytest.importorskip("isal")
    for module in (nifti, packed_files):
        monkeypatch.setattr(module, "UNPACKS_FAST", request.param == "isal")


def values_of(path):
    return sitk.GetArrayFromImage(open_volume(path).image).transpose(2, 1, 0)


def in_one(raw):
    return gzip.compress(raw)


def in_members(raw):
    return gzip.compress(raw[:400]) + gzip.compress(raw[400:])


def with_more_behind(raw):
    return gzip.compress(raw + b"more")


def with_zeros_behind_the_packed(raw):
    return gzip.compress(raw) + bytes(8)


@pytest.mark.parametrize(
    "pack", [in_one, in_members, with_more_behind, with_zeros_behind_the_packed]
)
def test_every_way_of_packing_gives_the_same_values(image_bytes, tmp_path, pack):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(pack(image_bytes))
    assert np.array_equal(values_of(path), VALUES)


def test_what_itk_unpacks_leaves_nothing_of_the_header_for_a_writer(image_bytes, tmp_path):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(in_one(image_bytes))
    assert open_volume(path).image.GetMetaDataKeys() == ()


def test_a_wrong_checksum_is_refused(image_bytes, tmp_path):
    path = tmp_path / "image.nii.gz"
    packed = bytearray(in_one(image_bytes))
    packed[-8] ^= 1
    path.write_bytes(packed)
    with pytest.raises(UnreadableFile, match="truncated or damaged"):
        open_volume(path)


def test_a_sound_file_is_unpacked_by_itk(image_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(nifti, "UNPACKS_FAST", False)
    path = tmp_path / "image.nii.gz"
    path.write_bytes(in_one(image_bytes))
    monkeypatch.delattr(nifti, "_read_stored")
    assert np.array_equal(values_of(path), VALUES)
