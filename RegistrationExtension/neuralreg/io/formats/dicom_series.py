"""A DICOM series of one slice per file: which files it has, and what their headers agree on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.files import itk_reason, quiet_itk
from neuralreg.io.formats.dicom_header import read_header

_POSITION, _ORIENTATION, _SPACING = "0020|0032", "0020|0037", "0028|0030"
_SLOPE, _INTERCEPT = "0028|1053", "0028|1052"
_TURNED = 1e-3  # of a cosine: more than rounding
_SCALED = 1e-3  # relative, of the spacing
_SUFFIXES = (".dcm", ".ima")
_TAGS = ["SeriesDescription", "SeriesNumber", "Rows", "SOPClassUID"]


def series_files(folder: Path) -> Sequence[str]:
    """The files of the one series of images in a folder, in the order of their slices.

    Raises:
        UnreadableFile: there is no series or more than one, or a DICOM file is damaged.
    """
    with quiet_itk():
        try:
            series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
            files = {one: _file_names(folder, one) for one in series}
        except RuntimeError as error:
            raise UnreadableFile(
                f"the DICOM files in {folder} cannot be read", got=itk_reason(error)
            ) from error
    _require_sound(folder, {Path(name).name for names in files.values() for name in names})
    images = {one: names for one, names in files.items() if len(files) == 1 or _shows(names[0])}
    if len(images) != 1:
        raise _wrong_number(folder, list(images.values()))
    return next(iter(images.values()))


def _file_names(folder: Path, series: str) -> Sequence[str]:
    names: Sequence[str] = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series)
    return names


def _shows(name: str) -> bool:
    """Whether a file holds an image; a structure set and a report are series of their own."""
    return "Rows" in read_header(Path(name), _TAGS)


def _require_sound(folder: Path, read: set[str]) -> None:
    """Check that no file was left out because it is damaged: its slice would be missing."""
    for path in sorted(folder.iterdir()):
        if path.name in read or path.name.upper() == "DICOMDIR" or not path.is_file():
            continue
        with path.open("rb") as file:
            start = file.read(132)
        if path.suffix.lower() not in _SUFFIXES and start[128:] != b"DICM":
            continue
        header = read_header(path, _TAGS)
        if "Rows" in header or "SOPClassUID" not in header:
            raise UnreadableFile(
                f"{path} is truncated or damaged",
                got=f"{path.stat().st_size} bytes",
                wanted="a whole DICOM file",
                remedy="Copy or export it again, or move it out of the folder.",
            )


def _wrong_number(folder: Path, series: Sequence[Sequence[str]]) -> UnreadableFile:
    if not series:
        return UnreadableFile(
            f"{folder} holds no DICOM series",
            wanted="a folder with the DICOM files of one series, or an image file",
        )
    return UnreadableFile(
        f"{folder} holds {len(series)} DICOM series",
        got="; ".join(map(_describe, series)),
        wanted="one series per folder",
        remedy="Move the files of the series you want into a folder of their own.",
    )


def _describe(names: Sequence[str]) -> str:
    header = read_header(Path(names[0]), _TAGS)
    number = f"number {header.get('SeriesNumber')}, " if header.get("SeriesNumber") else ""
    files = f"{len(names)} file{'s' * (len(names) > 1)} from {Path(names[0]).name}"
    return f"'{header.get('SeriesDescription', '')}' ({number}{files})"


class SliceTags:
    """What the headers of the slices say, as ITK tells it while it reads them.

    Attributes:
        folder: for messages.
        reader: that has read the series.
        count: of the slices.
    """

    def __init__(self, folder: Path, reader: sitk.ImageSeriesReader, count: int) -> None:
        self.folder, self.reader, self.count = folder, reader, count

    def positions(self) -> Matrix:
        """LPS mm of the first voxel of each slice, (slices, 3); empty where no file says it."""
        return self._same_length(_POSITION, 3, "a position")

    def slopes(self) -> set[tuple[float, float]]:
        """Slope and intercept, as often as they differ."""
        return {
            (self._number(k, _SLOPE, 1.0), self._number(k, _INTERCEPT, 0.0))
            for k in range(self.count)
        }

    def remarks(self) -> list[Remark]:
        """What the headers do not say.

        Raises:
            InvalidImage: slices disagree on orientation or spacing, or only some have a position.
        """
        orientations = self._same_length(_ORIENTATION, 6, "an orientation")
        spacings = self._same_length(_SPACING, 2, "a pixel spacing")
        if len(orientations) and np.ptp(orientations, axis=0).max() > _TURNED:
            raise self._disagreement("parallel", "slices of several orientations")
        if len(spacings) and np.ptp(spacings, axis=0).max() > _SCALED * spacings.max():
            both = f"{spacings.min():g} to {spacings.max():g} mm"
            raise self._disagreement("of one pixel spacing", both)
        remarks = []
        if not len(spacings):
            remarks.append(Remark(RemarkKind.NO_SPACING, self.folder))
        if not len(orientations) or not len(self.positions()):
            remarks.append(Remark(RemarkKind.NO_PLACEMENT, self.folder))
        return remarks

    def _same_length(self, tag: str, length: int, name: str) -> Matrix:
        """An element of each slice; empty where no slice has it.

        Raises:
            InvalidImage: some slices have it and others do not.
        """
        rows = [self._numbers(k, tag) for k in range(self.count)]
        complete = [len(row) == length for row in rows]
        if not any(complete):
            return np.empty((0, length))
        if not all(complete):
            raise self._disagreement(
                f"all with {name}",
                f"{complete.count(False)} of {self.count} without",
            )
        return np.array(rows, float)

    def _disagreement(self, what: str, got: str) -> InvalidImage:
        return InvalidImage(
            f"the slices of a DICOM series are {what}",
            where=str(self.folder),
            got=got,
            remedy="Export the slices that belong together as a series of their own.",
        )

    def _numbers(self, k: int, tag: str) -> list[float]:
        """The numbers of an element of one slice; none where it is not there."""
        has = self.reader.HasMetaDataKey(k, tag)
        text = self.reader.GetMetaData(k, tag).strip("\0 ") if has else ""
        return [float(part) for part in text.split("\\")] if text else []

    def _number(self, k: int, tag: str, default: float) -> float:
        numbers = self._numbers(k, tag)
        return numbers[0] if numbers else default
