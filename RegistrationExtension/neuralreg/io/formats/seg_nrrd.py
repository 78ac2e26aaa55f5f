"""Segmentations of 3D Slicer (.seg.nrrd): layers of labels, whose segments may overlap."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from neuralreg.errors import UnreadableFile
from neuralreg.geometry.grid import Grid
from neuralreg.io.itk_images import read_itk_image, write_itk_image

SUFFIX = ".seg.nrrd"
_EXTENT = re.compile(r"Segment\d+_Extent")
_OFFSET = "Segmentation_ReferenceImageExtentOffset"
_PARAMETERS = "Segmentation_ConversionParameters"  # names the grid of the image of before
_OF_ITK = ("NRRD_", "ITK_")  # what ITK notes of the file, and writes itself


@dataclass(frozen=True, eq=False)
class SegmentLayers:
    """A segmentation: in each layer no segment overlaps another.

    Attributes:
        layers: whole numbers on one grid.
        metadata: names, colors, labels and terms of the segments, as the file has them.
    """

    layers: tuple[sitk.Image, ...]
    metadata: dict[str, str]


def is_segmentation(path: Path) -> bool:
    """Whether a file is a segmentation of 3D Slicer, by its name."""
    return path.name.lower().endswith(SUFFIX)


def read_segmentation(path: Path) -> SegmentLayers:
    """All layers of a segmentation.

    Raises:
        UnreadableFile: it is damaged, or not of whole numbers.
    """
    image = read_itk_image(path)
    parts = range(image.GetNumberOfComponentsPerPixel())
    layers = tuple(sitk.VectorIndexSelectionCast(image, n) for n in parts)
    if "float" in layers[0].GetPixelIDTypeAsString():
        raise UnreadableFile(
            f"{path} holds no labels", got=layers[0].GetPixelIDTypeAsString(),
            remedy="Export it as a binary label map.",
        )  # fmt: skip
    keys = (key for key in image.GetMetaDataKeys() if not key.startswith(_OF_ITK))
    return SegmentLayers(layers, {key: image.GetMetaData(key) for key in keys})


def write_segmentation(layers: Sequence[sitk.Image], metadata: dict[str, str], path: Path) -> None:
    """The segments of `metadata` with other voxels, on one grid.

    Args:
        layers: as many as before, whole numbers.
        metadata: of the segmentation that they come from; extents become those of the new grid.
        path: a .seg.nrrd.

    Raises:
        UnwritableOutput: the folder is closed or the disk full.
    """
    image = sitk.Compose(list(layers)) if len(layers) > 1 else sitk.Image(layers[0])
    whole = " ".join(f"0 {n - 1}" for n in Grid.of(image).size)
    for key, value in metadata.items():
        if key == _PARAMETERS:
            continue
        image.SetMetaData(key, whole if _EXTENT.fullmatch(key) else value)
    image.SetMetaData(_OFFSET, "0 0 0")
    write_itk_image(image, path)
