"""Random changes of training images: MONAI's transforms with the defaults of registration.

Each is a function that gets the keys of image and labels and the number of axes, and gives a MONAI
transform. Labels follow the geometry only. Extents are shares of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from neuralreg.training.config.part_registry import register_augmentation

Keys = Sequence[str]


def _modes(keys: Keys) -> list[str]:
    """Images, soft labels and masks are all read linearly."""
    return ["bilinear"] * len(keys)


def _images(keys: Keys) -> list[str]:
    return [key for key in keys if not key.endswith(("labels", "mask"))]


@register_augmentation("affine")
def affine(
    keys: Keys,
    dimension: int,
    *,
    scale: float = 0.1,
    rotate: float = 0.0,
    translate: float = 0.0,
    shear: float = 0.0,
    prob: float = 1.0,
) -> Any:
    """A random affine motion; values from outside of the image are 0.

    Args:
        keys: of the images that it changes.
        dimension: of the images.
        scale: largest relative change.
        rotate: degrees.
        translate: voxels.
        shear: largest relative change.
        prob: probability of a change.
    """
    from monai.transforms import RandAffined

    angles = 1 if dimension == 2 else 3
    return RandAffined(
        keys,
        prob=prob,
        rotate_range=[math.radians(rotate)] * angles,
        shear_range=[shear] * (dimension * (dimension - 1)),
        translate_range=[translate] * dimension,
        scale_range=[scale] * dimension,
        mode=_modes(keys),
        padding_mode="zeros",
        allow_missing_keys=True,
    )


@register_augmentation("deformable")
def deformable(
    keys: Keys,
    dimension: int,
    *,
    sigma: tuple[float, float] = (4.0, 6.0),
    magnitude: tuple[float, float] = (20.0, 60.0),
    spacing: float = 8.0,
    prob: float = 1.0,
) -> Any:
    """A random smooth deformation.

    3D: white noise smoothed by a Gaussian of `sigma` voxels, times `magnitude`. 2D: a grid of
    random vectors each `spacing` voxels, a twentieth of `magnitude` long.
    """
    from monai.transforms import Rand2DElasticd, Rand3DElasticd

    common = {"mode": _modes(keys), "padding_mode": "zeros", "allow_missing_keys": True}
    if dimension == 3:
        return Rand3DElasticd(
            keys, sigma_range=sigma, magnitude_range=magnitude, prob=prob, **common
        )
    lengths = tuple(m / 20 for m in magnitude)
    return Rand2DElasticd(
        keys, spacing=(spacing, spacing), magnitude_range=lengths, prob=prob, **common
    )


@register_augmentation("noise")
def noise(keys: Keys, dimension: int, *, std: float = 0.05, prob: float = 0.5) -> Any:
    """Gaussian noise."""
    from monai.transforms import RandGaussianNoised

    return RandGaussianNoised(_images(keys), prob=prob, std=std)


@register_augmentation("contrast")
def contrast(
    keys: Keys, dimension: int, *, gamma: tuple[float, float] = (0.7, 1.5), prob: float = 0.5
) -> Any:
    """A random exponent of the intensities."""
    from monai.transforms import RandAdjustContrastd

    return RandAdjustContrastd(_images(keys), prob=prob, gamma=gamma)


@register_augmentation("brightness")
def brightness(keys: Keys, dimension: int, *, factor: float = 0.2, prob: float = 0.5) -> Any:
    """Intensities times 1 plus or minus up to `factor`."""
    from monai.transforms import RandScaleIntensityd

    return RandScaleIntensityd(_images(keys), factors=factor, prob=prob)


@register_augmentation("bias_field")
def bias_field(
    keys: Keys, dimension: int, *, strength: tuple[float, float] = (0.0, 0.3), prob: float = 0.5
) -> Any:
    """A smooth drift of brightness, as coils of an MR scanner make it."""
    from monai.transforms import RandBiasFieldd

    return RandBiasFieldd(_images(keys), coeff_range=strength, prob=prob)


@register_augmentation("blur")
def blur(
    keys: Keys, dimension: int, *, sigma: tuple[float, float] = (0.25, 1.0), prob: float = 0.3
) -> Any:
    """A Gaussian of `sigma` voxels."""
    from monai.transforms import RandGaussianSmoothd

    axes = {f"sigma_{a}": sigma for a in "xyz"[:dimension]}
    return RandGaussianSmoothd(_images(keys), prob=prob, **axes)
