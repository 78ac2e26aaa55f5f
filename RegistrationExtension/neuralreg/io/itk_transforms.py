"""The one reader of transform files, of any program, as ITK has transforms; without torch."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import InvalidTransform
from neuralreg.io.exchange.families import read_content
from neuralreg.io.exchange.fsl import INTENTS as FSL_INTENTS
from neuralreg.io.exchange.insight import VELOCITY, VELOCITY_KEYS
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.files import require_existing, suffix_of
from neuralreg.io.formats import nifti_header
from neuralreg.io.formats.dicom_registration import is_registration
from neuralreg.io.formats.slicer_scene import is_scene
from neuralreg.io.itk_images import WRITABLE as IMAGE_SUFFIXES
from neuralreg.io.itk_images import open_image

__all__ = [
    "TRANSFORM_SUFFIXES",
    "VELOCITY",
    "VELOCITY_KEYS",
    "holds_transform",
    "innermost_transform",
    "read_itk_transform",
    "read_vectors",
]
TRANSFORM_SUFFIXES = (".h5", ".tfm", ".txt", ".mat")
_FOREIGN_SUFFIXES = (".xfm", ".lta", ".dat", ".m3z", ".1d", ".x5", ".npz")


def read_itk_transform(
    path: str | Path,
    sides: Sides | None = None,
    *,
    source: str | None = None,
    notes: list[str] | None = None,
) -> sitk.Transform:
    """The transform in a file, fixed to moving in LPS mm; nothing is sampled or joined.

    Args:
        path: a file of any family of `io.exchange.families`.
        sides: the images that it is between, which some formats need.
        source: the family, where content does not decide.
        notes: what had to be assumed is appended in words.

    Raises:
        UnreadableFile: when the file is missing, damaged or of an unknown kind.
        InvalidTransform: when it holds something that cannot be used, can be read in several ways,
            or needs an image that was not given.
    """
    content, _ = read_content(Path(path), sides, source=source, notes=notes)
    return as_transform(content)


def as_transform(content: sitk.Transform | sitk.Image) -> sitk.Transform:
    """The same as a transform; of displacements in double precision, and nothing is shared."""
    if isinstance(content, sitk.Image):
        return sitk.DisplacementFieldTransform(sitk.Cast(content, sitk.sitkVectorFloat64))
    return content


def read_vectors(
    path: Path,
    sides: Sides | None = None,
    *,
    source: str | None = None,
    notes: list[str] | None = None,
) -> sitk.Image:
    """The displacements (LPS mm, fixed to moving) in a file: a vector of reals per voxel.

    Args:
        path, sides, source, notes: as `read_itk_transform`.

    Raises:
        UnreadableFile: when the file is missing or damaged.
        InvalidTransform: when it holds something else, points the other way, or is not finite.
    """
    content, _ = read_content(path, sides, source=source, notes=notes)
    if not isinstance(content, sitk.Image):
        raise InvalidTransform(
            "this file holds no displacements", where=str(path), got=content.GetName()
        )
    return content


def holds_transform(path: str | Path) -> bool:
    """Whether a file is a transform: by its name, or because it holds one real vector per voxel.

    Three frames of a series look like vectors without a mark; they count as an image.
    """
    path = Path(path)
    if is_scene(path):
        return True
    if suffix_of(path) in (*TRANSFORM_SUFFIXES, *_FOREIGN_SUFFIXES):
        return True
    if is_registration(path):
        return True
    if suffix_of(path) not in IMAGE_SUFFIXES:
        return False
    if path.name.lower().endswith(nifti_header.SUFFIXES):
        header = nifti_header.read_header(require_existing(path))
        if header.intent_code in FSL_INTENTS:
            return True
        if header.content != "vectors" or header.is_version_2:
            return False
    reader = open_image(path)
    real = (sitk.sitkVectorFloat32, sitk.sitkVectorFloat64)
    return reader.GetPixelID() in real and reader.GetNumberOfComponents() in (2, 3)


def innermost_transform(transform: sitk.Transform) -> sitk.Transform:
    """The transform that points pass first: ITK applies the last of a composite first."""
    while isinstance(transform, sitk.CompositeTransform):
        transform = transform.GetNthTransform(transform.GetNumberOfTransforms() - 1).Downcast()
    return transform
