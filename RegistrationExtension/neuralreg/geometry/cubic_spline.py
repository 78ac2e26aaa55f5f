"""Cubic B-spline interpolation with ITK: smooth between the samples and exact at them."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from neuralreg.geometry.sampling import index_to_normalized
from neuralreg.geometry.typing import Array

_ORDER = 3
_MARGIN = 4  # samples, an even number
_INSIDE = 1e-6  # ITK counts the far edge of the last voxel as outside


class CubicSpline:
    """The spline through the samples of an image, continued mirrored about its outer samples.

    ITK makes the coefficients once and evaluates them; the points are given to it as the
    displacements of a grid of their own, so that everything is in indices of the image.

    Args:
        values: (c, z, y, x), floating point.

    Source: Unser, Aldroubi, Eden 1993, doi:10.1109/78.193221.
    """

    def __init__(self, values: Tensor) -> None:
        self.like = values
        self.size = tuple(values.shape[:0:-1])
        self.to_index = np.linalg.inv(index_to_normalized(self.size))
        # ITK 5.4 reads beyond the two samples of such an axis: they are repeated around themselves.
        self.margin = [_MARGIN if n == 2 else 0 for n in self.size]
        self.coefficients = [self._decompose(channel) for channel in values.cpu().numpy()]

    def _decompose(self, channel: Array) -> sitk.Image:
        image = sitk.BSplineDecomposition(sitk.GetImageFromArray(channel), _ORDER)
        margin = [(m, m) for m in self.margin[::-1]]
        return sitk.GetImageFromArray(np.pad(sitk.GetArrayViewFromImage(image), margin, "wrap"))

    def __call__(self, coordinates: Tensor) -> Tensor:
        """The spline at normalized coordinates (d, z', y', x'): (c, z', y', x').

        Beyond half a voxel outside of the image the value at that edge is repeated.
        """
        points = self._displacements(coordinates.double().cpu().numpy())
        resampler = sitk.ResampleImageFilter()
        resampler.SetInterpolator(sitk.sitkBSplineResamplerOrder3)
        resampler.SetSize(points.GetSize())
        resampler.SetOutputPixelType(sitk.sitkFloat64)
        resampler.SetTransform(sitk.DisplacementFieldTransform(points))
        read = [sitk.GetArrayFromImage(resampler.Execute(one)) for one in self.coefficients]
        return torch.from_numpy(np.stack(read)).to(self.like)

    def _displacements(self, coordinates: Array) -> sitk.Image:
        """From the samples of a grid with unit spacing to the indices that points have."""
        vectors = np.empty((*coordinates.shape[1:], len(coordinates)))
        own = np.meshgrid(
            *(np.arange(n, dtype=float) for n in coordinates.shape[1:]), indexing="ij"
        )
        for axis, n in enumerate(self.size):
            index = coordinates[axis] * self.to_index[axis, axis] + self.to_index[axis, -1]
            index = index.clip(-0.5, n - 0.5 - _INSIDE) + self.margin[axis]
            vectors[..., axis] = index - own[-1 - axis]
        return sitk.GetImageFromArray(vectors, isVector=True)
