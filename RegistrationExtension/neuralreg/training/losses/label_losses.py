"""How badly labels overlap, by name: tensors (n, k, z, y, x) in 0..1, one label per channel.

Each channel of each pair is judged by itself, then all are averaged. 0 for equal binary labels.
Source of the definitions with a background weight: Fu et al. 2020, DeepReg, doi:10.21105/joss.02705
after Sudre et al. 2017, doi:10.1007/978-3-319-67558-9_28.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from neuralreg.training.config.part_registry import register_loss

Kernel = Literal["gaussian", "cauchy"]
Share = Annotated[float, Field(ge=0, le=1)]
Scales = Annotated[Sequence[int], Field(min_length=1)] | int | None
_EPSILON = 1e-5


@register_loss("label", "dice")
def dice(
    fixed: Tensor,
    warped: Tensor,
    *,
    binary: bool = False,
    background_weight: Share = 0.0,
    scales: Scales = None,
    kernel: Kernel = "gaussian",
) -> Tensor:
    """1 - soft Dice: 2 sum(f w) / sum(f + w), or that of foreground and background weighted.

    Args:
        fixed: (n, k, z, y, x) in 0..1.
        warped: like `fixed`.
        binary: cut both at 0.5 first; that has no gradient and suits validation.
        background_weight: share of the background's Dice, 0..1.
        scales: widths of `kernel` in voxels, over which the loss is averaged; 0 for none.
        kernel: how labels are smoothed at a scale, "gaussian" or "cauchy".
    """

    def one(fixed: Tensor, warped: Tensor) -> Tensor:
        shared, both, count = _sums(fixed, warped, binary)
        b = background_weight
        above = 2 * (shared - b * both + b * count)
        below = (1 - 2 * b) * both + 2 * b * count
        return 1 - ((above + _EPSILON) / (below + _EPSILON)).mean()

    return _at_scales(one, fixed, warped, scales, kernel)


@register_loss("label", "jaccard")
def jaccard(
    fixed: Tensor,
    warped: Tensor,
    *,
    binary: bool = False,
    background_weight: Share = 0.0,
    scales: Scales = None,
    kernel: Kernel = "gaussian",
) -> Tensor:
    """1 - soft Jaccard: sum(f w) / sum(f + w - f w), or that with the background weighted."""

    def one(fixed: Tensor, warped: Tensor) -> Tensor:
        shared, both, count = _sums(fixed, warped, binary)
        b = background_weight
        above = shared - b * both + b * count
        below = (1 - b) * both - shared + b * count
        return 1 - ((above + _EPSILON) / (below + _EPSILON)).mean()

    return _at_scales(one, fixed, warped, scales, kernel)


@register_loss("label", "generalized_dice")
def generalized_dice(
    fixed: Tensor, warped: Tensor, *, scales: Scales = None, kernel: Kernel = "gaussian"
) -> Tensor:
    """MONAI's generalized Dice loss: labels count by the inverse square of their volume."""
    from monai.losses import GeneralizedDiceLoss

    loss = GeneralizedDiceLoss()
    return _at_scales(lambda f, w: loss(w, f), fixed, warped, scales, kernel)


@register_loss("label", "cross-entropy")
def cross_entropy(
    fixed: Tensor,
    warped: Tensor,
    *,
    binary: bool = False,
    background_weight: Share = 0.0,
    scales: Scales = None,
    kernel: Kernel = "gaussian",
) -> Tensor:
    """-(1 - b) mean(f log w) - b mean((1 - f) log(1 - w)), with b the background weight.

    With b = 0 (the default, as in DeepReg) nothing keeps the label from growing; 0.5 is half of the
    usual binary cross-entropy.
    """

    def one(fixed: Tensor, warped: Tensor) -> Tensor:
        if binary:
            fixed, warped = _threshold(fixed), _threshold(warped)
        inside = -(fixed * (warped + _EPSILON).log()).mean()
        beyond = -((1 - fixed) * (1 - warped + _EPSILON).log()).mean()
        return (1 - background_weight) * inside + background_weight * beyond

    return _at_scales(one, fixed, warped, scales, kernel)


@register_loss("label", "mean-squared")
def mean_squared(
    fixed: Tensor, warped: Tensor, *, scales: Scales = None, kernel: Kernel = "gaussian"
) -> Tensor:
    """Mean squared difference (DeepReg's ssd on labels)."""
    return _at_scales(torch.nn.functional.mse_loss, fixed, warped, scales, kernel)


def _sums(fixed: Tensor, warped: Tensor, binary: bool) -> tuple[Tensor, Tensor, int]:
    """Per channel: sum of the product, sum of both, number of samples."""
    if binary:
        fixed, warped = _threshold(fixed), _threshold(warped)
    f, w = fixed.flatten(2), warped.flatten(2)
    return (f * w).sum(2), (f + w).sum(2), f.shape[2]


def _threshold(values: Tensor) -> Tensor:
    return (values >= 0.5).to(values.dtype)


def _at_scales(
    loss: Callable[[Tensor, Tensor], Tensor],
    fixed: Tensor,
    warped: Tensor,
    scales: Sequence[int] | int | None,
    kernel: str,
) -> Tensor:
    """The mean of a loss over both labels smoothed to several scales (voxels; 0 for not)."""
    if scales is None:
        return loss(fixed, warped)
    from monai.losses import MultiScaleLoss

    widths = [scales] if isinstance(scales, int) else list(scales)
    many = MultiScaleLoss(lambda w, f: loss(f, w), widths, kernel)
    total: Tensor = many(fixed, warped)
    return total
