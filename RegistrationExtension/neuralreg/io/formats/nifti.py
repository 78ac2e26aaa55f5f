"""NIfTI files, single and in pairs: headers by nibabel, placement as ITK and 3D Slicer have it.

ITK turns NaN into 0, adds the intercept where nothing is scaled by the standard, takes pixdim where
only the sform counts, and invents the voxels of a truncated file. Nothing here needs torch.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.files import require_existing
from neuralreg.io.volume import (
    Array,
    Volume,
    count_not_finite,
    frame_remarks,
    not_finite_remarks,
    to_image,
)

SUFFIXES = (".nii", ".nii.gz")
PAIR_SUFFIXES = (".hdr", ".img", ".img.gz")
_ABSURD_BYTES = 1 << 48
_CHUNK_BYTES = 1 << 22
_KINDS = (nibabel.Nifti1Header, nibabel.Nifti2Header)
_PLACEMENT_ROUNDING = 0.1  # voxels that a quaternion in single precision can lose
_SPACING_ROUNDING = 1e-3  # relative


@dataclass(frozen=True)
class NiftiHeader:
    """The part of a header that decides where the voxels lie and how their values are read.

    Attributes:
        dim: number of axes, then the size of each.
        values: where they are: the file itself, or the .img beside a .hdr.
        start: first byte of the values in the unpacked file.
        stop: the byte after the last one.
        dtype: of the stored values.
        slope, intercept: stored values times slope plus intercept are the values; None: unscaled.
        pixdim: spacing by the header's own numbers, x y z.
        time: of the first frame and between frames.
        qform: from index to RAS, (4, 4), or None where its code is 0.
        sform: the same of the other placement.
        intent: the name of what the values mean, such as "Mapping".
        is_version_2: NIfTI-2, which ITK does not read.
    """

    dim: tuple[int, ...]
    values: Path
    start: int
    stop: int
    dtype: np.dtype[Any]
    slope: float | None
    intercept: float
    pixdim: tuple[float, ...]
    time: tuple[float, float]
    qform: Matrix | None
    sform: Matrix | None
    intent: str = ""
    is_version_2: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis, x y z and more; at least one."""
        return tuple(max(n, 1) for n in self.dim[1 : self.dim[0] + 1])

    @property
    def frames(self) -> int:
        """How many images follow one another."""
        return int(np.prod(self.shape[3:], dtype=np.int64))

    @property
    def content(self) -> str:
        """What a voxel holds: "gray", "colors", "complex numbers" or "vectors"."""
        if self.dtype.fields:
            return "colors"
        if self.dtype.kind == "c":
            return "complex numbers"
        return "vectors" if len(self.shape) > 4 and self.shape[4] > 1 else "gray"

    @property
    def has_lone_intercept(self) -> bool:
        """Whether an intercept is given where the slope says that nothing is scaled."""
        return self.slope is None and self.intercept != 0

    @property
    def disagreement_voxels(self) -> float:
        """How far apart the two placements put the outermost voxels; 0 where only one is given."""
        if self.qform is None or self.sform is None:
            return 0.0
        ends = np.array(np.meshgrid(*((0, max(n - 1, 0)) for n in self.dim[1:4]))).reshape(3, -1)
        gap = (self.qform - self.sform) @ np.vstack([ends, np.ones(ends.shape[1])])
        edge = np.linalg.norm(self.sform[:3, :3], axis=0).min()
        return float(np.linalg.norm(gap[:3], axis=0).max() / max(edge, 1e-12))

    @property
    def sform_spacing(self) -> tuple[float, ...] | None:
        """The spacing of the sform where it alone counts and pixdim has another one, else None."""
        if self.sform is None or self.qform is not None:
            return None
        spacing = np.linalg.norm(self.sform[:3, :3], axis=0)
        count = min(self.dim[0], 3)
        gap = np.abs(spacing[:count] - self.pixdim[:count])
        return (
            tuple(spacing.tolist()) if (gap > _SPACING_ROUNDING * spacing[:count]).any() else None
        )


def read_header(path: Path) -> NiftiHeader | None:
    """The header of a NIfTI or Analyze image, single or in a pair; None when it is something else.

    Raises:
        UnreadableFile: the file is truncated, or sizes and offsets in the header cannot be true.
    """
    header_path, values = _parts(path)
    try:
        with _open(header_path) as file:
            block = file.read(max(kind.sizeof_hdr for kind in _KINDS))
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{header_path} is truncated or damaged", got=str(error)) from error
    for kind in _KINDS:
        sizes = {int.from_bytes(block[:4], order) for order in ("little", "big")}
        if kind.sizeof_hdr in sizes and len(block) >= kind.sizeof_hdr:
            magic = block[344:348] if kind.sizeof_hdr == 348 else block[4:8]
            if values != header_path and magic[:2] != b"ni":
                return None  # Analyze: ITK knows its many dialects better
            return _summarize(header_path, values, kind(block[: kind.sizeof_hdr], check=False))
    return None


def _parts(path: Path) -> tuple[Path, Path]:
    """The files of the header and of the values."""
    name = path.name.lower()
    if name.endswith(SUFFIXES):
        return path, path
    if name.endswith(".hdr"):
        packed = path.with_suffix(".img.gz")
        return path, packed if packed.exists() else _other(path, ".img")
    stem = path.with_suffix("") if name.endswith(".gz") else path
    return _other(stem, ".hdr"), path


def _other(path: Path, suffix: str) -> Path:
    """The other file of a pair, in the letter case of the first one."""
    return path.with_suffix(suffix.upper() if path.suffix.isupper() else suffix)


def _summarize(path: Path, values: Path, header: Any) -> NiftiHeader:
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
    if values == path and offset < header.sizeof_hdr:  # as nibabel and ITK have it
        offset = float(header.single_vox_offset)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    scaled = slope != 0 and np.isfinite([slope, intercept]).all()
    return NiftiHeader(
        dim,
        values,
        int(offset),
        int(offset) + stored,
        _number_type(path, header),
        slope if scaled and (slope, intercept) != (1, 0) else None,
        intercept if np.isfinite(intercept) else 0.0,
        tuple(float(step) for step in header["pixdim"][1:4]),
        _time(header),
        _qform(header),
        header.get_sform(coded=True)[0],
        bytes(header["intent_name"]).split(b"\0")[0].decode("latin-1").strip(),
        isinstance(header, nibabel.Nifti2Header),
    )


def _time(header: Any) -> tuple[float, float]:
    """Of the first frame and between frames; a step that cannot be counts as 1."""
    start, step = float(header["toffset"]), float(header["pixdim"][4])
    return start if np.isfinite(start) else 0.0, step if np.isfinite(step) and step > 0 else 1.0


def _number_type(path: Path, header: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except HeaderDataError as error:
        raise UnreadableFile(
            f"{path} has values of an unknown type",
            got=f"datatype code {int(header['datatype'])}",
            wanted="a number type of the NIfTI standard",
        ) from error
    if dtype.itemsize * 8 != int(header["bitpix"]):
        raise UnreadableFile(
            f"{path} has a damaged NIfTI header",
            got=f"{int(header['bitpix'])} bits for values of {dtype.itemsize * 8}",
            remedy="Copy or download the file again.",
        )
    return dtype


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


def read_nifti(
    path: Path, header: NiftiHeader, find_grid: Callable[[], Grid], frame: int | None = 0
) -> list[Volume]:
    """One frame of a gray image, or all of them.

    Args:
        path: as it was given.
        header: what `read_header` made of it.
        find_grid: gives the placement of a frame, in 2D or 3D; called when the values are there.
        frame: of those along the fourth and further axes; all where it is None.

    Raises:
        UnreadableFile: the file is truncated or damaged.
        InvalidImage: the values are colors, vectors or complex numbers.
    """
    if header.content != "gray":
        raise InvalidImage(
            "only images with one value per voxel can be registered",
            where=str(path),
            got=header.content,
            remedy="Extract one channel, or convert to gray or magnitude first.",
        )
    count = header.frames
    stored = _read_stored(header, frame or 0, count if frame is None else 1)
    grid = find_grid()
    volumes = []
    for k, part in enumerate(np.split(stored, count if frame is None else 1)):
        values = _scale(part.reshape(grid.shape), header)
        remarks = not_finite_remarks(path, values) + _header_remarks(path, header)
        if frame is not None:
            remarks += frame_remarks(path, header.dim[0], frame + k, count)
        volumes.append(Volume(to_image(values, grid), tuple(remarks), count, time=header.time))
    return volumes


def count_stored_not_finite(header: NiftiHeader) -> int:
    """How many NaN and infinite values a file holds.

    Raises:
        UnreadableFile: the file is truncated.
    """
    if header.dtype.kind != "f":
        return 0
    return count_not_finite(_read_stored(header, 0, header.frames))


def _header_remarks(path: Path, header: NiftiHeader) -> list[Remark]:
    remarks = []
    if header.disagreement_voxels > _PLACEMENT_ROUNDING:
        gap = {"voxels": header.disagreement_voxels}
        remarks.append(Remark(RemarkKind.PLACEMENTS_DISAGREE, path, gap))
    if (spacing := header.sform_spacing) is not None:
        both = {"pixdim": _in_words(header.pixdim), "sform": _in_words(spacing)}
        remarks.append(Remark(RemarkKind.SPACING_CONTRADICTS, path, both))
    if header.has_lone_intercept:
        intercept = {"intercept": header.intercept}
        remarks.append(Remark(RemarkKind.SCALING_CONTRADICTS, path, intercept))
    return remarks


def placement_remarks(path: Path, header: NiftiHeader) -> list[Remark]:
    """What is doubted about where the image is."""
    kinds = (RemarkKind.PLACEMENTS_DISAGREE, RemarkKind.SPACING_CONTRADICTS)
    return [remark for remark in _header_remarks(path, header) if remark.kind in kinds]


def _in_words(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{step:.3g}" for step in spacing)


def _read_stored(header: NiftiHeader, frame: int, frames: int) -> Array:
    """The values of some frames as stored; the whole file is read, to see whether it is there."""
    count = int(np.prod(header.shape[:3], dtype=np.int64))
    first = header.start + frame * count * header.dtype.itemsize
    require_existing(header.values)
    raw = np.empty(frames * count * header.dtype.itemsize, np.uint8)
    space = memoryview(raw.data)
    held = 0
    try:
        with _open(header.values) as file:
            held = len(file.read(first))
            filled = 0
            while filled < len(raw) and (part := file.readinto(space[filled:])):
                filled += part
            held += filled
            while held < header.stop and (more := file.read(min(_CHUNK_BYTES, header.stop - held))):
                held += len(more)
            file.read(1)  # makes gzip compare its checksum
    except (OSError, EOFError, zlib.error) as error:
        raise _damage(header.values, f"{held} bytes of image, then: {error}", header) from error
    if held < header.stop:
        raise _damage(header.values, f"{held} bytes of image", header)
    values: Array = raw.view(header.dtype)
    if not header.dtype.isnative:
        values = values.byteswap().view(header.dtype.newbyteorder())
    if values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
        values = values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    return values


def _scale(stored: Array, header: NiftiHeader) -> Array:
    """The values, in the type that ITK reads them in: single precision where it is wide enough."""
    if header.slope is None:
        return stored
    wide = stored.dtype.itemsize > 2 and stored.dtype != np.float32
    values = np.empty(stored.shape, np.float64 if wide else np.float32)
    for target, source in zip(values, stored, strict=True):
        target[...] = source.astype(np.float64) * header.slope + header.intercept
    return values


def _open(path: Path) -> BufferedIOBase:
    return cast(BufferedIOBase, gzip.open(path, "rb")) if _is_packed(path) else path.open("rb")


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _damage(path: Path, got: str, header: NiftiHeader) -> UnreadableFile:
    return UnreadableFile(
        f"{path} is truncated or damaged",
        got=got,
        wanted=f"{header.stop} bytes",
        remedy="Copy or download the file again.",
    )
