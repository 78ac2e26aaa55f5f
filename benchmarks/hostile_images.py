"""Hostile runs of image files: formats, number types, headers, contents and damage.

The truth is the array that was written, or what nibabel, pydicom or SimpleITK makes of the file.
"""

from __future__ import annotations

import json
import logging
import struct
from dataclasses import dataclass
from pathlib import Path

import neuralreg
import nibabel
import numpy as np
import SimpleITK as sitk
from neuralreg.errors import RegistrationError

from benchmarks.hostile_tools import (
    NUMBERS,
    REFUSED,
    REMARKED,
    RIGHT,
    WRONG,
    Array,
    Judgement,
    call,
    fault_of,
    itk_image,
    quiet,
    same,
    some_direction,
    some_values,
)
from Testing.support.dicom_files import write_dose, write_multiframe, write_slices

BY_ITK = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
BY_NIBABEL = (".nii", ".nii.gz", ".hdr", ".mgz", ".nii2")
MGH_NUMBERS = (np.uint8, np.int16, np.int32, np.float32)
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # the oracle's own words


@dataclass(frozen=True)
class Written:
    """A file and what is in it: values (z, y, x), and from index x y z to LPS mm."""

    path: Path
    values: Array
    affine: Array


def _affine(rng: np.random.Generator, dimension: int = 3) -> tuple[Array, Array, Array, Array]:
    """A grid: spacing, origin, direction, and all of it as one matrix."""
    spacing = np.round(rng.uniform(0.3, 4, dimension), 2)
    origin = np.round(rng.uniform(-200, 200, dimension), 1)
    direction = some_direction(rng, dimension)
    matrix = np.eye(dimension + 1)
    matrix[:dimension, :dimension] = direction * spacing
    matrix[:dimension, dimension] = origin
    return spacing, origin, direction, matrix


def write_some(rng: np.random.Generator, folder: Path) -> Written:
    """An image in a format, number type and placement by chance."""
    shape = tuple(rng.integers(3, 9, 3))
    spacing, origin, direction, matrix = _affine(rng)
    if rng.random() < 0.5:
        suffix = str(rng.choice(BY_ITK))
        values = some_values(rng, NUMBERS[rng.integers(len(NUMBERS))], shape)
        path = folder / f"image{suffix}"
        sitk.WriteImage(
            itk_image(values, spacing, origin, direction), str(path), bool(rng.random() < 0.5)
        )
        return Written(path, values, matrix)
    suffix = str(rng.choice(BY_NIBABEL))
    numbers = MGH_NUMBERS if suffix == ".mgz" else NUMBERS
    values = some_values(rng, numbers[rng.integers(len(numbers))], shape)
    path = folder / ("image" + (".nii" if suffix == ".nii2" else suffix))
    _save_by_nibabel(rng, path, suffix, values, TO_LPS @ matrix)
    return Written(path, values, matrix)


def _save_by_nibabel(
    rng: np.random.Generator, path: Path, suffix: str, values: Array, affine: Array
) -> None:
    if suffix == ".mgz":
        nibabel.save(nibabel.MGHImage(values.T, affine), path)
        return
    kinds = {".hdr": nibabel.Nifti1Pair, ".nii2": nibabel.Nifti2Image}
    kind = kinds.get(suffix, nibabel.Nifti1Image)
    header = kind.header_class(endianness=str(rng.choice(["<", ">"])))
    header.set_data_dtype(values.dtype)
    image = kind(values.T, affine, header)
    codes = [(1, 1), (1, 0), (0, 2), (4, 1)][rng.integers(4)]
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    nibabel.save(image, path.with_suffix(".img") if suffix == ".hdr" else path)


def judge_reading(written: Written, *, must_read: bool = True) -> Judgement:
    """Whether `info` and `read_image` say what is in a file."""
    outcome = call("info", written.path, "--json")
    if (fault := fault_of(outcome, written.path)) is not None:
        needless = must_read and fault.verdict == REFUSED
        return Judgement(WRONG, f"refused without need: {fault.words}") if needless else fault
    facts = json.loads(outcome.out)
    image = neuralreg.read_image(written.path)
    remarked = [str(remark.kind) for remark in image.remarks if str(remark.kind) != "not finite"]
    d = image.grid.dimension
    size = np.array(image.grid.size) - 1
    gap = image.grid.index_to_world - written.affine
    off = np.abs(gap[:d, :d] @ size + gap[:d, d]).max() + np.abs(gap[:d, d]).max()
    if not same(image.data[0].numpy(), written.values, 1e-3 * float(bool(remarked))):
        words = "other values"
    elif off > 1e-3 * max(np.abs(written.affine).max(), 1):
        words = f"{off:.3g} mm off"
    elif list(facts["size"]) != list(written.values.shape[::-1]):
        words = "info says another size"
    else:
        return Judgement(REMARKED if remarked else RIGHT, ", ".join(remarked))
    return Judgement(REMARKED if remarked else WRONG, f"{words}; remarks: {remarked}")


def sound_file(rng: np.random.Generator, folder: Path) -> Judgement:
    """A file without a fault must be read, exactly and without a remark."""
    judgement = judge_reading(write_some(rng, folder))
    return judgement if judgement.verdict != REMARKED else Judgement(WRONG, judgement.words)


def dicom_file(rng: np.random.Generator, folder: Path) -> Judgement:
    """Slices with slopes of their own, a dose, or frames in any order."""
    stored = rng.integers(0, 30000, tuple(rng.integers(3, 8, 3))).astype(np.uint16)
    count, kind = len(stored), rng.integers(3)
    step = float(np.round(rng.uniform(0.5, 5), 1))
    if kind == 0:
        slopes = rng.choice([1.0, 0.5, 0.25, 2.0], count)
        write_slices(folder, stored, slopes, Modality="PT")
        values, start, spacing = stored * slopes[:, None, None], (0, 0, 0), (3, 3, 3)
        path = folder
    elif kind == 1:
        path = write_dose(folder / "dose.dcm", stored, scaling="0.001", step=step)
        values, start, spacing = stored * 0.001, (-15, -15, -15), (2, 2, step)
    else:
        places = step * rng.permutation(count)
        path = write_multiframe(folder / "frames.dcm", stored, np.round(places, 3).tolist())
        values, start, spacing = stored[np.argsort(places)], (-15, -15, 0), (2, 2, step)
    matrix = np.diag([*map(float, spacing), 1.0])
    matrix[:3, 3] = start
    given = folder if rng.random() < 0.5 else path
    return judge_reading(Written(given, values.astype(np.float32), matrix))


# Offsets of a NIfTI-1 header and what may stand there.
_NAN, _INF = float("nan"), float("inf")
HEADER_EDITS = (
    (80, "f", (0.0, -2.0, _NAN, _INF, 1.0)),  # pixdim[1]
    (76, "f", (0.0, -1.0, 1.0, _NAN)),
    (256, "f", (_NAN, 0.9, 0.0, 2.0)),  # quaternion
    (268, "f", (_NAN, 1e30, 0.0)),  # offset
    (280, "f", (_NAN, 0.0, _INF, 7.0)),  # sform
    (296, "4f", ((0, 0, 0, 0),)),
    (123, "b", (0, 1, 2, 3, 10, 18)),  # units
    (112, "f", (0.0, _NAN, _INF, 2.0, -1.0, 1e-20)),  # slope
    (116, "f", (5.0, _NAN)),
    (252, "h", (0, -1, 1, 99)),
    (254, "h", (0, -1, 1, 99)),
    (40, "h", (0, 2, 3, 4, 8, -1)),  # axes
    (42, "h", (0, -1, 32000, 3)),
    (48, "h", (0, -1, 2)),
    (70, "h", (0, 2, 16, 128, 1536, 9999)),  # number type
    (72, "h", (8, 16, 32, 0)),
    (108, "f", (0.0, 348.0, 352.0, 1e9, -1.0, _NAN)),  # first byte
    (344, "4s", (b"n+1\0", b"ni1\0", b"xxxx")),
    (0, "i", (348, 540, 0)),
)


def odd_header(rng: np.random.Generator, folder: Path) -> Judgement:
    """A NIfTI header with one or two impossible or contradictory fields; nibabel is the truth."""
    values = some_values(rng, np.int16, (5, 6, 7))
    path = folder / "odd.nii"
    *_, matrix = _affine(rng)
    _save_by_nibabel(rng, path, ".nii", values, TO_LPS @ matrix)
    raw = bytearray(path.read_bytes())
    order = ">" if raw[0] == 0 else "<"
    for _ in range(rng.integers(1, 3)):
        offset, form, choices = HEADER_EDITS[rng.integers(len(HEADER_EDITS))]
        value = choices[rng.integers(len(choices))]
        struct.pack_into(order + form, raw, offset, *(value if form == "4f" else (value,)))
    path.write_bytes(raw)
    return judge_by_nibabel(path, values)


def judge_by_nibabel(path: Path, written: Array | None = None) -> Judgement:
    """Ours against nibabel's, where that reads the file at all.

    What was written counts as well: nibabel reads the header as values where the first byte of the
    values is damaged.
    """
    try:
        with quiet():
            theirs = nibabel.load(_with_sound_offset(path))
            values = np.asarray(theirs.dataobj)
            affine = TO_LPS @ theirs.affine
    except Exception as error:  # noqa: BLE001 - whatever it raises, it does not read the file
        values = None
        reason = type(error).__name__
    if values is None:
        outcome = call("info", path, "--json")
        fault = fault_of(outcome, path)
        return fault or Judgement(REMARKED, f"read, nibabel does not: {reason}")
    gray = values.ndim in (2, 3) or (values.ndim > 3 and all(n == 1 for n in values.shape[3:]))
    values = values.reshape(values.shape[: max(2, min(values.ndim, 3))] if gray else values.shape)
    if not gray or values.dtype.fields or values.dtype.kind == "c":
        outcome = call("info", path, "--json")
        return fault_of(outcome, path) or Judgement(REMARKED, "not one gray image")
    if values.ndim == 2:
        affine = affine[np.ix_([0, 1, 3], [0, 1, 3])]
    judgement = judge_reading(Written(path, values.T, affine), must_read=False)
    if judgement.verdict == WRONG and written is not None:
        return judge_reading(Written(path, written, affine), must_read=False)
    return judgement


def _with_sound_offset(path: Path) -> Path:
    """The file, or a copy whose values begin after the header, as they do in ours and ITK's eyes.

    nibabel takes the header for values where the first byte of the values is one of the header.
    """
    raw = bytearray(path.read_bytes())
    if path.suffix != ".nii" or len(raw) < 352 or raw[344:347] != b"n+1":
        return path
    order = ">" if 1 <= struct.unpack_from(">h", raw, 40)[0] <= 7 else "<"
    if not 0 <= struct.unpack_from(order + "f", raw, 108)[0] < 348:
        return path
    struct.pack_into(order + "f", raw, 108, 352.0)
    copy = path.with_name("sound.nii")
    copy.write_bytes(raw)
    return copy


def truncated(rng: np.random.Generator, folder: Path) -> Judgement:
    """A file that ends early is refused; a format with a checksum notices each flipped bit."""
    written = write_some(rng, folder)
    path = _values_of(written.path)
    raw = path.read_bytes()
    keep = int(rng.integers(0, max(len(raw) - 1, 1)))
    if rng.random() < 0.3:  # the last byte too
        keep = len(raw) - 1
    path.write_bytes(raw[:keep])
    outcome = call("info", written.path, "--json")
    fault = fault_of(outcome, path if path != written.path else written.path)
    if fault is not None:
        return fault
    try:
        read = neuralreg.read_image(written.path).data[0].numpy()
    except RegistrationError:
        return Judgement(WRONG, "info reads what read_image refuses")
    if same(read, written.values):
        return Judgement(RIGHT, "all values were before the cut")
    return Judgement(WRONG, f"{path.name} cut to {keep} of {len(raw)} bytes was read")


def _values_of(path: Path) -> Path:
    """The file that holds the values."""
    beside = [path.with_suffix(end) for end in (".img", ".raw", ".zraw", ".raw.gz")]
    return next((each for each in beside if path.suffix in (".hdr", ".mhd", ".nhdr")
                 and each.exists()), path)  # fmt: skip


def flip_bits(rng: np.random.Generator, folder: Path) -> Judgement:
    """Flipped bits: read as another library reads them, or refused; never a crash."""
    written = write_some(rng, folder)
    path = written.path
    raw = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 4)):
        raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
    path.write_bytes(raw)
    name = path.name
    if name.endswith((".nii", ".nii.gz", ".hdr", ".mgz")):
        return judge_by_nibabel(path)
    try:
        with quiet():
            theirs = sitk.ReadImage(str(path))
    except RuntimeError:
        return fault_of(call("info", path, "--json"), path) or Judgement(
            REMARKED, "read, SimpleITK does not"
        )
    if theirs.GetDimension() not in (2, 3) or theirs.GetNumberOfComponentsPerPixel() > 1:
        return fault_of(call("info", path, "--json"), path) or Judgement(REMARKED, "not gray")
    d = theirs.GetDimension()
    matrix = np.eye(d + 1)
    matrix[:d, :d] = np.reshape(theirs.GetDirection(), (d, d)) * theirs.GetSpacing()
    matrix[:d, d] = theirs.GetOrigin()
    values = sitk.GetArrayFromImage(theirs)
    return judge_reading(Written(path, values, matrix), must_read=False)


KINDS = {
    "sound files": (sound_file, 200),
    "DICOM": (dicom_file, 60),
    "odd headers": (odd_header, 140),
    "truncated files": (truncated, 100),
    "flipped bits": (flip_bits, 100),
}
