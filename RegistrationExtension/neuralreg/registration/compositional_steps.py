"""Refinement of a field by small steps at full resolution, each composed with what came before."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.field import DisplacementField, compose
from neuralreg.geometry.image import Image
from neuralreg.geometry.sampling import index_grid, magnitude, sample
from neuralreg.geometry.smoothing import gaussian
from neuralreg.measures.correlation_cost import LocalCorrelation
from neuralreg.progress import Progress
from neuralreg.registration.image_checks import Inputs
from neuralreg.registration.linear_search import agreement
from neuralreg.registration.options import FieldRefinement
from neuralreg.registration.refine import RefinementRecord, worthwhile
from neuralreg.registration.unfold import unfold_displacement
from neuralreg.registration.working_grid import (
    InitialTransform,
    equalize,
    field_with_margin,
    foreground,
)

_SAMPLES = 3_000_000  # of the grid: twice as many gained nothing on CT of lungs, at twice the time
_RADIUS = 2  # voxels: in smaller windows than of 5 samples, correlation is mostly that of noise
# Voxels, standard deviations: the roots of 3 and 1/2, with which `greedy` begins.
_STEP_SMOOTHING = 1.73
_FIELD_SMOOTHING = 0.71
_LONGEST_STEP = 1.0  # voxels
# Voxels around what the images show: beyond windows and the smoothing of a step nothing moves.
_MARGIN = 12
_SHARE = 5 / 16  # of the steps that the velocity makes at each resolution


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
    pair = inputs.working_pair(compose(field, initial), _SAMPLES)
    fixed, moving = (equalize(image, pair.body) for image in (pair.fixed, pair.moving))
    box = _box(pair.body | foreground(Image(pair.moving, pair.grid)))
    cut = (slice(None), *box)
    index = index_grid(tuple(pair.valid[box].shape), like=fixed)
    steps = max(1, round(_SHARE * options.steps))
    sigma = _FIELD_SMOOTHING * options.regularity**0.5
    inner = _follow(fixed[cut], moving[cut], pair.valid[box], index, steps, sigma, progress)
    warped = moving.clone()
    warped[cut] = sample(moving[cut], index + inner.movedim(0, -1))
    before, after = (agreement(fixed, image, pair.valid) for image in (moving, warped))
    record = replace(record, full_resolution=(before, after))
    if not worthwhile(before, after, pair.valid):
        return field, record
    more = _enlarge(inner, box, tuple(pair.valid.shape))
    whole = compose(field_with_margin(more, pair.grid), field).resample(pair.grid)
    unfolded, _ = unfold_displacement(whole.to_voxels())
    return field_with_margin(unfolded, pair.grid), replace(record, kept="full resolution")


def _box(bodies: Tensor) -> tuple[slice, ...]:
    """The part of an array (z, y, x) that has all bodies, with a margin."""
    box = []
    for axis in range(bodies.dim()):
        others = tuple(a for a in range(bodies.dim()) if a != axis)
        at = torch.nonzero(bodies.any(others))
        if not len(at):
            return tuple(slice(None) for _ in bodies.shape)
        box.append(slice(max(0, int(at[0]) - _MARGIN), int(at[-1]) + 1 + _MARGIN))
    return tuple(box)


def _enlarge(inner: Tensor, box: tuple[slice, ...], shape: tuple[int, ...]) -> Tensor:
    """A displacement (d, z, y, x) of a part of an array, continued to all of it."""
    pads = []
    for part, n, length in zip(box, shape, inner.shape[1:], strict=True):
        start = part.start or 0
        pads.append((start, n - start - length))
    flat = [pad for both in reversed(pads) for pad in both]  # x first, as pad wants it
    return functional.pad(inner[None], flat, mode="replicate")[0]


def _follow(
    fixed: Tensor,
    moving: Tensor,
    valid: Tensor,
    index: Tensor,
    steps: int,
    sigma: float,
    progress: Progress,
) -> Tensor:
    """The displacement in voxels x y z (d, z, y, x) after some steps.

    Args:
        fixed, moving: (1, z, y, x), in 0..1.
        valid: (z, y, x), where both are known.
        index: of the samples, (z, y, x, d).
        steps: how many.
        sigma: of the smoothing of the displacement after each step, in voxels.
        progress: gets a fraction after each step.
    """
    windows = LocalCorrelation(fixed[0], valid, _RADIUS)
    d = fixed.dim() - 1
    displacement = fixed.new_zeros(d, *valid.shape)
    for n in range(steps):
        warped = sample(moving, index + displacement.movedim(0, -1))[0]
        gradient = windows.gradient(warped, windows.parts(warped))
        step = gaussian(-gradient * _slopes(warped), [_STEP_SMOOTHING] * d)
        longest = float(magnitude(step).max())
        step *= _LONGEST_STEP / max(longest, 1e-12)
        ahead = sample(displacement, index + step.movedim(0, -1))
        displacement = gaussian(step + ahead, [sigma] * d)
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
