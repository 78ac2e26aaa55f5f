"""Images of ITK and nibabel, or files of them, as images of ITK; nothing here needs torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from neuralreg.errors import InvalidImage
from neuralreg.io.itk_images import read_volume


def itk_image_of(source: object, role: str, notes: list[str]) -> sitk.Image:
    """The ITK image of a file, a folder with one DICOM series, or an image of ITK or nibabel.

    Args:
        source: anything else is refused, such as a NumPy array, which has no place in the world.
        role: how messages call it.
        notes: each assumption made while reading a file is appended, in words.

    Raises:
        InvalidImage: for what is no image.
        UnreadableFile: when a file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return read_volume(Path(source), notes)
    if isinstance(source, sitk.Image):
        return source
    nibabel: Any = sys.modules.get("nibabel")  # only a program that loaded it has its images
    if nibabel is not None and isinstance(source, nibabel.spatialimages.SpatialImage):
        return _from_nibabel(source, role)
    kind = type(source)
    raise InvalidImage(
        f"the {role} is of a type that has no position in space",
        got=f"a {kind.__module__}.{kind.__qualname__}".replace(" builtins.", " "),
        wanted="a path, or an image of neuralreg, SimpleITK or nibabel",
        remedy="Read a file with neuralreg.read_image, or give an array its position: "
        "neuralreg.Image(torch.as_tensor(array)[None], neuralreg.Grid(...)).",
    )


def _from_nibabel(image: Any, role: str) -> sitk.Image:
    """The same values where they are in the world: RAS becomes LPS."""
    values = np.asanyarray(image.dataobj)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    d = values.ndim
    if d not in (2, 3) or values.dtype.kind not in "biuf":
        raise InvalidImage(
            f"the {role} has one real value per voxel",
            got=f"shape {values.shape} of {values.dtype}",
            remedy="Extract one channel or one frame first.",
        )
    number = values.dtype.newbyteorder("=") if values.dtype.kind != "b" else np.dtype(np.uint8)
    if number.kind == "f" and number.itemsize not in (4, 8):
        number = np.dtype(np.float32 if number.itemsize < 4 else np.float64)
    made: sitk.Image = sitk.GetImageFromArray(np.ascontiguousarray(values.T, number))
    to_lps = np.diag([-1.0, -1.0, 1.0])[:d, :d]
    axes = to_lps @ np.asarray(image.affine, float)[:d, :d]
    spacing = np.linalg.norm(axes, axis=0)
    made.SetSpacing(spacing.tolist())
    made.SetOrigin((to_lps @ np.asarray(image.affine, float)[:d, 3]).tolist())
    try:
        made.SetDirection((axes / spacing).ravel().tolist())
    except RuntimeError as error:
        raise InvalidImage(
            f"the axes of the {role} span its space", got=f"affine {image.affine.tolist()}"
        ) from error
    return made
