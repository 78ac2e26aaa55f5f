"""What images and field alone can tell: signs that a deformation is wrong, and where.

None of them has a tolerance in TG-132: they ask for a look, and never pass or fail anything. The
thresholds were chosen on one half of `benchmarks/faults.py` and are reported on the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuralreg.geometry.grid import Grid
from neuralreg.review.case import COARSE, QUICK, Case, body
from neuralreg.review.findings.local_misalignment import (
    Residual,
    clusters,
    levels,
    residual,
    suspicious,
)
from neuralreg.review.findings.worst_places import peaks
from neuralreg.review.geometry.consistency import inverted
from neuralreg.review.geometry.volumes import limited, on_grid
from neuralreg.review.geometry.volumes import seen as within_image
from neuralreg.review.measures.intensity_similarity import mutual_information
from neuralreg.review.report_model import Line, Place

Array = NDArray[Any]
Mask = NDArray[np.bool_]

_OWN = "a detector of this program, see benchmarks/faults.py; no tolerance exists"
_APART_MM, _APART_SHARE = 10.0, 0.05  # two places, at most this share of the image
_ROUGH = 1.1  # samples: difference from the smoothed field
_SMOOTHED = 1.5  # samples
_BACKWARDS = 0.005  # mutual information that the inverse explains more
_WORSE = 0.002  # mutual information lost
_STILL = 0.1  # voxels
_UNCOVERED = 1.0  # percent of the body
_LOST = 30.0  # percent of the body


@dataclass(frozen=True)
class Suspicion:
    """A line and the places it speaks of."""

    line: Line
    places: tuple[Place, ...] = ()


def suspicions(case: Case) -> list[Suspicion]:
    """All that can be looked at with what is there."""
    found = [_roughness(case), _coverage(case)]
    title = "Images still apart"
    if case.fixed is None or case.moving is None:
        return [*found, _unknown("residual", title, "both images are needed")]
    if case.quick:
        return [*found, _unknown("residual", title, "the quick look leaves it out")]
    return [*found, _residual(case, limited(case.fixed_grid, COARSE)), _similarity(case)]


def _line(
    name: str,
    title: str,
    value: float | None,
    unit: str,
    case: Case,
    count: int,
    counted: str,
    alarm: bool,
    words: str,
    *,
    before: float | None = None,
    limit: float | None = None,
) -> Line:
    return Line(
        name=name,
        title=title,
        value=value,
        unit=unit,
        where=case.region,
        count=count,
        counted=counted,
        verdict="attention" if alarm else "shown",
        source=_OWN,
        words=words,
        group="suspicion",
        before=before,
        limit=limit,
    )


def _unknown(name: str, title: str, why: str) -> Suspicion:
    line = Line(
        name, title, None, "", "nowhere", 0, "voxels", "not measured", _OWN, why, "suspicion"
    )
    return Suspicion(line)


def _residual(case: Case, grid: Grid) -> Suspicion:
    places: list[Place] = []
    compared = 0
    tolerance = tolerated_mm(case.fixed_grid)
    for level in levels(grid, tolerance):
        u = case.deformation.on(level)
        fixed, _, warped, seen = case.images_on(level, u)
        found = residual(fixed, warped, seen, case.within(level), level, tolerance)
        compared = max(compared, int(found.usable.sum()))
        places += _residual_places(case, found)
    places = _apart(places, min(_APART_MM, _APART_SHARE * max(grid.extent_mm)))
    if not compared:
        return _unknown(
            "residual", "Images still apart", "no part of the fixed image shows enough to tell"
        )
    worst = max((place.value for place in places), default=0.0)
    words = (
        f"in {len(places)} places the images fit better when shifted by up to {worst:.2g} mm"
        if places
        else f"no place found where a shift of more than {tolerance:.2g} mm would make the images "
        "fit clearly better"
    )
    line = _line(
        "residual", "Images still apart", worst, "mm", case, compared, "blocks", bool(places), words
    )
    return Suspicion(line, tuple(places))


def tolerated_mm(grid: Grid) -> float:
    """How far images may be apart: the largest side of a voxel, as TG-132 has it for landmarks.

    At most twice the mean side: thick slices are no reason to overlook what their plane shows.
    """
    sides = np.array([s for s, n in zip(grid.spacing, grid.size, strict=True) if n > 1])
    return float(min(sides.max(), 2 * np.exp(np.log(sides).mean())))


def _residual_places(case: Case, found: Residual) -> list[Place]:
    places = []
    for cluster in clusters(suspicious(found)):
        at = np.unravel_index(int(np.where(cluster, found.support, -1).argmax()), cluster.shape)
        point, value = found.centers[at], float(found.length_mm[at])
        region = case.name_at(point)
        words = f"the images fit better when shifted by {value:.2g} mm around here, in {region}"
        severity = 1.0 + 10.0 * float(found.support[at])
        places.append(
            Place(
                "residual", tuple(np.round(point, 3).tolist()), value, "mm", region, words, severity
            )
        )
    return places


def _apart(places: list[Place], least_mm: float) -> list[Place]:
    """Of places that both levels found, the more severe one."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda p: -p.severity):
        gaps = [np.subtract(place.point_lps, other.point_lps) for other in kept]
        if all(np.linalg.norm(gap) > least_mm for gap in gaps):
            kept.append(place)
    return kept


def roughness(u: Array) -> Array:
    """How far, in mm, displacements are from their smoothed selves: high at seams and in noise."""
    parts = [u[..., c] - ndimage.gaussian_filter(u[..., c], _SMOOTHED) for c in range(u.shape[-1])]
    return np.asarray(np.sqrt(sum(p * p for p in parts)))


def _without_edge(grid: Grid) -> Mask:
    """The samples whose surroundings are known."""
    depth = round(2 * _SMOOTHED)
    inner = np.zeros(grid.shape, bool)
    inner[tuple(slice(depth, -depth) if n > 4 * depth else slice(None) for n in grid.shape)] = True
    return inner


def _roughness(case: Case) -> Suspicion:
    grid = case.coarse
    title = "Seams and noise in the field"
    if case.deformation.is_linear:
        line = _line("roughness", title, 0.0, "mm", case, 0, "voxels", False, "a linear transform")
        return Suspicion(line)
    rough, inside = roughness(case.coarse_u), case.within(grid) & _without_edge(grid)
    limit = _ROUGH * max(grid.spacing)
    places = []
    for index in peaks(rough, inside, grid):
        value = float(rough[index])
        if value <= limit:
            break
        point = grid.points_at(np.array(index[::-1], float))
        region = case.name_at(point)
        words = f"the field jumps or jitters by about {value:.2g} mm in {region}"
        point_lps = tuple(np.round(point, 3).tolist())
        places.append(Place("roughness", point_lps, value, "mm", region, words, value / limit))
    worst = float(rough[inside].max(initial=0.0))
    words = (
        f"the field jumps or jitters by up to {worst:.2g} mm between neighboring samples"
        if places
        else "the field is smooth"
    )
    line = _line(
        "roughness",
        title,
        worst,
        "mm",
        case,
        int(inside.sum()),
        "voxels",
        bool(places),
        words,
        limit=limit,
    )
    return Suspicion(line, tuple(places))


def _coverage(case: Case) -> Suspicion:
    """Whether the field is known where the body is."""
    own = case.deformation.grid
    title = "Body beyond the field"
    if own is None:
        line = _line("coverage", title, 0.0, "%", case, 0, "voxels", False, "known everywhere")
        return Suspicion(line)
    grid = case.coarse
    inside = case.within(grid)
    index = np.argwhere(inside)
    reach = own.indices_at(grid.points_at(index[:, ::-1].astype(float)))
    beyond = ~((reach >= -1) & (reach <= np.asarray(own.size))).all(1)
    share = 100.0 * float(beyond.mean())
    alarm = share > _UNCOVERED
    words = (
        f"{share:.1f} % of {case.region} lies beyond the field's grid, where only its border is "
        "continued: was it stored for another image, or with another spacing?"
        if alarm
        else "the field covers the body"
    )
    line = _line(
        "coverage", title, share, "%", case, len(index), "voxels", alarm, words, limit=_UNCOVERED
    )
    if not alarm:
        return Suspicion(line)
    middle = grid.points_at(index[beyond].mean(0)[::-1])
    place = Place(
        "coverage",
        tuple(np.round(middle, 3).tolist()),
        share,
        "%",
        case.name_at(middle),
        words,
        share / _UNCOVERED,
    )
    return Suspicion(line, (place,))


def _similarity(case: Case) -> Suspicion:
    """Whether the images agree more than before, and whether they would more the other way."""
    grid = limited(case.fixed_grid, QUICK)
    u = case.deformation.on(grid)
    fixed, moving, warped, seen = case.images_on(grid, u)
    counts = case.within(grid) & seen
    before, after = (mutual_information(fixed[counts], part[counts]) for part in (moving, warped))
    if before is None or after is None:
        return _unknown("similarity", "Agreement of the images", "too little is in both images")
    moved = float(np.linalg.norm(u, axis=-1)[counts].max()) / max(grid.spacing)
    words, alarm = "the images agree more than without the transform", False
    if moved < _STILL:
        words = "the transform moves nothing"
    elif after < before - _WORSE:
        words, alarm = "the images agree less than without the transform", True
    lost = 100.0 * (1 - float(seen[case.within(grid)].mean()))
    if lost > _LOST:
        words = f"{lost:.0f} % of {case.region} is mapped outside of the moving image"
        if alarm := _unused(case) > _LOST:
            words += ", and the same goes for the moving image: is it brought to the right place?"
        else:
            words += ", which shows no more of it"
    if not case.deformation.is_linear and moved >= _STILL:
        other = _other_way(case, grid, fixed)
        if other is not None and other > after + _BACKWARDS and other > before:
            words, alarm = "the images agree more with the inverse: wrong direction?", True
    line = _line(
        "similarity",
        "Agreement of the images",
        after,
        "",
        case,
        int(counts.sum()),
        "voxels",
        alarm,
        words,
        before=before,
    )
    return Suspicion(line)


def _unused(case: Case) -> float:
    """How much of the body in the moving image the fixed image does not take up, in percent."""
    assert case.moving is not None
    grid = limited(Grid.of(case.moving), QUICK)
    found = body(on_grid(case.moving, grid))
    there = np.ones(grid.shape, bool) if found is None else found
    back = (case.inverse or inverted(case.deformation, grid)[0]).on(grid)
    return 100.0 * (1 - float(within_image(case.fixed_grid, back, grid)[there].mean()))


def _other_way(case: Case, grid: Grid, fixed: Array) -> float | None:
    """The agreement that the inverse would give."""
    back = case.inverse or case.made_inverse[0]
    _, _, warped, seen = case.images_on(grid, back.on(grid))
    counts = case.within(grid) & seen
    return mutual_information(fixed[counts], warped[counts])
