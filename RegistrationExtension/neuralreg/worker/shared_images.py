"""Records as the core's images and fields, and back."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.sampling import sample
from neuralreg.geometry.typing import Array
from neuralreg.geometry.warp import warp
from neuralreg.io.image_files import read_image
from neuralreg.worker.handed_volumes import canonical_voxels
from neuralreg.worker.messages import Field, ImageInput, Voxels

_FAR = 1e6  # farther from any voxel than any image is large, in voxels
_ON_BORDER = 1e-3  # of a sample
_WIDENED = {np.uint16: np.int32, np.uint32: np.int64, np.uint64: np.int64}  # torch hardly has them


def field_of(field: Field) -> DisplacementField:
    """The core's field; it shares the record's memory where that can be read in order."""
    vectors = torch.from_numpy(np.ascontiguousarray(field.vectors))
    return DisplacementField(vectors.movedim(-1, 0).contiguous(), field.grid)


def record_of(field: DisplacementField) -> Field:
    """The record of a field."""
    vectors = field.vectors.detach().cpu().movedim(0, -1).contiguous()
    return Field(vectors.numpy(), field.grid)


def voxels_of(source: ImageInput, *, labels: bool = False) -> Voxels:
    """What was handed over, or the content of an image file, in canonical form with its remarks.

    Args:
        source: a record or a file; both give the same values and remarks for the same content.
        labels: whether a file holds labels.
    """
    if isinstance(source, Voxels):
        return canonical_voxels(source)
    image = read_image(Path(source))
    array = image.data.movedim(0, -1) if image.channels > 1 else image.data[0]
    values = array.contiguous().numpy()
    return Voxels(values, image.grid, labels=labels, remarks=image.remarks)


def image_in_own_space(voxels: Voxels) -> Image:
    """The voxels in their own space."""
    data = voxels.data
    values = torch.from_numpy(
        np.ascontiguousarray(data, _WIDENED.get(data.dtype.type, data.dtype.newbyteorder("=")))
    )
    channels = values.dim() > voxels.grid.dimension
    return Image(values.movedim(-1, 0).contiguous() if channels else values[None], voxels.grid)


def image_of(source: ImageInput) -> Image:
    """The image in the world; one with a bend is resampled once onto its straight grid."""
    voxels = voxels_of(source)
    if voxels.bend is None:
        image = image_in_own_space(voxels)
    else:
        grid = voxels.world_grid
        image = _warp(voxels, DisplacementField.identity(grid), grid)
    return replace(image, remarks=voxels.remarks)


def warp_voxels(voxels: Voxels, field: DisplacementField, grid: Grid) -> Array:
    """The values where `field` leads to, on `grid`, resampled once from the stored voxels.

    In the stored type, (z, y, x), with several channels (z, y, x, c).
    """
    values = _warp(voxels, field, grid).data
    array = (values.movedim(0, -1) if len(values) > 1 else values[0]).contiguous().numpy()
    return np.asarray(array, voxels.data.dtype)


def _warp(voxels: Voxels, field: DisplacementField, grid: Grid) -> Image:
    if voxels.bend is not None:
        field = _through_bend(field, field_of(voxels.bend))
    image = image_in_own_space(voxels).fill_not_finite()
    return warp(image, field, grid, interpolation="nearest" if voxels.labels else "linear")


def _through_bend(field: DisplacementField, bend: DisplacementField) -> DisplacementField:
    """The field, then the bend; a point that comes outside of the bend's grid comes to no voxel.

    What a bend leads to is in another unit than where it begins, so that its border says nothing
    about points beyond.
    """
    field = _as_fine(field, bend.grid)
    index = field.coordinates_in(bend.grid, field.grid)
    last = torch.tensor(bend.grid.size).to(index) - 1
    beyond = ((index < -_ON_BORDER) | (index > last + _ON_BORDER)).any(-1)
    vectors = field.vectors + sample(bend.vectors.to(field.vectors), index)
    return DisplacementField(vectors.masked_fill(beyond, _FAR), field.grid)


def _as_fine(field: DisplacementField, bend: Grid) -> DisplacementField:
    """The field on a grid that shows a bend which follows it."""
    spacing = np.minimum(field.grid.spacing, min(bend.spacing))
    if np.allclose(spacing, field.grid.spacing):
        return field.to("cpu")
    return field.resample(field.grid.with_spacing(spacing.tolist()).pad(1))


def mask_of(layers: tuple[ImageInput, ...], grid: Grid) -> Image | None:
    """Where any layer counts: True and False; None without layers.

    One straight layer stays on its own grid; several are resampled to `grid`.
    """
    masks = [voxels_of(layer, labels=True) for layer in layers]
    if not masks:
        return None
    if len(masks) == 1 and masks[0].bend is None:
        return Image(_counts(masks[0], image_in_own_space(masks[0])), masks[0].grid)
    identity = DisplacementField.identity(grid)
    parts = [_counts(layer, _warp(layer, identity, grid)) for layer in masks]
    return Image(reduce(torch.logical_or, parts), grid)


def _counts(layer: Voxels, image: Image) -> Tensor:
    if layer.only is None:
        return image.above_zero()
    return torch.isin(image.data.long(), torch.tensor(layer.only))
