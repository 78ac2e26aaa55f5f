"""What a network gets: the grid and the intensities that its card asks for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from neuralreg.errors import IncompatibleModel, InvalidImage
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import sample
from neuralreg.measures.modality import looks_like_ct
from neuralreg.registration.working_grid import (
    InitialTransform,
    sample_coordinates,
    unit_intensities,
    work_grid,
)
from neuralreg.zoo.card import Input, ModelCard

_TO_LPS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
_BRIGHT = 0.99  # quantile of the brain's intensities ...
_BRIGHT_TO = 0.6  # ... and where it goes
_CT_RANGE = (-1000.0, 1000.0)
_MOST_STRETCH = 1.25
_SPREAD_STRIDE = 17  # of the voxels, a sample is enough


def require_dimension(card: ModelCard, grid: Grid) -> None:
    """Check that a model takes images like this grid's.

    Raises:
        IncompatibleModel: when it does not.
    """
    if grid.dimension not in card.input.dimensions:
        raise IncompatibleModel(
            "the model does not take images of this dimension",
            where=card.name,
            got=f"{grid.dimension}D",
            wanted=" or ".join(f"{d}D" for d in card.input.dimensions),
        )


def network_pair(
    card: ModelCard,
    fixed: Image,
    moving: Image,
    start: InitialTransform,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
) -> tuple[Tensor, Tensor, Grid]:
    """Both images as the network wants them, (1, z, y, x), and their grid.

    The moving image is resampled once, from its own voxels, after `start`; linearly and without
    smoothing, as the networks' authors do. Beyond an image there is 0.

    Args:
        card: of the network.
        fixed, moving: images that were checked.
        start: the initial transform, fixed to moving.
        fixed_mask, moving_mask: on the images' own grids; what is 0 there becomes 0.

    Raises:
        IncompatibleModel: when the card asks for several channels.
    """
    if card.input.channels != 1:
        raise IncompatibleModel(
            "models of several channels are not registered from one image each",
            where=card.name,
            got=f"{card.input.channels} channels",
        )
    rule = card.input.intensity
    values = [
        scale_intensities(image if mask is None else apply_mask(image, mask), rule)
        * (1.0 if mask is None else mask.above_zero())
        for image, mask in ((fixed, fixed_mask), (moving, moving_mask))
    ]
    grid = network_grid(card.input, Image(values[0], fixed.grid))
    identity = LinearTransform.identity(grid.dimension)
    pair = [
        sample(v, sample_coordinates(image.grid, grid, transform, v), outside="zeros")
        for v, image, transform in ((values[0], fixed, identity), (values[1], moving, start))
    ]
    return pair[0], pair[1], grid


def scale_intensities(image: Image, rule: str) -> Tensor:
    """The intensities of an image by a rule of the cards, see `Input.intensity`: (1, z, y, x)."""
    return _RULES[rule](image)


def apply_mask(image: Image, mask: Image) -> Image:
    """The image with 0 where the mask (same grid) is 0."""
    return Image(image.data * mask.above_zero(), image.grid)


def network_grid(rule: Input, fixed: Image) -> Grid:
    """The grid on which a network sees the fixed image: see `Input.space`."""
    if rule.space == "fixed":
        return work_grid(fixed.grid, rule.most_samples or fixed.grid.count)
    if rule.shape is None:
        raise _incomplete_rule(rule, "shape")
    if rule.space == "whole":
        return fixed.grid.resize(rule.shape[::-1])
    if rule.center is None or rule.spacing_mm is None:
        raise _incomplete_rule(rule, "center and spacing_mm")
    direction = _direction(rule.orientation, fixed.grid)
    spacing = np.full(fixed.grid.dimension, rule.spacing_mm)
    if rule.spread_mm is not None:
        stretch = std_mm(fixed, direction) / np.array(rule.spread_mm[::-1])
        spacing *= np.sqrt(stretch).clip(1 / _MOST_STRETCH, _MOST_STRETCH)
    origin = center_of_mass(fixed) - direction @ (np.array(rule.center[::-1]) * spacing)
    return Grid(rule.shape[::-1], tuple(spacing), tuple(origin), tuple(direction.ravel().tolist()))


def _incomplete_rule(rule: Input, missing: str) -> IncompatibleModel:
    return IncompatibleModel(
        "a card describes the grid that its network takes", got=rule.space, wanted=missing
    )


def center_of_mass(image: Image) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """LPS mm of the center of mass of the positive intensities.

    Raises:
        InvalidImage: when there are none.
    """
    mass = image.data[0].double().clamp(min=0)
    total = float(mass.sum())
    if total <= 0:
        raise InvalidImage("an image has positive intensities", got="none")
    d = mass.dim()
    index = []
    for axis in range(d - 1, -1, -1):  # x first
        along = mass.sum([a for a in range(d) if a != axis])
        index.append(float((along * torch.arange(len(along), device=mass.device)).sum()) / total)
    return np.asarray(image.grid.points_at(index))


def std_mm(
    image: Image, directions: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Standard deviation in mm of the voxels with positive intensities, along each column."""
    at = torch.nonzero(image.data[0] > 0).flip(1).cpu().numpy()[::_SPREAD_STRIDE]
    points = image.grid.points_at(at) @ directions
    return np.asarray(points.std(0))


def _direction(
    orientation: str | None, grid: Grid
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Cosines of the array axes x y z as columns; the letters are z first."""
    d = grid.dimension
    if orientation is None:
        return np.reshape(grid.direction, (d, d))
    cosines = np.zeros((d, d))
    for column, letter in enumerate(reversed(orientation)):
        row, sign = _TO_LPS[letter]
        cosines[row, column] = sign
    return cosines


def _unit(image: Image) -> Tensor:
    return unit_intensities(image)


def _extremes(image: Image) -> Tensor:
    """The least value as 0, the largest as 1."""
    values = image.data[:1].float()
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp(min=1e-12)


def _brain(image: Image) -> Tensor:
    """The 99th percentile of a brain's voxels as 0.6, clipped to 0..1; the background is 0."""
    values = image.data[:1].float().clamp(min=0)
    inside = values[values > 0]
    if not len(inside):
        return values
    bright = torch.kthvalue(inside, max(1, int(_BRIGHT * len(inside)))).values
    return (values / bright * _BRIGHT_TO).clamp(max=1)


def _modality(image: Image) -> Tensor:
    """CT: -1000 to 1000 HU as 0..1; else the least value to the 99th percentile of all voxels.

    Source: Tian et al. 2024, arXiv 2403.05780, the preprocessing of its official tool.
    """
    values = image.data[:1].float()
    if looks_like_ct(values):
        low, high = (torch.tensor(v, device=values.device) for v in _CT_RANGE)
    else:
        flat = values.flatten()
        low = flat.min()
        high = torch.kthvalue(flat, max(1, int(_BRIGHT * len(flat)))).values
    return ((values - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)


_RULES: dict[str, Callable[[Image], Tensor]] = {
    "unit": _unit,
    "extremes": _extremes,
    "brain": _brain,
    "modality": _modality,
}
