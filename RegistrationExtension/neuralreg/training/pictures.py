"""Pictures of pairs: fixed, moving, warped, what is left, and the deformed grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuralreg.composition.transforms import warp_to
from neuralreg.geometry.normalized import identity_map
from neuralreg.io.files import write_whole
from neuralreg.training.data.pairs import Batch
from neuralreg.training.model.methods import Conditional

Picture = NDArray[np.uint8]

_HEIGHT = 160  # pixels of a small image's panel at least
_GAP = 4  # pixels between panels
_LINE_EVERY = 8  # pixels of a panel between two lines of the grid


def middle_slice(values: Tensor) -> Tensor:
    """The middle plane (y, x) of one channel (z, y, x) or (y, x)."""
    return values[len(values) // 2] if values.dim() == 3 else values


def gray(plane: Tensor, low: float = 0.0, high: float = 1.0) -> Picture:
    """A plane as an RGB array (y, x, 3)."""
    scaled = ((plane.detach().cpu().float() - low) / max(high - low, 1e-12)).clamp(0, 1)
    return np.repeat((255 * scaled.numpy()).round().astype(np.uint8)[..., None], 3, 2)


def enlarge_picture(picture: Picture, height: int = _HEIGHT) -> Picture:
    """A small picture with each pixel repeated, until it is at least about as high as asked."""
    times = max(1, round(height / picture.shape[0]))
    return picture.repeat(times, 0).repeat(times, 1)


def at_height(picture: Picture, height: int) -> Picture:
    """A picture of another height, its pixels repeated or left out."""
    from PIL import Image

    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST))


def stack_pictures(rows: list[Picture]) -> Picture:
    """Pictures below each other, with a gap, the narrow ones filled up with white."""
    width = max(row.shape[1] for row in rows)
    parts = []
    for row in rows:
        padded = np.full((row.shape[0] + _GAP, width, 3), 255, np.uint8)
        padded[: row.shape[0], : row.shape[1]] = row
        parts.append(padded)
    return np.concatenate(parts)[:-_GAP]


def side_by_side(panels: list[Picture]) -> Picture:
    """Pictures in a row, with a gap, the low ones filled up with white."""
    return np.ascontiguousarray(
        stack_pictures([p.transpose(1, 0, 2) for p in panels]).transpose(1, 0, 2)
    )


def pair_picture(model: nn.Module, batch: Batch, device: torch.device) -> Picture:
    """The first pair of a batch and what a model makes of it.

    Fixed, moving, warped, the difference after (gray: none) and the deformed grid; of a conditional
    model both labels and its answer.
    """
    trained = model.training
    model.eval()
    try:
        with torch.no_grad():
            first = {key: values[:1].to(device) for key, values in batch.items()}
            return (
                _conditional(model, first)
                if isinstance(model, Conditional)
                else _pair(model, first)
            )
    finally:
        model.train(trained)


def _conditional(model: nn.Module, pair: Batch) -> Picture:
    predicted = model(pair["fixed"], pair["moving"], pair["moving_labels"])
    names = ("fixed", "moving", "fixed_labels", "moving_labels")
    scaled = [pair[name] for name in names] + [predicted]
    return side_by_side([enlarge_picture(gray(middle_slice(values[0, 0]))) for values in scaled])


def _pair(model: nn.Module, pair: Batch) -> Picture:
    shape = tuple(pair["fixed"].shape[2:])
    coordinates = model(pair["fixed"], pair["moving"])(identity_map(shape, pair["fixed"]))
    warped, _ = warp_to(coordinates, pair["moving"])
    scaled = [pair["fixed"], pair["moving"], warped]
    panels = [enlarge_picture(gray(middle_slice(values[0, 0]))) for values in scaled]
    left = middle_slice((warped - pair["fixed"])[0, 0])
    panels.append(enlarge_picture(gray(left, -1.0, 1.0)))
    plane = coordinates[0] if len(shape) == 2 else coordinates[0, :2, shape[0] // 2]
    panels.append(grid_picture(plane, panels[0].shape[:2]))
    return side_by_side(panels)


def grid_picture(coordinates: Tensor, size: tuple[int, ...]) -> Picture:
    """A regular grid where a plane of normalized coordinates (2, y, x) leads, `size` y x."""
    from PIL import Image, ImageDraw

    height, width = size
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    fine = torch.nn.functional.interpolate(
        coordinates[None].detach().cpu().float(),
        (height, width),
        mode="bilinear",
        align_corners=True,
    )[0]
    x, y = (
        ((fine[axis] + 1) / 2 * (samples - 1)).numpy()
        for axis, samples in enumerate((width, height))
    )
    for row in range(0, height, _LINE_EVERY):
        draw.line(list(zip(x[row].tolist(), y[row].tolist(), strict=True)), fill=(60, 60, 60))
    for column in range(0, width, _LINE_EVERY):
        points = zip(x[:, column].tolist(), y[:, column].tolist(), strict=True)
        draw.line(list(points), fill=(60, 60, 60))
    return np.asarray(picture)


def write_png(picture: Any, path: Path) -> None:
    """Write an RGB array (y, x, 3) or a gray one (y, x), 0..255."""
    from PIL import Image

    with write_whole(path) as draft:
        Image.fromarray(picture).save(draft, format="PNG")


def read_png(path: Path) -> Picture:
    """An RGB array (y, x, 3) from a file."""
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))
