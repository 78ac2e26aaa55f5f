"""Correlation in a window around each voxel: blind to brightness and contrast that drift."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from neuralreg.errors import InvalidOption
from neuralreg.measures.weighting import weighted_mean

Blur = Callable[[Tensor], Tensor]


def lncc(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    size: int = 9,
    kernel: str = "rectangular",
    epsilon: float = 1e-5,
) -> Tensor:
    """1 - mean squared correlation in cubes of `size` voxels, 0..1.

    Windows end at the image: only voxels inside, times their weight, enter a window's mean. MONAI
    counts zeros beyond the border and adds its epsilon to sums instead of means; inside both agree.
    A window without structure scores 1 (in DeepReg 0).

    Args:
        fixed: (b, c, z, y, x) or (b, c, y, x), any range.
        warped: like `fixed`.
        weight: (b, 1, ...) in 0..1; voxels with weight 0 do not count.
        size: samples along each axis of a window, odd, at least 3.
        kernel: how voxels count in a window: "rectangular", all the same; "triangular", a box
            smoothed by itself; "gaussian", with a standard deviation of a third of `size`.
        epsilon: added to each variance.

    Raises:
        InvalidOption: when size is even or below 3, or for another kernel.

    Source: Avants et al. 2008, doi:10.1016/j.media.2007.06.004: cov^2 / (var_fixed var_warped).
    """
    _check_size(size)
    if kernel not in _KERNELS:
        raise InvalidOption("unknown kernel", got=f"'{kernel}'", wanted=" or ".join(_KERNELS))
    taps = _KERNELS[kernel](size, fixed)
    return _square(fixed, warped, weight, _blur(taps / taps.sum()), epsilon)


def lncc_gaussian(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    sigma: float = 2.0,
    epsilon: float = 1e-5,
) -> Tensor:
    """1 - mean squared correlation in Gaussian windows, 0..1.

    Args:
        fixed: as for `lncc`.
        warped: as for `lncc`.
        weight: as for `lncc`.
        sigma: standard deviation of the windows in voxels; they are cut at 3 sigma.
        epsilon: as for `lncc`.

    Source: Cachier et al. 2003, doi:10.1016/S1077-3142(03)00002-X.
    """
    if not sigma > 0:
        raise InvalidOption("a Gaussian window has a width", got=f"sigma={sigma}", wanted="> 0")
    kernel = _gaussian_kernel(2 * max(1, round(3 * sigma)) + 1, sigma, fixed)
    return _square(fixed, warped, weight, _blur(kernel), epsilon)


def lncc_unigradicon(
    fixed: Tensor,
    warped: Tensor,
    *,
    weight: Tensor | None = None,
    sigma: float = 5.0,
    epsilon: float = 1e-5,
) -> Tensor:
    """1 - mean signed correlation in Gaussian windows, 0..2: the training loss of uniGradICON.

    Windows have 4 sigma + 1 taps; beyond the image they see zeros. With a weight, windows are
    averages of what has weight instead.

    Args:
        fixed: as for `lncc`.
        warped: as for `lncc`.
        weight: as for `lncc`.
        sigma: standard deviation of the windows in voxels.
        epsilon: added to each variance.

    Source: Tian et al. 2024, doi:10.48550/arXiv.2403.05780: mean of
    cov / sqrt((relu(var_fixed) + epsilon) (relu(var_warped) + epsilon)).
    """
    blur = _blur(_gaussian_kernel(2 * round(2 * sigma) + 1, sigma, fixed))
    if weight is None:
        covariance, f, m = _moments(fixed, warped, blur)
    else:
        covariance, f, m = _moments_weighted(fixed, warped, weight, blur)
    norm = ((f.relu() + epsilon) * (m.relu() + epsilon)).sqrt()
    return weighted_mean(1 - covariance / norm, weight)


class GaussianCorrelation:
    """Dissimilarity of images to one and the same image: `lncc_unigradicon`, many times.

    What depends on the fixed image alone is computed once.

    Args:
        fixed: (b, 1, z, y, x).
        weight: of the voxels' values in the mean, like the fixed image; windows see all voxels.
        sigma: standard deviation of the windows in voxels.
        epsilon: added to each variance.
    """

    def __init__(
        self,
        fixed: Tensor,
        *,
        weight: Tensor | None = None,
        sigma: float = 5.0,
        epsilon: float = 1e-5,
    ) -> None:
        self.fixed, self.weight, self.epsilon = fixed, weight, epsilon
        self.blur = _blur(_gaussian_kernel(2 * round(2 * sigma) + 1, sigma, fixed))
        self.mean = self.blur(fixed)
        self.spread = (self.blur(fixed * fixed) - self.mean**2).relu() + epsilon

    def __call__(self, warped: Tensor) -> Tensor:
        """One number for (b, 1, z, y, x): the mean of 1 - correlation, 0..2."""
        parts = torch.cat((warped, warped * warped, warped * self.fixed), 1)
        mean, square, product = self.blur(parts).chunk(3, 1)
        spread = (square - mean * mean).relu() + self.epsilon
        correlation = (product - mean * self.mean) / (spread * self.spread).sqrt()
        return weighted_mean(1 - correlation, self.weight)


def _check_size(size: int) -> None:
    if size < 3 or size % 2 == 0:
        raise InvalidOption("a window has a middle voxel", got=f"{size}", wanted="odd, at least 3")


def _square(
    fixed: Tensor, warped: Tensor, weight: Tensor | None, blur: Blur, epsilon: float
) -> Tensor:
    count = torch.ones_like(fixed[:, :1]) if weight is None else weight
    covariance, f, m = _moments_weighted(fixed, warped, count, blur)
    squared = covariance**2 / ((f.relu() + epsilon) * (m.relu() + epsilon))
    return weighted_mean(1 - squared, weight)


def _moments(fixed: Tensor, warped: Tensor, blur: Blur) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance and both variances in each window."""
    f, m = blur(fixed), blur(warped)
    return (
        blur(fixed * warped) - f * m,
        blur(fixed * fixed) - f * f,
        blur(warped * warped) - m * m,
    )


def _moments_weighted(
    fixed: Tensor, warped: Tensor, weight: Tensor, blur: Blur
) -> tuple[Tensor, Tensor, Tensor]:
    """The same as averages over what has weight (Knutsson, Westin: normalized convolution)."""
    w = weight.to(fixed)
    total = blur(w).clamp(min=1e-6)
    # Around a common level, so that single precision does not lose small variances.
    fixed, warped = (image - weighted_mean(image, w).detach() for image in (fixed, warped))
    return _moments(fixed, warped, lambda values: blur(values * w) / total)


def _gaussian_kernel(taps: int, sigma: float, like: Tensor) -> Tensor:
    at = torch.arange(taps, dtype=like.dtype, device=like.device) - taps // 2
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    return kernel / kernel.sum()


def _triangle(size: int, like: Tensor) -> Tensor:
    """A box of about half of the size, odd, smoothed by itself, in the middle of `size` taps."""
    half = (size + 1) // 2
    half -= 1 - half % 2
    box = like.new_ones(1, 1, half)
    triangle = functional.conv1d(box, box, padding=half - 1)[0, 0]
    margin = (size - len(triangle)) // 2
    return functional.pad(triangle, [margin, size - len(triangle) - margin])


_KERNELS: dict[str, Callable[[int, Tensor], Tensor]] = {
    "rectangular": lambda size, like: like.new_ones(size),
    "triangular": _triangle,
    "gaussian": lambda size, like: _gaussian_kernel(size, size / 3, like),
}


def _blur(kernel: Tensor) -> Blur:
    """Separable convolution of (b, c, z, y, x) with zeros beyond the border.

    Each axis is one product with a banded matrix: on a CPU a tenth of the time, and less backwards,
    of a convolution by a kernel of one channel.
    """

    def blur(values: Tensor) -> Tensor:
        for axis in range(2, values.dim()):
            band = _band(kernel, values.shape[axis])
            if axis == values.dim() - 1:
                values = values @ band.T
            else:
                values = (band @ values.flatten(axis + 1)).view(values.shape)
        return values

    return blur


def _band(kernel: Tensor, n: int) -> Tensor:
    """The matrix (n, n) that convolves n samples with a kernel."""
    at = torch.arange(n, device=kernel.device)
    tap = at - at[:, None] + len(kernel) // 2
    inside = (tap >= 0) & (tap < len(kernel))
    return kernel[tap.clamp(0, len(kernel) - 1)] * inside
