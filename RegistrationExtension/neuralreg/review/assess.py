"""assess(): everything that a review can say about a deformation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralreg import __version__
from neuralreg.progress import Progress, silent
from neuralreg.review.case import Case
from neuralreg.review.findings import measurements, worst_places
from neuralreg.review.findings.detectors import suspicions
from neuralreg.review.findings.segment_measurements import segment_lines
from neuralreg.review.findings.verdicts import Judge
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.geometry.volumes import labels_of, volume_of
from neuralreg.review.limits import Profile, read_profile
from neuralreg.review.measures.landmarks import Pairs, read_pairs
from neuralreg.review.measures.segment_overlap import overlaps
from neuralreg.review.measures.target_registration_error import errors
from neuralreg.review.report_model import (
    Histogram,
    JacobianStatistics,
    LandmarkErrors,
    Line,
    Place,
    QualityReport,
    SegmentOverlap,
    worst_of,
)

Array = NDArray[Any]

_USUAL_MM = 3.0  # where a profile has no limit to compare places with
_BINS = 60
_NARROW = 0.01  # a histogram of equal values has a width all the same


def assess(
    result_or_field: object,
    *,
    fixed: object = None,
    moving: object = None,
    fixed_labels: object = None,
    moving_labels: object = None,
    names: Mapping[int, str] | None = None,
    landmarks: Pairs | str | Path | None = None,
    mask: object = None,
    inverse: object = None,
    own_inverse: bool = False,
    profile: Profile | str | Path | None = None,
    detail: str = "full",
    compare_on: str = "finer",
    progress: Progress = silent,
) -> QualityReport:
    """Where a deformation can be trusted and where not, as far as what is given can tell.

    result_or_field: a RegistrationResult (which brings its inverse), a DisplacementField, a
    SimpleITK transform, or a transform file; fixed to moving.
    fixed, moving, fixed_labels, moving_labels, mask (on the fixed side): images of the core, of
    SimpleITK, or files. names: of the labels. landmarks: pairs, or a CSV of pairs.
    inverse: the transform of the other direction, like result_or_field; a registration of its own,
    as consistency asks for. own_inverse: whether it was computed from the transform instead, as a
    result's own is: then only its exactness is shown.
    profile: the limits; those of TG-132 unless given. detail: "quick" looks at fewer samples.
    compare_on: segmentations are compared on the "finer" of both grids, or on the "fixed" one.

    Raises RegistrationError: InvalidTransform, InvalidImage, UnreadableFile, InvalidOption.
    """
    case = case_of(
        result_or_field,
        fixed=fixed,
        moving=moving,
        fixed_labels=fixed_labels,
        moving_labels=moving_labels,
        names=names,
        landmarks=landmarks,
        mask=mask,
        inverse=inverse,
        own_inverse=own_inverse,
        detail=detail,
        compare_on=compare_on,
    )
    limits = profile if isinstance(profile, Profile) else read_profile(profile)
    return review(case, limits, progress)


def case_of(
    result_or_field: object,
    *,
    fixed: object = None,
    moving: object = None,
    fixed_labels: object = None,
    moving_labels: object = None,
    names: Mapping[int, str] | None = None,
    landmarks: Pairs | str | Path | None = None,
    mask: object = None,
    inverse: object = None,
    own_inverse: bool = False,
    detail: str = "full",
    compare_on: str = "finer",
) -> Case:
    """What is to be reviewed, read and checked; see `assess`."""
    notes: list[str] = []

    def labels(source: object, role: str) -> Any:
        return None if source is None else labels_of(source, role, notes)

    def image(source: object, role: str) -> Any:
        return None if source is None else volume_of(source, role, notes)

    if inverse is None:
        inverse = getattr(result_or_field, "inverse_field", None)
        own_inverse = inverse is not None
    return Case(
        deformation=Deformation.of(result_or_field),
        fixed=image(fixed, "fixed image"),
        moving=image(moving, "moving image"),
        fixed_labels=labels(fixed_labels, "fixed segmentation"),
        moving_labels=labels(moving_labels, "moving segmentation"),
        mask=image(mask, "mask"),
        landmarks=read_pairs(landmarks) if isinstance(landmarks, str | Path) else landmarks,
        inverse=None if inverse is None else Deformation.of(inverse),
        names=dict(names or {}),
        quick=detail == "quick",
        compare_on=compare_on,
        own_inverse=own_inverse,
        notes=notes,
    )


def review(case: Case, profile: Profile, progress: Progress = silent) -> QualityReport:
    """The report of a case, held against a profile."""
    clock, found = _Clock(progress), _Findings(case, profile)
    for stage, fraction, look in (
        ("landmarks", 0.0, found.landmarks),
        ("segmentations", 0.05, found.segmentations),
        ("volume changes", 0.3, found.volume_changes),
        ("forward and back", 0.5, found.forward_and_back),
        ("the images", 0.65, found.images),
        ("looking for signs of trouble", 0.75, found.signs_of_trouble),
    ):
        clock.start(stage, fraction)
        look()
    clock.end()
    return QualityReport(
        verdict=worst_of([line.verdict for line in found.lines]),
        detail="quick" if case.quick else "full",
        lines=tuple(found.lines),
        overlaps=found.overlaps,
        landmarks=found.errors,
        jacobian=found.regions,
        worst=worst_places.ranked(found.places),
        notes=tuple(case.notes),
        histograms=_histograms(case, found.error_map),
        transform_hash=case.deformation.sha256,
        profile=profile.name,
        version=__version__,
        seconds=clock.seconds,
    )


class _Findings:
    """What one look after the other brings together."""

    def __init__(self, case: Case, profile: Profile) -> None:
        self._case, self._profile = case, profile
        self._judge = Judge(profile, max(case.fixed_grid.spacing))
        self.lines: list[Line] = []
        self.places: list[Place] = []
        self.errors: LandmarkErrors | None = None
        self.overlaps: tuple[SegmentOverlap, ...] = ()
        self.regions: tuple[JacobianStatistics, ...] = ()
        self.error_map: Array | None = None

    def landmarks(self) -> None:
        case = self._case
        if case.landmarks is not None:
            self.errors = errors(case.landmarks, case.deformation, case.moving_grid)
            bound = self._judge.bound("tre", _USUAL_MM)
            self.places += worst_places.landmarks(case, self.errors, bound)
        self.lines += measurements.landmark_lines(self._judge, self.errors)

    def segmentations(self) -> None:
        case = self._case
        given = case.fixed_labels is not None and case.moving_labels is not None
        if case.fixed_labels is not None and case.moving_labels is not None:
            self.overlaps = overlaps(
                case.fixed_labels,
                case.moving_labels,
                case.deformation,
                names=case.names,
                grid=case.overlap_grid,
                surfaces=not case.quick,
            )
        self.lines += segment_lines(self._judge, self.overlaps, given)

    def volume_changes(self) -> None:
        self.regions = measurements.jacobian_statistics(self._case)
        self.lines += measurements.jacobian_lines(self._judge, self._case, self.regions)
        self.places += worst_places.folds(self._case)
        self.places += worst_places.volume_changes(self._case, self._profile)

    def forward_and_back(self) -> None:
        case = self._case
        lines, error = measurements.consistency_lines(self._judge, case)
        self.lines += lines
        if error is not None and case.inverse is not None:
            self.error_map = error
            bound = self._judge.bound("consistency", _USUAL_MM)
            kind = "forward-backward"
            self.places += worst_places.largest(case, kind, error, case.coarse, bound)

    def images(self) -> None:
        self.lines += measurements.agreement_lines(self._case)
        self.lines += measurements.deformation_lines(self._case)

    def signs_of_trouble(self) -> None:
        for suspicion in suspicions(self._case):
            self.lines.append(suspicion.line)
            self.places += suspicion.places


def _histograms(case: Case, error: Array | None) -> tuple[Histogram, ...]:
    inside = case.inside if case.inside.any() else np.ones(case.grid.shape, bool)
    coarse = case.within(case.coarse)
    length = np.linalg.norm(case.coarse_u, axis=-1)
    found = [
        _histogram(f"Jacobian in {case.region}", "", np.clip(case.determinant[inside], -0.5, 3)),
        _histogram(f"Displacement in {case.region}", "mm", length[coarse]),
    ]
    if error is not None:
        title = f"Forward-backward error in {case.region}"
        found.append(_histogram(title, "mm", error[coarse]))
    return tuple(found)


def _histogram(title: str, unit: str, values: Array) -> Histogram:
    low, high = float(values.min()), float(values.max())
    reach = (low, high) if high - low > _NARROW else (low - _NARROW, low + _NARROW)
    counts, edges = np.histogram(values, _BINS, reach)
    return Histogram(title, unit, tuple(edges.tolist()), tuple(counts.tolist()))


class _Clock:
    """Seconds per stage, and the progress."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress, self._stage, self._began = progress, "", time.perf_counter()

    def start(self, stage: str, fraction: float) -> None:
        self._close()
        self._stage, self._began = stage, time.perf_counter()
        self._progress(fraction, stage)

    def end(self) -> None:
        self._close()
        self._progress(1.0, "done")

    def _close(self) -> None:
        if self._stage:
            self.seconds[self._stage] = round(time.perf_counter() - self._began, 3)
