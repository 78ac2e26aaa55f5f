"""Images in colors: red, green and blue, one gray image each, or their luminance."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk
import torch

from neuralreg.errors import InvalidImage
from neuralreg.geometry.image import Image
from neuralreg.io.image_files import read_image
from neuralreg.io.itk import image_from_itk
from neuralreg.io.itk_images import open_image, read_itk_image

NAMES = ("red", "green", "blue")
_COLORS = (sitk.sitkVectorUInt8, sitk.sitkVectorUInt16)
_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601
_READ_BY_ITK = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".nrrd", ".nhdr", ".mha", ".mhd")


def read_colors_or_gray(path: Path, *, notes: list[str] | None = None) -> Image:
    """The image in a file: three channels where it holds colors, else one as `read_image` has it.

    Args:
        path: PNG, JPEG, TIFF, BMP, NRRD and MetaImage may hold colors; opacity is left out.
        notes: what had to be assumed is appended as a sentence.

    Raises:
        UnreadableFile, InvalidImage: as `read_image`.
    """
    if path.is_file() and path.name.lower().endswith(_READ_BY_ITK):
        reader = open_image(path)
        count = reader.GetNumberOfComponents()
        if reader.GetPixelID() in _COLORS and count in (3, 4) and len(reader.GetSize()) in (2, 3):
            image = image_from_itk(read_itk_image(path))
            if count == 4 and notes is not None:
                notes.append(f"{path}: opacity was left out")
            return Image(image.data[:3], image.grid)
    return read_image(path, notes=notes)


def split_colors(image: Image) -> tuple[Image, ...]:
    """Red, green and blue of an image of three channels, each a gray image."""
    return tuple(Image(channel[None], image.grid) for channel in image.data)


def luminance_of(image: Image) -> Image:
    """How bright the colors of an image are, 0.299 R + 0.587 G + 0.114 B, in single precision.

    Raises:
        InvalidImage: it has not three channels.

    Source: ITU-R BT.601.
    """
    if image.channels != len(NAMES):
        raise InvalidImage("colors are three channels", got=f"{image.channels}")
    weights = torch.tensor(_WEIGHTS, device=image.data.device)
    gray = (image.data.float() * weights.view(-1, *[1] * image.grid.dimension)).sum(0)
    return Image(gray[None], image.grid)
