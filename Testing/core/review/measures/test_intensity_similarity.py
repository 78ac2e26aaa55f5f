"""What a review says of the agreement of two images is a number or nothing."""

import math

import numpy as np
import pytest
from neuralreg.review.measures.intensity_similarity import correlation, mutual_information

NOISE = np.random.default_rng(0).random(500).astype(np.float32)
ONE_VOXEL = np.zeros(500, np.float32)
ONE_VOXEL[250] = 1.0
VALUES = {
    "constant": np.full(500, 0.1, np.float32),
    "binary": (NOISE > 0.5).astype(np.float32),
    "saturated": (2 * NOISE).clip(max=1),
    "one voxel": ONE_VOXEL,
    "all but the same": np.where(NOISE > 0.5, np.float32(1e6), np.nextafter(np.float32(1e6), 2e6)),
    "noise": NOISE,
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [500, 60, 1, 0])
@pytest.mark.parametrize("second", VALUES)
@pytest.mark.parametrize("first", VALUES)
def test_measures_are_finite_or_nothing(first, second, count):
    one, two = VALUES[first][:count], VALUES[second][:count]
    for value, low, high in ((correlation(one, two), -1, 1), (mutual_information(one, two), 1, 2)):
        assert value is None or (math.isfinite(value) and low - 1e-6 <= value <= high + 1e-6)


def test_what_one_voxel_shows_is_no_mutual_information():
    """0 is outside of what this measure can be."""
    assert mutual_information(ONE_VOXEL, NOISE) is None
