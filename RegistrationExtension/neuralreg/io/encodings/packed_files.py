"""Files packed with gzip or zlib, and the checksum of gzip over large arrays.

The package isal (Intel's ISA-L) unpacks twice as fast as zlib and compares checksums in a tenth of
its time; where it is not installed, Python's zlib gives the same bytes.
"""

from __future__ import annotations

import gzip
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np

from neuralreg.io.volume import Array


def _find(name: str) -> Any:
    """A module of isal, or None."""
    try:
        return import_module(f"isal.{name}")
    except ImportError:
        return None


_igzip, _isal_zlib = _find("igzip"), _find("isal_zlib")
UNPACKS_FAST = _isal_zlib is not None  # faster than ITK
ZLIB_ERRORS = (zlib.error, _isal_zlib.error) if UNPACKS_FAST else (zlib.error,)
DAMAGES = (OSError, EOFError, *ZLIB_ERRORS)  # what unpacking raises
_ZLIB_OR_GZIP = 15 + 32  # window bits that let zlib look which of both it is
_PART_BYTES = 1 << 22  # what is smaller is not worth a thread
_MOST_THREADS = 4
_POLYNOMIAL = 0xEDB88320  # of CRC-32, lowest power in the highest bit
_ONE = 1 << 31  # x to the 0
_X_TO_THE_8 = 1 << 23


def open_packed(path: Path) -> BufferedIOBase:
    """The bytes of a file, unpacked where it is packed with gzip."""
    if not is_packed(path):
        return path.open("rb")
    return cast(BufferedIOBase, (_igzip if UNPACKS_FAST else gzip).open(path, "rb"))


def is_packed(path: Path) -> bool:
    """Whether a file is packed with gzip, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def new_unpacker() -> Any:
    """What unpacks parts of gzip or zlib one after the other, as `zlib.decompressobj` does."""
    return (_isal_zlib if UNPACKS_FAST else zlib).decompressobj(_ZLIB_OR_GZIP)


def crc32_of(values: Array, start: int = 0) -> int:
    """The CRC-32 of an array's bytes after bytes whose CRC-32 is `start`, as `zlib.crc32` has it.

    The parts are computed in threads, as zlib releases Python's lock, and joined: a CRC is linear,
    so that bytes which follow multiply it by a power of x.

    Source: M. Adler, crc32_combine of zlib 1.2.12.
    """
    raw = _bytes_of(values)
    if UNPACKS_FAST:
        return int(_isal_zlib.crc32(raw, start))
    count = max(1, min(_MOST_THREADS, os.cpu_count() or 1, len(raw) // _PART_BYTES))
    if count == 1:
        return zlib.crc32(raw, start)
    parts = [part.data for part in np.array_split(np.frombuffer(raw, np.uint8), count)]
    with ThreadPoolExecutor(count) as pool:
        for part, checksum in zip(parts, pool.map(zlib.crc32, parts), strict=True):
            start = _multiply(_power(len(part)), start) ^ checksum
    return start


def adler32_of(values: Array) -> int:
    """The checksum of zlib over an array's bytes."""
    return int((_isal_zlib if UNPACKS_FAST else zlib).adler32(_bytes_of(values)))


def _bytes_of(values: Array) -> memoryview:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _power(length: int) -> int:
    """x to the 8 * length, modulo the polynomial."""
    power, factor = _ONE, _X_TO_THE_8
    while length:
        if length & 1:
            power = _multiply(factor, power)
        factor = _multiply(factor, factor)
        length >>= 1
    return power


def _multiply(one: int, other: int) -> int:
    """The product of two polynomials over bits, modulo the polynomial."""
    product = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product
