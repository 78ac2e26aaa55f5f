"""The plane between the halves of a brain, from the structures that both halves have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 3  # the plane hardly moves after the second
_FEWEST_VOXELS = 50  # of a structure on each side that counts

Points = NDArray[np.floating[Any]]


def is_left(labels: NDArray[np.uint8], sided: Sequence[int]) -> NDArray[np.bool_]:
    """Which voxels lie on the left of a brain's midsagittal plane.

    The plane starts at the mean left-right position of the structures, and then is the one that
    halves, at right angles, the lines between the centers of each structure's two parts: a tilted
    head has a tilted plane.

    Args:
        labels: (z, y, x), z increasing to the left.
        sided: labels of structures with a left and a right part.

    Returns:
        (z, y, x).
    """
    clouds = [np.argwhere(labels == value).astype(float) for value in sided]
    clouds = [cloud for cloud in clouds if len(cloud) >= 2 * _FEWEST_VOXELS]
    normal = np.array([1.0, 0.0, 0.0])
    if not clouds:
        return np.zeros(labels.shape, bool)
    middle = np.concatenate(clouds).mean(0)
    for _ in range(_ROUNDS):
        normal, middle = _better_plane(clouds, normal, middle)
    z, y, x = np.ogrid[tuple(map(slice, labels.shape))]
    side: NDArray[np.bool_] = z * normal[0] + y * normal[1] + x * normal[2] > normal @ middle
    return side


def _better_plane(clouds: list[Points], normal: Points, middle: Points) -> tuple[Points, Points]:
    across, middles = [], []
    for cloud in clouds:
        left = (cloud - middle) @ normal > 0
        if min(left.sum(), (~left).sum()) < _FEWEST_VOXELS:
            continue
        parts = cloud[left].mean(0), cloud[~left].mean(0)
        across.append(parts[0] - parts[1])
        middles.append((parts[0] + parts[1]) / 2)
    if not across:
        return normal, middle
    mean = np.sum(across, 0)
    return mean / np.linalg.norm(mean), np.mean(middles, 0)
