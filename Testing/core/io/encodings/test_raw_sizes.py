"""Packed MetaImage and NRRD files as ITK, teem and others write them; judged by NumPy."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from neuralreg.errors import UnreadableFile
from neuralreg.io.encodings import packed_files
from neuralreg.io.encodings.raw_sizes import has_checksum_of, is_packed_image
from neuralreg.io.image_files import read_image

NOISE = np.random.default_rng(0).integers(-999, 999, (6, 7, 8)).astype(np.int16)
ZLIB, BIG = zlib.compress(NOISE.tobytes()), zlib.compress(NOISE.astype(">i2").tobytes())


@pytest.fixture(params=["zlib", "isal"])
def a_library(request, monkeypatch):
    """Python's zlib, and isal where it is installed."""
    if request.param == "isal":
        pytest.importorskip("isal")
    monkeypatch.setattr(packed_files, "UNPACKS_FAST", request.param == "isal")


def nrrd(path: Path, raw: bytes, endian: str = "little") -> Path:
    lines = ("NRRD0004", "type: short", "dimension: 3", "sizes: 8 7 6", f"endian: {endian}",
             "encoding: gzip", "space: left-posterior-superior",
             "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)")  # fmt: skip
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + raw)
    return path


def mha(path: Path, raw: bytes, length: int | None = None, more: str = "") -> Path:
    size = "" if length is None else f"CompressedDataSize = {length}\n"
    path.write_bytes(
        f"ObjectType = Image\nNDims = 3\nDimSize = 8 7 6\n{more}CompressedData = True\n{size}"
        f"ElementType = MET_SHORT\nElementDataFile = LOCAL\n".encode()
        + raw
    )
    return path


@pytest.mark.usefixtures("a_library")
@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("number", [np.int16, np.float32])
def test_packed_values_are_known_by_their_checksum(tmp_path, suffix, number):
    path = tmp_path / f"image{suffix}"
    values = NOISE.astype(number)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), useCompression=True)
    assert is_packed_image(path)
    assert has_checksum_of(path, values)
    values[3, 4, 5] += 1
    assert not has_checksum_of(path, values)
    assert not has_checksum_of(path, values[:5])


@pytest.mark.usefixtures("a_library")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: nrrd(path / "a.nrrd", gzip.compress(NOISE.tobytes())),
        lambda path: nrrd(path / "a.nrrd", gzip.compress(NOISE[:3].tobytes())
                          + gzip.compress(NOISE[3:].tobytes())),
        lambda path: nrrd(path / "a.nrrd", gzip.compress(NOISE.astype(">i2").tobytes()), "big"),
        lambda path: nrrd(path / "a.nrrd", gzip.compress(NOISE.tobytes()) + b"\n\n"),
        lambda path: mha(path / "a.mha", ZLIB, len(ZLIB)),
        lambda path: mha(path / "a.mha", ZLIB + b"\n", len(ZLIB)),
        lambda path: mha(path / "a.mha", BIG, len(BIG), "BinaryDataByteOrderMSB = True\n"),
    ],
    ids=["plain", "two members", "big-endian", "lines behind", "zlib", "line behind zlib",
         "big-endian zlib"],
)  # fmt: skip
def test_packed_values_come_out_however_they_were_packed(tmp_path, write):
    np.testing.assert_array_equal(read_image(write(tmp_path)).data[0].numpy(), NOISE)


@pytest.mark.usefixtures("a_library")
@pytest.mark.parametrize("size", [1, 8, 40])
def test_more_values_than_can_be_packed_are_refused_before_memory_is_taken(tmp_path, size):
    path = nrrd(tmp_path / "a.nrrd", gzip.compress(NOISE.tobytes())[:size])
    text = path.read_bytes().replace(b"sizes: 8 7 6", b"sizes: 99999 99999 99")
    path.write_bytes(text)
    with pytest.raises(UnreadableFile, match=f"got {size} bytes"):
        read_image(path)


@pytest.mark.parametrize("length", [None, 0])
def test_a_packed_metaimage_without_its_length_is_refused(tmp_path, length):
    """ITK takes the header for packed values as well, and hands out what that gives."""
    path = mha(tmp_path / "a.mha", ZLIB, length)
    noise = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert not np.array_equal(noise, NOISE)
    with pytest.raises(UnreadableFile, match=f"wanted CompressedDataSize = {len(ZLIB)}"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
@pytest.mark.parametrize("name", ["脳 Müller", "a b [1]"])
def test_a_header_names_its_file_in_any_letters(tmp_path, suffix, name):
    path = tmp_path / f"{name}{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(NOISE), str(path))
    np.testing.assert_array_equal(read_image(path).data[0].numpy(), NOISE)


def test_a_list_of_slices_may_have_spaces_in_its_names(tmp_path):
    for k, values in enumerate(NOISE):
        (tmp_path / f"slice {k} ü.raw").write_bytes(values.tobytes())
    names = "\n".join(f"slice {k} ü.raw" for k in range(len(NOISE)))
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 8 7 6\nElementType = MET_SHORT\n"
        f"Offset = 0 0 0\nElementSpacing = 1 1 1\nElementDataFile = LIST\n{names}\n"
    )
    (tmp_path / "v.mhd").write_text(header, encoding="utf-8")
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "v.mhd")))
    np.testing.assert_array_equal(theirs, NOISE)
    np.testing.assert_array_equal(read_image(tmp_path / "v.mhd").data[0].numpy(), NOISE)
