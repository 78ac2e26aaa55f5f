"""Images made ready for searching: one intensity scale, cubic voxels, few enough of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.image import Image
from neuralreg.geometry.inverse import invert
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import change_index, index_grid, sample
from neuralreg.geometry.smoothing import gaussian

InitialTransform = LinearTransform | DisplacementField  # what comes before the deformation

_QUANTILE_SAMPLES = 200_000  # a quantile of this many values is as good as one of all
_MARGIN = 0.05  # of the extent, around the images
_LEAST_MARGIN = 2  # samples
_INVERSE_TOLERANCE_MM = 0.05
_ANTI_ALIAS = 0.4  # standard deviation of the smoothing, in samples of the coarser grid


@dataclass(frozen=True, eq=False)
class WorkingPair:
    """Both images on one grid, the moving one after the linear alignment.

    Attributes:
        fixed, moving: (1, z, y, x), values in 0..1.
        valid: (z, y, x), 1 where both have data and no mask forbids, else 0.
        body: (z, y, x), bool, the foreground of the fixed image.
        grid: of all of them.
        weight: beside the other channels.
        others: further channels on the same grid.
    """

    fixed: Tensor
    moving: Tensor
    valid: Tensor
    body: Tensor
    grid: Grid
    weight: float = 1.0
    others: tuple[WorkingPair, ...] = ()

    @classmethod
    def of(
        cls, images: tuple[Image, Image], valid: Tensor, grid: Grid, initial: InitialTransform
    ) -> WorkingPair:
        """Two images of unit intensities on a grid, the moving one after an initial transform."""
        identity = LinearTransform.identity(grid.dimension)
        fixed, moving = (
            resample_through(image.data, image.grid, grid, transform)
            for image, transform in zip(images, (identity, initial), strict=True)
        )
        return cls(fixed, moving, valid, foreground(Image(fixed, grid)), grid)

    def within(self, part: Tensor) -> WorkingPair:
        """The same pair, which counts only in a part (z, y, x), bool."""
        others = tuple(other.within(part) for other in self.others)
        return replace(self, valid=self.valid * part, others=others)

    def shares(self) -> list[tuple[float, WorkingPair]]:
        """The channels that count, each with its share of all weights."""
        pairs = [pair for pair in (self, *self.others) if pair.weight > 0]
        total = sum(pair.weight for pair in pairs)
        return [(pair.weight / total, pair) for pair in pairs]


def quantiles(values: Tensor, *at: float) -> list[float]:
    """Quantiles of a tensor's values, from an evenly strided part of them when there are many."""
    flat = values.flatten()
    flat = flat[:: max(1, flat.numel() // _QUANTILE_SAMPLES)].float()
    return [float(q) for q in torch.quantile(flat, torch.tensor(at, device=flat.device))]


def foreground(image: Image) -> Tensor:
    """Where the body is: values above Otsu's threshold of the clipped image, (z, y, x), bool.

    Values are clipped at the 1st and 99th percentile first, so that a few outliers do not decide,
    and the threshold is moved halfway to the darker class's mean: dark tissue is worth more to a
    registration than a little background costs.

    Source: Otsu 1979, doi:10.1109/TSMC.1979.4310076.
    """
    values = image.data[0].float()
    low, high = quantiles(values, 0.01, 0.99)
    if not high > low:
        return torch.ones_like(values, dtype=torch.bool)
    counts = torch.histc(values.clamp(low, high), 128, low, high).double()
    centers = torch.linspace(low, high, 257, dtype=torch.float64)[1::2].to(counts.device)
    below, mass = counts.cumsum(0), (counts * centers).cumsum(0)
    total, moment = below[-1], mass[-1]
    spread = (moment * below / total - mass) ** 2 / (below * (total - below)).clamp(min=1e-9)
    split = int(spread.argmax())
    dark = float(mass[split] / below[split])
    return values > 0.5 * (float(centers[split]) + dark)


def unit_intensities(image: Image) -> Tensor:
    """Values between their robust extremes as 0..1, clipped: (1, z, y, x)."""
    values = image.data[:1].float()
    low, high = quantiles(values, 0.001, 0.999)
    return ((values - low) / max(high - low, 1e-12)).clamp(0, 1)


def equalize(unit: Tensor, inside: Tensor) -> Tensor:
    """Values 0..1 (1, z, y, x), half as they are, half ranked among those `inside` (z, y, x).

    Ranks spread the soft tissue of a CT, which a linear scale squeezes between air and bone; the
    linear half keeps the noise of flat regions from filling the range.
    """
    counted = unit[0][inside]
    if not len(counted):
        return unit
    counted = counted[:: max(1, len(counted) // _QUANTILE_SAMPLES)]
    edges = torch.quantile(counted, torch.linspace(0, 1, 257, device=unit.device))
    ranks = torch.searchsorted(edges.contiguous(), unit.contiguous(), right=True).float() / 257
    return 0.5 * unit + 0.5 * ranks


def work_grid(grid: Grid, most_samples: int) -> Grid:
    """The field of view of `grid` in cubic voxels, at most about this many, none finer than it.

    Thick slices are divided: a search over cells and descriptors of neighbors mean the same in all
    directions only where voxels are cubes.
    """
    spacing = max(
        min(grid.spacing), float(np.prod(grid.extent_mm) / most_samples) ** (1 / grid.dimension)
    )
    single = [
        extent if n == 1 else spacing for n, extent in zip(grid.size, grid.extent_mm, strict=True)
    ]
    return grid.with_spacing(single)


def with_edge(grid: Grid, edge_mm: float) -> Grid:
    """The grid with voxels of at least an edge along each axis; single slices stay."""
    sizes = zip(grid.size, grid.extent_mm, grid.spacing, strict=True)
    spacing = [extent if n == 1 else max(own, edge_mm) for n, extent, own in sizes]
    return grid if spacing == list(grid.spacing) else grid.with_spacing(spacing)


def sample_coordinates(
    source: Grid, target: Grid, transform: InitialTransform, like: Tensor
) -> Tensor:
    """Where the samples of `target` go in `source`: continuous indices x y z, (z, y, x, d)."""
    if isinstance(transform, DisplacementField):
        return transform.coordinates_in(source, target)
    matrix = source.world_to_index @ transform.matrix @ target.index_to_world
    return change_index(index_grid(target.shape, like=like), matrix)


def resample_through(
    values: Tensor, source: Grid, target: Grid, transform: InitialTransform
) -> Tensor:
    """Values (c, z, y, x) of `source` at the samples of `target` moved by a transform.

    Smoothed first where the target is coarser, so that nothing aliases.
    """
    d = source.dimension
    linear = transform.matrix[:d, :d] if isinstance(transform, LinearTransform) else np.eye(d)
    step = source.world_to_index[:d, :d] @ linear @ target.index_to_world[:d, :d]
    step = np.abs(step).max(1)[::-1]  # samples of the source per sample of the target, z y x
    sigma = _ANTI_ALIAS * np.sqrt(np.maximum(step**2 - 1, 0))
    coordinates = sample_coordinates(source, target, transform, values)
    return sample(gaussian(values, sigma.tolist()), coordinates)


def overlap_mask(source: Grid, target: Grid, transform: InitialTransform, like: Tensor) -> Tensor:
    """1 where a sample of `target`, moved by a transform, is in a voxel of `source`, else 0."""
    at = sample_coordinates(source, target, transform, like)
    size = torch.tensor(source.size).to(at)
    return ((at > -0.5) & (at < size - 0.5)).all(-1).to(like.dtype)


def resample_to(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Values (c, z, y, x) on another grid of the same world."""
    if source.is_close(target):
        return values
    return resample_through(values, source, target, LinearTransform.identity(source.dimension))


def extend_to_cover(grid: Grid, other: Grid) -> Grid:
    """The grid with samples added at its ends until it holds the field of view of another one."""
    reach = grid.indices_at(other.corners())
    before = np.ceil(-reach.min(0)).clip(0).astype(int)
    after = np.ceil(reach.max(0) - np.subtract(grid.size, 1)).clip(0).astype(int)
    size = np.add(grid.size, before + after)
    return Grid(tuple(size.tolist()), grid.spacing, tuple(grid.points_at(-before)), grid.direction)


def margin(grid: Grid) -> list[int]:
    """Samples that a field reaches beyond the grid of its image at each end, x y z."""
    return [max(ceil(_MARGIN * n), _LEAST_MARGIN) for n in grid.size]


def add_margin(grid: Grid) -> Grid:
    """The grid and some samples around it."""
    return grid.pad(margin(grid))


def field_with_margin(voxels: Tensor, grid: Grid) -> DisplacementField:
    """A displacement in voxels x y z (d, z, y, x) as one in mm that is continued over a margin."""
    pad = margin(grid)
    both_ends = [n for axis in pad for n in (axis, axis)]  # x first, as pad wants it
    padded = functional.pad(voxels[None], both_ends, mode="replicate")[0]
    return DisplacementField.from_voxels(padded, grid.pad(pad))


def invert_chain(
    deformation: DisplacementField, initial: InitialTransform, moving: Grid
) -> DisplacementField:
    """The whole chain backwards, over the moving image with a margin.

    The deformation keeps its border value as far as the moving image reaches, so that the chain
    can be followed back from everywhere in it.
    """
    grid = add_margin(work_grid(moving, deformation.grid.count))
    if isinstance(initial, LinearTransform):
        reach = deformation.grid.indices_at(initial.inverse()(grid.corners()))
        low, high = _border_range(deformation)
        first, last = reach.min(0) - high, reach.max(0) - low
        beyond = np.maximum(-first, last - np.subtract(deformation.grid.size, 1)).clip(0)
        pad = np.minimum(np.ceil(beyond), deformation.grid.size).astype(int)
        deformation = deformation.resample(deformation.grid.pad(pad.tolist()))
    return invert(compose(deformation, initial), grid=grid, tolerance_mm=_INVERSE_TOLERANCE_MM)


def _border_range(field: DisplacementField) -> tuple[Matrix, Matrix]:
    """Least and largest displacement of a field's outermost samples, in samples x y z."""
    d = field.grid.dimension
    ends = [
        field.vectors.select(axis, end).flatten(1) for axis in range(1, d + 1) for end in (0, -1)
    ]
    border = torch.cat(ends, 1).double().cpu().numpy()
    samples: Matrix = field.grid.world_to_index[:d, :d] @ border
    return samples.min(1), samples.max(1)
