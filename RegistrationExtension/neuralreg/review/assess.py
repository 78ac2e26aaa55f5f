"""assess(): everything that a review can say about a deformation."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from neuralreg import __version__
from neuralreg.errors import UnreadableFile
from neuralreg.geometry.typing import Array
from neuralreg.io.exchange.sides import Sides
from neuralreg.io.landmark_files import Pairs, read_pairs
from neuralreg.progress import Progress, silent
from neuralreg.registration.corrections.correction import Correction, in_words
from neuralreg.review.case import Case
from neuralreg.review.findings import measurements, worst_places
from neuralreg.review.findings.detectors import suspicions
from neuralreg.review.findings.segment_measurements import segment_findings
from neuralreg.review.findings.verdicts import Judge
from neuralreg.review.geometry.deformation import Deformation, ResultData, TransformLike
from neuralreg.review.geometry.volumes import ImageLike, labels_of, volume_of
from neuralreg.review.limits import Profile, read_profile
from neuralreg.review.measures.segment_overlap import overlaps
from neuralreg.review.measures.target_registration_error import independent_pairs, landmark_errors
from neuralreg.review.report_model import (
    Detail,
    Finding,
    Histogram,
    JacobianStatistics,
    LandmarkErrors,
    Location,
    QualityReport,
    SegmentOverlap,
    worst_of,
)
from neuralreg.review.workflow.provenance import registration_of

_USUAL_MM = 3.0  # where a profile has no limit to compare locations with
_BINS = 60
_NARROW = 0.01  # a histogram of equal values has a width all the same


class ReviewInputs(TypedDict, total=False):
    """What belongs to a transform under review; everything may be left out.

    Images and label maps are those of the core, of SimpleITK, or files.

    Attributes:
        fixed: The fixed image.
        moving: The moving image.
        fixed_labels: Label map of the fixed image.
        moving_labels: Label map of the moving image.
        mask: On the fixed side; only what is above 0 counts.
        sliding: Mask on the fixed side of what may slide along the rest: beside its border the
            field may jump, and nothing counts.
        names: Of the labels.
        landmarks: Pairs, or a CSV of pairs.
        inverse: The transform of the other direction; a registration of its own, as consistency
            asks for.
        source: The program of the transform file, such as "fsl", where its content does not
            decide. Files of some programs need `fixed` and `moving` as files, too.
        own_inverse: Whether the inverse was computed from the transform instead, as a result's own
            is: then only its exactness is shown.
    """

    fixed: ImageLike | None
    moving: ImageLike | None
    fixed_labels: ImageLike | None
    moving_labels: ImageLike | None
    mask: ImageLike | None
    sliding: ImageLike | None
    names: Mapping[int, str] | None
    landmarks: Pairs | str | Path | None
    inverse: TransformLike | None
    own_inverse: bool
    source: str | None


def assess(
    transform: TransformLike,
    *,
    profile: Profile | str | Path | None = None,
    detail: Detail = "full",
    compare_on: str = "finer",
    progress: Progress = silent,
    **inputs: Unpack[ReviewInputs],
) -> QualityReport:
    """Where a deformation can be trusted and where not, as far as the inputs can tell.

    Args:
        transform: A RegistrationResult (which brings its inverse), a DisplacementField, a SimpleITK
            transform, or a transform file; fixed to moving.
        profile: The limits; those of TG-132 unless given.
        detail: "quick" looks at fewer samples.
        compare_on: Segmentations are compared on the "finer" of both grids, or on the "fixed" one.
        progress: Called with a fraction and a stage.
        **inputs: What else is known, by name: `fixed`, `moving`, `fixed_labels`, `moving_labels`,
            `mask`, `sliding`, `names`, `landmarks`, `inverse` and `own_inverse`; see
            `ReviewInputs`.

    Raises:
        RegistrationError: As InvalidTransform, InvalidImage, UnreadableFile or InvalidOption.
    """
    case = case_of(transform, detail=detail, compare_on=compare_on, **inputs)
    limits = profile if isinstance(profile, Profile) else read_profile(profile)
    return review(case, limits, progress)


def case_of(
    transform: TransformLike,
    *,
    detail: Detail = "full",
    compare_on: str = "finer",
    **inputs: Unpack[ReviewInputs],
) -> Case:
    """What is to be reviewed, read and checked; the arguments are those of `assess`."""
    notes: list[str] = []

    def read(source: ImageLike | None, role: str) -> Any:
        return None if source is None else volume_of(source, role, notes)

    def read_labels(source: ImageLike | None, role: str) -> Any:
        return None if source is None else labels_of(source, role, notes)

    provenance = _provenance(transform, notes)
    notes += _corrected_by_hand(provenance)
    notes += steering_notes(
        steering_kinds(provenance),
        inputs.get("fixed_labels") is not None and inputs.get("moving_labels") is not None,
        inputs.get("sliding") is not None,
    )
    landmarks = inputs.get("landmarks")
    if isinstance(landmarks, str | Path):
        landmarks = read_pairs(landmarks)
    if landmarks is not None:
        landmarks = independent_pairs(landmarks.finite(), provenance)
        notes.extend(landmarks.notes)
        if not landmarks.names:
            notes.append("not measured: no pairs of landmarks that could prove anything")
    inverse, own_inverse = inputs.get("inverse"), inputs.get("own_inverse", False)
    if inverse is None and isinstance(transform, ResultData):
        inverse, own_inverse = transform.inverse_field, True
    return Case(
        deformation=_read(transform, inputs, inputs.get("source"), notes),
        fixed=read(inputs.get("fixed"), "fixed image"),
        moving=read(inputs.get("moving"), "moving image"),
        fixed_labels=read_labels(inputs.get("fixed_labels"), "fixed segmentation"),
        moving_labels=read_labels(inputs.get("moving_labels"), "moving segmentation"),
        mask=read(inputs.get("mask"), "mask"),
        sliding=read_labels(inputs.get("sliding"), "mask of what may slide"),
        landmarks=landmarks if landmarks and landmarks.names else None,
        inverse=None if inverse is None else _read_inverse(inverse, inputs, notes),
        names=dict(inputs.get("names") or {}),
        quick=detail == "quick",
        compare_on=compare_on,
        own_inverse=own_inverse,
        notes=notes,
    )


def steering_kinds(provenance: Mapping[str, Any]) -> list[str]:
    """Guides beside landmarks that a result was steered by: "labels", "surfaces", "sliding".

    Args:
        provenance: Of the registration; where the smooth field was kept, nothing slid.
    """
    kinds = [kind for kind in ("labels", "surfaces") if provenance.get(kind)]
    return kinds + ["sliding"] * bool((provenance.get("sliding") or {}).get("kept"))


def steering_notes(kinds: Collection[str], has_labels: bool, has_mask: bool) -> list[str]:
    """What guides of a registration mean for its review, in words.

    Args:
        kinds: Of the guides, as `steering_kinds` names them.
        has_labels: Whether structures of both sides are compared: those that drove, and what
            surfaces bound, agree for that reason already.
        has_mask: Whether the mask of what slid is there, beside whose border nothing counts.
    """
    notes = [
        f"{kind} drove the registration, so the overlap of the same structures is no proof of it"
        for kind in ("labels", "surfaces")
        if kind in kinds and has_labels
    ]
    if "sliding" in kinds and not has_mask:
        notes.append("a part slid along the rest, and without its mask that border is a seam")
    return notes


def _corrected_by_hand(provenance: Mapping[str, Any]) -> list[str]:
    """That a result was corrected, where and by whom, in words; nothing for one that was not."""
    corrections = [Correction.from_record(each) for each in provenance.get("corrections", ())]
    return [in_words(corrections)] if corrections else []


def _provenance(transform: TransformLike, notes: list[str]) -> Mapping[str, Any]:
    """How the transform came about: that of a result, or of the record beside a file."""
    if not isinstance(transform, str | Path):
        provenance: Mapping[str, Any] = getattr(transform, "provenance", {})
        return provenance
    try:
        return (registration_of(Path(transform)) or {}).get("provenance") or {}
    except UnreadableFile as error:
        notes.append(f"whether landmarks steered the registration is not known: {error}")
        return {}


def _read(
    transform: TransformLike, inputs: ReviewInputs, source: str | None, notes: list[str]
) -> Deformation:
    """The deformation; of a file with the images, on which its coordinates may depend."""
    if isinstance(transform, str | Path):
        return Deformation.from_file(Path(transform), _sides(inputs), source, notes)
    return Deformation.of(transform)


def _read_inverse(inverse: TransformLike, inputs: ReviewInputs, notes: list[str]) -> Deformation:
    if isinstance(inverse, str | Path):
        return Deformation.from_file(Path(inverse), _sides(inputs).exchange(), None, notes)
    return Deformation.of(inverse)


def _sides(inputs: ReviewInputs) -> Sides:
    images = (inputs.get("fixed"), inputs.get("moving"))
    return Sides(*(Path(one) if isinstance(one, str | Path) else None for one in images))


def review(case: Case, profile: Profile, progress: Progress = silent) -> QualityReport:
    """The report of a case, held against a profile."""
    timer, findings = _Timer(progress), _Findings(case, profile)
    for stage, fraction, look in (
        ("landmarks", 0.0, findings.landmarks),
        ("segmentations", 0.05, findings.segmentations),
        ("volume changes", 0.3, findings.volume_changes),
        ("forward and back", 0.5, findings.forward_and_back),
        ("the images", 0.65, findings.images),
        ("looking for signs of trouble", 0.75, findings.signs_of_trouble),
    ):
        timer.start(stage, fraction)
        look()
    timer.end()
    return QualityReport(
        verdict=worst_of([finding.verdict for finding in findings.all]),
        detail="quick" if case.quick else "full",
        lines=tuple(findings.all),
        overlaps=findings.overlaps,
        landmarks=findings.errors,
        jacobian=findings.regions,
        worst=worst_places.most_severe(findings.locations),
        notes=tuple(case.notes),
        histograms=_histograms(case, findings.error_map),
        transform_hash=case.deformation.sha256,
        profile=profile.name,
        version=__version__,
        seconds=timer.seconds,
    )


class _Findings:
    """Collects what one look after the other finds."""

    def __init__(self, case: Case, profile: Profile) -> None:
        self._case, self._profile = case, profile
        self._judge = Judge(profile, max(case.fixed_grid.spacing))
        self.all: list[Finding] = []
        self.locations: list[Location] = []
        self.errors: LandmarkErrors | None = None
        self.overlaps: tuple[SegmentOverlap, ...] = ()
        self.regions: tuple[JacobianStatistics, ...] = ()
        self.error_map: Array | None = None

    def landmarks(self) -> None:
        case = self._case
        if case.landmarks is not None:
            self.errors = landmark_errors(case.landmarks, case.deformation, case.moving_grid)
            bound = self._judge.bound("tre", _USUAL_MM)
            self.locations += worst_places.landmarks(case, self.errors, bound)
        self.all += measurements.landmark_findings(self._judge, self.errors)

    def segmentations(self) -> None:
        case = self._case
        fixed, moving = case.fixed_labels, case.moving_labels
        if fixed is not None and moving is not None:
            self.overlaps = overlaps(
                fixed,
                moving,
                case.deformation,
                names=case.names,
                grid=case.overlap_grid,
                surfaces=not case.quick,
            )
        both_given = fixed is not None and moving is not None
        self.all += segment_findings(self._judge, self.overlaps, both_given)

    def volume_changes(self) -> None:
        self.regions = measurements.jacobian_statistics(self._case)
        self.all += measurements.jacobian_findings(self._judge, self._case, self.regions)
        self.locations += worst_places.folds(self._case)
        self.locations += worst_places.volume_changes(self._case, self._profile)

    def forward_and_back(self) -> None:
        case = self._case
        findings, error = measurements.consistency_findings(self._judge, case)
        self.all += findings
        if error is not None and case.inverse is not None:
            self.error_map = error
            bound = self._judge.bound("consistency", _USUAL_MM)
            kind = "forward-backward"
            self.locations += worst_places.largest(case, kind, error, case.coarse, bound)

    def images(self) -> None:
        self.all += measurements.similarity_findings(self._case)
        self.all += measurements.deformation_findings(self._case)

    def signs_of_trouble(self) -> None:
        for suspicion in suspicions(self._case):
            self.all.append(suspicion.finding)
            self.locations += suspicion.locations


def _histograms(case: Case, error: Array | None) -> tuple[Histogram, ...]:
    inside = case.inside if case.inside.any() else np.ones(case.grid.shape, bool)
    coarse = case.within(case.coarse)
    length = np.linalg.norm(case.coarse_u, axis=-1)
    histograms = [
        _histogram(f"Jacobian in {case.region}", "", np.clip(case.determinant[inside], -0.5, 3)),
        _histogram(f"Displacement in {case.region}", "mm", length[coarse]),
    ]
    if error is not None:
        title = f"Forward-backward error in {case.region}"
        histograms.append(_histogram(title, "mm", error[coarse]))
    return tuple(histograms)


def _histogram(title: str, unit: str, values: Array) -> Histogram:
    low, high = float(values.min()), float(values.max())
    reach = (low, high) if high - low > _NARROW else (low - _NARROW, low + _NARROW)
    counts, edges = np.histogram(values, _BINS, reach)
    return Histogram(title, unit, tuple(edges.tolist()), tuple(counts.tolist()))


class _Timer:
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
