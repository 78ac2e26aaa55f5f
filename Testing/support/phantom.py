"""Images that tests make themselves: a body with texture, seen through any known transform."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image

CUBE = Grid((40, 44, 36), (2.0, 2.0, 2.0), (-40.0, -44.0, -36.0), tuple(np.eye(3).ravel()))
SQUARE = Grid((64, 56), (1.5, 1.5), (-48.0, -42.0), (1.0, 0.0, 0.0, 1.0))


def body(points: Matrix) -> Matrix:
    """Brightness 0..1 of a textured, lopsided ellipsoid around the origin, LPS mm (..., d)."""
    x, y, z = (*np.moveaxis(points, -1, 0), np.zeros(points.shape[:-1]))[:3]
    inside = 1 / (1 + np.exp(((x / 27) ** 2 + (y / 33) ** 2 + (z / 24) ** 2 - 1) * 8))
    hole = np.exp(-((x - 9) ** 2 + (y + 12) ** 2 + (z - 4) ** 2) / 50)
    lump = np.exp(-((x + 12) ** 2 + (y - 8) ** 2 + (z + 7) ** 2) / 80)
    waves = np.sin(x / 4 + 0.5) * np.cos(y / 5) + np.sin((y + z) / 6) * np.cos(x / 7)
    return inside * np.clip(0.5 + 0.12 * waves - 0.4 * hole + 0.35 * lump, 0, 1)


def seen(
    grid: Grid,
    through: Callable[[Matrix], Matrix] = lambda p: p,
    *,
    contrast: Callable[[Matrix], Matrix] = lambda v: 100 * v,
    noise: float = 0.5,
    seed: int = 0,
) -> Image:
    """The body as an image: the value at p is that of the body at `through(p)`."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), -1)
    values = contrast(body(through(grid.points_at(index))))
    values = values + np.random.default_rng(seed).normal(0, noise, values.shape)
    return Image(torch.from_numpy(values.T.copy()).float()[None], grid)


def landmarks(dimension: int, count: int = 200, seed: int = 0) -> Matrix:
    """Points inside of the body, LPS mm (n, d)."""
    spread = np.array([18.0, 22.0, 16.0])[:dimension]
    return np.random.default_rng(seed).uniform(-spread, spread, (count, dimension))
