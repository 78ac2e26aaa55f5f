"""The linear transform that pairs of landmarks determine, robustly and in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, islice

import numpy as np

from neuralreg.errors import InvalidOption
from neuralreg.geometry.grid import Matrix
from neuralreg.geometry.linear import LinearTransform, nearest_rotation

Fit = Callable[[Matrix, Matrix], LinearTransform]
_FLAT = 0.05  # of the widest spread: less does not determine a direction
_TRIALS = 400  # triples that robust fits begin with
_FEWEST_ROBUST = 6  # of fewer pairs none can be called an outlier
_OUTLIER = 3 * 1.4826  # medians of the residual: three standard deviations
_BENDING = 0.2  # of the spread of the points: how far anatomy bends without contradiction
_MIRROR_GAIN = 3.0  # times the residual of a mirrored fit: sides were exchanged
_BETTER = 0.9  # of the error at pairs left out: what a more flexible fit must reach


class Spread(StrEnum):
    """What the points of a set span."""

    POINT = "point"
    LINE = "line"
    SURFACE = "surface"
    SPACE = "space"


@dataclass(frozen=True, eq=False)
class LandmarkFit:
    """A linear transform, fixed to moving, and how well it suits the pairs.

    Attributes:
        linear: the transform.
        kind: "translation", "rigid", "similarity" or "affine".
        spread: of the pairs it was fitted to.
        residuals_mm: of all pairs, (n,).
        inliers: of which pairs it was made, (n,), bool.
    """

    linear: LinearTransform
    kind: str
    spread: Spread
    residuals_mm: Matrix
    inliers: Matrix

    @property
    def determines_rotation(self) -> bool:
        """Whether no other rotation suits the pairs as well."""
        d = self.linear.dimension
        line = Spread.LINE if d == 2 else Spread.SURFACE
        order = list(Spread)
        return order.index(self.spread) >= order.index(line)


def fit_landmarks(
    fixed: Matrix, moving: Matrix, *, tolerance_mm: float, affine: bool
) -> LandmarkFit:
    """The most flexible linear transform that count and spread of the pairs justify.

    One point gives a translation, points on a line the smallest rotation that turns it, others a
    rigid transform (Kabsch 1976, doi:10.1107/S0567739476001873). Similarity (Umeyama 1991,
    doi:10.1109/34.88573) and affine are taken where they predict pairs that were left out better.
    Of six pairs and more, those far from what most agree on are left out (least median of squares,
    Rousseeuw 1984, doi:10.1080/01621459.1984.10477105).

    Args:
        fixed, moving: points (n, d), LPS mm.
        tolerance_mm: what nobody can place better.
        affine: whether more than a rigid transform may come out.

    Raises:
        InvalidOption: the pairs fit much better mirrored.
    """
    inliers = _agreeing(fixed, moving, tolerance_mm)
    f, m = fixed[inliers], moving[inliers]
    spread = spread_of(f)
    kind, linear = "translation", _translation(f, m)
    if spread is not Spread.POINT:
        kind, linear = "rigid", rigid_fit(f, m)
        _require_no_mirror(f, m, linear, tolerance_mm)
    d = fixed.shape[1]
    if affine and spread is list(Spread)[d] and len(f) > d + 1:
        kind, linear = _best_predicting(f, m)
    residuals = np.linalg.norm(linear(fixed) - moving, axis=1)
    return LandmarkFit(linear, kind, spread, residuals, inliers)


def spread_of(points: Matrix) -> Spread:
    """Whether points (n, d) are one, on a line, in a plane, or fill a space."""
    widths = np.linalg.svd(points - points.mean(0), compute_uv=False)
    if len(points) < 2 or not widths[0] > 1e-6:
        return Spread.POINT
    return list(Spread)[int((widths > _FLAT * widths[0]).sum())]


def rigid_fit(fixed: Matrix, moving: Matrix, *, scale: bool = False) -> LinearTransform:
    """The least-squares rotation and shift, with one scale where asked for; never a reflection.

    Of points on a line the rotation about it is left at none.
    """
    f, m = fixed - fixed.mean(0), moving - moving.mean(0)
    covariance = m.T @ f
    if fixed.shape[1] == 3 and spread_of(fixed) is Spread.LINE:
        u, _, vt = np.linalg.svd(covariance)
        rotation = _smallest_turn(vt[0], u[:, 0])
    else:
        rotation = nearest_rotation(covariance)
    factor = np.sum(rotation * covariance) / (f**2).sum() if scale else 1.0
    shift = moving.mean(0) - fixed.mean(0)
    return LinearTransform.from_parts(factor * rotation, shift, center=fixed.mean(0))


def affine_fit(fixed: Matrix, moving: Matrix) -> LinearTransform:
    """The least-squares affine transform."""
    f, m = fixed - fixed.mean(0), moving - moving.mean(0)
    linear = np.linalg.lstsq(f, m, rcond=None)[0].T
    return LinearTransform.from_parts(linear, moving.mean(0) - fixed.mean(0), center=fixed.mean(0))


def _translation(fixed: Matrix, moving: Matrix) -> LinearTransform:
    return LinearTransform.from_parts(np.eye(fixed.shape[1]), (moving - fixed).mean(0))


def _smallest_turn(one: Matrix, two: Matrix) -> Matrix:
    """The rotation about the axis across both directions that turns one to the other."""
    axis, cosine = np.cross(one, two), float(one @ two)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    if cosine < -1 + 1e-9:
        across = np.linalg.svd(one[None])[2][1]
        half_turn: Matrix = 2 * np.outer(across, across) - np.eye(3)
        return half_turn
    turn: Matrix = np.eye(3) + skew + skew @ skew / (1 + cosine)
    return turn


def _agreeing(fixed: Matrix, moving: Matrix, tolerance_mm: float) -> Matrix:
    """Which pairs one rigid transform joins, (n,) bool; all where too few can say."""
    everyone = np.ones(len(fixed), bool)
    if len(fixed) < _FEWEST_ROBUST:
        return everyone
    best, least, d = everyone, np.inf, fixed.shape[1]
    spread = float(np.linalg.norm(fixed - fixed.mean(0), axis=1).mean())
    for triple in _triples(len(fixed), d):
        if spread_of(fixed[triple]) in (Spread.POINT, *[Spread.LINE] * (d == 3)):
            continue
        linear = rigid_fit(fixed[triple], moving[triple])
        residuals = np.linalg.norm(linear(fixed) - moving, axis=1)
        median = float(np.median(np.delete(residuals, triple)))  # of those it was not fitted to
        if median < least:
            least = median
            best = residuals <= max(_OUTLIER * median, 3 * tolerance_mm, _BENDING * spread)
    return best


def _triples(n: int, d: int) -> list[list[int]]:
    """Some of all combinations of d points, the same for the same number."""
    every = list(islice(combinations(range(n), d), 20 * _TRIALS))
    if len(every) <= _TRIALS:
        return [list(each) for each in every]
    generator = np.random.default_rng(0)
    return [generator.choice(n, d, replace=False).tolist() for _ in range(_TRIALS)]


def _best_predicting(fixed: Matrix, moving: Matrix) -> tuple[str, LinearTransform]:
    """The kind of transform that predicts each pair best from the others."""
    fits: dict[str, Fit] = {
        "rigid": rigid_fit,
        "similarity": lambda f, m: rigid_fit(f, m, scale=True),
        "affine": affine_fit,
    }
    if len(fixed) < 2 * fixed.shape[1]:
        del fits["affine"]
    kind, least = "rigid", np.inf
    for name, fit in fits.items():
        error = _left_out_error(fit, fixed, moving)
        if error < _BETTER * least:
            kind, least = name, error
    linear = fits[kind](fixed, moving)
    return (kind, linear) if linear.determinant > 0 else ("rigid", rigid_fit(fixed, moving))


def _left_out_error(fit: Fit, fixed: Matrix, moving: Matrix) -> float:
    """Root mean square error in mm at each pair of what was fitted to the others."""
    others = [np.arange(len(fixed)) != n for n in range(len(fixed))]
    gaps = [fit(fixed[o], moving[o])(fixed[~o]) - moving[~o] for o in others]
    return float(np.sqrt(np.mean(np.sum(np.square(gaps), -1))))


def _require_no_mirror(
    fixed: Matrix, moving: Matrix, linear: LinearTransform, tolerance_mm: float
) -> None:
    if spread_of(fixed) is not list(Spread)[fixed.shape[1]]:
        return
    flip = np.ones(fixed.shape[1])
    flip[0] = -1
    mirrored = rigid_fit(fixed * flip, moving)
    straight, crossed = (
        float(np.sqrt(((fit(points) - moving) ** 2).sum(1).mean()))
        for fit, points in ((linear, fixed), (mirrored, fixed * flip))
    )
    if straight > max(_MIRROR_GAIN * crossed, 3 * tolerance_mm):
        raise InvalidOption(
            "the landmarks, or the middles of labels, of one side are a mirror image of the other",
            got=f"{straight:.3g} mm apart after the best rotation, {crossed:.3g} mm after a "
            "reflection",
            remedy="Check left and right, and the sign of each coordinate, of both sides.",
        )
