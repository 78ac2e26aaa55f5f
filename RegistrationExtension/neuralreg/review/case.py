"""What is reviewed: a deformation and whatever belongs to it, measured once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from neuralreg.errors import InvalidImage, InvalidOption
from neuralreg.geometry.grid import Grid, require_dimension
from neuralreg.geometry.typing import Array, Mask
from neuralreg.io.landmark_files import Pairs
from neuralreg.review.geometry.consistency import invert
from neuralreg.review.geometry.deformation import Deformation, place_on_grid
from neuralreg.review.geometry.local_deformation import jacobian_determinant, without_border
from neuralreg.review.geometry.volumes import limit_samples, on_grid, valid_mask, warp
from neuralreg.review.report_model import WHOLE_IMAGE

FULL, QUICK, COARSE = 1 << 25, 1 << 19, 1 << 20  # samples at most
_LEAST_PART = 0.05  # of the largest part of the body
_BODY_SHARES = (0.02, 0.97)  # of the image: beyond, a threshold found no body


class SampledPair(NamedTuple):
    """Both images on one grid, (z, y, x).

    Attributes:
        fixed: The fixed image.
        moving: The moving image without the transform.
        warped: The moving image through the transform.
        valid: Where the warped image shows a voxel of the moving one.
    """

    fixed: Array
    moving: Array
    warped: Array
    valid: Mask


@dataclass(frozen=True, eq=False)
class ImagePair:
    """The fixed and the moving image."""

    fixed: sitk.Image
    moving: sitk.Image

    @cached_property
    def darkest(self) -> float:
        """The smallest value of the moving image, which stands for what lies beyond it."""
        return float(sitk.GetArrayViewFromImage(self.moving).min())

    def on_grid(self, grid: Grid, u: Array) -> SampledPair:
        """Both images on a grid over the fixed image, in single precision.

        Args:
            grid: Where they are sampled.
            u: Displacements at the samples of the grid, (z, y, x, d) mm.
        """
        return SampledPair(
            on_grid(self.fixed, grid).astype(np.float32, copy=False),
            on_grid(self.moving, grid, outside=self.darkest).astype(np.float32, copy=False),
            warp(self.moving, u, grid, outside=self.darkest),
            valid_mask(Grid.of(self.moving), u, grid),
        )


@dataclass(frozen=True, eq=False)
class Case:
    """A deformation with the images, segmentations, landmarks and the mask that are there.

    Attributes:
        deformation: The transform under review, fixed to moving.
        fixed: The fixed image.
        moving: The moving image.
        fixed_labels: Label map of the fixed image.
        moving_labels: Label map of the moving image.
        mask: On the fixed side; only what is above 0 counts.
        landmarks: Pairs in both images.
        inverse: The transform of the other direction.
        names: Of the labels.
        quick: Whether few samples are enough.
        compare_on: "finer" or "fixed", the grid on which segmentations are compared.
        own_inverse: Whether the inverse was computed from the deformation, instead of by a
            registration of its own.
        notes: What was assumed, in words.
        sliding: On the fixed side, above 0 in what may slide along the rest.
    """

    deformation: Deformation
    fixed: sitk.Image | None
    moving: sitk.Image | None
    fixed_labels: sitk.Image | None
    moving_labels: sitk.Image | None
    mask: sitk.Image | None
    landmarks: Pairs | None
    inverse: Deformation | None
    names: Mapping[int, str]
    quick: bool
    compare_on: str = "finer"
    own_inverse: bool = False
    notes: list[str] = field(default_factory=list)
    sliding: sitk.Image | None = None

    def __post_init__(self) -> None:
        if self.compare_on not in ("finer", "fixed"):
            raise InvalidOption(
                "unknown grid to compare on", got=f"'{self.compare_on}'", wanted="finer or fixed"
            )
        sides = [self.fixed, self.moving, self.fixed_labels, self.moving_labels, self.mask]
        sides.append(self.sliding)
        for dimension in sorted({s.GetDimension() for s in sides if s is not None}):
            require_dimension(self.deformation.dimension, dimension)
        if self.inverse is not None:
            require_dimension(self.inverse.dimension, self.deformation.dimension)

    @cached_property
    def fixed_grid(self) -> Grid:
        """The grid of the fixed side.

        Raises:
            InvalidImage: Nothing tells where it is.
        """
        for image in (self.fixed, self.fixed_labels, self.mask):
            if image is not None:
                return Grid.of(image)
        if self.deformation.grid is not None:
            return self.deformation.grid
        raise InvalidImage(
            "the position of the fixed image is unknown",
            got="a transform without a grid of its own",
            remedy="Give the fixed image (--fixed).",
        )

    @cached_property
    def pair(self) -> ImagePair | None:
        """Both images; None when one of them is missing."""
        if self.fixed is None or self.moving is None:
            return None
        return ImagePair(self.fixed, self.moving)

    @cached_property
    def moving_grid(self) -> Grid | None:
        """The grid of the moving side, if anything tells where it is."""
        for image in (self.moving, self.moving_labels):
            if image is not None:
                return Grid.of(image)
        return None

    @cached_property
    def grid(self) -> Grid:
        """Where the deformation is measured: the fixed grid, or a coarser one where that is big."""
        return limit_samples(self.fixed_grid, QUICK if self.quick else FULL)

    @cached_property
    def coarse(self) -> Grid:
        """A grid over the same field of view for what is smooth or costly."""
        return limit_samples(self.fixed_grid, QUICK if self.quick else COARSE)

    @property
    def overlap_grid(self) -> Grid | None:
        """Where segmentations are compared; None for the finer grid of both."""
        if self.quick:
            return self.grid
        if self.compare_on == "fixed" and self.fixed_labels is not None:
            return Grid.of(self.fixed_labels)
        return None

    @cached_property
    def u(self) -> Array:
        """Displacements at `grid`, (z, y, x, d) mm."""
        return self.deformation.on(self.grid)

    @cached_property
    def coarse_u(self) -> Array:
        """Displacements at `coarse`."""
        return self.u if self.coarse == self.grid else self.deformation.on(self.coarse)

    @cached_property
    def determinant(self) -> Array:
        """The Jacobian determinant at `grid`."""
        return jacobian_determinant(self.u, self.grid)

    @cached_property
    def estimated_inverse(self) -> tuple[Deformation, Array]:
        """An inverse estimated for this review on `coarse`, and its error in mm."""
        return invert(self.deformation, self.coarse)

    @cached_property
    def region(self) -> str:
        """What the part of the fixed image that counts is called."""
        if self.mask is not None:
            return "the mask"
        return "the body" if self._body is not None else WHOLE_IMAGE

    @cached_property
    def inside(self) -> Mask:
        """The samples of `grid` that count: the mask, else the body, without the border."""
        return self.within(self.grid) & without_border(self.grid)

    def within(self, grid: Grid) -> Mask:
        """The mask, else the body, at the samples of a grid; everything where there is neither.

        Beside a border along which both sides slide, one sample on either side does not count: the
        field is no motion there, but what lies between two.

        Raises:
            InvalidImage: The mask has no voxel above 0 within the fixed image.
        """
        if self.mask is not None:
            chosen = on_grid(self.mask, grid, labels=True) > 0
            if not chosen.any():
                raise InvalidImage(
                    "the mask is empty", got="no voxel above 0 within the fixed image"
                )
        elif self._body is None:
            chosen = np.ones(grid.shape, bool)
        else:
            chosen = on_grid(self._body, grid, labels=True) > 0
        return np.asarray(chosen & ~self.beside_border(grid, 1))

    def beside_border(self, grid: Grid, samples: int) -> Mask:
        """The samples of a grid up to so many from a border along which both sides slide."""
        if self.sliding is None:
            return np.zeros(grid.shape, bool)
        inside = on_grid(self.sliding, grid, labels=True) > 0
        wide = (ndimage.binary_dilation(part, iterations=samples) for part in (inside, ~inside))
        return np.asarray(np.logical_and(*wide))

    @cached_property
    def _body(self) -> sitk.Image | None:
        """The body in the fixed image on a coarse grid; None where a threshold finds none."""
        if self.fixed is None:
            return None
        grid = limit_samples(Grid.of(self.fixed), COARSE)
        mask = body(on_grid(self.fixed, grid))
        if mask is None:
            return None
        return place_on_grid(sitk.GetImageFromArray(mask.astype(np.uint8)), grid)

    def name_at(self, point: Array) -> str:
        """The structure at an LPS mm point of the fixed side, or which part of the image it is."""
        if self.fixed_labels is not None:
            label = _value_at(self.fixed_labels, point)
            if label:
                return self.names.get(int(label), f"label {int(label)}")
        chosen = self.mask if self.mask is not None else self._body
        if chosen is None:
            return "the image"
        return self.region if _value_at(chosen, point) else f"outside of {self.region}"


def body(values: Array) -> Mask | None:
    """The mask of the body, (z, y, x): bright, without crumbs and holes; None where it is all.

    Otsu's threshold of the clipped values (1979, doi:10.1109/TSMC.1979.4310076), halfway to the
    darker class's mean: dark tissue is worth more than a little background.
    """
    values = np.nan_to_num(values.astype(np.float32))
    low, high = np.percentile(values, (1, 99))
    if not high > low:
        return None
    counts, edges = np.histogram(np.clip(values, low, high), 128, (low, high))
    centers = (edges[:-1] + edges[1:]) / 2
    below, moment = counts.cumsum(), (counts * centers).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (moment[-1] * below / below[-1] - moment) ** 2 / (below * (below[-1] - below))
    split = int(np.nan_to_num(variance, posinf=0).argmax())
    bright = values > 0.5 * (centers[split] + moment[split] / below[split])
    parts, n = ndimage.label(bright)
    if not n:
        return None
    sizes = np.bincount(parts.ravel())
    large = (sizes >= _LEAST_PART * sizes[1:].max()) & (np.arange(n + 1) > 0)
    closed = ndimage.binary_closing(large[parts], iterations=2) | large[parts]
    mask = ndimage.binary_fill_holes(closed)
    least, most = _BODY_SHARES
    share = float(np.mean(mask))
    return np.asarray(mask) if least < share < most else None


def _value_at(image: sitk.Image, point: Array) -> float:
    index = np.rint(Grid.of(image).indices_at(point)).astype(int).tolist()
    if any(not 0 <= i < n for i, n in zip(index, image.GetSize(), strict=True)):
        return 0.0
    return float(image[tuple(index)])
