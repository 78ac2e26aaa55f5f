"""What is checked and repaired before two images are registered; each repair is noted in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neuralreg.errors import InvalidImage
from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.image import Image
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import between, change_index, index_grid, sample, slabs
from neuralreg.registration.channels.channel import Channel, mean_agreement
from neuralreg.registration.guides.label_maps import LabelPair
from neuralreg.registration.guides.landmark_checks import check_landmarks
from neuralreg.registration.guides.landmark_guide import LandmarkGuide
from neuralreg.registration.rigid_parts.parts import RigidParts
from neuralreg.registration.surfaces.surface_pair import SurfacePair
from neuralreg.registration.working_grid import (
    InitialTransform,
    WorkingPair,
    resample_through,
    resample_to,
    unit_intensities,
    work_grid,
)

_SIMILARITY_SAMPLES = 200_000  # of the work grid, for the figures of a result
_FEWEST_SAMPLES = 4  # along an axis that can deform
_HUGE = 100.0  # times the usual range: no tissue, contrast agent or metal reaches that
_HUGE_SHARE = 1e-3  # of the voxels at most; more than that is content
_MOST_RANKED = 1 << 18  # voxels are enough to know the usual range
_SLAB = 1 << 20  # samples at a time


@dataclass(frozen=True, eq=False)
class Inputs:
    """Both images, checked and on the device, with their masks.

    Attributes:
        fixed, moving: in single precision, finite.
        fixed_mask, moving_mask: weights of 0 to 1 on the grids of their images.
        notes: a sentence for each repair.
        unit: both images' intensities between their robust extremes as 0..1, (1, z, y, x).
        landmarks: pairs that steer, None without.
        labels: of both images where they drive, None without.
        channels: further images of both sides.
        weight: of the images beside the channels.
        rigid: parts of the fixed image that move as one piece each, None without.
        surfaces: of both sides that pull each other, None without.
        sliding: 1 in the part of the fixed image that may slide along the rest, None without.
    """

    fixed: Image
    moving: Image
    fixed_mask: Image | None
    moving_mask: Image | None
    notes: list[str]
    unit: tuple[Tensor, Tensor]
    landmarks: LandmarkGuide | None = None
    labels: LabelPair | None = None
    channels: tuple[Channel, ...] = ()
    weight: float = 1.0
    rigid: RigidParts | None = None
    surfaces: SurfacePair | None = None
    sliding: Image | None = None

    @property
    def centers(self) -> LandmarkGuide | None:
        """Pairs for the start: the middles of labels that drive, or closest points of surfaces."""
        if self.labels is not None:
            return self.labels.centers()
        return None if self.surfaces is None else self.surfaces.pairs()

    @classmethod
    def prepare(
        cls,
        fixed: Image,
        moving: Image,
        fixed_mask: Image | None,
        moving_mask: Image | None,
        device: torch.device,
        landmarks: LandmarkGuide | None = None,
        most_samples: int = 0,
    ) -> Inputs:
        """The inputs of a registration; the images given are not changed.

        Args:
            fixed, moving, fixed_mask, moving_mask, landmarks: as `register` takes them.
            device: that computes.
            most_samples: of each image, see `RegistrationOptions`.

        Raises:
            InvalidImage: for what cannot be registered.
            InvalidOption: for landmarks that do not belong to the images.
        """
        require_same_dimension(fixed, moving)
        notes: list[str] = []
        if landmarks is not None:
            notes += check_landmarks(landmarks, fixed.grid, moving.grid)
        images, masks, unit = [], [], []
        for image, mask, role in ((fixed, fixed_mask, "fixed"), (moving, moving_mask, "moving")):
            checked, repairs = prepare(image, f"{role} image")
            notes += repairs
            if most_samples and checked.grid.count > most_samples:
                size = _size_text(checked.grid)
                checked = _coarsen(checked, most_samples)
                notes.append(f"the {role} image was taken at {_size_text(checked.grid)} of {size}")
            if mask is not None:
                mask, repairs = prepare_mask(mask, checked, f"{role} mask")
                notes += repairs
                mask = mask.to(device)
            checked = checked.to(device)
            images.append(checked)
            masks.append(mask)
            unit.append(unit_intensities(checked))
        both = (unit[0], unit[1])
        return cls(images[0], images[1], masks[0], masks[1], notes, both, landmarks)

    @property
    def first(self) -> Channel:
        """The images themselves as a channel."""
        sides = zip(self.unit, (self.fixed, self.moving), strict=True)
        fixed, moving = (Image(unit, image.grid) for unit, image in sides)
        return Channel(fixed, moving, self.weight)

    def working_pair(
        self, initial: InitialTransform, most_samples: int | None, *, cubic: bool = True
    ) -> WorkingPair:
        """Both images on the work grid, the moving one after the initial transform.

        Args:
            initial: fixed to moving.
            most_samples: of the grid, about; as many as the fixed image unless given.
            cubic: whether voxels are cubes also where the fixed image itself has no more samples.
        """
        grid = self.fixed.grid
        if cubic or (most_samples is not None and grid.count > most_samples):
            grid = work_grid(grid, most_samples or grid.count)
        counted = self._mask_share(grid, initial)
        first = self.first.working_pair(grid, initial, counted)
        if first is None:
            self.notes.append("the images do not overlap after the pre-alignment")
            everywhere = torch.ones_like(counted)
            first = WorkingPair.of(self.first.sides, everywhere, grid, initial)
        others = []
        for channel in self.channels:
            pair = channel.working_pair(grid, initial, counted)
            if pair is None:
                note = f"{channel.name} does nothing: its images do not overlap after the alignment"
                self.notes.extend({note}.difference(self.notes))
            else:
                others.append(pair)
        weight = self.weight if others else 1.0
        return replace(first, weight=weight, others=tuple(others))

    def _mask_share(self, grid: Grid, initial: InitialTransform) -> Tensor:
        """How much the masks let each sample of a grid count, (z, y, x)."""
        share = self.unit[0].new_ones(grid.shape)
        identity = LinearTransform.identity(grid.dimension)
        for mask, transform in ((self.fixed_mask, identity), (self.moving_mask, initial)):
            if mask is not None:
                share = share * resample_through(mask.data, mask.grid, grid, transform)[0]
        return share

    def similarities(
        self, initial: InitialTransform, field: DisplacementField
    ) -> tuple[float, float, float]:
        """Mutual information as the images came, after the initial transform, and at the end.

        The last two are of the same samples, those that both transforms send into the moving
        image: a field that brings more of it in is not called worse for what is new. Of several
        channels, the weighted mean.
        """
        grid = work_grid(self.fixed.grid, _SIMILARITY_SAMPLES)
        identity = LinearTransform.identity(grid.dimension)
        channels = [c for c in (self.first, *self.channels) if c.weight > 0]
        return mean_agreement(channels, grid, (identity, initial, field))


def prepare(image: Image, role: str) -> tuple[Image, list[str]]:
    """An image that can be registered, in single precision, and a sentence for each repair.

    NaN and -inf become the lowest finite value and +inf the highest; voxels more than 100
    times the usual range away from it become the nearest other value.

    Args:
        image: not changed.
        role: how messages call it: "fixed image", "moving image".

    Raises:
        InvalidImage: for several channels, too few voxels, no finite or only one value.
    """
    _require_gray(image, role)
    _require_samples(image.grid, role)
    data = (
        image.data.clone() if image.data.is_inference() else image.data
    )  # these take no gradients
    values, notes = _replace_non_finite(data.float(), role)
    values, clipped = _clip_outliers(values, role)
    if not bool(values.min() < values.max()):
        raise InvalidImage(
            f"the {role} is constant",
            got=f"the value {float(values.min()):g} everywhere",
            wanted="an image that shows something",
            remedy="Check that the right volume was chosen.",
        )
    return Image(values, image.grid), notes + clipped


def require_same_dimension(fixed: Image, moving: Image) -> None:
    """Check that both images are 2D or both 3D.

    Raises:
        InvalidImage: when one is 2D and the other 3D.
    """
    if fixed.grid.dimension != moving.grid.dimension:
        raise InvalidImage(
            "both images have the same number of axes",
            got=f"a fixed image in {fixed.grid.dimension}D and a moving one in "
            f"{moving.grid.dimension}D",
            remedy="Take the matching slice out of the 3D image first.",
        )


def prepare_mask(mask: Image, image: Image, role: str) -> tuple[Image, list[str]]:
    """The mask as weights of 0 to 1 (float) on its image's grid, and a sentence for each repair.

    Args:
        mask: 1 and more counts fully, a fraction in part, 0 and less and NaN not at all.
        image: that it belongs to.
        role: how messages call it.

    Raises:
        InvalidImage: when nothing is left inside.
    """
    placed, notes = on_grid(mask, image.grid, role)
    inside = placed.above_zero()
    if not bool(inside.any()):
        raise InvalidImage(
            f"the {role} is empty",
            got="no voxel above 0" + " within the image" * bool(notes),
            remedy="Leave the mask out, or draw the region that counts.",
        )
    fractions = placed.data.is_floating_point()
    weights = placed.data.float().clamp(0, 1).nan_to_num(0.0) if fractions else inside.float()
    return Image(weights, image.grid), notes


def on_grid(labels: Image, grid: Grid, role: str) -> tuple[Image, list[str]]:
    """A label map or mask on its image's grid (nearest voxel, 0 outside), and what was done.

    Args:
        labels: the label map or mask.
        grid: of its image.
        role: how messages call it.

    Raises:
        InvalidImage: for several channels, another dimension, or no common space with the image.
    """
    _require_gray(labels, role)
    share = overlap(labels, grid, role)
    if labels.grid.is_close(grid):
        return labels, []
    # Which voxel is nearest, from 1; 0 where there is none: exact for labels of any number type.
    voxels = torch.arange(1, labels.grid.count + 1, dtype=torch.float64).view(labels.data.shape)
    nearest = torch.cat(
        [
            sample(voxels.to(labels.data.device), at, mode="nearest", outside="zeros")
            for at in _indices_in(labels.grid, grid)
        ],
        1,
    ).long()
    values = torch.cat([labels.data.new_zeros(1), labels.data.flatten()])[nearest]
    sizes = f"{_size_text(labels.grid)} and {_size_text(grid)}"
    note = (
        f"the {role} has another grid than its image ({sizes} "
        f"voxels): resampled by nearest voxel, covers {100 * share:.0f} % of the image"
    )
    return Image(values, grid), [note]


def overlap(labels: Image, grid: Grid, role: str) -> float:
    """The share (0 to 1] of a grid's samples that a label map or mask covers.

    Raises:
        InvalidImage: when it covers none, or has another dimension.
    """
    if labels.grid.dimension != grid.dimension:
        raise InvalidImage(
            f"the {role} has the dimension of its image",
            got=f"{labels.grid.dimension}D",
            wanted=f"{grid.dimension}D",
        )
    if labels.grid.is_close(grid):
        return 1.0
    size = torch.tensor(labels.grid.size, dtype=torch.float64)
    inside = sum(
        int(((at > -0.5) & (at < size - 0.5)).all(-1).sum())
        for at in _indices_in(labels.grid, grid)
    )
    share = inside / grid.count
    if share == 0:
        raise InvalidImage(
            f"the {role} is outside of its image",
            got=f"centers {_center_text(labels.grid)} and {_center_text(grid)}",
            wanted="the same place in space",
            remedy="Check that both belong together.",
        )
    return share


def _indices_in(other: Grid, grid: Grid) -> Iterator[Tensor]:
    """The samples of `grid` in another grid: continuous indices, slab after slab."""
    like = torch.zeros((), dtype=torch.float64)
    for rows in slabs(grid.shape, _SLAB):
        yield change_index(index_grid(grid.shape, rows=rows, like=like), between(grid, other))


def _coarsen(image: Image, most_samples: int) -> Image:
    """The image on a grid of cubic voxels, about as many as said."""
    grid = work_grid(image.grid, most_samples)
    return Image(resample_to(image.data, image.grid, grid), grid)


def _require_gray(image: Image, role: str) -> None:
    if image.channels != 1:
        raise InvalidImage(
            f"the {role} has one value per voxel",
            got=f"{image.channels} channels",
            remedy="Extract one channel, or convert colors to gray first.",
        )


def _require_samples(grid: Grid, role: str) -> None:
    if sum(n >= _FEWEST_SAMPLES for n in grid.size) < 2:
        raise InvalidImage(
            f"the {role} has too few voxels",
            got=_size_text(grid),
            wanted=f"at least {_FEWEST_SAMPLES} along two axes",
        )


def _replace_non_finite(values: Tensor, role: str) -> tuple[Tensor, list[str]]:
    good = torch.isfinite(values)
    bad = good.numel() - int(good.sum())
    if not bad:
        return values, []
    if bad == good.numel():
        raise InvalidImage(f"the {role} has no finite value", got=f"{bad} NaN or infinite voxels")
    low, high = float(values[good].min()), float(values[good].max())
    nan, up = int(values.isnan().sum()), int(values.isposinf().sum())
    note = (
        f"{role}: {nan} NaN and {bad - nan - up} -inf voxels were replaced by the lowest finite "
        f"value ({low:g}), {up} +inf by the highest ({high:g})"
    )
    return torch.nan_to_num(values, nan=low, neginf=low, posinf=high), [note]


def _clip_outliers(values: Tensor, role: str) -> tuple[Tensor, list[str]]:
    low, high = _usual_range(values)
    reach = _HUGE * (high - low)
    far = (values < low - reach) | (values > high + reach)
    count = int(far.sum())
    if not 0 < count <= max(_HUGE_SHARE * far.numel(), 1):
        return values, []
    usual = values[~far]
    most = float(values[far].abs().max())
    note = (
        f"{role}: {count} voxels with values up to {most:g} are far outside of the usual "
        f"{low:g} to {high:g} and were clipped to {float(usual.min()):g} to {float(usual.max()):g}"
    )
    return values.clamp(float(usual.min()), float(usual.max())), [note]


def _usual_range(values: Tensor) -> tuple[float, float]:
    """The range of 99 % of the voxels; a background of one value does not count."""
    flat = values.flatten()
    flat = flat[:: max(1, flat.numel() // _MOST_RANKED)]
    content = flat[flat != flat.mode().values]
    ranked = (content if len(content) else flat).sort().values
    last = len(ranked) - 1
    return float(ranked[round(0.005 * last)]), float(ranked[round(0.995 * last)])


def _size_text(grid: Grid) -> str:
    return "x".join(map(str, grid.size))


def _center_text(grid: Grid) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in grid.center) + ") mm"
