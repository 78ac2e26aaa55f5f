"""Image files and DICOM folders."""

from __future__ import annotations

from pathlib import Path

import torch

from neuralreg.errors import InvalidImage, RegistrationError
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_from_itk, image_to_itk
from neuralreg.io.itk_images import read_volume, write_itk_image


def read_image(path: str | Path, *, notes: list[str] | None = None) -> Image:
    """The gray image in a file, or in a folder with one DICOM series; number type as stored.

    NIfTI, NRRD, MetaImage and what else ITK reads, in 2D or 3D, placed as 3D Slicer places it.

    Args:
        path: the file or folder.
        notes: each assumption made while reading is appended as a sentence.

    Raises:
        UnreadableFile: when the file is missing, damaged or of an unknown kind.
        InvalidImage: when it holds colors, vectors or axes not at right angles.
    """
    path, notes = Path(path), [] if notes is None else notes
    volume = read_volume(path, notes)
    if volume.GetNumberOfComponentsPerPixel() > 1:
        raise InvalidImage(
            "only images with one value per voxel can be registered",
            where=str(path),
            got=volume.GetPixelIDTypeAsString()
            + f" with {volume.GetNumberOfComponentsPerPixel()} components",
            remedy="Extract one channel, or convert colors to gray first.",
        )
    try:
        return image_from_itk(volume)
    except RegistrationError as error:
        raise InvalidImage(
            error.what, where=str(path), got=error.got, wanted=error.wanted, remedy=error.remedy
        ) from error


def read_labels(path: str | Path, *, notes: list[str] | None = None) -> Image:
    """The label map in a file: one integer per voxel.

    Args:
        path: the file or folder.
        notes: each assumption made while reading is appended as a sentence; whole numbers stored as
            floating point become int32, with a note.

    Raises:
        UnreadableFile: as `read_image`.
        InvalidImage: as `read_image`, and when the values are not whole numbers.
    """
    notes = [] if notes is None else notes
    labels = read_image(path, notes=notes)
    if not labels.data.is_floating_point():
        return labels
    rounded = labels.data.round()
    if not bool((rounded == labels.data).all()):
        raise InvalidImage(
            "a label map holds whole numbers",
            where=str(path),
            got=f"values such as {float(labels.data[rounded != labels.data][0]):g}",
            remedy="Give the segmentation, not an image or a probability map.",
        )
    notes.append(f"{path}: labels stored as floating point were read as integers")
    return Image(rounded.to(torch.int32), labels.grid)


def write_image(image: Image, path: str | Path) -> None:
    """Write an image or a label map, compressed where the format allows; never a partial file.

    Args:
        image: any number type; truth values become 0 and 1, half precision single.
        path: .nii.gz, .nii, .nrrd, .nhdr, .mha or .mhd.

    Raises:
        UnwritableOutput: when the format is unknown or the folder cannot be written to.
    """
    write_itk_image(image_to_itk(image), Path(path))
