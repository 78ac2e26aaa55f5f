"""Refinement of a field by small steps at full resolution, each composed with what came before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.image import Image
from neuralreg.geometry.sampling import bounding_box, index_grid, magnitude, sample, slopes
from neuralreg.geometry.smoothing import gaussian, gaussian_at
from neuralreg.measures.correlation_cost import LocalCorrelation
from neuralreg.progress import Progress
from neuralreg.registration.channels.channel_costs import Channels, enlarge
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.refine import RefinementRecord, control_shape, worthwhile
from neuralreg.registration.unfold import unfold_displacement
from neuralreg.registration.working_grid import (
    InitialTransform,
    WorkingPair,
    field_with_margin,
    foreground,
)

# Of the grid: twice as many gained nothing on CT of lungs, at twice the time.
MOST_SAMPLES = 3_000_000
RADIUS = 2  # voxels: in smaller windows than of 5 samples, correlation is mostly that of noise
# Voxels, standard deviations: the roots of 3 and 1/2, with which `greedy` begins.
_STEP_SMOOTHING = 1.73
FIELD_SMOOTHING = 0.71
# Sampled two voxels apart, a Gaussian has the variance of the last one when it is wider by this.
_SPARSE = 1.24
_LONGEST_STEP = 1.0  # voxels
# Voxels around what the images show: beyond windows and the smoothing of a step nothing moves.
_MARGIN = 8
# Steps after which half of the gain that is asked for must be there: they bring 67 to 83 % of what
# all bring, on pairs where the others are worth taking and where they are not.
_TRIAL = 3
SHARE = 5 / 16  # of the steps that the velocity makes at each resolution


def follow_at_full_resolution(
    inputs: Inputs,
    field: DisplacementField,
    initial: InitialTransform,
    options: FieldRefinement,
    record: RefinementRecord,
    progress: Progress,
) -> tuple[DisplacementField, RefinementRecord]:
    """A field that follows local correlation to the full resolution, or the field as it was.

    A velocity on control points ends where structures are thinner than its grid. From there small
    steps along the gradient are composed; each is smoothed, and so is their sum, but not what the
    velocity found. Nothing pulls where the images do not overlap. Lengths are in voxels of the
    fixed image, also across thick slices: dividing those costs time, and shows nothing new.

    Args:
        inputs: the images.
        field: what comes before the initial transform, mm, with a margin around the fixed image.
        initial: what follows it.
        options: their steps and regularity count.
        record: of how the field was found.
        progress: gets the fractions of this stage.

    Returns:
        The field in mm, without folds, with a margin, and the record with what happened.

    Source: Joshi et al. 2004, doi:10.1016/j.neuroimage.2004.07.068; smoothing as in `greedy`.
    """
    pair = inputs.working_pair(compose(field, initial), MOST_SAMPLES, cubic=False)
    channels = Channels(pair)
    bodies = torch.stack([_bodies(part.pair) for part in channels.parts]).any(0)
    box = bounding_box(bodies, _MARGIN)
    steps = _steps_in(channels, box, FIELD_SMOOTHING * options.regularity**0.5)
    before = after = channels.agreement(channels.index.new_zeros(len(box), *pair.valid.shape))
    count = max(1, round(SHARE * options.steps))
    for n in range(1, count + 1):
        steps.advance()
        progress(n / count, "refinement")
        if n in (_TRIAL, count):
            more = _extend(steps.at_voxels(), box, tuple(pair.valid.shape))
            after = channels.agreement(more)
            if not worthwhile(before, 2 * after - before, pair.valid):
                break
    record = replace(record, full_resolution=(before, after))
    if not worthwhile(before, after, pair.valid):
        return field, record
    whole = compose(field_with_margin(more, pair.grid), field).resample(pair.grid)
    unfolded, _ = unfold_displacement(whole.to_voxels())
    return field_with_margin(unfolded, pair.grid), replace(record, kept="full resolution")


def _bodies(pair: WorkingPair) -> Tensor:
    """Where either image shows a body, (z, y, x), bool."""
    return pair.body | foreground(Image(pair.moving, pair.grid))


def _extend(inner: Tensor, box: tuple[slice, ...], shape: tuple[int, ...]) -> Tensor:
    """A displacement (d, z, y, x) of a part of an array, continued to all of it."""
    pads = [(part.start, n - part.stop) for part, n in zip(box, shape, strict=True)]
    flat = [pad for both in reversed(pads) for pad in both]  # x first, as pad wants it
    return functional.pad(inner[None], flat, mode="replicate")[0]


def _steps_in(channels: Channels, box: tuple[slice, ...], sigma: float) -> CorrelationSteps:
    """Steps in a part of the grid, with a displacement for every second voxel.

    Steps are smoothed by nearly as much, and what is composed and smoothed takes an eighth of the
    time.

    Args:
        channels: those of one modality pull, or all where none is.
        box: the part.
        sigma: of the smoothing of the displacement after each step, in voxels.
    """
    parts, d = channels.parts, len(box)
    if len(parts) > 1:
        alike = channels.are_alike(channels.index.new_zeros(d, *channels.index.shape[:-1]))
        parts = [part for part, one in zip(parts, alike, strict=True) if one] or parts
    followed = [
        Windows(
            part.share,
            part.moving[:, *box],
            LocalCorrelation(part.fixed[0][box], part.pair.valid[box], RADIUS),
        )
        for part in parts
    ]
    voxels = tuple(followed[0].moving.shape[1:])
    shape = control_shape(voxels)
    sigmas = [
        sigma if n == few else _SPARSE * sigma * (few - 1) / (n - 1)
        for n, few in zip(voxels, shape, strict=True)
    ]
    return CorrelationSteps(
        followed,
        shape,
        lambda pull: gaussian_at(pull, [_STEP_SMOOTHING] * d, shape),
        lambda displacement: gaussian(displacement, sigmas),
    )


class Windows(NamedTuple):
    """One channel whose local correlation is followed: its share, moving image and windows."""

    share: float
    moving: Tensor
    correlation: LocalCorrelation


class CorrelationSteps:
    """Small steps up the correlation, each composed with those before.

    Args:
        channels: that pull, all on one grid.
        shape: samples of the displacement between the same ends, at most as many.
        smooth_step: from the pull at each voxel to a step at each sample, in voxels.
        smooth_sum: of the displacement after each step.

    Attributes:
        displacement: in voxels x y z, at its own samples, (d, z', y', x').
    """

    def __init__(
        self,
        channels: Sequence[Windows],
        shape: tuple[int, ...],
        smooth_step: Callable[[Tensor], Tensor],
        smooth_sum: Callable[[Tensor], Tensor],
    ) -> None:
        self._channels, self._smooth_step, self._smooth_sum = channels, smooth_step, smooth_sum
        like = channels[0].moving
        self._voxels = tuple(like.shape[1:])
        self._index, self._own_index = (index_grid(s, like=like) for s in (self._voxels, shape))
        apart = [max(n - 1, 1) / max(c - 1, 1) for n, c in zip(self._voxels, shape, strict=True)]
        self._apart = like.new_tensor(apart[::-1])  # voxels between two samples, x y z
        self.displacement = like.new_zeros(len(shape), *shape)

    def advance(self) -> None:
        """One step."""
        step = self._smooth_step(self._pull())
        longest = float(magnitude(step).max())
        step *= _LONGEST_STEP / max(longest, 1e-12)
        at = self._own_index + step.movedim(0, -1) / self._apart
        self.displacement = self._smooth_sum(step + sample(self.displacement, at))

    def at_voxels(self) -> Tensor:
        """The displacement of each voxel, in voxels x y z, (d, z, y, x)."""
        if self.displacement.shape[1:] == self._voxels:
            return self.displacement
        return enlarge(self.displacement, self._voxels)

    def _pull(self) -> Tensor:
        """Where the images pull each voxel, x y z, (d, z, y, x)."""
        displacement = self.at_voxels()
        at = self._index + displacement.movedim(0, -1)
        pull = torch.zeros_like(displacement)
        for share, image, window in self._channels:
            warped = sample(image, at)[0]
            gradient = window.gradient(warped, window.parts(warped))
            pull.addcmul_(gradient, slopes(warped), value=-share)
        return pull
