"""Windows against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neuralreg.geometry.smoothing import gaussian, gaussian_at
from scipy.ndimage import gaussian_filter, map_coordinates

VALUES = torch.rand(2, 9, 14, 11, generator=torch.Generator().manual_seed(0))
SIGMA = [0.9, 1.73, 1.2]


def smooth_by_scipy(values):
    return gaussian_filter(values, SIGMA, mode="nearest", truncate=3.5)


@pytest.mark.parametrize("shape", [(5, 7, 6), (9, 14, 11), (2, 2, 2)], ids=str)
def test_smoothed_values_at_fewer_samples_are_those_of_scipy(shape):
    few = gaussian_at(VALUES, SIGMA, shape)
    ends = [np.linspace(0, n - 1, m) for n, m in zip(VALUES.shape[1:], shape, strict=True)]
    at = np.stack(np.meshgrid(*ends, indexing="ij"))
    for ours, values in zip(few, VALUES.double(), strict=True):
        expected = map_coordinates(smooth_by_scipy(values.numpy()), at, order=1)
        np.testing.assert_allclose(ours, expected, atol=0.01)  # SciPy cuts its kernel elsewhere


def test_a_single_slice_stays_one():
    slice_ = VALUES[:, :1]
    few = gaussian_at(slice_, SIGMA, (1, 7, 6))
    assert few.shape == (2, 1, 7, 6)
    same = gaussian_at(slice_, SIGMA, (1, 14, 11))
    assert torch.allclose(same, gaussian(slice_, SIGMA), atol=1e-6)
