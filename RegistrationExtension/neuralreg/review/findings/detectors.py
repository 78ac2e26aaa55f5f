"""What images and field alone can tell: signs that a deformation is wrong, and where.

None of them has a tolerance in TG-132: they ask for a look, and never pass or fail anything. The
thresholds were chosen on one half of `benchmarks/faults.py` and are reported on the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy import ndimage

from neuralreg.geometry.grid import Grid
from neuralreg.geometry.typing import Array, Mask
from neuralreg.review.case import COARSE, QUICK, Case, ImagePair, body
from neuralreg.review.findings.local_misalignment import (
    Residual,
    clusters,
    levels,
    residual,
    suspicious_blocks,
)
from neuralreg.review.findings.verdicts import Measurement, Region, not_measured
from neuralreg.review.findings.worst_places import peaks
from neuralreg.review.geometry.consistency import invert
from neuralreg.review.geometry.volumes import limit_samples, on_grid, valid_mask
from neuralreg.review.measures.intensity_similarity import mutual_information
from neuralreg.review.report_model import Finding, Location

_OWN = "a detector of this program, see benchmarks/faults.py; no tolerance exists"
_APART_MM, _APART_SHARE = 10.0, 0.05  # two locations, at most this share of the image
_ROUGH = 1.1  # samples: difference from the smoothed field
_SMOOTHED = 1.5  # samples
_BACKWARDS = 0.005  # mutual information that the inverse explains more
_WORSE = 0.002  # mutual information lost
_STILL = 0.1  # voxels
_UNCOVERED = 1.0  # percent of the body
_LOST = 30.0  # percent of the body

_RESIDUAL, _ROUGHNESS = "Images still apart", "Seams and noise in the field"
_COVERAGE, _SIMILARITY = "Body beyond the field", "Agreement of the images"


@dataclass(frozen=True)
class Suspicion:
    """A finding and the locations it speaks of."""

    finding: Finding
    locations: tuple[Location, ...] = ()


def suspicions(case: Case) -> list[Suspicion]:
    """All that can be looked at with what is there."""
    always = [_roughness(case), _coverage(case)]
    if case.pair is None:
        return [*always, _unknown("residual", _RESIDUAL, "both images are needed")]
    if case.quick:
        return [*always, _unknown("residual", _RESIDUAL, "the quick look leaves it out")]
    grid = limit_samples(case.fixed_grid, COARSE)
    return [*always, _residual(case, case.pair, grid), _similarity(case, case.pair)]


def _suspect(
    measurement: Measurement,
    words: str,
    locations: list[Location] | None = None,
    limit: float | None = None,
) -> Suspicion:
    """A suspicion that raises an alarm where it has locations."""
    finding = measurement.suspect(bool(locations), words, _OWN, limit)
    return Suspicion(finding, tuple(locations or ()))


def _unknown(name: str, title: str, why: str) -> Suspicion:
    return Suspicion(not_measured(name, title, "suspicion", why, _OWN))


def _residual(case: Case, pair: ImagePair, grid: Grid) -> Suspicion:
    locations: list[Location] = []
    compared = 0
    tolerance = tolerance_mm(case.fixed_grid)
    for level in levels(grid, tolerance):
        images = pair.on_grid(level, case.deformation.on(level))
        inside = case.within(level)
        search = residual(images.fixed, images.warped, images.valid, inside, level, tolerance)
        compared = max(compared, int(search.usable.sum()))
        locations += _residual_locations(case, search)
    locations = _merge_levels(locations, min(_APART_MM, _APART_SHARE * max(grid.extent_mm)))
    if not compared:
        why = "no part of the fixed image shows enough to tell"
        return _unknown("residual", _RESIDUAL, why)
    worst = max((location.value for location in locations), default=0.0)
    words = (
        f"in {len(locations)} places the images fit better when shifted by up to {worst:.2g} mm"
        if locations
        else f"nowhere would a shift of more than {tolerance:.2g} mm make the images fit clearly "
        "better"
    )
    region = Region(case.region, compared, "blocks")
    measurement = Measurement("residual", _RESIDUAL, "suspicion", worst, "mm", region)
    return _suspect(measurement, words, locations)


def tolerance_mm(grid: Grid) -> float:
    """How far images may be apart: the largest side of a voxel, as TG-132 has it for landmarks.

    At most twice the mean side: thick slices are no reason to overlook what their plane shows.
    """
    sides = np.array([s for s, n in zip(grid.spacing, grid.size, strict=True) if n > 1])
    return float(min(sides.max(), 2 * np.exp(np.log(sides).mean())))


def _residual_locations(case: Case, search: Residual) -> list[Location]:
    locations = []
    for cluster in clusters(suspicious_blocks(search)):
        at = np.unravel_index(int(np.where(cluster, search.support, -1).argmax()), cluster.shape)
        point, value = search.centers[at], float(search.length_mm[at])
        region = case.name_at(point)
        words = f"the images fit better when shifted by {value:.2g} mm around here, in {region}"
        severity = 1.0 + 10.0 * float(search.support[at])
        locations.append(
            Location("residual", _round_point(point), value, "mm", region, words, severity)
        )
    return locations


def _round_point(point: Array) -> tuple[float, ...]:
    return tuple(np.round(point, 3).tolist())


def _merge_levels(locations: list[Location], least_mm: float) -> list[Location]:
    """Of locations that both levels report, the more severe one."""
    distinct: list[Location] = []
    for location in sorted(locations, key=lambda p: -p.severity):
        gaps = [np.subtract(location.point_lps, other.point_lps) for other in distinct]
        if all(np.linalg.norm(gap) > least_mm for gap in gaps):
            distinct.append(location)
    return distinct


def roughness(u: Array) -> Array:
    """How far, in mm, displacements are from their smoothed selves: high at seams and in noise.

    Args:
        u: Displacements (z, y, x, d), mm.
    """
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
    if case.deformation.is_linear:
        region = Region(case.region, 0)
        measurement = Measurement("roughness", _ROUGHNESS, "suspicion", 0.0, "mm", region)
        return _suspect(measurement, "a linear transform is smooth")
    rough, inside = roughness(case.coarse_u), case.within(grid) & _without_edge(grid)
    inside &= ~case.beside_border(grid, ceil(3 * _SMOOTHED))
    limit = _ROUGH * max(grid.spacing)
    locations = []
    for index in peaks(rough, inside, grid):
        value = float(rough[index])
        if value <= limit:
            break
        point = grid.points_at(np.array(index[::-1], float))
        name = case.name_at(point)
        words = f"the field jumps or jitters by about {value:.2g} mm in {name}"
        at = _round_point(point)
        locations.append(Location("roughness", at, value, "mm", name, words, value / limit))
    worst = float(rough[inside].max(initial=0.0))
    words = (
        f"the field jumps or jitters by up to {worst:.2g} mm between neighboring samples"
        if locations
        else "the field is smooth"
    )
    region = Region(case.region, int(inside.sum()))
    measurement = Measurement("roughness", _ROUGHNESS, "suspicion", worst, "mm", region)
    return _suspect(measurement, words, locations, limit)


def _coverage(case: Case) -> Suspicion:
    """Whether the field is known where the body is."""
    field_grid = case.deformation.grid
    if field_grid is None:
        region = Region(case.region, 0)
        measurement = Measurement("coverage", _COVERAGE, "suspicion", 0.0, "%", region)
        return _suspect(measurement, "the transform is known everywhere")
    grid = case.coarse
    index = np.argwhere(case.within(grid))
    in_field = field_grid.indices_at(grid.points_at(index[:, ::-1].astype(float)))
    beyond = ~((in_field >= -1) & (in_field <= np.asarray(field_grid.size))).all(1)
    share = 100.0 * float(beyond.mean())
    region = Region(case.region, len(index))
    measurement = Measurement("coverage", _COVERAGE, "suspicion", share, "%", region)
    if share <= _UNCOVERED:
        return _suspect(measurement, "the field covers the body", limit=_UNCOVERED)
    words = (
        f"{share:.1f} % of {case.region} lies beyond the field's grid, where only its border is "
        "continued: was it stored for another image, or with another spacing?"
    )
    middle = grid.points_at(index[beyond].mean(0)[::-1])
    at, name = _round_point(middle), case.name_at(middle)
    location = Location("coverage", at, share, "%", name, words, share / _UNCOVERED)
    return _suspect(measurement, words, [location], _UNCOVERED)


def _similarity(case: Case, pair: ImagePair) -> Suspicion:
    """Whether the images agree more than before, and whether they would more the other way."""
    grid = limit_samples(case.fixed_grid, QUICK)
    u = case.deformation.on(grid)
    images = pair.on_grid(grid, u)
    counts = case.within(grid) & images.valid
    before, after = (
        mutual_information(images.fixed[counts], part[counts])
        for part in (images.moving, images.warped)
    )
    if before is None or after is None:
        why = "both images show too little in common"
        return _unknown("similarity", _SIMILARITY, why)
    moved = float(np.linalg.norm(u, axis=-1)[counts].max()) / max(grid.spacing)
    words, alarm = "the images agree more than without the transform", False
    if moved < _STILL:
        words = "the transform moves nothing"
    elif after < before - _WORSE:
        words, alarm = "the images agree less than without the transform", True
    lost = 100.0 * (1 - float(images.valid[case.within(grid)].mean()))
    if lost > _LOST:
        words = f"{lost:.0f} % of {case.region} is mapped outside of the moving image"
        if alarm := _share_outside(case, pair) > _LOST:
            words += ", and vice versa: is the moving image mapped to the right place?"
        else:
            words += ", which shows no more of it"
    if not case.deformation.is_linear and moved >= _STILL:
        inverse = _similarity_of_inverse(case, pair, grid)
        if inverse is not None and inverse > after + _BACKWARDS and inverse > before:
            words, alarm = "the images agree more with the inverse: wrong direction?", True
    region = Region(case.region, int(counts.sum()))
    measurement = Measurement("similarity", _SIMILARITY, "suspicion", after, "", region, before)
    return Suspicion(measurement.suspect(alarm, words, _OWN))


def _share_outside(case: Case, pair: ImagePair) -> float:
    """How much of the body in the moving image the fixed image does not take up, in percent."""
    grid = limit_samples(Grid.of(pair.moving), QUICK)
    mask = body(on_grid(pair.moving, grid))
    inside = np.ones(grid.shape, bool) if mask is None else mask
    inverse = (case.inverse or invert(case.deformation, grid)[0]).on(grid)
    return 100.0 * (1 - float(valid_mask(case.fixed_grid, inverse, grid)[inside].mean()))


def _similarity_of_inverse(case: Case, pair: ImagePair, grid: Grid) -> float | None:
    """The mutual information that the inverse would give."""
    inverse = case.inverse or case.estimated_inverse[0]
    images = pair.on_grid(grid, inverse.on(grid))
    counts = case.within(grid) & images.valid
    return mutual_information(images.fixed[counts], images.warped[counts])
