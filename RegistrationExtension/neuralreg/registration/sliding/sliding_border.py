"""The border along which both sides may slide: which side a sample is on, and how far from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.sampling import magnitude, sample_points, slopes
from neuralreg.geometry.smoothing import gaussian
from neuralreg.geometry.typing import Array
from neuralreg.io.arguments import ImageLike, as_labels
from neuralreg.registration.image_checks import Inputs, on_grid
from neuralreg.registration.working_grid import resample_to

_LEAST_SHARE = 0.002  # of the fixed image, on either side: what is smaller has no motion of its own
_ROUNDING = 1.5  # samples: directions across the border are those of the anatomy, not of voxels


def add_sliding(inputs: Inputs, mask: ImageLike | None) -> Inputs:
    """The inputs, with the part of the fixed image that may slide along the rest.

    Args:
        inputs: of the registration.
        mask: above 0 in that part, on any grid that overlaps the fixed image; None without.

    Raises:
        InvalidImage: the mask lies outside of the fixed image, or leaves nothing on one side.
        InvalidOption: parts are to be rigid as well.
    """
    if mask is None:
        return inputs
    if inputs.rigid is not None:
        raise InvalidOption(
            "rigid parts and a border along which both sides slide do not go together",
            got="both",
            remedy="Leave out one of them (--rigid-labels or --sliding).",
        )
    role = "mask of what may slide"
    image, notes = on_grid(as_labels(mask, role), inputs.fixed.grid, role)
    inside = image.above_zero().reshape(1, *image.grid.shape)
    share = float(inside.double().mean())
    if not _LEAST_SHARE <= share <= 1 - _LEAST_SHARE:
        raise InvalidImage(
            f"the {role} has two sides within the fixed image",
            got=f"{100 * share:.2g} % of the voxels inside",
            wanted=f"{100 * _LEAST_SHARE:g} to {100 - 100 * _LEAST_SHARE:g} %",
            remedy="Give the part that slides along the rest, such as the lungs.",
        )
    inputs.notes.extend(notes)
    placed = Image(inside.to(inputs.fixed.data.device, torch.uint8), inputs.fixed.grid)
    return replace(inputs, sliding=placed)


@dataclass(frozen=True, eq=False)
class Border:
    """Where the border runs between the samples of a grid.

    Attributes:
        inside: which samples are of the part, (z, y, x), bool.
        distance: of each sample from the border in mm, positive inside, (z, y, x).
        level: the same without the steps of voxels, by which points between samples compare.
        normal: unit vectors into the part, mm x y z, (d, z, y, x).
        grid: of all of them.
    """

    inside: Tensor
    distance: Tensor
    level: Tensor
    normal: Tensor
    grid: Grid

    @classmethod
    def of(cls, mask: Image, grid: Grid) -> Border:
        """The border of a mask (1, z, y, x), as a grid shows it."""
        inside = resample_to(mask.data.float(), mask.grid, grid)[0] > 0.5
        marked, half = inside.cpu().numpy(), 0.5 * min(grid.spacing)
        mm = np.where(marked, _distance(~marked, grid) - half, half - _distance(marked, grid))
        distance = torch.from_numpy(mm.astype(np.float32)).to(inside.device)
        level = gaussian(distance[None], [_ROUNDING] * distance.dim())[0]
        return cls(inside, distance, level, _ascent(level, grid), grid)

    def side(self, sign: int) -> Tensor:
        """1 inside (sign 1), or outside (-1), else 0, (z, y, x)."""
        return (self.inside if sign > 0 else ~self.inside).to(self.distance)

    def resample(self, grid: Grid) -> Border:
        """The same border on another grid of the same world."""
        stacked = torch.stack([self.inside.float(), self.distance, self.level, *self.normal])
        share, distance, level, *normal = resample_to(stacked, self.grid, grid)
        direction = torch.stack(normal)
        direction = direction / magnitude(direction).clamp(min=1e-6)
        return Border(share > 0.5, distance, level, direction, grid)

    def level_at(self, points: Array) -> Array:
        """The level in mm of points in LPS mm (n, d): (n,)."""
        index = torch.from_numpy(self.grid.indices_at(points))
        values: Array = sample_points(self.level[None], index)[0].cpu().numpy()
        return values


def _distance(marked: Array, grid: Grid) -> Array:
    """Distance in mm of each sample (z, y, x) from the nearest marked one."""
    image = sitk.GetImageFromArray(marked.astype(np.uint8))
    image.SetSpacing(grid.spacing)
    field = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(field))


def _ascent(level: Tensor, grid: Grid) -> Tensor:
    """Unit vectors x y z in mm along which a level grows, (d, z, y, x)."""
    d = grid.dimension
    to_index = torch.as_tensor(grid.world_to_index[:d, :d]).to(level)
    world = torch.einsum("ij,i...->j...", to_index, slopes(level))
    return world / magnitude(world).clamp(min=1e-6)
