"""Whether two images agree with a transform as it was read, or rather with another reading of it.

A file that holds the inverse, or vectors in another frame, is a transform like any other; only the
images can tell. Each usual mistake is tried, and named where the images fit it clearly better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from neuralreg.geometry.grid import Grid, Matrix
from neuralreg.geometry.typing import Array
from neuralreg.io.exchange.matrices import from_affine
from neuralreg.io.volume import fill_not_finite

_SAMPLES = 40  # per axis, at most
_BINS = 24
_CLEARLY = 0.04  # nats of mutual information that another reading has to gain
_RELATIVELY = 0.06  # of what the transform has
_LEAST_OVERLAP = 0.5  # of the fixed image that should land in the moving one
_INVERSE_STEPS = 6


def doubts_about(
    transform: sitk.Transform,
    fixed: sitk.Image,
    moving: sitk.Image,
    others: Mapping[str, sitk.Transform] | None = None,
) -> list[str]:
    """What speaks against a transform, in words; empty where nothing does.

    Args:
        transform: fixed to moving, LPS mm.
        fixed, moving: gray images of its dimension.
        others: more readings to compare with, by what they are called.
    """
    if len({transform.GetDimension(), fixed.GetDimension(), moving.GetDimension()}) > 1:
        return ["the transform and the images differ in their number of axes"]
    scene = _Scene(fill_not_finite(fixed), fill_not_finite(moving))
    vectors = scene.displacements(transform)
    said = []
    inside = scene.overlap(vectors)
    if inside < _LEAST_OVERLAP:
        said.append(
            f"only {100 * inside:.0f} % of the fixed image lands in the moving image: check the "
            "direction, and that these are the images"
        )
    own = scene.information(vectors)
    tried = {name: scene.information(each) for name, each in _readings(transform, vectors, scene)}
    for name, other in (others or {}).items():
        tried[name] = scene.information(scene.displacements(other))
    best = max(tried, key=lambda name: tried[name])
    if tried[best] > own + max(_CLEARLY, _RELATIVELY * own):
        said.append(
            f"the images fit better {best} (mutual information {tried[best]:.2f}) than by the "
            f"transform as it was read ({own:.2f}): check where the file comes from"
        )
    return said


class _Scene:
    """Samples of the fixed image, and the moving image as they see it through displacements."""

    def __init__(self, fixed: sitk.Image, moving: sitk.Image) -> None:
        grid = Grid.of(fixed)
        self.lattice = grid.resize([min(n, _SAMPLES) for n in grid.size])
        self.moving_grid = Grid.of(moving)
        blur = np.divide(self.lattice.spacing, 2)
        self.values = _smooth(fixed, blur)
        index = np.moveaxis(np.indices(self.lattice.shape, float)[::-1], 0, -1)
        self.points: Matrix = self.lattice.points_at(index)
        self.fixed = self._at(self.values, grid, self.points)
        self.moving = _smooth(moving, np.full(grid.dimension, blur.mean()))
        self.lowest = float(self.moving.min())

    def displacements(self, transform: sitk.Transform) -> Array:
        """mm at the samples, (z, y, x, d)."""
        grid = self.lattice
        field = sitk.TransformToDisplacementField(
            transform, sitk.sitkVectorFloat64, grid.size, grid.origin, grid.spacing, grid.direction
        )
        return np.asarray(sitk.GetArrayFromImage(field))

    def overlap(self, vectors: Array) -> float:
        """The share of the samples that lands in the moving image."""
        return float(self.moving_grid.pad(1).covers(self.points + vectors).mean())

    def information(self, vectors: Array) -> float:
        """Mutual information of both images, in nats."""
        warped = self._at(self.moving, self.moving_grid, self.points + vectors, self.lowest)
        counts, _, _ = np.histogram2d(_ranks(self.fixed), _ranks(warped), bins=_BINS)
        joint = counts / counts.sum()
        apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        known = joint > 0
        return float((joint[known] * np.log(joint[known] / apart[known])).sum())

    def inverse_of(self, vectors: Array) -> Array:
        """Displacements that take the samples back, by fixed points."""
        back = -vectors
        for _ in range(_INVERSE_STEPS):
            back = -self.vectors_at(vectors, self.points + back)
        return np.asarray(back)

    def vectors_at(self, vectors: Array, points: Matrix) -> Array:
        """Displacements at other points (..., d); beyond the samples those of the border."""
        index = np.moveaxis(self.lattice.indices_at(points), -1, 0)[::-1]
        parts = [
            ndimage.map_coordinates(vectors[..., c], index, order=1, mode="nearest")
            for c in range(vectors.shape[-1])
        ]
        return np.stack(parts, -1)

    def _at(self, values: Array, grid: Grid, points: Matrix, outside: float = 0.0) -> Array:
        index = np.moveaxis(grid.indices_at(points), -1, 0)[::-1]
        sampled = ndimage.map_coordinates(values, index, order=1, mode="constant", cval=outside)
        return np.asarray(sampled).ravel()


def _smooth(image: sitk.Image, sigma_mm: Matrix) -> Array:
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    sigma = np.divide(sigma_mm, image.GetSpacing())[::-1]
    return np.asarray(ndimage.gaussian_filter(values, np.minimum(sigma, 4.0)))


def _ranks(values: Array) -> Array:
    """Values between 0 and 1, by which few bright voxels do not fill the histogram alone."""
    low, high = np.percentile(values, (0.5, 99.5))
    return np.asarray(np.clip((values - low) / max(high - low, 1e-12), 0, 1))


def _readings(
    transform: sitk.Transform, vectors: Array, scene: _Scene
) -> Iterator[tuple[str, Array]]:
    """Other readings of the same numbers: what they are called, and their displacements."""
    d = vectors.shape[-1]
    yield "without any transform", np.zeros_like(vectors)
    matrix = from_affine(transform) if transform.IsLinear() else None
    if matrix is None:
        yield "by the inverse", scene.inverse_of(vectors)
    else:
        yield "by the inverse", _linear(np.linalg.inv(matrix), scene)
    for name, frame in _frames(d):
        if matrix is None:
            turn = frame[:d, :d]
            yield f"{name}, in the vectors alone", vectors @ turn.T
            yield name, scene.vectors_at(vectors, scene.points @ turn) @ turn.T
        else:
            yield name, _linear(frame @ matrix @ np.linalg.inv(frame), scene)
            yield (
                f"{name} and inverted",
                _linear(frame @ np.linalg.inv(matrix) @ np.linalg.inv(frame), scene),
            )


def _linear(matrix: Matrix, scene: _Scene) -> Array:
    d = len(matrix) - 1
    return np.asarray(scene.points @ matrix[:d, :d].T + matrix[:d, d] - scene.points)


def _frames(d: int) -> Iterator[tuple[str, Matrix]]:
    """Frames in which the numbers may be meant: axes with other signs or in another order."""
    for order in permutations(range(d)):
        for signs in product((1.0, -1.0), repeat=d):
            frame = np.eye(d + 1)
            frame[:d, :d] = np.diag(signs) @ np.eye(d)[list(order)]
            if np.array_equal(frame, np.eye(d + 1)):
                continue
            in_order = order == tuple(range(d))
            if in_order and signs[:2] == (-1.0, -1.0) and (d == 2 or signs[2] == 1.0):
                yield "with x and y reversed (RAS instead of LPS)", frame
            elif in_order:
                names = [axis for axis, sign in zip("xyz", signs, strict=False) if sign < 0]
                yield f"with {' and '.join(names)} reversed", frame
            elif signs == (1.0,) * d:
                yield f"with the axes in the order {' '.join('xyz'[k] for k in order)}", frame
