"""Animations and tables of image slices, and of an image being warped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.image import Image
from neuralreg.geometry.warp import warp
from neuralreg.io.files import write_whole
from neuralreg.registration.working_grid import quantiles
from neuralreg.training.pictures import (
    Picture,
    enlarge_picture,
    gray,
    side_by_side,
    stack_pictures,
    write_png,
)

_TITLE = 14  # pixels


def gif_slices(image: Image, path: Path, *, interval_ms: int = 50) -> None:
    """An animation over the slices of a volume, first array axis (z)."""
    _write_gif([enlarge_picture(p) for p in _slices(image)], path, interval_ms)


def gif_warp(
    image: Image,
    field: DisplacementField,
    path: Path,
    *,
    slice_index: int | None = None,
    steps: int = 100,
    interval_ms: int = 50,
) -> None:
    """An animation of a moving image from its position to where a field moves it.

    Args:
        image: the moving image.
        field: fixed to moving.
        path: of the GIF.
        slice_index: of the field's grid; the middle one unless given.
        steps: number of frames.
        interval_ms: between frames.

    Raises:
        InvalidOption: there is no such slice.
    """
    frames = []
    low, high = quantiles(image.data, 0.005, 0.995)
    for share in np.linspace(0, 1, max(steps, 2)):
        part = DisplacementField(field.vectors * float(share), field.grid)
        moved = warp(Image(image.data.float(), image.grid), part)
        frames.append(enlarge_picture(gray(_plane(moved.data[0], slice_index), low, high)))
    _write_gif(frames, path, interval_ms)


def tile_slices(
    images: Sequence[Image],
    path: Path,
    *,
    slice_indices: Sequence[int] | None = None,
    titles: Sequence[str] = (),
) -> None:
    """A picture with a column per image and a row per slice.

    Raises:
        InvalidOption: titles and images do not match, or there is no such slice.
    """
    if titles and len(titles) != len(images):
        raise InvalidOption(
            "each column has a title", got=f"{len(titles)}", wanted=f"{len(images)}"
        )
    rows = list(slice_indices or [len(images[0].data[0]) // 2])
    columns = []
    for number, image in enumerate(images):
        low, high = quantiles(image.data, 0.005, 0.995)
        scaled = [enlarge_picture(gray(_plane(image.data[0], n), low, high)) for n in rows]
        column = stack_pictures(scaled)
        columns.append(_with_title(column, titles[number]) if titles else column)
    write_png(side_by_side(columns), path)


def gif_tiles(
    images: Sequence[Image], path: Path, *, size: tuple[int, int] = (2, 2), interval_ms: int = 50
) -> None:
    """An animation over the slices of several volumes side by side; size: rows and columns.

    Raises:
        InvalidOption: another number of images.
        InvalidImage: their sizes differ.
    """
    rows, columns = size
    if len(images) != rows * columns:
        raise InvalidOption(
            "tiles need one image each", got=f"{len(images)} images", wanted=f"{rows} x {columns}"
        )
    shapes = {tuple(image.data.shape) for image in images}
    if len(shapes) > 1:
        raise InvalidImage("tiles are images of one size", got=f"{sorted(shapes)}")
    each = [_slices(image) for image in images]
    frames = []
    for planes in zip(*each, strict=True):
        lines = [side_by_side(list(planes[r * columns : (r + 1) * columns])) for r in range(rows)]
        frames.append(enlarge_picture(stack_pictures(lines)))
    _write_gif(frames, path, interval_ms)


def _slices(image: Image) -> list[Picture]:
    values = image.data[0]
    if values.dim() != 3:
        raise InvalidImage("an animation over slices needs a volume", got=f"{values.dim()} axes")
    low, high = quantiles(values, 0.005, 0.995)
    return [gray(plane, low, high) for plane in values]


def _plane(values: Tensor, index: int | None) -> Tensor:
    if values.dim() == 2:
        return values
    number = len(values) // 2 if index is None else index
    if not 0 <= number < len(values):
        raise InvalidOption(
            "there is no such slice", got=f"{number}", wanted=f"0..{len(values) - 1}"
        )
    return values[number]


def _with_title(picture: Picture, title: str) -> Picture:
    from PIL import Image as Pillow
    from PIL import ImageDraw

    head = Pillow.new("RGB", (picture.shape[1], _TITLE), "white")
    ImageDraw.Draw(head).text((2, 1), title, fill="black")
    return np.concatenate([np.asarray(head), picture])


def _write_gif(frames: list[Picture], path: Path, interval_ms: int) -> None:
    from PIL import Image as Pillow

    first, *others = (Pillow.fromarray(frame) for frame in frames)
    with write_whole(path) as draft:
        first.save(
            draft,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=interval_ms,
            loop=0,
        )
