"""Whether MetaImage and NRRD files are as long as their headers say; ITK tells a cut one badly."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neuralreg.errors import UnreadableFile
from neuralreg.io.encodings.packed_files import ZLIB_ERRORS, adler32_of, crc32_of, new_unpacker
from neuralreg.io.encodings.text_headers import META, NRRD, TextHeader, read_meta, read_nrrd
from neuralreg.io.volume import Array

_CHUNK_BYTES = 1 << 16  # packed, of which a thousand times as many may come out
_MOST_UNPACKED = 1100  # bytes out of one by gzip
_ENCODINGS = ("raw", "gzip", "gz")
_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
    "signed char": 1, "int8": 1, "int8_t": 1, "uchar": 1, "unsigned char": 1, "uint8": 1,
    "uint8_t": 1, "short": 2, "short int": 2, "signed short": 2, "signed short int": 2, "int16": 2,
    "int16_t": 2, "ushort": 2, "unsigned short": 2, "unsigned short int": 2, "uint16": 2,
    "uint16_t": 2, "int": 4, "signed int": 4, "int32": 4, "int32_t": 4, "uint": 4,
    "unsigned int": 4, "uint32": 4, "uint32_t": 4, "longlong": 8, "long long": 8,
    "long long int": 8, "signed long long": 8, "int64": 8, "int64_t": 8, "ulonglong": 8,
    "unsigned long long": 8, "unsigned long long int": 8, "uint64": 8, "uint64_t": 8, "float": 4,
    "double": 8,
}  # fmt: skip


@dataclass(frozen=True)
class _Values:
    """Where the values of an image are.

    Attributes:
        path: the file, which may have a header before them.
        start: first byte.
        needed: bytes that the header asks for, unpacked.
        packed: whether they are packed with zlib or gzip.
        length: bytes of the packed values by the header, None where it does not say.
    """

    path: Path
    start: int
    needed: int
    packed: bool
    length: int | None = None


def require_whole(path: Path) -> None:
    """Check that the values of a MetaImage or NRRD file are there; nothing for other formats.

    Raises:
        UnreadableFile: there are fewer than its header says, or packed ones are damaged.
    """
    values = _values_of(path)
    if values is None:
        return
    held, reason = _unpack(values) if values.packed else (_stored_bytes(values), "")
    if held < values.needed or reason:
        raise _damage(values, held, reason)


def is_packed_image(path: Path) -> bool:
    """Whether a file is a MetaImage or NRRD with packed values.

    Raises:
        UnreadableFile: more of them are asked for than can be in it.
    """
    values = _values_of(path)
    if values is None or not values.packed:
        return False
    if values.needed > _MOST_UNPACKED * (stored := _stored_bytes(values)):
        raise _damage(values, stored, "")
    return True


def has_checksum_of(path: Path, numbers: Array) -> bool:
    """Whether numbers are what was packed, by the checksum behind the packed ones.

    False says nothing: a file may be packed in several members, or in another order of bytes.
    """
    values = _values_of(path)
    if values is None or numbers.nbytes != values.needed:
        return False
    length = _stored_bytes(values) if values.length is None else values.length
    with values.path.open("rb") as file:
        file.seek(values.start)
        mark = file.read(2)
        file.seek(values.start + max(length - 8, 0))
        end = file.read(8)
    if mark == b"\x1f\x8b":
        return end == struct.pack("<II", crc32_of(numbers), numbers.nbytes % (1 << 32))
    return end[4:] == struct.pack(">I", adler32_of(numbers))


def _values_of(path: Path) -> _Values | None:
    suffix = path.suffix.lower()
    if suffix in META:
        return _meta_values(path)
    return _nrrd_values(path) if suffix in NRRD else None


def _require_beside(path: Path, name: str) -> None:
    """Check the file of the values that a header names: ITK only says that something is wrong."""
    if not (path.parent / name).is_file():
        raise UnreadableFile(
            f"{path} names a file for its values that is not there",
            got=name,
            remedy="Copy it beside the header, or correct its name in the header.",
        )


def _require_listed(path: Path, header: TextHeader) -> None:
    """Check the files of slices that a header lists: ITK invents those that are missing."""
    try:
        sizes = [int(n) for n in header.fields["DimSize"].split()]
        _, *named = header.fields["ElementDataFile"].split()
        axes = int(named[0]) if named else len(sizes) - 1
        needed = math.prod(sizes[:axes]) * _BYTES[header.fields["ElementType"]]
        needed *= int(header.fields.get("ElementNumberOfChannels", "1"))
    except (KeyError, ValueError, IndexError):  # ITK says what is wrong with such a header
        return
    files = [path.parent / name for name in header.lines]
    short = [file for file in files if not file.is_file() or file.stat().st_size < needed]
    if len(files) < (count := math.prod(sizes[axes:])) or short:
        raise UnreadableFile(
            f"{path} lists files of slices that are missing or cut",
            got=f"{short[0]}" if short else f"{len(files)} files",
            wanted=f"{count} files of {needed} bytes",
            remedy="Copy them beside the header again.",
        )


def _damage(values: _Values, held: int, reason: str) -> UnreadableFile:
    return UnreadableFile(
        f"{values.path} is truncated or damaged",
        got=f"{held} bytes of image" + f", then: {reason}" * bool(reason),
        wanted=f"{values.needed} bytes",
        remedy="Copy or download the file again.",
    )


def _stored_bytes(values: _Values) -> int:
    return max(values.path.stat().st_size - values.start, 0)


def _unpack(values: _Values) -> tuple[int, str]:
    """How many bytes come out, and what is wrong with the packed ones; the checksum counts.

    Further members of gzip are joined, as gzip itself does.
    """
    unpacker, held = new_unpacker(), 0
    try:
        for packed in _packed_parts(values):
            rest = packed
            while rest:
                if unpacker.eof:
                    unpacker = new_unpacker()
                held += len(unpacker.decompress(rest))
                rest = unpacker.unused_data if unpacker.eof else b""
                if unpacker.eof and held >= values.needed:
                    return held, ""
    except ZLIB_ERRORS as error:
        return held, str(error)
    return held, "" if unpacker.eof else "the end is missing"


def _packed_parts(values: _Values) -> Iterator[bytes]:
    left = values.path.stat().st_size if values.length is None else values.length
    with values.path.open("rb") as file:
        file.seek(values.start)
        while part := file.read(min(_CHUNK_BYTES, left)):
            left -= len(part)
            yield part


def _meta_values(path: Path) -> _Values | None:
    """None where the header leaves it open, such as a pattern of files."""
    header = read_meta(path)
    fields, start = header.fields, header.length
    values = fields.get("ElementDataFile", "")
    if values.upper().startswith("LIST"):
        _require_listed(path, header)
    elif values and values.upper() != "LOCAL" and "%" not in values:
        _require_beside(path, values)
    local = values.upper() == "LOCAL"
    data = path if local else path.parent / values
    if not values or not data.is_file() or fields.get("HeaderSize", "0") != "0":
        return None
    try:
        count = math.prod(int(n) for n in fields["DimSize"].split())
        count *= int(fields.get("ElementNumberOfChannels", "1"))
        needed = count * _BYTES[fields["ElementType"]]
        size = fields.get("CompressedDataSize")
        length = int(size or 0) or None
    except (KeyError, ValueError):  # ITK says what is wrong with such a header
        return None
    packed = fields.get("CompressedData", "False").lower().startswith("t")
    if packed and local and length is None:
        raise UnreadableFile(
            f"{path} does not say how long its packed values are",
            got="no CompressedDataSize, without which ITK and 3D Slicer show noise",
            wanted=f"CompressedDataSize = {data.stat().st_size - start}",
            remedy="Write the image again, for example without compression.",
        )
    return _Values(data, start if local else 0, needed, packed, length)


def _nrrd_values(path: Path) -> _Values | None:
    """None where the header leaves it open."""
    header = read_nrrd(path)
    fields = header.fields
    values = fields.get("data file", fields.get("datafile", ""))
    data = path.parent / values if values else path
    skips = {fields.get(key, "0") for key in ("line skip", "byte skip", "lineskip", "byteskip")}
    encoding, ends = fields.get("encoding"), header.carriage
    if encoding not in _ENCODINGS or skips != {"0"} or not data.is_file() or ends:
        return None
    if not header.ends and not values:
        return None
    try:
        needed = math.prod(int(n) for n in fields["sizes"].split()) * _BYTES[fields["type"]]
    except (KeyError, ValueError):  # ITK says what is wrong with such a header
        return None
    return _Values(data, 0 if values else header.length, needed, encoding != "raw")
