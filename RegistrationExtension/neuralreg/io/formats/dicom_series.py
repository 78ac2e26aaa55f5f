"""A DICOM series of one slice per file: which files it has, and what their headers agree on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.geometry.remarks import Remark, RemarkKind
from neuralreg.io.files import MAC_FILES, SERIES_MARK, itk_reason, quiet_itk, split_series
from neuralreg.io.formats.dicom_header import read_header

_POSITION, _ORIENTATION, _SPACING = "0020|0032", "0020|0037", "0028|0030"
_SLOPE, _INTERCEPT = "0028|1053", "0028|1052"
_FRAME = "0020|0052"
_PADDING = ("0028|0120", "0028|0121")
_TURNED = 1e-3  # of a cosine: more than rounding
_SCALED = 1e-3  # relative, of the spacing
_SUFFIXES = (".dcm", ".ima")
_TAGS = ["SeriesDescription", "SeriesNumber", "Rows", "SOPClassUID"]


@dataclass(frozen=True)
class Series:
    """One of the series in a folder.

    Attributes:
        uid, number, description: as its headers give them; "" for what they do not give.
        names: of its files, in the order of the slices.
        shows: whether it holds images; a structure set and a report are series of their own.
    """

    uid: str
    number: str
    description: str
    names: Sequence[str]
    shows: bool

    @classmethod
    def read(cls, uid: str, names: Sequence[str]) -> Series:
        """The series of some files."""
        header = read_header(Path(names[0]), _TAGS)
        texts = (header.get(tag) for tag in ("SeriesNumber", "SeriesDescription"))
        number, description = ("" if text is None else str(text).strip() for text in texts)
        return cls(uid, number, description, names, "Rows" in header)

    def __str__(self) -> str:
        number = f"number {self.number}, " if self.number else ""
        files = f"{len(self.names)} file{'s' * (len(self.names) > 1)} from {self._first}"
        return f"'{self.description}' ({number}{files}, UID {self.uid})"

    @property
    def _first(self) -> str:
        return Path(self.names[0]).name

    def answers_to(self, name: str) -> bool:
        """Whether it is called so: by its number, its UID, or its description in any letters."""
        return name in (self.uid, self.number) or name.casefold() == self.description.casefold()


def list_series(folder: Path) -> list[Series]:
    """The series in a folder, in the order of their numbers; those in its subfolders not.

    Raises:
        UnreadableFile: a DICOM file is damaged.
    """
    with quiet_itk():
        try:
            uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
            files = {uid: _file_names(folder, uid) for uid in uids}
        except RuntimeError as error:
            raise UnreadableFile(
                f"the DICOM files in {folder} cannot be read", got=itk_reason(error)
            ) from error
    _require_sound(folder, {Path(name).name for names in files.values() for name in names})
    series = [Series.read(uid, names) for uid, names in files.items()]
    return sorted(series, key=lambda one: (len(one.number), one.number, one.uid))


def series_files(path: Path) -> Sequence[str]:
    """The files of one series of images, in the order of their slices.

    Args:
        path: a folder with one series of images, or `FOLDER::SERIES`, where the series is called by
            its number, description, or UID.

    Raises:
        UnreadableFile: no series or more than one is meant, or a DICOM file is damaged.
    """
    folder, name = split_series(path)
    every = list_series(folder)
    images = [one for one in every if one.shows]
    if name:
        meant = [one for one in every if one.answers_to(name)]
        if len(meant) != 1:
            raise _unclear(folder, name, meant, images)
        return meant[0].names
    images = every if len(every) == 1 else images
    if len(images) != 1:
        raise _wrong_number(folder, images)
    return images[0].names


def _file_names(folder: Path, series: str) -> Sequence[str]:
    names: Sequence[str] = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series)
    return names


def _require_sound(folder: Path, read: set[str]) -> None:
    """Check that no file was left out because it is damaged: its slice would be missing."""
    for path in sorted(folder.iterdir()):
        if path.name in read or path.name.upper() == "DICOMDIR" or not path.is_file():
            continue
        if path.name.startswith(MAC_FILES):
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


def _wrong_number(folder: Path, series: Sequence[Series]) -> UnreadableFile:
    if not series:
        return UnreadableFile(
            f"{folder} holds no DICOM series",
            wanted="a folder with the DICOM files of one series, or an image file",
        )
    return UnreadableFile(
        f"{folder} holds {len(series)} DICOM series",
        got="; ".join(map(str, series)),
        wanted="one of them",
        remedy=_remedy(folder, series),
    )


def _unclear(
    folder: Path, name: str, meant: Sequence[Series], images: Sequence[Series]
) -> UnreadableFile:
    count = f"{len(meant)} series are" if meant else "no series is"
    return UnreadableFile(
        f"{count} called '{name}' in {folder}",
        got="; ".join(map(str, meant or images)),
        wanted="the number, description or UID of one series",
        remedy=_remedy(folder, meant or images),
    )


def _remedy(folder: Path, series: Sequence[Series]) -> str:
    """How to name a series, by what no other one has."""
    if not series:
        return ""
    numbers = [one.number for one in series]
    clear = series[0].number and numbers.count(series[0].number) == 1
    name = series[0].number if clear else series[0].uid
    return (
        f"Name it after two colons, by its number, description or UID: {folder}{SERIES_MARK}{name}"
    )


class SliceTags:
    """What the headers of the slices say.

    Attributes:
        where: for messages: the folder, or the name of a volume.
        count: of the slices.
        text_at: an element of a slice by number and tag ("0020|0032"), several values with
            backslashes between them; "" where it is not there.
    """

    def __init__(self, where: Path | str, count: int, text_at: Callable[[int, str], str]) -> None:
        self.where, self.count, self.text_at = where, count, text_at

    @classmethod
    def of_reader(cls, folder: Path, reader: sitk.ImageSeriesReader, count: int) -> SliceTags:
        """As ITK tells it while it reads the slices, in its order."""

        def text_at(k: int, tag: str) -> str:
            has = reader.HasMetaDataKey(k, tag)
            return str(reader.GetMetaData(k, tag)) if has else ""

        return cls(folder, count, text_at)

    def positions(self) -> Matrix:
        """LPS mm of the first voxel of each slice, (slices, 3); empty where no file says it."""
        return self._same_length(_POSITION, 3, "a position")

    def orientations(self) -> Matrix:
        """Cosines of rows and columns of each slice, (slices, 6); empty where no file says it."""
        return self._same_length(_ORIENTATION, 6, "an orientation")

    def spacings(self) -> Matrix:
        """Of rows and columns of each slice, mm, (slices, 2); empty where no file says it."""
        return self._same_length(_SPACING, 2, "a pixel spacing")

    def scales(self) -> list[tuple[float, float]]:
        """Slope and intercept of each slice."""
        return [
            (self._number(k, _SLOPE, 1.0), self._number(k, _INTERCEPT, 0.0))
            for k in range(self.count)
        ]

    def slopes(self) -> set[tuple[float, float]]:
        """Slope and intercept, as often as they differ."""
        return set(self.scales())

    @property
    def paddings_differ(self) -> bool:
        """Whether slices differ in the numbers that are padding."""
        return any(len({self._text(k, tag) for k in range(self.count)}) > 1 for tag in _PADDING)

    def remarks(self) -> list[Remark]:
        """What the headers do not say.

        Raises:
            InvalidImage: slices disagree on orientation or spacing, or only some have a position.
        """
        orientations, spacings = self.orientations(), self.spacings()
        if len(orientations) and np.ptp(orientations, axis=0).max() > _TURNED:
            raise self._disagreement("parallel", "slices of several orientations")
        if len(spacings) and np.ptp(spacings, axis=0).max() > _SCALED * spacings.max():
            both = f"{spacings.min():g} to {spacings.max():g} mm"
            raise self._disagreement("of one pixel spacing", both)
        if len(frames := {self._text(k, _FRAME) for k in range(self.count)}) > 1:
            raise self._disagreement(
                "in one frame of reference", f"{len(frames)}, which have no common coordinates"
            )
        remarks = []
        if not len(spacings):
            remarks.append(Remark(RemarkKind.NO_SPACING, self.where))
        if not len(orientations) or not len(self.positions()):
            remarks.append(Remark(RemarkKind.NO_PLACEMENT, self.where))
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
            where=str(self.where),
            got=got,
            remedy="Export the slices that belong together as a series of their own.",
        )

    def _numbers(self, k: int, tag: str) -> list[float]:
        """The numbers of an element of one slice; none where it is not there."""
        text = self._text(k, tag)
        return [float(part) for part in text.split("\\")] if text else []

    def _text(self, k: int, tag: str) -> str:
        return self.text_at(k, tag).strip("\0 ")

    def _number(self, k: int, tag: str, default: float) -> float:
        numbers = self._numbers(k, tag)
        return numbers[0] if numbers else default
