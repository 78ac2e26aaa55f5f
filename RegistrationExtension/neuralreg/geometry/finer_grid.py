"""A field on a finer grid, as a reader that is cubic between the samples sees it.

Without torch: the window samples the fields of a scene with it, in short steps.
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


def sample_cubic(vectors: Array, times: Sequence[int], out: Array) -> Iterator[None]:
    """Write what a cubic reader sees on the halved grid, in short steps.

    Between the samples b and c of neighbors a b c d the value is that of the cubic kernel of
    `cubic_weights`, along each axis, as in VTK's grid transform; in the outer cells quadratic.

    Args:
        vectors: (z, y, x, d).
        times: how often the steps along x y z are halved.
        out: (z, y, x, d) of the halved grid.
    """
    parts = [2**n if size > 1 else 1 for n, size in zip(times[::-1], vectors.shape, strict=False)]
    rows = max(1, _SLAB_BYTES * len(out) // out.nbytes // parts[0])
    cells = max(len(vectors) - 1, 1)
    for first in range(0, cells, rows):
        end = min(first + rows, cells)
        start, stop = max(first - 1, 0), min(end + 2, len(vectors))
        fine = np.asarray(vectors[start:stop])
        for axis, part in enumerate(parts):
            fine = _between(fine, axis, part)
        skipped = (first - start) * parts[0]
        target = out[first * parts[0] : end * parts[0] + 1]
        target[:] = fine[skipped : skipped + len(target)]
        yield


def cubic_weights(t: float) -> tuple[float, float, float, float]:
    """Weights of four neighbors a b c d at the fraction t from b to c.

    Source: Keys 1981, doi:10.1109/TASSP.1981.1163711, with a = -1/2.
    """
    return (
        -t * (1 - t) ** 2 / 2,
        1 + t * t * (3 * t - 5) / 2,
        t * (1 + t * (4 - 3 * t)) / 2,
        -t * t * (1 - t) / 2,
    )


def _between(samples: Array, axis: int, parts: int) -> Array:
    """The samples along an axis, and `parts - 1` more in each step."""
    source = np.moveaxis(samples, axis, 0)
    n = len(source) - 1
    if parts == 1 or n < 1:
        return samples
    shape = list(samples.shape)
    shape[axis] = parts * n + 1
    result = np.empty(shape, samples.dtype)
    target = np.moveaxis(result, axis, 0)
    target[::parts] = source
    around = np.concatenate([_before(source), source, _before(source[::-1])])
    for k in range(1, parts):
        weights = np.array(cubic_weights(k / parts), samples.dtype)
        mixed = target[k::parts]
        np.multiply(around[:n], weights[0], out=mixed)
        for offset in (1, 2, 3):
            mixed += weights[offset] * around[offset : offset + n]
    return result


def _before(source: Array) -> Array:
    """The sample before the first, with which the first cell becomes quadratic."""
    if len(source) < 3:
        return 2 * source[:1] - source[1:2]
    return 3 * (source[:1] - source[1:2]) + source[2:3]
