"""Segmentations of both sides whose segments overlap, with one channel for each segment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk
import torch

from neuralreg.errors import InvalidImage
from neuralreg.geometry.image import Image
from neuralreg.io.formats.segmentations import SegmentLayers, is_segmentation, read_segmentation
from neuralreg.io.itk import image_from_itk
from neuralreg.io.itk_images import name_in_errors

_NAME = re.compile(r"(Segment\d+)_Name")


def read_overlapping(paths: Sequence[Path], notes: list[str]) -> tuple[Image, Image] | None:
    """Both segmentations with a channel for each name, where one of them has overlapping segments.

    Segments overlap in layers, in each of which labels begin anew, so only names tell which of
    them belong together.

    Args:
        paths: of the fixed and of the moving side.
        notes: which number stands for which name is appended.

    Returns:
        Label maps (segments, z, y, x): in the channel of segment n its voxels have the value n. A
        segment that one side lacks is empty there. None where a file is no segmentation of 3D
        Slicer, or neither has several layers.

    Raises:
        InvalidImage: two segments of one side have the same name.
        UnreadableFile: as `read_segmentation`.
    """
    if not all(map(is_segmentation, paths)):
        return None
    sides = [read_segmentation(path) for path in paths]
    if all(len(side.layers) == 1 for side in sides):
        return None
    named = [_segments(side, path) for side, path in zip(sides, paths, strict=True)]
    names = list(dict.fromkeys([*named[0], *named[1]]))
    fixed, moving = (
        _channels(segments, names, path) for segments, path in zip(named, paths, strict=True)
    )
    numbers = ", ".join(f"{n} {name}" for n, name in enumerate(names, start=1))
    notes.append(f"segments that overlap belong together by their names: {numbers}")
    return fixed, moving


def _segments(side: SegmentLayers, path: Path) -> dict[str, sitk.Image]:
    """The voxels of each segment, 0 and 1, by its name."""
    segments: dict[str, sitk.Image] = {}
    for key, text in side.metadata.items():
        if match := _NAME.fullmatch(key):
            name = text.strip()
            if name in segments:
                raise InvalidImage(
                    "the segments of a side have names of their own",
                    where=str(path),
                    got=f"two are called '{name}'",
                    remedy="Rename one of them in 3D Slicer.",
                )
            layer = side.layers[int(side.metadata.get(f"{match[1]}_Layer", "0"))]
            segments[name] = layer == int(side.metadata.get(f"{match[1]}_LabelValue", "1"))
    return segments


def _channels(segments: dict[str, sitk.Image], names: Sequence[str], path: Path) -> Image:
    if not segments:
        raise InvalidImage("a segmentation has segments with names", where=str(path), got="none")
    with name_in_errors(path):
        grid = image_from_itk(next(iter(segments.values()))).grid
    data = torch.zeros(len(names), *grid.shape, dtype=torch.int16)
    for n, name in enumerate(names, start=1):
        if name in segments:
            data[n - 1] = n * image_from_itk(segments[name]).data[0].short()
    return Image(data, grid)
