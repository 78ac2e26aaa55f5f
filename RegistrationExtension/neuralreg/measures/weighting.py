"""Averages in which some voxels count less."""

from __future__ import annotations

from torch import Tensor


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean, one number.

    Args:
        values: (b, c, z, y, x).
        weight: (b, 1, z, y, x) or like the values, 0 for voxels that do not count (outside of a
            mask, or extrapolated) to 1 for those that do. With all weights 0 the mean is 0, without
            a gradient.
    """
    if weight is None:
        return values.mean()
    weight = weight.to(values).expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=1e-12)
