"""A labeling network that is small and known: it gives bands of intensity the labels of a brain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.zoo.registry import model_card

NAME = "subcortical18"  # whose card it takes the place of
CLASSES = 18
DARKEST = 6.0  # below the intensity of the first structure, so that all of them belong to the head
# Center and radius in mm of the structures of a phantom, x to the left, y to the back, z up; those
# of sided ones are on the left. None of them has the middle of the brain for a center.
STRUCTURES = {
    2: ((34, -34, 22), 23), 3: ((13, 24, 8), 10), 4: ((46, 20, -4), 8),
    5: ((24, 48, -32), 13), 6: ((38, 62, -24), 11), 7: ((12, 8, -10), 11), 8: ((15, -20, 3), 9),
    9: ((34, -8, -2), 9), 10: ((24, 0, -18), 6), 11: ((0, 2, 4), 6), 12: ((0, 44, -14), 6),
    13: ((0, 28, -38), 13), 14: ((32, 18, -26), 9), 15: ((28, -12, -30), 7),
    16: ((14, -34, -12), 5), 17: ((12, 24, -24), 9),
}  # fmt: skip
WHITE_MATTER = (50, 66, 48)  # half axes in mm of label 1, in which the others lie
UNPAIRED = (11, 12, 13)


def write_band_network(folder: Path) -> None:
    """A card and weights in a folder of a user's own models: label k around DARKEST + k."""
    card = json.loads(model_card(NAME).model_dump_json())
    kernel = np.zeros((3, 3, 3, 1, 1))
    kernel[1, 1, 1] = 1
    label = np.arange(CLASSES)
    thresholds = np.cumsum(np.r_[0.0, DARKEST + label[1:] - 0.5])
    brightest = DARKEST + CLASSES - 1
    parts = (kernel, [0.0], label * brightest, -thresholds)
    numbers = np.concatenate([np.ravel(part) for part in parts]).astype("<f4")
    folder.mkdir(parents=True, exist_ok=True)
    numbers.tofile(folder / "bands.bin")
    arguments = {"channels": 1, "classes": CLASSES, "dilations": [1], "activation": "relu"}
    weights = {"file": "bands.bin", "format": "float32"}
    card |= {"arguments": arguments, "weights": weights}
    (folder / f"{NAME}.json").write_text(json.dumps(card))


def phantom(grid: Grid, to_brain: np.ndarray | None = None) -> tuple[Image, np.ndarray]:
    """An image in which structure k has the intensity DARKEST + k, and its true labels with sides.

    Args:
        grid: of the image.
        to_brain: homogeneous matrix from the world to the phantom's own coordinates.
    """
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    matrix = np.eye(4) if to_brain is None else to_brain
    points = grid.points_at(index) @ matrix[:3, :3].T + matrix[:3, 3]
    body = np.linalg.norm(points / WHITE_MATTER, axis=-1) < 1
    labels = np.where(body, np.where(points[..., 0] > 0, 101, 201), 0).astype(np.uint8)
    for value, (center, radius) in STRUCTURES.items():
        for side, offset in ((1, 100), (-1, 200)):
            at = np.array(center) * (side, 1, 1)
            inside = np.linalg.norm(points - at, axis=-1) < radius
            labels[inside] = value if value in UNPAIRED else value + offset
    number = np.where(labels > 99, labels % 100, labels)
    values = np.where(number > 0, DARKEST + number, 0).astype(np.float32)
    return Image(torch.from_numpy(values)[None], grid), labels
