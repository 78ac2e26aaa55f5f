"""Dissimilarity of two images: one number, lower is better, differentiable.

All take fixed and warped (b, c, z, y, x), or (b, c, y, x), and an optional weight (b, 1, ...) in
0..1: voxels with weight 0 (outside of a mask, extrapolated) do not count. Measures that look at a
neighborhood handle its weights in their own way; each docstring explains it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from neuralreg.measures.local_correlation import lncc, lncc_gaussian, lncc_unigradicon
from neuralreg.measures.mind import mind_ssc
from neuralreg.measures.weighting import weighted_mean


class Similarity(Protocol):
    """A dissimilarity of two images."""

    def __call__(self, fixed: Tensor, warped: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """One number, lower is better."""
        ...


def ssd(fixed: Tensor, warped: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean squared difference of intensities; 0 for equal images.

    Args:
        fixed: (b, c, z, y, x) or (b, c, y, x).
        warped: like `fixed`.
        weight: (b, 1, ...) in 0..1; voxels with weight 0 do not count.
    """
    return weighted_mean((fixed - warped) ** 2, weight)


def ncc(
    fixed: Tensor, warped: Tensor, *, weight: Tensor | None = None, epsilon: float = 1e-8
) -> Tensor:
    """1 - global normalized cross-correlation, 0..2: blind to brightness and contrast.

    Computed per image and channel, then averaged. A constant image has correlation 0, hence 1.

    Args:
        fixed: as for `ssd`.
        warped: as for `ssd`.
        weight: as for `ssd`.
        epsilon: its square is added to the product of the variances.
    """
    w = torch.ones_like(fixed) if weight is None else weight.to(fixed).expand_as(fixed)
    f, m, w = (t.flatten(2) for t in (fixed, warped, w))
    total = w.sum(2, keepdim=True).clamp(min=1e-12)
    f = f - (w * f).sum(2, keepdim=True) / total
    m = m - (w * m).sum(2, keepdim=True) / total
    energy = (w * f * f).sum(2) * (w * m * m).sum(2)
    return (1 - (w * f * m).sum(2) / (energy + epsilon**2).sqrt()).mean()


def mutual_information(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    bins: int = 23,
    sigma_ratio: float = 0.5,
) -> Tensor:
    """Negative mutual information in nats: at least -log(bins).

    Parzen windows: Gaussians, each voxel's shares over the bins summing to 1. All batch entries and
    channels make histograms of their own. Memory: two arrays of `bins` values per voxel.

    Args:
        fixed: as for `ssd`, in 0..1 (clamped).
        warped: as for `ssd`, in 0..1 (clamped).
        weight: as for `ssd`.
        bins: of each axis of the histogram.
        sigma_ratio: standard deviation of a Gaussian, in bins.

    Source: Viola, Wells 1997, doi:10.1023/A:1007958904918; the normalized soft histogram as in
    MONAI's GlobalMutualInformationLoss, to which this is equal without a weight.
    """
    f, m = (
        _soft_bins(image.flatten(0, 1).flatten(1), bins, sigma_ratio) for image in (fixed, warped)
    )
    if weight is not None:
        w = weight.to(fixed).expand_as(fixed).flatten(0, 1).flatten(1)
        joint = (f * w[..., None]).transpose(1, 2) @ m
    else:
        joint = f.transpose(1, 2) @ m
    joint = joint / joint.sum((1, 2), keepdim=True).clamp(min=1e-12)
    independent = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    information = joint * ((joint + 1e-7) / (independent + 1e-7)).log()
    return -information.sum((1, 2)).mean()


def _soft_bins(values: Tensor, bins: int, sigma_ratio: float) -> Tensor:
    """Share of each value (b, n) in 0..1 in each bin: (b, n, bins)."""
    centers = torch.linspace(0, 1, bins, dtype=values.dtype, device=values.device)
    sigma = sigma_ratio / (bins - 1)
    share = (-0.5 * ((values.clamp(0, 1)[..., None] - centers) / sigma) ** 2).exp()
    return share / share.sum(-1, keepdim=True)


def ngf(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    spacing_mm: Sequence[float] | None = None,
    edge: float | None = None,
) -> Tensor:
    """Normalized gradient fields, 0..1: 0 where edges are parallel, whatever their sign.

    Central differences inside, one-sided at the ends; axes of one sample have no gradient.

    Args:
        fixed: as for `ssd`.
        warped: as for `ssd`.
        weight: as for `ssd`.
        spacing_mm: x y z; gradients per voxel unless given.
        edge: gradient below which a change counts as noise; the mean gradient length of each image
            unless given.

    Source: Haber, Modersitzki 2006, doi:10.1007/11866763_89: mean of
    `1 - (n_fixed . n_warped)^2` with `n = grad I / sqrt(|grad I|^2 + edge^2)`.
    """
    f, m = (_unit_gradient(image, spacing_mm, edge) for image in (fixed, warped))
    return weighted_mean(1 - (f * m).sum(0) ** 2, weight)


def _unit_gradient(image: Tensor, spacing_mm: Sequence[float] | None, edge: float | None) -> Tensor:
    """Gradient over its regularized length: (d, b, c, z, y, x)."""
    spacing = spacing_mm or [1.0] * (image.dim() - 2)
    axes = [a for a in range(2, image.dim()) if image.shape[a] > 1]
    steps = [float(spacing[image.dim() - 1 - a]) for a in axes]
    if not axes:
        return 0 * image[None]
    gradient = torch.stack(torch.gradient(image, spacing=steps, dim=axes))
    squared = (gradient**2).sum(0)
    if edge is None:
        noise = squared.detach().sqrt().flatten(1).mean(1) ** 2
        noise = noise.view(-1, *[1] * (image.dim() - 1)).clamp(min=1e-12)
    else:
        noise = torch.as_tensor(edge**2).to(image)
    return gradient / (squared + noise).sqrt()


def mind(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    radius: int = 1,
    dilation: int = 2,
) -> Tensor:
    """Mean squared difference of MIND-SSC descriptors, 0..1: compares across modalities.

    Args:
        fixed: (b, 1, z, y, x) or (b, 1, y, x).
        warped: like `fixed`.
        weight: as for `ssd`.
        radius: see `mind_ssc`.
        dilation: see `mind_ssc`.
    """
    return weighted_mean(
        (
            mind_ssc(fixed, radius=radius, dilation=dilation)
            - mind_ssc(warped, radius=radius, dilation=dilation)
        )
        ** 2,
        weight,
    )


SIMILARITIES: Mapping[str, Similarity] = {
    "ssd": ssd,
    "ncc": ncc,
    "lncc": lncc,
    "lncc_gaussian": lncc_gaussian,
    "lncc_unigradicon": lncc_unigradicon,
    "mutual_information": mutual_information,
    "ngf": ngf,
    "mind": mind,
}
