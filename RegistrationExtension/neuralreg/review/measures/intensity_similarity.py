"""How much two images agree in brightness: shown, never held against a limit."""

from __future__ import annotations

import numpy as np

from neuralreg.geometry.typing import Array

_BINS = 48
_FEWEST = 50  # voxels
_MOST = 1 << 21  # voxels are enough for a histogram


def correlation(first: Array, second: Array) -> float | None:
    """Pearson's correlation of paired values, -1 to 1; None for too few or constant values."""
    first, second = _thin(first).astype(float), _thin(second).astype(float)
    if not _usable(first, second):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def mutual_information(first: Array, second: Array) -> float | None:
    """Normalized mutual information (H(a) + H(b)) / H(a, b), 1 to 2, from 48 bins a side.

    Values are clipped at their 0.5 and 99.5 percentiles. None for too few values, and for those
    that are constant once clipped.
    Source: Studholme et al. 1999, doi:10.1016/S0031-3203(98)00091-0.
    """
    if not _usable(_thin(first), _thin(second)):
        return None
    first, second = _clip(_thin(first)), _clip(_thin(second))
    if not _usable(first, second):  # what differs are single voxels
        return None
    joint, _, _ = np.histogram2d(first, second, _BINS)
    joint /= joint.sum()
    parts = _entropy(joint.sum(0)) + _entropy(joint.sum(1))
    return parts / max(_entropy(joint), 1e-9)


def _usable(first: Array, second: Array) -> bool:
    """Whether there are enough values, of which both sides show more than one."""
    return len(first) >= _FEWEST and bool(np.ptp(first) > 0) and bool(np.ptp(second) > 0)


def _thin(values: Array) -> Array:
    return values[:: max(1, len(values) // _MOST)]


def _clip(values: Array) -> Array:
    low, high = np.percentile(values, (0.5, 99.5))
    return np.asarray(np.clip(values, low, high))


def _entropy(shares: Array) -> float:
    used = shares[shares > 0]
    return float(-(used * np.log(used)).sum())
