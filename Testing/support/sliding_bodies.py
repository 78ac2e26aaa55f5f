"""Two bodies that slide along each other, with every point's partner known by its formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image


@dataclass(frozen=True)
class SlidingBodies:
    """A band in 2D, a cylinder in 3D, that moves along its last axis in a body that moves back.

    Both are bent by one smooth motion afterwards, so that the border between them moves, too.

    Attributes:
        grid: of both images, around the origin.
        slide_mm: of one body against the other.
        radius_mm: of the inner one.
        bend_mm: of the smooth motion.
        seed: of textures and noise.
    """

    grid: Grid
    slide_mm: float = 15.0
    radius_mm: float = 40.0
    bend_mm: float = 3.0
    seed: int = 0

    def depth(self, points: Matrix) -> Matrix:
        """Distance in mm from the border in the fixed image, positive inside (...)."""
        return self.radius_mm - np.linalg.norm(points[..., :-1], axis=-1)

    def moved(self, points: Matrix) -> Matrix:
        """Where points of the fixed image go, LPS mm (..., d)."""
        return self.bend(self._slide(points, 0.5))

    def images(self) -> tuple[Image, Image]:
        """The fixed and the moving image."""
        index = np.stack(np.meshgrid(*map(np.arange, self.grid.size), indexing="ij"), -1)
        points = self.grid.points_at(index.astype(float))
        straight = points
        for _ in range(30):
            straight = points - (self.bend(straight) - straight)
        random = np.random.default_rng(self.seed)
        values = [self._brightness(at) for at in (points, self._slide(straight, -0.5))]
        fixed, moving = (self._image(v + 0.01 * random.normal(size=v.shape)) for v in values)
        return fixed, moving

    def mask(self) -> Image:
        """1 in the inner body of the fixed image."""
        index = np.stack(np.meshgrid(*map(np.arange, self.grid.size), indexing="ij"), -1)
        inside = self.depth(self.grid.points_at(index.astype(float))) > 0
        return Image(self._image(inside).data.to(torch.uint8), self.grid)

    def points(self, within_mm: float, margin_mm: float = 15.0) -> Matrix:
        """Random points beside the border, away from the ends of the images, LPS mm (n, d)."""
        half = self.grid.extent_mm / 2 - margin_mm
        points = np.random.default_rng(1).uniform(-half, half, (100_000, self.grid.dimension))
        beside: Matrix = points[np.abs(self.depth(points)) < within_mm][:5000]
        return beside

    def _slide(self, points: Matrix, share: float) -> Matrix:
        way = share * self.slide_mm * np.where(self.depth(points) > 0, 1, -1)
        return points + way[..., None] * np.eye(self.grid.dimension)[-1]

    def bend(self, points: Matrix) -> Matrix:
        """Where the smooth motion takes points, LPS mm (..., d)."""
        return points + self.bend_mm * np.sin(points[..., ::-1] / 25 + np.arange(points.shape[-1]))

    def _brightness(self, points: Matrix) -> Matrix:
        inside = self.depth(points) > 0
        return np.where(inside, 0.6 + self._texture(points, 1), 0.3 + self._texture(points, 2))

    def _texture(self, points: Matrix, number: int) -> Matrix:
        random = np.random.default_rng(100 * self.seed + number)
        total = np.zeros(points.shape[:-1])
        for _ in range(40):
            direction = random.normal(size=points.shape[-1])
            wave = 2 * np.pi / random.uniform(11, 24) * direction / np.linalg.norm(direction)
            total += np.sin(points @ wave + random.uniform(0, 2 * np.pi))
        return 0.12 * total / np.sqrt(20)

    def _image(self, values: Matrix) -> Image:
        return Image(torch.from_numpy(np.ascontiguousarray(values.T, np.float32))[None], self.grid)
