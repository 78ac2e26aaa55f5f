"""Images and label maps through a transform, in any form they come: `warp` and `warp_labels`."""

from __future__ import annotations

from pathlib import Path

from neuralreg.errors import InvalidImage
from neuralreg.geometry import warp as on_grids
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.warp import Interpolation
from neuralreg.io.arguments import ImageLike, TransformLike, as_field, as_image, as_labels


def warp(
    image: ImageLike,
    field: TransformLike,
    grid: Grid | ImageLike | None = None,
    *,
    interpolation: Interpolation = "linear",
    outside: float | None = None,
) -> Image:
    """The moving image as it looks on `grid` after `field`, resampled once.

    Args:
        image: a file, or an image of this package, SimpleITK or nibabel.
        field: fixed to moving: a field, such as `result.field`, a linear transform, an ITK
            transform, or a file. It may be much coarser than `grid`.
        grid: of the fixed image, or the fixed image; the field's own grid unless given.
        interpolation: "linear", "bspline" (cubic, exact at the samples) or "nearest".
        outside: the value for points in no voxel of the image; unless given, its lowest finite
            one (air in a CT), and 0 by "nearest". Within the outer half voxel the last sample is
            repeated, as ITK does.

    Returns:
        An image of the same number type: integers are rounded and, where a spline overshoots,
        clamped. NaN counts as the image's lowest value. Nothing here is differentiable.

    Raises:
        InvalidImage: when dimensions disagree, or an argument is no image.
        InvalidTransform: for what is no transform, or has no grid where none is given.
        InvalidOption: for an unknown interpolation, or an outside value that the number type of
            the image does not have.
    """
    target = _grid_of(grid)
    moving = as_image(image, "moving image").fill_not_finite()
    return on_grids.warp(
        moving, as_field(field, target), target, interpolation=interpolation, outside=outside
    )


def warp_labels(
    labels: ImageLike,
    field: TransformLike,
    grid: Grid | ImageLike | None = None,
    *,
    outside: int = 0,
) -> Image:
    """The moving label map as it looks on `grid` after `field`, by nearest voxels.

    Args:
        labels: a file, or a label map of this package, SimpleITK or nibabel.
        field: fixed to moving, as `warp` takes it.
        grid: of the fixed image, or the fixed image; the field's own grid unless given.
        outside: the label for points in no voxel of the label map.

    Returns:
        A label map of the same number type that holds only labels of the given one, and `outside`.

    Raises:
        InvalidImage: when dimensions disagree, or an argument is no image.
        InvalidTransform: for what is no transform, or has no grid where none is given.
        InvalidOption: for an outside label that the number type does not have.
    """
    target = _grid_of(grid)
    moving = as_labels(labels, "moving label map")
    return on_grids.warp_labels(moving, as_field(field, target), target, outside=outside)


def _grid_of(grid: Grid | ImageLike | None) -> Grid | None:
    if grid is None or isinstance(grid, Grid):
        return grid
    return as_image(grid, "fixed image").grid


def warp_segments(path: Path, field: TransformLike, output: Path, grid: Grid) -> int:
    """Write a segmentation of 3D Slicer as it looks on `grid`, each layer by nearest voxels.

    Args:
        path, output: .seg.nrrd.
        field: fixed to moving, as `warp` takes it.
        grid: of the fixed image.

    Returns:
        How many layers there are; segments of several may overlap.

    Raises:
        InvalidImage: it has other axes than the grid.
    """
    from neuralreg.io.formats.segmentations import read_segmentation, write_layers
    from neuralreg.io.itk import image_from_itk, image_to_itk

    given = read_segmentation(path)
    layers = [image_from_itk(layer) for layer in given.layers]
    require_same_axes(path, layers[0].grid, grid)
    write_layers(
        [image_to_itk(warp_labels(layer, field, grid)) for layer in layers], given.metadata, output
    )
    return len(layers)


def require_same_axes(image: Path, moving: Grid, reference: Grid) -> None:
    """Check that an image has the axes of the reference.

    Raises:
        InvalidImage: one is 2D and the other 3D.
    """
    if moving.dimension != reference.dimension:
        raise InvalidImage(
            "an image has as many axes as its reference",
            where=str(image),
            got=f"{moving.dimension}D, and a reference in {reference.dimension}D",
            remedy="Take the matching slice out of the 3D image first.",
        )
