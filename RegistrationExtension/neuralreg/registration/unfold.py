"""A velocity whose displacement does not fold."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.geometry.sampling import bounding_box
from neuralreg.geometry.smoothing import gaussian
from neuralreg.measures.jacobian import determinant
from neuralreg.registration.refine import Velocity

_ROUNDS = 30
_LEAST = 0.01  # determinants below this are repaired as well, so that resampling does not fold them
_SIGMA = 1.0  # control points, or voxels: smoothing where the field folds


def least_determinant(displacement: Tensor) -> Tensor:
    """Smallest Jacobian determinant near each sample (z, y, x) of voxels x y z (d, z, y, x).

    The smallest of the determinants at the corners of all cells that meet in the sample, with
    one-sided differences: where it is positive, a field that is linear between samples does not
    fold at any of them, however finely it is resampled.
    """
    d = len(displacement)
    ahead, behind = [], []
    for axis in range(d, 0, -1):  # x first
        first = displacement.narrow(axis, 0, 1)
        last = displacement.narrow(axis, displacement.shape[axis] - 1, 1)
        step = displacement.diff(dim=axis, append=last)
        ahead.append(step)
        behind.append(displacement.diff(dim=axis, prepend=first))
    least = torch.full_like(displacement[0], torch.inf)
    for sides in product((ahead, behind), repeat=d):
        gradient = torch.stack([side[axis] for axis, side in enumerate(sides)], 1)
        least = torch.minimum(least, determinant(gradient))
    return least


def unfold_velocity(velocity: Velocity) -> tuple[Tensor, float]:
    """The displacement of a velocity in voxels x y z, without folds, and the share changed (0..1).

    The velocity is changed in place. The exponential of a smooth velocity does not fold, but its
    samples can where the velocity changes within a voxel. There, and only there, the velocity is
    blended with its own Gaussian mean until no cell of the work grid is turned over; each round
    costs one integration.
    """
    with torch.no_grad():
        touched = torch.zeros(velocity.points.shape[1:], device=velocity.points.device)
        for _ in range(_ROUNDS):
            displacement = velocity.at_full_size()
            folds = (least_determinant(displacement) < _LEAST).float()
            if not bool(folds.any()):
                break
            near = _control_points_near(folds, tuple(touched.shape))
            wide = gaussian(near, [2 * _SIGMA] * touched.dim())
            blend = (4 * wide / wide.max()).clamp(max=1)
            smooth = gaussian(velocity.points, [_SIGMA] * touched.dim())
            velocity.points = velocity.points + 0.8 * blend * (smooth - velocity.points)
            touched = torch.maximum(touched, (blend[0] > 0.05).float())
    return displacement, float(touched.mean())


def unfold_displacement(voxels: Tensor) -> tuple[Tensor, float]:
    """A displacement in voxels x y z (d, z, y, x) without folds, and the share it changed (0..1).

    For fields that come as they are, from a network: where cells are turned over, and only
    there, the displacement is blended with its own Gaussian mean; what stays folded is smoothed
    more widely in each round. Only the box that holds the folds is looked at again.
    """
    repaired = voxels.clone()
    box: tuple[slice, ...] = tuple(slice(None) for _ in voxels.shape[1:])
    touched = torch.zeros_like(voxels[0], dtype=torch.bool)
    for n in range(_ROUNDS):
        part = repaired[(slice(None), *box)]
        folds = (least_determinant(part) < _LEAST).float()
        if not bool(folds.any()):
            break
        reach, sigma = 1 + n // 4, _SIGMA * (1 + n / 6)
        blend = gaussian(_dilate(folds[None], reach), [sigma] * folds.dim())
        part += blend * (gaussian(part, [sigma] * folds.dim()) - part)
        touched[box] |= blend[0] > 0.05
        box = _shift_box(bounding_box(folds > 0), box, reach + 3 * int(sigma + 1))
    return repaired, float(touched.float().mean())


def _dilate(marked: Tensor, reach: int) -> Tensor:
    """1 wherever a marked sample (1, z, y, x) is at most `reach` samples away along each axis."""
    pool = functional.max_pool3d if marked.dim() == 4 else functional.max_pool2d
    for axis in range(marked.dim() - 1):
        side = [1] * (marked.dim() - 1)
        side[axis] = 2 * reach + 1
        marked = pool(marked, side, 1, [n // 2 for n in side])
    return marked


def _shift_box(box: tuple[slice, ...], inside: tuple[slice, ...], reach: int) -> tuple[slice, ...]:
    """A box in a part of an array as one in the whole array, with some samples around it."""
    starts = [part.start or 0 for part in inside]
    return tuple(
        slice(max(start + own.start - reach, 0), start + own.stop + reach)
        for start, own in zip(starts, box, strict=True)
    )


def _control_points_near(folds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """1 at the control points (1, z, y, x) that have a fold near them, however small."""
    pool = functional.adaptive_max_pool3d if folds.dim() == 3 else functional.adaptive_max_pool2d
    near: Tensor = pool(folds[None], shape)
    return near
