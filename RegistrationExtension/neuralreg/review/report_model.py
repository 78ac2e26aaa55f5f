"""What a review finds, as plain records that a panel, a file and a report share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Verdict = Literal["pass", "attention", "fail", "not measured", "shown"]
Detail = Literal["quick", "full"]
Group = Literal[
    "landmarks", "segments", "jacobian", "consistency", "agreement", "suspicion", "deformation"
]
OverlapStatus = Literal[
    "measured",
    "missing in the fixed segmentation",
    "missing in the moving segmentation",
    "empty after the deformation: it left the fixed image",
]
Point = tuple[float, ...]

WHOLE_IMAGE = "the whole image"  # the region where there is neither a mask nor a body
_RANK = {"fail": 2, "attention": 1}


@dataclass(frozen=True)
class Finding:
    """One number of a review, and what it means.

    Attributes:
        name: For programs.
        title: For people.
        value: None where nothing could be measured.
        unit: Of the value, the limit and the value before; "" for a number without unit.
        where: The region in which it was measured.
        count: On how many points, voxels or segments.
        counted: What was counted: "points", "voxels" or "segments".
        verdict: "shown" for numbers without a tolerance.
        source: Where the limit, or the measure, comes from.
        words: The finding as a sentence.
        group: The part of the report that it belongs to.
        before: The same number without the deformation, where that makes sense.
        limit: The bound that decided the verdict.
    """

    name: str
    title: str
    value: float | None
    unit: str
    where: str
    count: int
    counted: str
    verdict: Verdict
    source: str
    words: str
    group: Group
    before: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Location:
    """A place in the fixed image that deserves a look.

    Attributes:
        kind: "folding", "compression", "expansion", "forward-backward", "residual", "landmark",
            "roughness" or "coverage".
        point_lps: In mm.
        value: The number that is remarkable there.
        unit: Of the value.
        region: The structure, or the part of the image, in which the point lies.
        words: The location as a sentence.
        severity: 1 at the limit of its kind, more is worse.
    """

    kind: str
    point_lps: Point
    value: float
    unit: str
    region: str
    words: str
    severity: float


@dataclass(frozen=True)
class Agreement:
    """How well one structure agrees on both sides; None where a side is empty.

    Attributes:
        dice: 0 to 1.
        jaccard: 0 to 1.
        mean_mm: Mean distance between the surfaces.
        hd95_mm: 95 % Hausdorff distance of the surfaces.
        max_mm: Hausdorff distance of the surfaces.
        volume_change_percent: Of the warped moving structure against the fixed one.
        center_shift_mm: Distance between the centers of mass.
    """

    dice: float | None
    jaccard: float | None
    mean_mm: float | None
    hd95_mm: float | None
    max_mm: float | None
    volume_change_percent: float | None
    center_shift_mm: float | None


@dataclass(frozen=True)
class SegmentOverlap:
    """One structure, before and after the deformation.

    Attributes:
        label: Its number in both label maps.
        name: What it is called.
        status: "measured", or why it could not be.
        before: Without the transform; None when it was not measured.
        after: With the transform; None when it was not measured.
    """

    label: int
    name: str
    status: OverlapStatus
    before: Agreement | None
    after: Agreement | None


@dataclass(frozen=True)
class JacobianStatistics:
    """What the deformation does to volume in one region; a determinant of 1 is no change.

    Attributes:
        region: What the region is called.
        count: Voxels.
        minimum: Smallest determinant.
        p1: First percentile.
        p99: 99th percentile.
        maximum: Largest determinant.
        folding_percent: Share of voxels whose determinant is 0 or less (or no number).
        folding_ml: Their volume in the fixed image, in ml; mm2 x 1e-3 in the plane.
        sd_log: Standard deviation of the logarithm.
    """

    region: str
    count: int
    minimum: float
    p1: float
    p99: float
    maximum: float
    folding_percent: float
    folding_ml: float
    sd_log: float


@dataclass(frozen=True)
class Summary:
    """Many errors in a few numbers."""

    count: int
    mean: float
    median: float
    p95: float
    maximum: float


@dataclass(frozen=True)
class LandmarkErrors:
    """How far landmarks are from their partners, point by point.

    Attributes:
        names: Of the landmarks.
        fixed_lps: Their positions in the fixed image, mm.
        before_mm: Errors without the transform.
        after_mm: Errors with the transform.
        after_voxels: The same in samples of the moving image, along its axes.
    """

    names: tuple[str, ...]
    fixed_lps: tuple[Point, ...]
    before_mm: tuple[float, ...]
    after_mm: tuple[float, ...]
    after_voxels: tuple[float, ...]

    def summary(self, which: Literal["before", "after", "voxels"]) -> Summary:
        """Mean, median, 95th percentile and largest of one column."""
        column = {
            "before": self.before_mm,
            "after": self.after_mm,
            "voxels": self.after_voxels,
        }[which]
        values = np.asarray(column)
        return Summary(
            len(values),
            float(values.mean()),
            float(np.median(values)),
            float(np.percentile(values, 95)),
            float(values.max()),
        )


@dataclass(frozen=True)
class Histogram:
    """How often values fall between `edges` (one more than counts)."""

    title: str
    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class QualityReport:
    """Everything that a review found.

    Attributes:
        verdict: The worst of the findings that have a limit or raise a suspicion.
        detail: "quick" has looked at fewer samples.
        lines: The findings, by group.
        overlaps: One entry per structure.
        landmarks: Errors point by point; None without landmarks.
        jacobian: Of the whole image, the region that counts, and each structure.
        worst: Locations to look at, the most severe first.
        notes: What was assumed or could not be done.
        histograms: Of the Jacobian, the displacement and the forward-backward error.
        transform_hash: Of the transform that was reviewed; see `Deformation.sha256`.
        profile: The name of the limits.
        version: Of this program.
        seconds: Time per stage.
    """

    verdict: Verdict
    detail: Detail
    lines: tuple[Finding, ...]
    overlaps: tuple[SegmentOverlap, ...]
    landmarks: LandmarkErrors | None
    jacobian: tuple[JacobianStatistics, ...]
    worst: tuple[Location, ...]
    notes: tuple[str, ...]
    histograms: tuple[Histogram, ...]
    transform_hash: str
    profile: str
    version: str
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> QualityReport:
        """The report that was written by `as_record`, whether it went through JSON or not."""
        parts = dict(record)
        errors = parts["landmarks"]
        parts["landmarks"] = None if errors is None else LandmarkErrors(**_tuples(errors))
        parts["overlaps"] = tuple(map(_overlap, parts["overlaps"]))
        for name, kind in _LISTS.items():
            parts[name] = tuple(kind(**_tuples(one)) for one in parts[name])
        return cls(**_tuples(parts))

    def line(self, name: str) -> Finding:
        """The finding of this name.

        Raises:
            KeyError: There is none.
        """
        for finding in self.lines:
            if finding.name == name:
                return finding
        raise KeyError(name)


_LISTS: dict[str, Any] = {
    "lines": Finding,
    "jacobian": JacobianStatistics,
    "worst": Location,
    "histograms": Histogram,
}


def worst_of(verdicts: list[Verdict]) -> Verdict:
    """The most serious of some verdicts; "pass" when none is serious."""
    serious: list[Verdict] = [verdict for verdict in verdicts if verdict in _RANK]
    return max(serious, key=_RANK.__getitem__, default="pass")


def _overlap(record: Mapping[str, Any]) -> SegmentOverlap:
    sides = {
        side: None if record[side] is None else Agreement(**record[side])
        for side in ("before", "after")
    }
    return SegmentOverlap(**{**record, **sides})


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _tuple(value) for name, value in record.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list | tuple) else value
