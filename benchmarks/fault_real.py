"""Pairs of real images whose true deformation is known at many points, in two halves.

Half "develop" may be looked at while the review's detectors are made; half "report" is for
counting. Each half has images of one and of two modalities, CT and MR. They lie in the shared data
beside the repository.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from neuralreg.geometry.grid import Grid
from neuralreg.io.itk_images import read_volume
from neuralreg.review.case import body
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.geometry.volumes import limit_samples, on_grid
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from benchmarks.fault_phantoms import Pair, transform
from Testing.support.paths import PAIRS

HALVES = {
    "develop": (
        "d07_ms_flair_t2",
        "d08_ct_abdomen_gt",
        "od01_oblique",
        "od04_partial_fov",
        "od15_outliers_int32",
    ),
    "report": (
        "d09_ct_lung_oblique_gt",
        "d11_prostate_hbv_adc",
        "d13_tmpl_t2_pd_gt",
        "od03_aniso_05_05_5",
        "od12_dtype_scale",
        "od19_nrrd",
    ),
}
_FITTED_MM = 8.0  # between samples of the true field, which is smooth
_LEFT_OUT = 10  # every so many points test the fit
_ORGAN_MM = 15.0
_SHOWS = 0.35  # of the body's contrast: an organ has an edge
Array = NDArray[np.floating]


def real_pairs(half: str) -> Iterator[Pair]:
    """The pairs of a half, with their truth on at most a million samples."""
    for name in HALVES[half]:
        yield real_pair(name)


def real_pair(name: str) -> Pair:
    folder = PAIRS / name
    fixed, moving = (read_volume(next(folder.glob(f"{k}.n*")), []) for k in ("fixed", "moving"))
    grid = limit_samples(Grid.of(fixed), 1 << 20)
    truth = true_deformation(np.loadtxt(folder / "points.csv", delimiter=","), grid)
    centers = organs(on_grid(fixed, grid), grid, np.random.default_rng(len(name)))
    sizes = np.full((len(centers), 3), _ORGAN_MM)
    return Pair(name, fixed, moving, truth.on(grid), grid, centers, sizes)


def true_deformation(points: Array, grid: Grid) -> Deformation:
    """The deformation through pairs of points, (n, 6) LPS mm: affine, or a thin-plate spline.

    Raises SystemExit when points that were left out of the fit are missed by 0.3 mm on average.
    """
    test = np.arange(len(points)) % _LEFT_OUT == 0
    fit = _affine(points[~test])
    if _missed(fit, points[test]) > 0.05:
        fit = _spline(points[~test], grid)
    if (missed := _missed(fit, points[test])) > 0.3:
        raise SystemExit(f"the true deformation is not smooth: {missed:.2f} mm missed")
    return fit


def _affine(points: Array) -> Deformation:
    known = np.hstack([points[:, :3], np.ones((len(points), 1))])
    matrix = np.eye(4)
    matrix[:3] = np.linalg.lstsq(known, points[:, 3:], rcond=None)[0].T
    return Deformation(3, matrix=matrix)


def _spline(points: Array, grid: Grid) -> Deformation:
    coarse = grid.with_spacing([max(s, _FITTED_MM) for s in grid.spacing])
    fitted = RBFInterpolator(points[:, :3], points[:, 3:] - points[:, :3], smoothing=1e-3)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in coarse.shape), indexing="ij"), -1)
    at = coarse.points_at(index[..., ::-1].reshape(-1, 3).astype(float))
    return transform(fitted(at).reshape(*coarse.shape, 3), coarse)


def _missed(fit: Deformation, points: Array) -> float:
    return float(np.linalg.norm(fit(points[:, :3]) - points[:, 3:], axis=1).mean())


def organs(values: Array, grid: Grid, random: np.random.Generator) -> Array:
    """Twelve places within the body where the image shows something, LPS mm."""
    inside = body(values)
    inside = np.ones(grid.shape, bool) if inside is None else inside
    low, high = np.percentile(values[inside], (1, 99))
    values = np.clip(values, low, high).astype(float)
    reach = [_ORGAN_MM / s for s in grid.spacing[::-1]]
    mean = ndimage.gaussian_filter(values, reach)
    local = np.sqrt(np.maximum(ndimage.gaussian_filter(values**2, reach) - mean**2, 0))
    middle = np.linalg.norm((grid_points(grid) - grid.center) / grid.extent_mm, axis=-1) < 0.35
    there = np.argwhere(inside & middle & (local > _SHOWS * values[inside].std()))
    chosen = there[random.choice(len(there), 12, replace=len(there) < 12)]
    return grid.points_at(chosen[:, ::-1].astype(float))


def grid_points(grid: Grid) -> Array:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    return grid.points_at(index[..., ::-1].astype(float))
