"""How unlike the fixed and the warped image are, by name: 0 for equal images, lower is better.

All but mutual information are 0 at best, where DeepReg's are negative; the gradients are the same.
The measures themselves are those of `neuralreg.measures`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from neuralreg.measures import local_correlation, similarity
from neuralreg.training.config.part_registry import register_loss


@register_loss("image", "ssd")
def ssd(fixed: Tensor, warped: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean squared difference."""
    return similarity.ssd(fixed, warped, weight=weight)


@register_loss("image", "ncc")
def ncc(fixed: Tensor, warped: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """1 - global correlation."""
    return similarity.ncc(fixed, warped, weight=weight)


@register_loss("image", "gncc")
def gncc(fixed: Tensor, warped: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """1 - squared global correlation, as DeepReg has it: inverted contrasts are as good."""
    return 1 - (1 - similarity.ncc(fixed, warped, weight=weight)) ** 2


@register_loss("image", "lncc")
def lncc(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    kernel_size: int = 9,
    kernel_type: Literal["rectangular", "triangular", "gaussian"] = "rectangular",
) -> Tensor:
    """1 - squared local correlation; a window without structure scores 1 (in DeepReg 0)."""
    return local_correlation.lncc(
        fixed, warped, weight=weight, size=kernel_size, kernel=kernel_type
    )


@register_loss("image", "lncc_icon")
def lncc_icon(
    fixed: Tensor, warped: Tensor, *, weight: Tensor | None = None, sigma: float = 5.0
) -> Tensor:
    """1 - local correlation with its sign, in Gaussian windows: ICON's and uniGradICON's."""
    return local_correlation.lncc_unigradicon(fixed, warped, weight=weight, sigma=sigma)


@register_loss("image", "gmi")
def gmi(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    num_bins: int = 23,
    sigma_ratio: float = 0.5,
) -> Tensor:
    """Negative global mutual information."""
    return similarity.mutual_information(
        fixed, warped, weight=weight, bins=num_bins, sigma_ratio=sigma_ratio
    )


@register_loss("image", "mind")
def mind(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    radius: int = 1,
    dilation: int = 2,
) -> Tensor:
    """Mean squared difference of MIND-SSC descriptors."""
    return similarity.mind(fixed, warped, weight=weight, radius=radius, dilation=dilation)


@register_loss("image", "ngf")
def ngf(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    edge: float | None = None,
) -> Tensor:
    """Normalized gradient fields."""
    return similarity.ngf(fixed, warped, weight=weight, edge=edge)
