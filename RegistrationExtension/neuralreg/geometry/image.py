"""An image: values on a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neuralreg.errors import InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.remarks import Remark

_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch does not compare these


@dataclass(frozen=True, eq=False)
class Image:
    """Values on a grid in the world.

    Attributes:
        data: (c, z, y, x), or (c, y, x) in 2D; any number type; never changed in place.
        grid: where the voxels lie.
        remarks: what was repaired, assumed or doubted when a file was read.

    Raises:
        InvalidImage: when the shapes disagree.
    """

    data: Tensor
    grid: Grid
    remarks: tuple[Remark, ...] = ()

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
        return replace(self, data=self.data.to(device))

    def above_zero(self) -> Tensor:
        """Where a mask counts: voxels above 0, of any number type; NaN does not."""
        return self.data != 0 if self.data.dtype in _UNSIGNED else self.data > 0

    def lowest(self) -> float:
        """The lowest finite value, an integer exactly: air, background; 0 without any."""
        if not self.data.is_floating_point():
            return int(self.data.cpu().numpy().min())
        low = float(self.data.min())
        if not math.isfinite(low):
            values = self.data[self.data.isfinite()]
            low = float(values.min()) if len(values) else 0.0
        return low

    def fill_not_finite(self) -> Image:
        """NaN and -inf at the lowest finite value, +inf at the highest one."""
        if not self.data.is_floating_point() or bool(self.data.isfinite().all()):
            return self
        finite = self.data[self.data.isfinite()]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
        return replace(self, data=self.data.nan_to_num(nan=low, neginf=low, posinf=high))

    def float(self) -> Image:
        """The same image in single precision."""
        return replace(self, data=self.data.float())
