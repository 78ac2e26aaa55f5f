"""What any image file becomes: values on a grid, and what was doubted on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.remarks import Remark, RemarkKind

Array = NDArray[Any]
_NOTHING = 1e-30  # what is smaller makes ITK complain about its own arithmetic


@dataclass(frozen=True, eq=False)
class Volume:
    """An image of one frame as a file holds it.

    Attributes:
        image: values in physical units on their grid (LPS mm); NaN where there is none, if the type
            can be.
        remarks: what was repaired, assumed or doubted.
        frames: how many frames the file holds; `image` is the one that was asked for.
        units: of the values, such as "GY"; empty where the file does not say.
        time: of the first frame and between frames.
    """

    image: sitk.Image
    remarks: tuple[Remark, ...] = ()
    frames: int = 1
    units: str = ""
    time: tuple[float, float] = (0.0, 1.0)


def count_not_finite(values: Array) -> int:
    """How many values are NaN or infinite."""
    if not np.issubdtype(values.dtype, np.floating):
        return 0
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def not_finite_remarks(path: Path | str, values: Array) -> list[Remark]:
    """A remark where some values are NaN or infinite."""
    count = count_not_finite(values)
    return [Remark(RemarkKind.NOT_FINITE, path, {"count": count})] if count else []


def units_remarks(path: Path | str, units: str) -> list[Remark]:
    """A remark on the units of the values, where they are known."""
    return [Remark(RemarkKind.UNITS, path, {"units": units})] if units else []


def frame_remarks(path: Path, axes: int, frame: int, frames: int) -> list[Remark]:
    """A remark where one of several frames was chosen."""
    values = {"axes": axes, "frame": frame, "frames": frames}
    return [Remark(RemarkKind.FRAME_CHOSEN, path, values)] if frames > 1 else []


def fill_not_finite(image: sitk.Image) -> sitk.Image:
    """NaN and -inf at the lowest finite value, +inf at the highest; a finite image as it is."""
    values = sitk.GetArrayViewFromImage(image)
    if not count_not_finite(values):
        return image
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    return to_image(np.nan_to_num(values, nan=low, neginf=low, posinf=high), Grid.of(image))


def to_label_map(image: sitk.Image, what: str, where: str = "") -> sitk.Image:
    """The labels of a gray image as integers: `whole_numbers` on its grid.

    Args:
        image: given back as it is where its numbers are integers.
        what: how a message calls what was expected.
        where: the file, for a message.

    Raises:
        InvalidImage: a value is not whole, not finite, or beyond 64 bits.
    """
    values = sitk.GetArrayViewFromImage(image)
    whole = whole_numbers(values, what, where)
    return image if whole is values else to_image(whole, Grid.of(image))


def whole_numbers(values: Array, what: str, where: str = "") -> Array:
    """Labels as integers of 32 bits, or 64 where a label needs them.

    Args:
        values: given back as they are where they are integers.
        what: how a message calls what was expected.
        where: the file, for a message.

    Raises:
        InvalidImage: a value is not whole, not finite, or beyond 64 bits.
    """
    if np.issubdtype(values.dtype, np.integer):
        return values
    with np.errstate(invalid="ignore"):
        good = np.isfinite(values) & (np.rint(values) == values) & (np.abs(values) < 2.0**63)
    if not good.all():
        raise InvalidImage(
            what,
            where=where,
            got=f"values such as {float(values[~good][0]):.9g}",
            remedy="Give the segmentation, not an image or a probability map.",
        )
    narrow = np.abs(values).max(initial=0) <= np.iinfo(np.int32).max
    return values.astype(np.int32 if narrow else np.int64)


def to_image(values: Array, grid: Grid | None = None) -> sitk.Image:
    """An ITK image of values (z, y, x), or (z, y, x, c) with several channels, on a grid."""
    vectors = grid is not None and values.ndim > grid.dimension
    image: sitk.Image = sitk.GetImageFromArray(np.ascontiguousarray(values), isVector=vectors)
    return image if grid is None else place_image(image, grid)


def place_image(image: sitk.Image, grid: Grid) -> sitk.Image:
    """The image itself, from now on where the grid says."""
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def grid_of_affine(size: tuple[int, ...], affine: Array) -> Grid:
    """The grid of a matrix (4, 4) from index x y z to RAS mm, as nibabel has it.

    Raises:
        InvalidImage: the axes are not at right angles.
    """
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    matrix = np.where(np.abs(matrix) < _NOTHING, 0.0, matrix)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    return Grid(
        size,
        tuple(spacing.tolist()),
        tuple(matrix[:3, 3].tolist()),
        tuple((matrix[:3, :3] / np.where(spacing > 0, spacing, 1)).ravel().tolist()),
    )
