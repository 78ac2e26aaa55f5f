"""What is read of the headers of DICOM files, and what slices must be like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from neuralreg.errors import InvalidImage, UnreadableFile
from neuralreg.geometry.grid import Matrix

_UNEVEN = 0.1  # of the slice distance: more than that is a missing slice, not rounding


def read_header(path: Path, tags: list[str] | None = None) -> Any:
    """The elements of a file but its pixels; only some tags where they are given."""
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
    except (InvalidDicomError, OSError, ValueError, KeyError, AttributeError, TypeError,
            NotImplementedError, EOFError) as error:  # fmt: skip
        raise UnreadableFile(f"{path} cannot be read as DICOM", got=str(error)) from error


def scale_of(header: Any) -> tuple[float, float]:
    """Slope and intercept."""
    return number_of(header, "RescaleSlope", 1.0), number_of(header, "RescaleIntercept", 0.0)


def frame_groups(header: Any, frames: int) -> Iterator[tuple[Any, Any]]:
    """The functional groups of each frame and those that frames share; empty where there are none.

    Args:
        header: of a file with or without functional groups.
        frames: how many it has.
    """
    nothing = pydicom.Dataset()
    shared = (header.get("SharedFunctionalGroupsSequence") or [nothing])[0]
    groups = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    for k in range(frames):
        yield groups[k] if k < len(groups) else nothing, shared


def frame_scales(header: Any, frames: int) -> list[tuple[float, float]]:
    """Slope and intercept of each frame: its own, those that frames share, or those of the file."""
    name = "PixelValueTransformationSequence"
    scales = []
    for own, shared in frame_groups(header, frames):
        sequence = own.get(name) or shared.get(name)
        scales.append(scale_of(sequence[0] if sequence else header))
    return scales


def number_of(header: Any, name: str, default: float) -> float:
    """A number of the header; the default where there is none, or none that can be."""
    try:
        value = header.get(name)
        return default if value in (None, "") else float(value)
    except (TypeError, ValueError):  # a damaged element counts as one that is not there
        return default


def text_of(header: Any, tag: str) -> str:
    """An element as ITK tells it, by a tag such as "0020|0032"; "" where it is not there."""
    element = header.get(tuple(int(part, 16) for part in tag.split("|")))
    if element is None or element.value is None:
        return ""
    several = element.VM > 1
    return "\\".join(map(str, element.value)) if several else str(element.value)


def colors_error(path: Path, got: str) -> InvalidImage:
    """The error for a file with several values per pixel."""
    return InvalidImage(
        "only images with one value per voxel can be registered",
        where=str(path),
        got=got,
        remedy="Extract one channel, or convert colors to gray first.",
    )


def require_even(what: str, positions: Matrix, normal: Matrix, pixel: float) -> None:
    """Check that slices follow one another at one distance along the normal.

    Args:
        what: how the message calls the slices.
        positions: LPS mm of the first voxel of each slice, in order, (slices, 3).
        normal: of the slices.
        pixel: size of the smaller side of a voxel, mm.

    Raises:
        InvalidImage: a slice is missing, or the slices are sheared.
    """
    along = (positions - positions[0]) @ normal
    steps = np.diff(along)
    step = float(np.median(steps)) if len(steps) else 0.0
    if len(steps) and np.abs(steps - step).max() > _UNEVEN * abs(step):
        raise InvalidImage(
            f"{what} are not evenly spaced",
            got=f"distances from {steps.min():.3f} to {steps.max():.3f} mm",
            remedy="Look for missing files, or resample the series to even slices first.",
        )
    drift = positions - positions[0] - np.outer(along, normal)
    if np.linalg.norm(drift, axis=1).max() > _UNEVEN * pixel:
        raise InvalidImage(
            f"{what} are sheared (gantry tilt)",
            got=f"{np.linalg.norm(drift[-1]):.2f} mm of sideways shift over the volume",
            remedy="Straighten the volume first, for example by loading it in 3D Slicer.",
        )
