"""Files packed with gzip, by each library that unpacks them; judged by Python's gzip and zlib."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
from neuralreg.io.encodings import packed_files
from neuralreg.io.encodings.packed_files import adler32_of, crc32_of, open_packed

PART = 1 << 22  # bytes, of which a thread takes one at least


@pytest.fixture(params=["zlib", "isal"])
def a_library(request, monkeypatch):
    """Python's zlib, and isal where it is installed."""
    if request.param == "isal":
        pytest.importorskip("isal")
    monkeypatch.setattr(packed_files, "UNPACKS_FAST", request.param == "isal")


@pytest.mark.usefixtures("a_library")
@pytest.mark.parametrize("length", [0, 1, 999, 2 * PART - 1, 2 * PART, 4 * PART + 7])
@pytest.mark.parametrize("start", [0, zlib.crc32(b"a header")])
def test_the_checksum_of_parts_is_that_of_the_whole(length, start):
    raw = np.random.default_rng(0).integers(0, 256, length).astype(np.uint8)
    assert crc32_of(raw, start) == zlib.crc32(raw.tobytes(), start)


@pytest.mark.usefixtures("a_library")
def test_the_checksum_is_of_the_bytes_whatever_the_numbers_and_their_order():
    values = np.random.default_rng(0).normal(size=(90, 300, 200))
    for each in (values, values.astype(np.float32)[:, ::2], values.T):
        assert crc32_of(each) == zlib.crc32(each.tobytes())
        assert adler32_of(each) == zlib.adler32(each.tobytes())


@pytest.mark.usefixtures("a_library")
@pytest.mark.parametrize("members", [1, 2])
def test_what_was_packed_comes_out(tmp_path, members):
    raw = bytes(range(256)) * 300
    path = tmp_path / "packed"
    path.write_bytes(gzip.compress(raw) * members)
    with open_packed(path) as file:
        assert file.read() == raw * members
    path.write_bytes(raw)
    with open_packed(path) as file:
        assert file.read() == raw


@pytest.mark.usefixtures("a_library")
@pytest.mark.parametrize("damage", ["cut", "checksum", "bits", "length"])
def test_damage_is_one_of_the_known_errors(tmp_path, damage):
    noise = np.random.default_rng(0).integers(0, 99, 99999).astype(np.uint8).tobytes()
    packed = bytearray(gzip.compress(noise))
    if damage == "cut":
        packed = packed[:-500]
    else:
        packed[{"checksum": -8, "bits": 300, "length": -4}[damage]] ^= 255
    path = tmp_path / "packed"
    path.write_bytes(packed)
    with pytest.raises(packed_files.DAMAGES), open_packed(path) as file:
        file.read()
