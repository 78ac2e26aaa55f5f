"""Label maps as they are given, made ready to drive a registration."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.io.arguments import ImageLike, as_labels
from neuralreg.io.formats.segment_pairs import read_overlapping
from neuralreg.registration.guides.label_maps import LabelPair
from neuralreg.registration.guides.landmark_guide import list_names
from neuralreg.registration.image_checks import Inputs, overlap


def add_labels(
    inputs: Inputs,
    fixed: ImageLike | None,
    moving: ImageLike | None,
    weight: float,
    source: str = "given",
) -> Inputs:
    """The inputs, with label maps that drive where there are some; a network's come later.

    Raises:
        InvalidOption: label maps without a weight, or a weight without label maps.
        InvalidImage: label maps that do not belong to the images or to each other.
    """
    if fixed is None and moving is None and (not weight or source == "auto"):
        return inputs
    if source == "auto":
        raise InvalidOption(
            "labels that drive are given or made by a network",
            got="label maps, and the labels of a network were asked for",
            remedy="Leave out the maps, or auto (--drive-labels auto, label_source in Python).",
        )
    if fixed is None or moving is None or not weight:
        raise InvalidOption(
            "labels that drive need a label map of both images and a weight",
            got=f"fixed labels: {_yes_or_no(fixed)}, moving labels: {_yes_or_no(moving)}, "
            f"weight {weight:g}",
            remedy="Give both (--fixed-seg, --moving-seg) with --drive-labels, in Python "
            "labels=(fixed, moving) and label_weight=1; or none of them.",
        )
    if layered := _read_layers(fixed, moving, inputs.notes):
        fixed, moving = layered
    maps = [
        _require_overlap(as_labels(given, f"{role} label map"), image.grid, f"{role} label map")
        for given, image, role in (
            (fixed, inputs.fixed, "fixed"),
            (moving, inputs.moving, "moving"),
        )
    ]
    pair = LabelPair.of(maps[0], maps[1], weight, inputs.notes)
    names = list_names([str(label) for label in pair.labels])
    inputs.notes.append(f"labels drove the result, and their overlap is no proof of it: {names}")
    return replace(inputs, labels=pair)


def _read_layers(
    fixed: ImageLike, moving: ImageLike, notes: list[str]
) -> tuple[Image, Image] | None:
    """Both sides by segment where they are files of segments that overlap."""
    if not (isinstance(fixed, str | os.PathLike) and isinstance(moving, str | os.PathLike)):
        return None
    return read_overlapping([Path(fixed), Path(moving)], notes)


def _require_overlap(labels: Image, grid: Grid, role: str) -> Image:
    overlap(labels, grid, role)
    return labels


def _yes_or_no(given: ImageLike | None) -> str:
    return "no" if given is None else "yes"
