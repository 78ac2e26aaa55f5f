"""What a NIfTI file tells that ITK does not pass on, or quietly changes."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from neuralreg.errors import UnreadableFile
from neuralreg.geometry.grid import Matrix

SUFFIXES = (".nii", ".nii.gz")
_FLOATS = {16: "f4", 64: "f8"}
_ABSURD_BYTES = 1 << 48
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class _Layout:
    """Byte offsets and number formats of one version of the standard."""

    bytes: int
    dim: tuple[int, str]
    datatype: int
    bitpix: int
    pixdim: tuple[int, str]
    vox_offset: tuple[int, str]
    codes: tuple[int, str]
    quaternion: tuple[int, str]
    rows: tuple[int, str]


# Source: nifti1.h and nifti2.h of the NIfTI data format working group.
_VERSIONS = {
    348: _Layout(
        348, (40, "8h"), 70, 72, (76, "8f"), (108, "f"), (252, "2h"), (256, "6f"), (280, "12f")
    ),
    540: _Layout(
        540, (16, "8q"), 12, 14, (104, "8d"), (168, "q"), (344, "2i"), (352, "6d"), (400, "12d")
    ),
}


@dataclass(frozen=True)
class NiftiHeader:
    """The part of the header that decides where the voxels lie and how many there should be.

    dim: number of axes, then the size of each. start, stop: bytes of the unpacked file between
    which the values lie. float_type: numpy's name of the number type when that can be NaN.
    qform, sform: index to RAS, (4, 4), or None where the code is 0.
    """

    dim: tuple[int, ...]
    start: int
    stop: int
    float_type: str | None
    qform: Matrix | None
    sform: Matrix | None

    @property
    def disagreement_voxels(self) -> float:
        """How far apart the two placements put the outermost voxels; 0 where only one is given."""
        if self.qform is None or self.sform is None:
            return 0.0
        ends = np.array(np.meshgrid(*((0, max(n - 1, 0)) for n in self.dim[1:4]))).reshape(3, -1)
        gap = (self.qform - self.sform) @ np.vstack([ends, np.ones(ends.shape[1])])
        edge = np.linalg.norm(self.sform[:3, :3], axis=0).min()
        return float(np.linalg.norm(gap[:3], axis=0).max() / max(edge, 1e-12))


def read_header(path: Path) -> NiftiHeader | None:
    """The header of a single-file NIfTI image; None when the file is something else."""
    try:
        with _opened(path) as file:
            start = file.read(540)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{path} is truncated or damaged", got=str(error)) from error
    for order in "<>":
        layout = _VERSIONS.get(struct.unpack(order + "i", start[:4])[0] if len(start) > 3 else 0)
        if layout and len(start) >= layout.bytes:
            return _parse(path, start, order, layout)
    return None


def _parse(path: Path, raw: bytes, order: str, at: _Layout) -> NiftiHeader:
    def read(field: tuple[int, str]) -> tuple[float, ...]:
        return struct.unpack_from(order + field[1], raw, field[0])

    dim = tuple(int(n) for n in read(at.dim))
    pixdim, (qcode, scode) = read(at.pixdim), read(at.codes)
    offset, stored = read(at.vox_offset)[0], int(read((at.bitpix, "h"))[0]) // 8
    for n in dim[1 : dim[0] + 1]:
        stored *= max(n, 1)
    if not (1 <= dim[0] <= 7 and 0 <= offset < _ABSURD_BYTES and 0 < stored < _ABSURD_BYTES):
        raise UnreadableFile(
            f"{path} has a damaged NIfTI header",
            got=f"dim {dim}, {stored} bytes of values that begin at byte {offset}",
            remedy="Copy or download the file again.",
        )
    start = int(offset)
    float_type = _FLOATS.get(int(read((at.datatype, "h"))[0]))
    return NiftiHeader(
        dim,
        start,
        start + stored,
        order + float_type if float_type else None,
        _from_quaternion(read(at.quaternion), pixdim) if qcode > 0 else None,
        np.vstack([np.reshape(read(at.rows), (3, 4)), [0, 0, 0, 1]]) if scode > 0 else None,
    )


def _from_quaternion(numbers: tuple[float, ...], pixdim: tuple[float, ...]) -> Matrix:
    b, c, d = numbers[:3]
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handed = -1.0 if pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * [pixdim[1], pixdim[2], pixdim[3] * handed]
    matrix[:3, 3] = numbers[3:]
    return matrix


def count_not_finite(path: Path, header: NiftiHeader) -> int:
    """How many NaN and infinite values are stored, which ITK would turn into 0 without a word.

    Reads the file once, packed or not, because ITK invents the voxels of a file that is truncated
    or damaged. Raises UnreadableFile for such a file.
    """
    held = found = 0
    try:
        with _opened(path) as file:
            held = len(file.read(header.start))
            while chunk := file.read(min(_CHUNK_BYTES, header.stop - held)):
                held += len(chunk)
                found += _not_finite(chunk, header.float_type)
            file.read(1)  # makes gzip compare its checksum
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"{held} bytes of image, then: {error}", header.stop) from error
    if held < header.stop:
        raise _damaged(path, f"{held} bytes of image", header.stop)
    return found


def _not_finite(chunk: bytes, float_type: str | None) -> int:
    if float_type is None:
        return 0
    whole = len(chunk) - len(chunk) % np.dtype(float_type).itemsize
    return int((~np.isfinite(np.frombuffer(chunk[:whole], float_type))).sum())


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if _is_packed(path) else path.open("rb")


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _damaged(path: Path, got: str, wanted: int) -> UnreadableFile:
    return UnreadableFile(
        f"{path} is truncated or damaged",
        got=got,
        wanted=f"{wanted} bytes",
        remedy="Copy or download the file again.",
    )
