"""NIfTI and Analyze files, single and in pairs: their values as the standard has them.

ITK turns NaN into 0, adds the intercept where nothing is scaled by the standard, and invents the
voxels of a truncated file. Nothing here needs torch.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from os import SEEK_END
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.io.encodings.packed_files import (
    DAMAGES,
    UNPACKS_FAST,
    crc32_of,
    is_packed,
    open_packed,
)
from neuralreg.io.files import quiet_itk, require_existing
from neuralreg.io.formats.nifti_header import (
    NiftiHeader,
    header_remarks,
)
from neuralreg.io.volume import (
    Array,
    Volume,
    count_not_finite,
    frame_remarks,
    not_finite_remarks,
    place_image,
    to_image,
)

_CHUNK_BYTES = 1 << 22
_MOST_UNPACKED = 1100  # bytes out of one by gzip


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
    unpacked = _unpack_by_itk(header)
    if unpacked is not None:
        image = place_image(unpacked, find_grid())
        return [Volume(image, tuple(header_remarks(path, header)), time=header.time)]
    stored = _read_stored(header, frame or 0, count if frame is None else 1)
    grid = find_grid()
    volumes = []
    for k, part in enumerate(np.split(stored, count if frame is None else 1)):
        values = _scale(part.reshape(grid.shape), header)
        remarks = not_finite_remarks(path, values) + header_remarks(path, header)
        if frame is not None:
            remarks += frame_remarks(path, header.dim[0], frame + k, count)
        volumes.append(Volume(to_image(values, grid), tuple(remarks), count, time=header.time))
    return volumes


def _unpack_by_itk(header: NiftiHeader) -> sitk.Image | None:
    """The image of a .nii.gz as ITK reads it, where that is what the file holds, else None.

    ITK unpacks several times faster than Python's zlib, and slower than isal. It invents what is
    missing and makes 0 of NaN, so its values are taken only where header and values have the
    checksum and the length that gzip stored behind them.
    """
    path = header.values
    plain = header.slope is None and header.dtype.isnative and header.dim[0] in (2, 3)
    if UNPACKS_FAST or not plain or not (path.name.endswith(".nii.gz") and is_packed(path)):
        return None
    with path.open("rb") as file:
        file.seek(-8, SEEK_END)
        checksum, length = struct.unpack("<II", file.read(8))
    if length != header.stop:
        return None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with open_packed(path) as file:
            head = file.read(header.start)
        with quiet_itk():
            image: sitk.Image = reader.Execute()
    except (RuntimeError, *DAMAGES):
        return None  # the other way of reading says what is wrong
    values = sitk.GetArrayViewFromImage(image)
    same = values.dtype == header.dtype and crc32_of(values, zlib.crc32(head)) == checksum
    if not same or count_not_finite(values):
        return None
    for key in image.GetMetaDataKeys():  # which a writer would follow
        image.EraseMetaData(key)
    return image


def require_whole(header: NiftiHeader) -> None:
    """Check that all values that a header asks for are in the file.

    Raises:
        UnreadableFile: some are missing, or packed ones are damaged.
    """
    if is_packed(header.values):
        _read_stored(header, 0, 0)
    elif (held := header.values.stat().st_size) < header.stop:
        raise _damage(header.values, f"{held} bytes of image", header)


def count_stored_not_finite(header: NiftiHeader) -> int:
    """How many NaN and infinite values a file holds.

    Raises:
        UnreadableFile: the file is truncated.
    """
    if header.dtype.kind != "f":
        return 0
    return count_not_finite(_read_stored(header, 0, header.frames))


def _read_stored(header: NiftiHeader, frame: int, frames: int) -> Array:
    """The values of some frames as stored; the whole file is read, to see whether it is there."""
    count = int(np.prod(header.shape[:3], dtype=np.int64))
    first = header.start + frame * count * header.dtype.itemsize
    stored = require_existing(header.values).stat().st_size
    if header.stop > _MOST_UNPACKED * stored:  # before memory is asked for
        raise _damage(header.values, f"a file of {stored} bytes", header)
    raw = np.empty(frames * count * header.dtype.itemsize, np.uint8)
    space = memoryview(raw.data)
    held = 0
    try:
        with open_packed(header.values) as file:
            held = len(file.read(first))
            filled = 0
            while filled < len(raw) and (part := file.readinto(space[filled:])):
                filled += part
            held += filled
            while held < header.stop and (more := file.read(min(_CHUNK_BYTES, header.stop - held))):
                held += len(more)
            file.read(1)  # makes gzip compare its checksum
    except DAMAGES as error:
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


def _damage(path: Path, got: str, header: NiftiHeader) -> UnreadableFile:
    return UnreadableFile(
        f"{path} is truncated or damaged",
        got=got,
        wanted=f"{header.stop} bytes",
        remedy="Copy or download the file again.",
    )
