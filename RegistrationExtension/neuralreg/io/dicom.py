"""A folder with one DICOM series, as a volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Matrix
from neuralreg.io.files import itk_reason, quiet_itk

_DESCRIPTION, _NUMBER, _POSITION = "0008|103e", "0020|0011", "0020|0032"
_UNEVEN = 0.1  # of the slice distance: more than that is a missing slice, not rounding


def read_series(folder: Path) -> sitk.Image:
    """The volume of the one series that lies in this folder (not in its subfolders).

    Raises:
        UnreadableFile: when there is no series or more than one.
        InvalidImage: when its slices do not stack to a straight, evenly spaced volume.
    """
    with quiet_itk():
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        if len(series) != 1:
            raise _wrong_number(folder, series)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(_file_names(folder, series[0]))
        reader.MetaDataDictionaryArrayUpdateOn()
        try:
            volume: sitk.Image = reader.Execute()
        except RuntimeError as error:
            raise UnreadableFile(
                f"the DICOM series in {folder} cannot be read", got=itk_reason(error)
            ) from error
    _require_straight(folder, volume, _positions(reader, volume.GetSize()[-1]))
    return volume


def _file_names(folder: Path, series: str) -> Sequence[str]:
    names: Sequence[str] = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series)
    return names


def _wrong_number(folder: Path, series: Sequence[str]) -> UnreadableFile:
    if not series:
        return UnreadableFile(
            f"{folder} holds no DICOM series",
            wanted="a folder with the DICOM files of one series, or an image file",
        )
    return UnreadableFile(
        f"{folder} holds {len(series)} DICOM series",
        got="; ".join(_describe(folder, one) for one in series),
        wanted="one series per folder",
        remedy="Move the files of the series you want into a folder of their own.",
    )


def _describe(folder: Path, series: str) -> str:
    names = _file_names(folder, series)
    reader = sitk.ImageFileReader()
    reader.SetFileName(names[0])
    reader.ReadImageInformation()

    def tag(key: str) -> str:
        return str(reader.GetMetaData(key)).strip() if reader.HasMetaDataKey(key) else ""

    number = f"number {tag(_NUMBER)}, " if tag(_NUMBER) else ""
    files = f"{len(names)} file{'s' * (len(names) > 1)} from {Path(names[0]).name}"
    return f"'{tag(_DESCRIPTION)}' ({number}{files})"


def _positions(reader: sitk.ImageSeriesReader, slices: int) -> Matrix:
    """LPS mm of the first voxel of each slice, (slices, 3); empty where a file does not tell."""
    if not all(reader.HasMetaDataKey(k, _POSITION) for k in range(slices)):
        return np.empty((0, 3))
    texts = [reader.GetMetaData(k, _POSITION) for k in range(slices)]
    return np.array([[float(number) for number in text.split("\\")] for text in texts])


def _require_straight(folder: Path, volume: sitk.Image, positions: Matrix) -> None:
    """ITK stacks what it gets at one mean distance; a gap or a tilt would bend the anatomy."""
    if len(positions) < 2:
        return
    normal = np.reshape(volume.GetDirection(), (3, 3))[:, 2]
    along = (positions - positions[0]) @ normal
    positions_along = len(np.unique(np.round(along, 3)))
    if positions_along < len(along):
        raise InvalidImage(
            f"the DICOM series in {folder} holds several images of one slice",
            got=f"{len(positions)} files at {positions_along} positions",
            remedy="Export one time point, echo or phase as a series of its own.",
        )
    steps = np.diff(along)
    step = float(np.median(steps))
    if np.abs(steps - step).max() > _UNEVEN * abs(step):
        raise InvalidImage(
            f"the slices of the DICOM series in {folder} are not evenly spaced",
            got=f"distances from {steps.min():.3f} to {steps.max():.3f} mm",
            remedy="Look for missing files, or resample the series to even slices first.",
        )
    drift = positions - positions[0] - np.outer(along, normal)
    if np.linalg.norm(drift, axis=1).max() > _UNEVEN * min(volume.GetSpacing()):
        raise InvalidImage(
            f"the slices of the DICOM series in {folder} are sheared (gantry tilt)",
            got=f"{np.linalg.norm(drift[-1]):.2f} mm of sideways shift over the volume",
            remedy="Straighten the volume first, for example by loading it in 3D Slicer.",
        )
