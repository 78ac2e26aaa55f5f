"""An image: values on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid


@dataclass(frozen=True, eq=False)
class Image:
    """Values on a grid in the world.

    Attributes:
        data: (c, z, y, x), or (c, y, x) in 2D; any number type; never changed in place.
        grid: where the voxels lie.

    Raises:
        InvalidImage: when the shapes disagree.
    """

    data: Tensor
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.data.shape[1:]) != self.grid.shape:
            raise InvalidImage(
                "an image has one value per channel and voxel",
                got=f"array {tuple(self.data.shape)}",
                wanted=f"(channels, {', '.join(map(str, self.grid.shape))})",
            )

    @property
    def channels(self) -> int:
        """Values per voxel: 1 for a gray image."""
        return len(self.data)

    def to(self, device: torch.device | str) -> Image:
        """The same image on another device."""
        return Image(self.data.to(device), self.grid)

    def float(self) -> Image:
        """The same image in single precision."""
        return Image(self.data.float(), self.grid)
