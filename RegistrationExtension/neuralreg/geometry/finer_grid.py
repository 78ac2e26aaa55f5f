"""A finer grid for a field: new samples half-way between its own, which linear readers do not see.

Without torch: the process that shows a field makes them there, of what it was handed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array

_SLAB_BYTES = 4 << 20  # a few milliseconds


def halve_steps(grid: Grid, times: Sequence[int]) -> Grid:
    """A grid with the same outer samples and its steps along x y z halved so often."""
    parts = [2**n if size > 1 else 1 for n, size in zip(times, grid.size, strict=True)]
    size = [(n - 1) * part + 1 for n, part in zip(grid.size, parts, strict=True)]
    spacing = np.divide(grid.spacing, parts)
    return Grid(tuple(size), tuple(spacing.tolist()), grid.origin, grid.direction)


def halve_vectors(vectors: Array, times: Sequence[int], out: Array) -> Iterator[None]:
    """Write the samples of the halved grid in short steps.

    Args:
        vectors: (z, y, x, d).
        times: along x y z.
        out: (z, y, x, d) of the halved grid.
    """
    once, *others = times[::-1]
    part = 2**once if len(vectors) > 1 else 1
    rows = max(1, _SLAB_BYTES * len(out) // out.nbytes // part)
    for first in range(0, max(len(vectors) - 1, 1), rows):
        fine = np.asarray(vectors[first : first + rows + 1])
        for axis, n in enumerate((once, *others)):
            for _ in range(n):
                fine = _with_middles(fine, axis)
        start = first * part
        out[start : start + len(fine)] = fine
        yield


def _with_middles(samples: Array, axis: int) -> Array:
    """The samples, and between each two along an axis their mean."""
    source = np.moveaxis(samples, axis, 0)
    if len(source) == 1:
        return samples
    shape = list(samples.shape)
    shape[axis] = 2 * len(source) - 1
    both = np.empty(shape, samples.dtype)
    target = np.moveaxis(both, axis, 0)
    target[::2] = source
    np.add(source[:-1], source[1:], out=target[1::2])
    target[1::2] *= samples.dtype.type(0.5)
    return both
