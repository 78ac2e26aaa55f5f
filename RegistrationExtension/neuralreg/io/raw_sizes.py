"""Whether MetaImage and NRRD files are as long as their headers say; ITK tells a cut one badly."""

from __future__ import annotations

import math
from pathlib import Path

from neuralreg.errors import UnreadableFile

_HEADER_BYTES = 1 << 16  # at most; a header is text before the values
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


def require_whole(path: Path) -> None:
    """Check the number of bytes of a MetaImage or NRRD file; nothing for other formats.

    Raises:
        UnreadableFile: it or its file of values holds fewer bytes than its header says.
    """
    suffix = path.suffix.lower()
    if suffix in (".mha", ".mhd"):
        sizes = _meta_sizes(path)
    elif suffix in (".nrrd", ".nhdr"):
        sizes = _nrrd_sizes(path)
    else:
        return
    if sizes is not None and sizes[1] < sizes[2]:
        raise UnreadableFile(
            f"{sizes[0]} is truncated or damaged",
            got=f"{max(sizes[1], 0)} bytes of image",
            wanted=f"{sizes[2]} bytes",
            remedy="Copy or download the file again.",
        )


Sizes = tuple[Path, int, int]  # the file of the values, how many bytes it has of them, and needs


def _meta_sizes(path: Path) -> Sizes | None:
    """None where the header leaves it open, such as a pattern of files."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    fields: dict[str, str] = {}
    start = 0
    for line in head.splitlines(keepends=True):
        start += len(line)
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    values = fields.get("ElementDataFile", "")
    local = values.upper() == "LOCAL"
    data = path if local else path.parent / values
    if not values or not data.is_file() or fields.get("HeaderSize", "0") != "0":
        return None
    held = data.stat().st_size - (start if local else 0)
    try:
        if fields.get("CompressedData", "False").lower().startswith("t"):
            return data, held, int(fields["CompressedDataSize"])
        count = math.prod(int(n) for n in fields["DimSize"].split())
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        return data, held, count * channels * _BYTES[fields["ElementType"]]
    except (KeyError, ValueError):  # ITK says what is wrong with such a header
        return None


def _nrrd_sizes(path: Path) -> Sizes | None:
    """None where the values are packed, or the header leaves it open."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    text, end, _ = head.replace(b"\r\n", b"\n").partition(b"\n\n")
    pairs = (line.partition(":") for line in text.decode("latin-1").splitlines())
    fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    values = fields.get("data file", fields.get("datafile", ""))
    data = path.parent / values if values else path
    skips = {fields.get(key, "0") for key in ("line skip", "byte skip", "lineskip", "byteskip")}
    if fields.get("encoding") != "raw" or skips != {"0"} or not data.is_file() or b"\r\n" in head:
        return None
    if not end and not values:
        return None
    held = data.stat().st_size - (0 if values else len(text) + len(end))
    try:
        count = math.prod(int(n) for n in fields["sizes"].split())
        return data, held, count * _BYTES[fields["type"]]
    except (KeyError, ValueError):  # ITK says what is wrong with such a header
        return None
