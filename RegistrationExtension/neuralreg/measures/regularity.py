"""How rough a deformation is: one number, lower is better, differentiable.

Displacements are (b, d, z, y, x) or (b, d, y, x), components x y z, in the same unit as `spacing`
(x y z; one voxel unless given), so that derivatives have no unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from neuralreg.measures.jacobian import determinant

_STEP = 0.002  # normalized: a thousandth of the image
Transform = Callable[[Tensor], Tensor]


def diffusion(displacement: Tensor, *, spacing: Sequence[float] | None = None) -> Tensor:
    """Mean over samples and components of the squared length of the gradient; 0 for a shift.

    Central differences, samples inside only; equal to MONAI's DiffusionLoss.

    Args:
        displacement: (b, d, z, y, x) or (b, d, y, x), components x y z.
        spacing: of the samples, x y z, in the unit of the displacement; 1 unless given.

    Source: Horn, Schunck 1981, doi:10.1016/0004-3702(81)90024-2, the smoothness term.
    """
    return sum_of_squares(_gradient(displacement, spacing))


def total_variation(displacement: Tensor, *, spacing: Sequence[float] | None = None) -> Tensor:
    """As `diffusion`, with absolute differences instead of squared ones.

    Args:
        displacement: as for `diffusion`.
        spacing: as for `diffusion`.
    """
    return torch.stack([g.abs().mean() for g in _gradient(displacement, spacing)]).sum()


def bending(displacement: Tensor, *, spacing: Sequence[float] | None = None) -> Tensor:
    """Mean over samples and components of all squared second derivatives; 0 for an affine motion.

    Compact stencils, samples inside only; equal to MONAI's BendingEnergyLoss.

    Args:
        displacement: as for `diffusion`.
        spacing: as for `diffusion`.

    Source: Rueckert et al. 1999, doi:10.1109/42.796284.
    """
    steps = _steps(displacement, spacing)
    axes = range(2, displacement.dim())
    pure = [
        (
            _shift(displacement, {a: 1})
            - 2 * _shift(displacement, {})
            + _shift(displacement, {a: -1})
        )
        / steps[a] ** 2
        for a in axes
    ]
    mixed = [
        (_corners(displacement, a, b, 1) - _corners(displacement, a, b, -1))
        / (4 * steps[a] * steps[b])
        for a, b in combinations(axes, 2)
    ]
    return sum_of_squares(pure) + 2 * sum_of_squares(mixed)


def jacobian_penalty(
    displacement: Tensor, *, spacing: Sequence[float] | None = None, least: float = 0.0
) -> Tensor:
    """Mean shortfall of the Jacobian determinant below `least`; 0 for a map without folds.

    Central differences, samples inside only.

    Args:
        displacement: as for `diffusion`.
        spacing: as for `diffusion`.
        least: the determinant below which samples count.
    """
    return (least - jacobian_of(displacement, spacing=spacing)).clamp(min=0).mean()


def jacobian_of(displacement: Tensor, *, spacing: Sequence[float] | None = None) -> Tensor:
    """The Jacobian determinant at the samples inside; central differences.

    Args:
        displacement: as for `diffusion`.
        spacing: as for `diffusion`.

    Returns:
        (b, z, y, x), two samples fewer along each axis.
    """
    gradient = torch.stack(_gradient(displacement, spacing)[::-1], 0)  # axis x y z, b, component
    return determinant(gradient.transpose(0, 2).transpose(1, 2))


def inverse_consistency(forward: Transform, backward: Transform, points: Tensor) -> Tensor:
    """Mean squared distance of points from their position after both transforms: ICON.

    Averaged over points and components, summed over both orders; lengths are fractions of the
    image. 0 for transforms that are inverse to each other.

    Args:
        forward: takes normalized coordinates (n, d, ...), x y z, to such.
        backward: the transform of the exchanged pair.
        points: normalized coordinates (n, d, ...).

    Source: Greer et al. 2021, doi:10.48550/arXiv.2105.04459.
    """
    returned = (forward(backward(points)), backward(forward(points)))
    return sum_of_squares([(point - points) / 2 for point in returned])


def gradient_inverse_consistency(forward: Transform, backward: Transform, points: Tensor) -> Tensor:
    """Mean squared derivatives of the path of points through `backward` and `forward`: GradICON.

    Averaged over points and components, summed over the axes; differences over a thousandth of the
    image, as the authors take them. Derivatives have no unit. 0 for transforms that are inverse to
    each other up to a shift.

    Args:
        forward: as for `inverse_consistency`.
        backward: as for `inverse_consistency`.
        points: normalized coordinates (n, d, ...), with at least one axis of samples.

    Source: Tian et al. 2022, doi:10.48550/arXiv.2206.05897.
    """
    steps = torch.eye(points.shape[1]).to(points) * _STEP
    shifted = [points + step.view(1, -1, *[1] * (points.dim() - 2)) for step in steps]
    start = torch.cat([points, *shifted], 2)  # side by side: each transform runs once for all
    gaps = (start - forward(backward(start))).chunk(len(steps) + 1, 2)
    return sum_of_squares([(gaps[0] - gap) / _STEP for gap in gaps[1:]])


def sum_of_squares(parts: Sequence[Tensor]) -> Tensor:
    """Sum over the parts of their mean square."""
    return torch.stack([part.square().mean() for part in parts]).sum()


def _steps(displacement: Tensor, spacing: Sequence[float] | None) -> dict[int, float]:
    """Spacing by tensor axis."""
    d = displacement.dim() - 2
    return {2 + d - 1 - c: float(s) for c, s in enumerate(spacing or [1.0] * d)}


def _corners(values: Tensor, a: int, b: int, sign: int) -> Tensor:
    """The two diagonal neighbors in a plane of axes whose offsets have this product."""
    return _shift(values, {a: 1, b: sign}) + _shift(values, {a: -1, b: -sign})


def _shift(values: Tensor, by: dict[int, int]) -> Tensor:
    """The samples inside, read with an offset of -1, 0 or 1 along some axes."""
    for axis in range(2, values.dim()):
        values = values.narrow(axis, 1 + by.get(axis, 0), values.shape[axis] - 2)
    return values


def _gradient(displacement: Tensor, spacing: Sequence[float] | None) -> list[Tensor]:
    """Central differences per axis, z y x, at the samples inside."""
    steps = _steps(displacement, spacing)
    return [
        (_shift(displacement, {a: 1}) - _shift(displacement, {a: -1})) / (2 * steps[a])
        for a in range(2, displacement.dim())
    ]
