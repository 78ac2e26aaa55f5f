"""Image files and DICOM folders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk
import torch

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_from_itk, image_to_itk
from neuralreg.io.itk_images import (
    name_in_errors,
    open_frames,
    open_grid,
    open_volume,
    write_itk_image,
)
from neuralreg.io.volume import Volume, to_label_map


@dataclass(frozen=True)
class Series:
    """Images of one grid, one after the other.

    Attributes:
        frames: in their order.
        start, step: time of the first frame and between frames, in the file's own units.
    """

    frames: tuple[Image, ...]
    start: float = 0.0
    step: float = 1.0


def read_image(path: str | Path, *, notes: list[str] | None = None) -> Image:
    """The gray image in a file, or in a folder with one DICOM series; number type as stored.

    NIfTI, NRRD, MetaImage, DICOM, MGH, MINC, AFNI and what else ITK reads, in 2D or 3D, placed as
    3D Slicer places it. NaN and infinite values stay, with a remark.

    Args:
        path: the file or folder.
        notes: each of the image's remarks is appended as a sentence.

    Raises:
        UnreadableFile: when the file is missing, damaged or of an unknown kind.
        InvalidImage: when it holds colors, vectors or axes not at right angles.
    """
    return image_of_volume(Path(path), open_volume(Path(path)), notes)


def read_labels(path: str | Path, *, notes: list[str] | None = None) -> Image:
    """The label map in a file: one integer per voxel.

    Args:
        path: the file or folder.
        notes: as `read_image`; whole numbers stored as floating point become int32, or int64 where
            they need it, with a note.

    Raises:
        UnreadableFile: as `read_image`.
        InvalidImage: as `read_image`, and when the values are not whole numbers.
    """
    notes = [] if notes is None else notes
    return _to_labels(Path(path), open_volume(Path(path)), notes)


def read_grid(path: str | Path, *, notes: list[str] | None = None) -> Grid:
    """Where the voxels of an image file lie, whatever they hold: gray values, colors or vectors.

    Args:
        path: the file or folder.
        notes: what was assumed about the placement is appended as a sentence.

    Raises:
        UnreadableFile: when the file is missing, damaged or of an unknown kind.
        InvalidImage: when the axes are not at right angles.
    """
    grid, remarks = open_grid(Path(path))
    if notes is not None:
        notes.extend(map(str, remarks))
    return grid


def read_series(
    path: str | Path, *, labels: bool = False, notes: list[str] | None = None
) -> Series:
    """Every frame of an image file; one of an image without a time axis.

    Args:
        path: the file or folder.
        labels: whether each frame is a label map.
        notes: each remark is appended as a sentence.

    Raises:
        UnreadableFile, InvalidImage: as `read_image`, or `read_labels`.
    """
    path, said = Path(path), list[str]()
    volumes, start, step = open_frames(path)
    read = _to_labels if labels else image_of_volume
    frames = [read(path, volume, said) for volume in volumes]
    if any(frame.data.dtype == torch.int64 for frame in frames):  # one number type for all
        frames = [replace(frame, data=frame.data.long()) for frame in frames]
    if notes is not None:
        notes.extend(dict.fromkeys(said))
    return Series(tuple(frames), start, step)


def write_series(series: Series, path: str | Path) -> None:
    """Write frames as one file, with a time axis if there are several.

    Args:
        series: its frames, on one grid.
        path: its ending is that of an image format.

    Raises:
        UnwritableOutput: as `write_image`.
    """
    frames = [image_to_itk(frame) for frame in series.frames]
    joined = sitk.JoinSeries(frames, series.start, series.step) if len(frames) > 1 else frames[0]
    write_itk_image(joined, Path(path))


def image_of_volume(path: Path, volume: Volume, notes: list[str] | None = None) -> Image:
    """The image of what `open_volume` gave, with its remarks.

    Args:
        path: for messages.
        volume: of that file.
        notes: each remark is appended as a sentence.

    Raises:
        InvalidImage: the image cannot be one of this package.
    """
    if notes is not None:
        notes.extend(map(str, volume.remarks))
    with name_in_errors(path):
        return replace(image_from_itk(volume.image), remarks=volume.remarks)


def _to_labels(path: Path, volume: Volume, notes: list[str] | None) -> Image:
    labels = to_label_map(volume.image, "a label map holds whole numbers", str(path))
    image = image_of_volume(path, replace(volume, image=labels), notes)
    if labels is not volume.image and notes is not None:
        notes.append(f"{path}: labels stored as floating point were read as integers")
    return image


def write_image(image: Image, path: str | Path) -> None:
    """Write an image or a label map, compressed where the format allows; never a partial file.

    Args:
        image: any number type; truth values become 0 and 1, half precision single.
        path: .nii.gz, .nii, .nrrd, .nhdr, .mha or .mhd.

    Raises:
        UnwritableOutput: when the format is unknown or the folder cannot be written to.
    """
    write_itk_image(image_to_itk(image), Path(path))
