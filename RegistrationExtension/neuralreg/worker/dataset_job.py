"""Images and label maps that were handed over, as the files that a training reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuralreg.errors import InvalidImage, UnwritableOutput
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.image_files import write_image
from neuralreg.progress import Progress
from neuralreg.worker.messages import Voxels
from neuralreg.worker.shared_images import image_of, warp_voxels

_SUFFIX = ".nii.gz"


@dataclass(frozen=True)
class _Layer:
    """Labels that do not overlap, and which number each of them gets."""

    voxels: Voxels
    numbers: Mapping[int, int]


def write_dataset(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write `folder`/SPLIT/images/NAME.nii.gz, and labels for those that have some.

    Everything is written in the world, labels on the grid of their image.

    Args:
        arguments: `folder`, and `cases`: name, split, image (Voxels), and layers of labels on any
            grid: voxels, and numbers by stored label (none: they stay). Where layers overlap the
            later one wins.
        progress: called for each case.

    Returns:
        folder; count of the cases; remarks: what was repaired, assumed or doubted about the images.

    Raises:
        InvalidImage: for an image of several channels.
        UnwritableOutput: where there are other images already, and when writing fails.
    """
    folder, cases = Path(arguments["folder"]), arguments["cases"]
    remarks: list[str] = []
    _require_no_others(folder, {case["name"] + _SUFFIX for case in cases})
    for done, case in enumerate(cases):
        progress(done / len(cases), f"writing {case['name']}")
        image = image_of(case["image"])
        remarks.extend(map(str, image.remarks))
        if image.channels > 1:
            raise InvalidImage(
                "a training takes images with one value per voxel",
                where=case["name"],
                got=f"{image.channels} channels",
            )
        top, name = folder / case["split"], case["name"] + _SUFFIX
        write_image(image, _ensure_path(top, "images", name))
        if case["layers"] is not None:
            layers = [_Layer(one["voxels"], _numbers(one["numbers"])) for one in case["layers"]]
            write_image(_labels(layers, image.grid), _ensure_path(top, "labels", name))
    progress(1.0, "the images are written")
    return {"folder": str(folder), "count": len(cases), "remarks": remarks}


def _require_no_others(folder: Path, names: set[str]) -> None:
    others = [path for path in folder.glob("*/*/*") if path.is_file() and path.name not in names]
    if others:
        raise UnwritableOutput(
            "the folder for the images holds others, which would be trained on, too",
            where=str(folder),
            got=others[0].name,
            remedy="Choose an empty folder, or clear this one.",
        )


def _numbers(by_label: Mapping[str, int]) -> dict[int, int]:
    return {int(label): number for label, number in by_label.items()}


def _ensure_path(top: Path, kind: str, name: str) -> Path:
    (top / kind).mkdir(parents=True, exist_ok=True)
    return top / kind / name


def _labels(layers: Sequence[_Layer], grid: Grid) -> Image:
    merged = np.zeros(grid.shape, np.int32)
    nowhere = DisplacementField.identity(grid)
    for layer in layers:
        values = warp_voxels(layer.voxels, nowhere, grid)
        present = (int(value) for value in np.unique(values) if value != 0)
        numbers = layer.numbers or {value: value for value in present}
        for label, number in numbers.items():
            merged[values == label] = number
    return Image(torch.from_numpy(merged)[None], grid)
