"""What a NIfTI file tells that ITK does not pass on, or quietly changes."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel
import numpy as np

from neuralreg.errors import UnreadableFile
from neuralreg.geometry.grid import Matrix

SUFFIXES = (".nii", ".nii.gz")
_ABSURD_BYTES = 1 << 48
_CHUNK_BYTES = 1 << 22
_KINDS = (nibabel.Nifti1Header, nibabel.Nifti2Header)


@dataclass(frozen=True)
class NiftiHeader:
    """The part of a header that decides where the voxels lie and how many there should be.

    Attributes:
        dim: number of axes, then the size of each.
        start: first byte of the values in the unpacked file.
        stop: the byte after the last one.
        float_type: NumPy's name of the number type when that can be NaN.
        qform: from index to RAS, (4, 4), or None where its code is 0.
        sform: the same of the other placement.
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
    """The header of a single-file NIfTI image; None when the file is something else.

    Raises:
        UnreadableFile: the file is truncated, or sizes and offsets in the header cannot be true.
    """
    try:
        with _open(path) as file:
            block = file.read(max(kind.sizeof_hdr for kind in _KINDS))
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{path} is truncated or damaged", got=str(error)) from error
    for kind in _KINDS:
        sizes = {int.from_bytes(block[:4], order) for order in ("little", "big")}
        if kind.sizeof_hdr in sizes and len(block) >= kind.sizeof_hdr:
            header = kind(block[: kind.sizeof_hdr], check=False)
            return _summarize(path, header)
    return None


def _summarize(path: Path, header: Any) -> NiftiHeader:
    """header: of nibabel, as it was stored."""
    dim, offset = tuple(int(n) for n in header["dim"]), float(header["vox_offset"])
    stored = int(header["bitpix"]) // 8
    for n in dim[1 : dim[0] + 1]:
        stored *= max(n, 1)
    if not (1 <= dim[0] <= 7 and 0 <= offset < _ABSURD_BYTES and 0 < stored < _ABSURD_BYTES):
        raise UnreadableFile(
            f"{path} has a damaged NIfTI header",
            got=f"dim {dim}, {stored} bytes of values that begin at byte {offset:g}",
            remedy="Copy or download the file again.",
        )
    return NiftiHeader(
        dim,
        int(offset),
        int(offset) + stored,
        _float_type(header),
        _qform(header),
        header.get_sform(coded=True)[0],
    )


def _float_type(header: Any) -> str | None:
    kinds = {16: "f4", 64: "f8"}  # datatype codes of nifti1.h
    kind = kinds.get(int(header["datatype"]))
    return header.endianness + kind if kind else None


def _qform(header: Any) -> Matrix | None:
    """The placement by quaternion; numbers that cannot be are read as ITK's NIfTI library does."""
    header = header.copy()
    sign, *steps = header["pixdim"][:4]
    header["pixdim"][:4] = [-1 if sign < 0 else 1, *(step if step > 0 else 1 for step in steps)]
    vector = np.array([float(header[f"quatern_{axis}"]) for axis in "bcd"])
    if not np.isfinite(vector).all():
        return None
    for axis, value in zip("bcd", vector / max(np.linalg.norm(vector), 1.0), strict=True):
        header[f"quatern_{axis}"] = value
    matrix: Matrix | None = header.get_qform(coded=True)[0]
    return matrix


def count_not_finite(path: Path, header: NiftiHeader) -> int:
    """How many NaN and infinite values are stored, which ITK would turn into 0 without a word.

    Reads the file once, packed or not, because ITK invents the voxels of a file that is truncated
    or damaged. Raises UnreadableFile for such a file.
    """
    held = count = 0
    try:
        with _open(path) as file:
            held = len(file.read(header.start))
            while chunk := file.read(min(_CHUNK_BYTES, header.stop - held)):
                held += len(chunk)
                count += _count_not_finite(chunk, header.float_type)
            file.read(1)  # makes gzip compare its checksum
    except (OSError, EOFError, zlib.error) as error:
        raise _damage(path, f"{held} bytes of image, then: {error}", header.stop) from error
    if held < header.stop:
        raise _damage(path, f"{held} bytes of image", header.stop)
    return count


def _count_not_finite(chunk: bytes, float_type: str | None) -> int:
    if float_type is None:
        return 0
    stop = len(chunk) - len(chunk) % np.dtype(float_type).itemsize
    return int((~np.isfinite(np.frombuffer(chunk[:stop], float_type))).sum())


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if _is_packed(path) else path.open("rb")


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _damage(path: Path, got: str, size: int) -> UnreadableFile:
    return UnreadableFile(
        f"{path} is truncated or damaged",
        got=got,
        wanted=f"{size} bytes",
        remedy="Copy or download the file again.",
    )
