"""DICOM: a folder with one series, or one file, as a volume with values in physical units.

ITK decodes the pixels and stacks single slices; pydicom says where the frames of one file are, how
each is scaled, and decodes what ITK takes wrongly (doses, segmentations of one bit).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.files import container_of, itk_reason, quiet_itk
from neuralreg.io.formats.dicom_frames import place_frames, read_frames
from neuralreg.io.formats.dicom_header import (
    colors_error,
    frame_scales,
    number_of,
    read_header,
    require_even,
)
from neuralreg.io.formats.dicom_padding import TAGS, Padding, fill_padding, paddings_of
from neuralreg.io.formats.dicom_series import SliceTags, series_files
from neuralreg.io.volume import Volume, to_image, units_remarks

_SHIFTED = 0.02  # of the slice distance: more than rounding
_DAMAGES = (AttributeError, IndexError, KeyError, NotImplementedError, OverflowError, TypeError,
            ValueError)  # fmt: skip
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_NO_UNITS = ("", "US", "NONE")  # unspecified
HEADER_TAGS = [
    *TAGS, "PhotometricInterpretation", "ImageType", "ImagePositionPatient", "RescaleSlope",
    "RescaleIntercept", "NumberOfFrames", "Units", "Modality", "BitsAllocated",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do, with or without the preamble."""
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return True
    return path.suffix.lower() in (".dcm", ".ima") or start[:2] in (b"\x08\x00", b"\x02\x00")


def read_dicom(path: Path, frame: int | None = 0) -> list[Volume]:
    """The volume in a folder with one DICOM series (not in its subfolders), or in one file.

    Args:
        path: the folder, a series in it (`study::3`, see `series_files`), or the file.
        frame: which volume of a file that has several at one place; None: all of them.

    Raises:
        UnreadableFile: there is no series or more than one, or a file is damaged.
        InvalidImage: slices do not stack to a straight, evenly spaced volume; colors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about values that it can read all the same
        try:
            if container_of(path).is_dir():
                return _read_folder(path, frame)
            return _read_file(path, frame)
        except _DAMAGES as error:
            raise UnreadableFile(f"{path} has a damaged DICOM header", got=str(error)) from error


def _read_folder(path: Path, frame: int | None) -> list[Volume]:
    names = series_files(path)
    if len(names) == 1:
        return _read_file(Path(names[0]), frame, folder=True)
    return [_read_slices(path, names)]


# One slice per file


def _read_slices(folder: Path, names: Sequence[str]) -> Volume:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOn()  # ITK tells the tags while it reads
    image = _execute(folder, reader)
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise colors_error(folder, f"{image.GetNumberOfComponentsPerPixel()} samples per pixel")
    tags = SliceTags.of_reader(folder, reader, len(names))
    remarks = tags.remarks()
    slopes = tags.slopes()
    if len(slopes) > 1:  # the type of the first slice need not hold the values of the others
        reader.SetOutputPixelType(sitk.sitkFloat32)
        image = _execute(folder, reader)
        low, high = min(s for s, _ in slopes), max(s for s, _ in slopes)
        remarks.append(Remark(RemarkKind.RESCALED_BY_SLICE, folder, {"low": low, "high": high}))
    normal = np.reshape(image.GetDirection(), (3, 3))[:, 2]
    header = read_header(Path(names[0]), HEADER_TAGS)
    remarks += _mosaic_remarks(folder, header)
    image, inverted = _as_stored(folder, image, header, tags.scales())
    remarks += inverted
    remarks += require_straight(folder, tags.positions(), normal, min(image.GetSpacing()))
    paddings = paddings_of(header) * len(names)
    if tags.paddings_differ or (len(slopes) > 1 and paddings[0] is not None):
        headers = (read_header(Path(name), HEADER_TAGS) for name in names)
        paddings = [paddings_of(each)[0] for each in headers]
    return _finish(folder, image, header, paddings, remarks)


def _mosaic_remarks(path: Path, header: Any) -> list[Remark]:
    """A remark where a file holds the slices of a volume as tiles of one picture."""
    mosaic = "MOSAIC" in (header.get("ImageType") or [])
    return [Remark(RemarkKind.MOSAIC, path)] if mosaic else []


def _as_stored(
    path: Path, image: sitk.Image, header: Any, scales: Sequence[tuple[float, float]]
) -> tuple[sitk.Image, list[Remark]]:
    """The image without the inversion that ITK makes where small values are shown as white.

    ITK inverts the bits that are stored, n to -1 - n, or to 2^bits - 1 - n without a sign, before
    it rescales. How an image is to be shown does not change its values.

    Args:
        path: for the remark.
        image: as ITK has read it.
        header: of one of its files.
        scales: slope and intercept of each slice.
    """
    if header.get("PhotometricInterpretation") != "MONOCHROME1":
        return image, []
    signed = number_of(header, "PixelRepresentation", 0) == 1
    most = -1.0 if signed else 2.0 ** number_of(header, "BitsStored", 16) - 1
    values = sitk.GetArrayFromImage(image)
    for part, (slope, intercept) in zip(values, scales, strict=True):
        part[...] = slope * most + 2 * intercept - part.astype(np.float64)
    return to_image(values, Grid.of(image)), [Remark(RemarkKind.NOT_INVERTED, path)]


def _execute(folder: Path, reader: sitk.ImageSeriesReader) -> sitk.Image:
    try:
        with quiet_itk():
            return reader.Execute()
    except RuntimeError as error:
        sizes = "Size:" in str(error)
        raise UnreadableFile(
            f"the DICOM series in {folder} cannot be read",
            got="slices of different sizes" if sizes else itk_reason(error),
        ) from error


def _finish(
    path: Path,
    image: sitk.Image,
    header: Any,
    paddings: Sequence[Padding | None],
    remarks: list[Remark],
) -> Volume:
    """The volume with the padding of its slices as background and its units."""
    stored = sitk.GetArrayViewFromImage(image)
    values, padded = fill_padding(path, stored, paddings)
    if values is not stored:
        image = to_image(values, Grid.of(image))
    units = units_of(header)
    return Volume(image, (*remarks, *padded, *units_remarks(path, units)), units=units)


def units_of(header: Any) -> str:
    """The units of the values; empty where the header does not say."""
    units = str(header.get("Units", "") or "")
    return "" if units in _NO_UNITS else units


def _read_file(path: Path, frame: int | None, *, folder: bool = False) -> list[Volume]:
    header = read_header(path)
    if "Rows" not in header:
        raise UnreadableFile(
            f"{path} holds no image",
            got=f"DICOM of modality '{header.get('Modality', '')}'",
            wanted="a DICOM file with pixels",
        )
    frames = int(number_of(header, "NumberOfFrames", 1))
    if number_of(header, "SamplesPerPixel", 1) > 1:
        raise colors_error(path, f"{header.get('SamplesPerPixel')} samples per pixel")
    placement = place_frames(path, header, frames)
    special = (
        "DoseGridScaling" in header
        or number_of(header, "BitsAllocated", 16) == 1
        or header.get("PhotometricInterpretation") == "PALETTE COLOR"
    )
    if special or (placement is not None and (frames > 1 or header.get(_PER_FRAME))):
        return read_frames(path, header, placement, frames, frame)
    with quiet_itk():
        try:
            image = sitk.ReadImage(str(path))
        except RuntimeError as error:
            raise UnreadableFile(
                f"{path} cannot be read as an image", got=itk_reason(error)
            ) from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise colors_error(path, image.GetPixelIDTypeAsString())
    image, remarks = _as_stored(path, image, header, frame_scales(header, frames))
    remarks += _mosaic_remarks(path, header)
    if not any(name in header for name in _SPACINGS) and not header.get(_PER_FRAME):
        remarks.append(Remark(RemarkKind.NO_SPACING, path))
    if ("ImagePositionPatient" not in header and not header.get(_PER_FRAME)) or frames > 1:
        remarks.append(Remark(RemarkKind.NO_PLACEMENT, path))
    if frames == 1 and not folder:
        remarks.append(Remark(RemarkKind.SINGLE_SLICE, path))
    return [_finish(path, image, header, paddings_of(header, frames), remarks)]


def require_straight(
    where: Path | str, positions: Matrix, normal: Matrix, pixel: float
) -> list[Remark]:
    """Check that slices stack to a volume: a gap or a tilt would bend the anatomy.

    ITK stacks what it gets at one mean distance.

    Args:
        where: the folder, or the name of a volume.
        positions: LPS mm of the first voxel of each slice, in order, (slices, 3).
        normal: of the slices.
        pixel: size of the smaller side of a voxel, mm.

    Raises:
        InvalidImage: a slice is missing or there twice, or the slices are sheared.
    """
    if len(positions) < 2:
        return []
    along = (positions - positions[0]) @ normal
    levels = len(np.unique(np.round(along, 3)))
    if levels < len(along):
        raise InvalidImage(
            f"the DICOM series in {where} holds several images of one slice",
            got=f"{len(positions)} files at {levels} positions",
            remedy="Export one time point, echo or phase as a series of its own.",
        )
    require_even(f"the slices of the DICOM series in {where}", positions, normal, pixel)
    shift = float(np.abs(along - np.linspace(along[0], along[-1], len(along))).max())
    if shift < _SHIFTED * abs(along[-1]) / (len(along) - 1):
        return []
    return [Remark(RemarkKind.SHIFTED_SLICES, where, {"mm": shift})]
