"""A deformation in which parts move as one piece each, and the rest follows smoothly."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from torch import Tensor

from neuralreg.geometry.field import DisplacementField
from neuralreg.geometry.grid import Grid
from neuralreg.geometry.linear import LinearTransform
from neuralreg.geometry.sampling import bounding_box, index_grid, magnitude, sample
from neuralreg.registration.rigid_parts.parts import RigidParts
from neuralreg.registration.rigid_parts.smooth_extension import extend_smoothly
from neuralreg.registration.unfold import unfold_displacement

_STEPS = 80
_LEAST_GAIN = 0.995  # of the largest gap in a step, else the parts are stuck
_EXACT_MM = 0.01
_LATE_MM = 0.05  # from its target: what only surrounds a part is left there then
_ROUNDS = 4  # of taking folds out and putting parts back
_STEEPEST = 0.4  # of one step, voxels per voxel: below 1 a step does not fold
_LEAST_REACH = 4.0  # samples
_FADED = 5.0  # times the reach: where nothing is left


def make_rigid(
    field: DisplacementField, parts: RigidParts
) -> tuple[DisplacementField, DisplacementField, list[LinearTransform]]:
    """A chain in which each part moves rigidly, what precedes the former one, and the rigid moves.

    Each part takes the rigid transform that is nearest to what the chain did to it. Small steps,
    each without folds, are composed until the parts are there; each is harmonic around them and
    fades out, so that the rest follows smoothly. This is what a blend of rigid transforms in the
    log-domain does (Arsigny et al. 2009, doi:10.1007/s10851-008-0135-9), around a deformation
    instead of around nothing.
    """
    rigid = parts.fit(field)
    needed, numbers = parts.numbers_on(field.grid, field.vectors)
    largest = max(parts.errors_mm(field, rigid)) / min(field.grid.spacing)
    reach = max(_LEAST_REACH, 2 * largest)
    box = bounding_box(numbers > 0, ceil(_FADED * reach))
    targets = _targets(numbers, rigid, field.grid, field.vectors)[(slice(None), *box)]
    both = needed[box], numbers[box]
    moved = _follow(field, both, rigid, targets, reach, [part.start for part in box])
    before, after = torch.zeros_like(field.vectors), field.vectors.clone()
    before[(slice(None), *box)] = moved
    index = index_grid(field.grid.shape, like=moved)[box]
    after[(slice(None), *box)] = chain = _chain(field, index, moved)
    first = DisplacementField.from_voxels(before, field.grid)
    # What surrounds a part is squeezed where it was bent far, and may not get there without folds.
    late = magnitude(targets - chain) > _LATE_MM
    inside = (needed[box] > 0) | (numbers[box] > 0) & ~late
    whole = _pin(DisplacementField(after, field.grid), box, inside, targets)
    return whole, first, rigid


def _pin(
    field: DisplacementField, box: tuple[slice, ...], inside: Tensor, targets: Tensor
) -> DisplacementField:
    """The field with parts exactly at their targets, and without folds.

    Where both cannot be, as between parts that touch, it does not fold.
    """
    at = (slice(None), *box)
    for _ in range(_ROUNDS):
        vectors = field.vectors.clone()
        near = vectors[at]
        near[:, inside] = targets[:, inside]
        vectors[at] = near
        field = DisplacementField(vectors, field.grid)
        voxels = field.to_voxels()
        unfolded, share = unfold_displacement(voxels)
        if not share:
            return field
        field = DisplacementField.from_voxels(unfolded, field.grid)
    return field


def _follow(
    field: DisplacementField,
    both: tuple[Tensor, Tensor],
    rigid: Sequence[LinearTransform],
    targets: Tensor,
    reach: float,
    corner: Sequence[int],
) -> Tensor:
    """The displacement in voxels before the field that takes parts to their targets, (d, z, y, x).

    Args:
        field: the chain, mm.
        both: numbers of the part that each sample in a box of the field's grid needs to be in, and
            those with what surrounds the parts, (z, y, x).
        rigid: the moves of the parts.
        targets: mm, (d, z, y, x).
        reach: of what follows, in samples.
        corner: first sample of the box, z y x.
    """
    needed, numbers = both[0] > 0, both[1]
    inside, former = numbers > 0, float("inf")
    own = index_grid(tuple(numbers.shape), like=targets)
    index = own + torch.tensor(list(corner)[::-1]).to(own)
    inverse = _inverse_rotations(rigid, field)[numbers[inside]]
    moved = torch.zeros_like(targets)
    for _ in range(_STEPS):
        gap = targets - _chain(field, index, moved)
        largest = float(magnitude(gap[:, needed]).max())
        if largest < _EXACT_MM or largest > _LEAST_GAIN * former:
            break
        former = largest
        step = torch.zeros_like(moved)
        step[:, inside] = torch.einsum("nij,jn->in", inverse, gap[:, inside])
        step = extend_smoothly(step, inside, reach)
        step = step * min(1.0, _STEEPEST / max(_steepness(step), 1e-9))
        moved = step + sample(moved, own + step.movedim(0, -1))
    return moved


def _targets(numbers: Tensor, rigid: Sequence[LinearTransform], grid: Grid, like: Tensor) -> Tensor:
    """The displacement in mm of the samples of parts (d, z, y, x)."""
    targets = torch.zeros(grid.dimension, *grid.shape, device=like.device, dtype=like.dtype)
    for number, moves in enumerate(rigid, start=1):
        index = torch.nonzero(numbers == number)
        points = grid.points_at(index.flip(1).double().cpu().numpy())
        targets[(slice(None), *index.T)] = torch.from_numpy((moves(points) - points).T).to(like)
    return targets


def _chain(field: DisplacementField, index: Tensor, moved: Tensor) -> Tensor:
    """Displacements in mm of a shift in voxels (d, z, y, x), and of the field after it."""
    d = field.grid.dimension
    to_world = torch.as_tensor(field.grid.index_to_world[:d, :d]).to(moved)
    mm = torch.einsum("ij,j...->i...", to_world, moved)
    return mm + sample(field.vectors, index + moved.movedim(0, -1))


def _inverse_rotations(rigid: Sequence[LinearTransform], field: DisplacementField) -> Tensor:
    """From mm after each part's move to voxels before it, (parts + 1, d, d)."""
    d = field.grid.dimension
    to_index = field.grid.world_to_index[:d, :d]
    turns = [np.eye(d), *(moves.matrix[:d, :d].T for moves in rigid)]
    return torch.as_tensor(np.stack([to_index @ turn for turn in turns])).to(field.vectors)


def _steepness(step: Tensor) -> float:
    """The largest change from one sample to the next, in voxels."""
    changes = [
        float(magnitude(step.diff(dim=axis)).max())
        for axis in range(1, step.dim())
        if step.shape[axis] > 1
    ]
    return max(changes, default=0.0)
