"""Where to look first: the locations that are worst in one way or another, ranked."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array, Mask
from neuralreg.review.case import Case
from neuralreg.review.limits import Profile
from neuralreg.review.report_model import LandmarkErrors, Location

_MOST_OF_A_KIND = 3
_MOST_FOLDS = 5
_APART_MM, _APART_SHARE = 20.0, 0.1  # two locations of one kind, at most this share of the image
_MOST = 20


def most_severe(locations: list[Location]) -> tuple[Location, ...]:
    """The most severe first, and no more than one can look at."""
    return tuple(sorted(locations, key=lambda location: -location.severity)[:_MOST])


def folds(case: Case) -> list[Location]:
    """The largest connected parts that are folded."""
    folded = ~(case.determinant > 0) & case.inside
    parts, n = ndimage.label(folded, np.ones((3,) * folded.ndim))
    if not n:
        return []
    sizes = np.bincount(parts.ravel())[1:]
    voxel_ml = float(np.prod(case.grid.spacing)) / 1000
    locations = []
    for part in np.argsort(-sizes)[:_MOST_FOLDS] + 1:
        at = np.argwhere(parts == part)
        values = case.determinant[tuple(at.T)]
        point = case.grid.points_at(at[np.argmin(values)][::-1].astype(float))
        volume = sizes[part - 1] * voxel_ml
        region = case.name_at(point)
        locations.append(
            Location(
                kind="folding",
                point_lps=_point(point),
                value=float(values.min()),
                unit="",
                region=region,
                words=f"{volume:.3g} ml folded in {region}, Jacobian down to {values.min():.2g}",
                severity=10.0 + float(sizes[part - 1]) / max(float(sizes.max()), 1.0),
            )
        )
    return locations


def volume_changes(case: Case, profile: Profile) -> list[Location]:
    """The strongest compression and expansion."""
    locations = []
    for kind, sign in (("compression", -1), ("expansion", 1)):
        bounds = [profile.bound(limit, 0.0) for limit in profile.of(kind)]
        bound = bounds[0] if bounds else (0.5 if sign < 0 else 2.0)
        positive = np.maximum(case.determinant, 1e-3)
        scale = np.log(positive) / np.log(bound)
        for index in peaks(scale, case.inside & (case.determinant > 0), case.grid):
            value = float(case.determinant[index])
            if sign * (value - 1) <= 0:
                continue
            point = case.grid.points_at(np.array(index[::-1], float))
            region = case.name_at(point)
            change = "shrinks to" if sign < 0 else "grows to"
            words = f"volume {change} {value:.2g} times in {region}"
            severity = float(scale[index])
            locations.append(Location(kind, _point(point), value, "", region, words, severity))
    return locations


def largest(case: Case, kind: str, values: Array, grid: Grid, bound: float) -> list[Location]:
    """Where a map is largest.

    Args:
        case: What is reviewed.
        kind: See `Location`.
        values: The map (z, y, x), mm.
        grid: Of the map.
        bound: In mm; what counts as severity 1.
    """
    locations = []
    for index in peaks(values, case.within(grid), grid):
        point = grid.points_at(np.array(index[::-1], float))
        region = case.name_at(point)
        value = float(values[index])
        words = f"{kind} error {value:.2g} mm in {region}"
        locations.append(Location(kind, _point(point), value, "mm", region, words, value / bound))
    return locations


def landmarks(case: Case, errors: LandmarkErrors, bound: float) -> list[Location]:
    """The landmarks that are farthest from their partners; `bound` in mm is severity 1."""
    order = np.argsort(errors.after_mm)[::-1][:_MOST_OF_A_KIND]
    locations = []
    for n in order.tolist():
        value, point = errors.after_mm[n], errors.fixed_lps[n]
        region = case.name_at(np.array(point))
        words = f"landmark {errors.names[n]} is {value:.2g} mm off in {region}"
        locations.append(Location("landmark", point, value, "mm", region, words, value / bound))
    return locations


def peaks(values: Array, inside: Mask, grid: Grid, most: int = _MOST_OF_A_KIND) -> list[Any]:
    """Indices z y x of the largest values where they count, some distance apart."""
    left = np.where(inside, values, -np.inf)
    apart_mm = min(_APART_MM, _APART_SHARE * max(grid.extent_mm))
    reach = [max(1, round(apart_mm / s)) for s in grid.spacing[::-1]]
    indices = []
    for _ in range(most):
        index = tuple(int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        if not np.isfinite(left[index]):
            break
        indices.append(index)
        box = tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip(index, reach, strict=True))
        left[box] = -np.inf
    return indices


def _point(point: Array) -> tuple[float, ...]:
    return tuple(round(float(v), 3) for v in point)
