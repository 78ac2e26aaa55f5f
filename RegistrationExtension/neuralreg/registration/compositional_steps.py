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
from neuralreg.geometry.sampling import bounding_box, index_grid, magnitude, sample
from neuralreg.geometry.smoothing import gaussian
from neuralreg.measures.correlation_cost import LocalCorrelation
from neuralreg.progress import Progress
from neuralreg.registration.channels.channel_costs import Channels
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.refine import RefinementRecord, worthwhile
from neuralreg.registration.unfold import unfold_displacement
from neuralreg.registration.working_grid import (
    InitialTransform,
    WorkingPair,
    field_with_margin,
    foreground,
)

MOST_SAMPLES = (
    3_000_000  # of the grid: twice as many gained nothing on CT of lungs, at twice the time
)
RADIUS = 2  # voxels: in smaller windows than of 5 samples, correlation is mostly that of noise
# Voxels, standard deviations: the roots of 3 and 1/2, with which `greedy` begins.
_STEP_SMOOTHING = 1.73
FIELD_SMOOTHING = 0.71
_LONGEST_STEP = 1.0  # voxels
# Voxels around what the images show: beyond windows and the smoothing of a step nothing moves.
_MARGIN = 8
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
    velocity found. Nothing pulls where the images do not overlap.

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
    pair = inputs.working_pair(compose(field, initial), MOST_SAMPLES)
    channels = Channels(pair)
    bodies = torch.stack([_bodies(part.pair) for part in channels.parts]).any(0)
    box = bounding_box(bodies, _MARGIN)
    steps = max(1, round(SHARE * options.steps))
    sigma = FIELD_SMOOTHING * options.regularity**0.5
    inner = _follow(channels, box, steps, sigma, progress)
    more = _enlarge(inner, box, tuple(pair.valid.shape))
    before, after = (channels.agreement(voxels) for voxels in (torch.zeros_like(more), more))
    record = replace(record, full_resolution=(before, after))
    if not worthwhile(before, after, pair.valid):
        return field, record
    whole = compose(field_with_margin(more, pair.grid), field).resample(pair.grid)
    unfolded, _ = unfold_displacement(whole.to_voxels())
    return field_with_margin(unfolded, pair.grid), replace(record, kept="full resolution")


def _bodies(pair: WorkingPair) -> Tensor:
    """Where either image shows a body, (z, y, x), bool."""
    return pair.body | foreground(Image(pair.moving, pair.grid))


def _enlarge(inner: Tensor, box: tuple[slice, ...], shape: tuple[int, ...]) -> Tensor:
    """A displacement (d, z, y, x) of a part of an array, continued to all of it."""
    pads = [(part.start, n - part.stop) for part, n in zip(box, shape, strict=True)]
    flat = [pad for both in reversed(pads) for pad in both]  # x first, as pad wants it
    return functional.pad(inner[None], flat, mode="replicate")[0]


def _follow(
    channels: Channels, box: tuple[slice, ...], steps: int, sigma: float, progress: Progress
) -> Tensor:
    """The displacement in voxels x y z (d, z, y, x) of a part of the grid after some steps.

    Args:
        channels: those of one modality pull, or all where none is.
        box: the part.
        steps: how many.
        sigma: of the smoothing of the displacement after each step, in voxels.
        progress: gets a fraction after each step.
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
    return follow_correlation(
        followed,
        steps,
        lambda pull: gaussian(pull, [_STEP_SMOOTHING] * d),
        lambda voxels: gaussian(voxels, [sigma] * d),
        progress,
    )


class Windows(NamedTuple):
    """One channel whose local correlation is followed: its share, moving image and windows."""

    share: float
    moving: Tensor
    correlation: LocalCorrelation


def follow_correlation(
    channels: Sequence[Windows],
    steps: int,
    smooth_step: Callable[[Tensor], Tensor],
    smooth_sum: Callable[[Tensor], Tensor],
    progress: Progress,
) -> Tensor:
    """The displacement in voxels x y z (d, z, y, x) after small steps up the correlation.

    Args:
        channels: that pull, all on one grid.
        steps: how many.
        smooth_step: of the pull of each step.
        smooth_sum: of the displacement after each step.
        progress: gets a fraction after each step.
    """
    index = index_grid(tuple(channels[0].moving.shape[1:]), like=channels[0].moving)
    displacement = index.new_zeros(index.shape[-1], *index.shape[:-1])
    for n in range(steps):
        at = index + displacement.movedim(0, -1)
        pull = torch.zeros_like(displacement)
        for share, image, window in channels:
            warped = sample(image, at)[0]
            gradient = window.gradient(warped, window.parts(warped))
            pull.addcmul_(gradient, _slopes(warped), value=-share)
        step = smooth_step(pull)
        longest = float(magnitude(step).max())
        step *= _LONGEST_STEP / max(longest, 1e-12)
        ahead = sample(displacement, index + step.movedim(0, -1))
        displacement = smooth_sum(step + ahead)
        progress((n + 1) / steps, "refinement")
    return displacement


def _slopes(image: Tensor) -> Tensor:
    """The derivatives of an image (z, y, x) along x y z, per voxel: (d, z, y, x)."""
    axes = range(image.dim() - 1, -1, -1)
    return torch.stack(
        [
            torch.gradient(image, dim=axis)[0] if image.shape[axis] > 1 else torch.zeros_like(image)
            for axis in axes
        ]
    )
