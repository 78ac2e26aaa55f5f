"""Headers of NIfTI and Analyze files: where the voxels lie and how their values are stored.

ITK takes pixdim where only the sform counts, and places by chance what a header cannot mean.
Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from neuralreg.errors import UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.encodings.packed_files import DAMAGES, open_packed
from neuralreg.io.files import require_existing, require_no_pointer

SUFFIXES = (".nii", ".nii.gz")
PAIR_SUFFIXES = (".hdr", ".img", ".img.gz")
_ABSURD_BYTES = 1 << 48
_KINDS = (nibabel.Nifti1Header, nibabel.Nifti2Header)
_MARKS = (b"n+1", b"ni1", b"n+2", b"ni2")
_PLACEMENT_ROUNDING = 0.1  # voxels that a quaternion in single precision can lose
_SPACING_ROUNDING = 1e-3  # relative
_LENGTH_UNITS = {1: ("meters", 1e3), 3: ("micrometers", 1e-3)}  # others mean mm, as in ITK
_TURNED = 1e-3  # of the spacing: more than rounding
_QUATERNION_ROUNDING = 1e-4
_PLACEMENT_CODES = 5  # of the standard, from 1


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
        oddities: what of the placement cannot be, in words; such a file ITK places by chance.
        unit: what the header calls the unit of its lengths where that is not mm.
        is_version_2: NIfTI-2, which ITK does not read.
        intent_code: the number of what the values mean.
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
    oddities: tuple[str, ...] = ()
    unit: str = ""
    intent_code: int = 0

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
    def matrix(self) -> Matrix:
        """From index to RAS mm (4, 4), by the placement that the standard puts first."""
        if self.sform is not None:
            return self.sform
        if self.qform is not None:
            return self.qform
        return np.diag([*(-_positive(self.pixdim[:2])), _positive(self.pixdim[2:])[0], 1.0])

    @property
    def is_turned_plane(self) -> bool:
        """Whether this is an image in 2D whose axes leave the plane of x and y."""
        axes = self.matrix[:3, :2]
        return self.dim[0] == 2 and bool((np.abs(axes[2]) > _TURNED * np.abs(axes).max()).any())

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
        alike = (gap <= _SPACING_ROUNDING * spacing[:count]).all()  # NaN is not alike
        return None if alike else tuple(spacing.tolist())


def read_header(path: Path) -> NiftiHeader:
    """The header of a NIfTI or Analyze image, single or in a pair.

    Raises:
        UnreadableFile: the file is none, truncated, or has sizes and offsets that cannot be true.
    """
    header_path, values = _parts(path)
    try:
        with open_packed(require_existing(header_path)) as file:
            block = file.read(max(kind.sizeof_hdr for kind in _KINDS))
    except DAMAGES as error:
        raise UnreadableFile(f"{header_path} is truncated or damaged", got=str(error)) from error
    require_no_pointer(header_path, block)
    kind = _kind_of(block)
    if kind is None:
        raise UnreadableFile(
            f"{header_path} is no NIfTI file, or its header is damaged",
            got=f"{len(block)} bytes that begin with {block[:4].hex(' ') or 'nothing'}",
            wanted="a NIfTI-1, NIfTI-2 or Analyze header",
        )
    header = kind(block[: kind.sizeof_hdr], check=False)
    if values != header_path and kind is nibabel.Nifti1Header and block[344:347] not in _MARKS:
        header = _from_analyze(nibabel.Spm99AnalyzeHeader(block[: kind.sizeof_hdr], check=False))
    return _summarize(header_path, values, header)


def _kind_of(block: bytes) -> Any:
    """The class of nibabel for a header: by its size, or by its mark where that is damaged."""
    sizes = {int.from_bytes(block[:4], order) for order in ("little", "big")}
    for kind, mark in ((nibabel.Nifti1Header, block[344:347]), (nibabel.Nifti2Header, block[4:7])):
        if len(block) >= kind.sizeof_hdr and (kind.sizeof_hdr in sizes or mark in _MARKS):
            return kind
    return None


def _from_analyze(header: Any) -> Any:
    """The same in a header of NIfTI: neither placement, the scale factor of SPM."""
    same = nibabel.Nifti1Header(endianness=header.endianness)
    for name in ("dim", "datatype", "bitpix", "pixdim", "vox_offset", "scl_slope"):
        same[name] = header[name]
    same["scl_inter"] = 0
    return same


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
    unit, scale = _LENGTH_UNITS.get(int(header["xyzt_units"]) & 7, ("", 1.0))
    qform, sform = _scale_lengths(_qform(header), scale), _scale_lengths(_sform(header), scale)
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
        tuple(float(step) * scale for step in header["pixdim"][1:4]),
        _time(header),
        qform,
        sform,
        bytes(header["intent_name"]).split(b"\0")[0].decode("latin-1").strip(),
        isinstance(header, nibabel.Nifti2Header),
        tuple(_oddities(header, min(dim[0], 3), sform)),
        unit,
        int(header["intent_code"]) if "intent_code" in header else 0,
    )


def _scale_lengths(matrix: Matrix | None, scale: float) -> Matrix | None:
    return None if matrix is None else np.diag([scale, scale, scale, 1.0]) @ matrix


def _positive(steps: Sequence[float]) -> Matrix:
    """Steps without their signs; those that cannot be are 1, as in ITK's NIfTI library."""
    sizes: Matrix = np.abs(np.asarray(steps, float))
    return np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1.0)


def _oddities(header: Any, axes: int, sform: Matrix | None) -> Iterator[str]:
    """What of the placement cannot be, in words."""
    codes = {name: int(header[f"{name}_code"]) for name in ("qform", "sform")}
    for name, code in codes.items():
        if not 0 <= code <= _PLACEMENT_CODES:
            yield f"{name}_code {code}"
    if codes["sform"] > 0 and sform is None:
        yield "an sform that is no placement"
    if codes["qform"] <= 0 and sform is not None:
        return  # nothing else is used
    steps = header["pixdim"][1 : axes + 1].astype(float)
    if not (np.isfinite(steps) & (steps > 0)).all():
        yield f"pixdim {', '.join(f'{step:g}' for step in steps)}"
    if codes["qform"] > 0:
        vector = np.array([float(header[f"quatern_{axis}"]) for axis in "bcd"])
        offset = np.array([float(header[f"qoffset_{axis}"]) for axis in "xyz"])
        if not np.isfinite(vector).all() or np.linalg.norm(vector) > 1 + _QUATERNION_ROUNDING:
            yield f"the quaternion {', '.join(f'{each:g}' for each in vector)}"
        if not np.isfinite(offset).all():
            yield f"the offset {', '.join(f'{each:g}' for each in offset)}"


def _time(header: Any) -> tuple[float, float]:
    """Of the first frame and between frames; a step that cannot be counts as 1."""
    start, step = float(header["toffset"]), float(header["pixdim"][4])
    return start if np.isfinite(start) else 0.0, step if np.isfinite(step) and step > 0 else 1.0


def _number_type(path: Path, header: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
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
    if int(header["qform_code"]) <= 0:
        return None
    header = header.copy()
    sign, *steps = header["pixdim"][:4]
    header["pixdim"][:4] = [-1 if sign < 0 else 1, *_positive(steps)]
    vector: Matrix = np.array([float(header[f"quatern_{axis}"]) for axis in "bcd"])
    length = max(float(np.linalg.norm(vector)), 1.0)
    for axis, value in zip("bcd", vector, strict=True):
        header[f"quatern_{axis}"] = value / length if np.isfinite(vector).all() else 0.0
    for axis in "xyz":
        offset = float(header[f"qoffset_{axis}"])
        header[f"qoffset_{axis}"] = offset if np.isfinite(offset) else 0.0
    matrix: Matrix = header.get_qform()
    return matrix


def _sform(header: Any) -> Matrix | None:
    """The placement by matrix; None where there is none, or numbers that cannot be one."""
    matrix: Matrix = header.get_sform()
    usable = np.isfinite(matrix).all() and abs(np.linalg.det(matrix[:3, :3])) > 0
    return matrix if int(header["sform_code"]) > 0 and usable else None


def header_remarks(path: Path, header: NiftiHeader) -> list[Remark]:
    """What is repaired or doubted in a header."""
    remarks = []
    if header.unit:
        remarks.append(Remark(RemarkKind.LENGTH_UNIT, path, {"unit": header.unit}))
    if header.qform is None and header.sform is None:
        remarks.append(Remark(RemarkKind.NO_PLACEMENT, path))
    if header.is_turned_plane:
        remarks.append(Remark(RemarkKind.TURNED_PLANE, path))
    if header.oddities:
        by = "sform" if header.sform is not None else "qform" if header.qform is not None else ""
        what = {"what": " and ".join(header.oddities), "by": by or "size of its voxels"}
        remarks.append(Remark(RemarkKind.HEADER_REPAIRED, path, what))
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
    kinds = (
        RemarkKind.PLACEMENTS_DISAGREE,
        RemarkKind.SPACING_CONTRADICTS,
        RemarkKind.LENGTH_UNIT,
        RemarkKind.NO_PLACEMENT,
        RemarkKind.HEADER_REPAIRED,
        RemarkKind.TURNED_PLANE,
    )
    return [remark for remark in header_remarks(path, header) if remark.kind in kinds]


def _in_words(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{step:.3g}" for step in spacing)
