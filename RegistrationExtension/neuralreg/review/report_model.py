"""What a review finds, as plain records that a panel, a file and a report share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Verdict = Literal["pass", "attention", "fail", "not measured", "shown"]
Group = Literal[
    "landmarks", "segments", "jacobian", "consistency", "agreement", "suspicion", "deformation"
]
Point = tuple[float, ...]

_RANK = {"fail": 2, "attention": 1}


@dataclass(frozen=True)
class Line:
    """One number of a review, and what it means.

    name: for programs. title: for people. value: None where nothing could be measured.
    before: the same number without the deformation, where that makes sense.
    where: the region it was measured in. count, counted: on how many points, voxels or segments.
    limit: what it is held against. source: where the limit, or the measure, comes from.
    words: the line as a sentence.
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
class Place:
    """A place in the fixed image that deserves a look.

    kind: "folding", "compression", "expansion", "forward-backward", "residual", "landmark",
    "seam", "noise". point_lps: mm. severity: 1 at the limit of its kind, more is worse.
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
    """How well one structure agrees on both sides.

    dice, jaccard: 0 to 1. mean_mm, hd95_mm, max_mm: distances between the surfaces.
    volume_change_percent: of the moving structure, as brought, against the fixed one.
    center_shift_mm: between the centers of mass. None where a side is empty.
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

    status: "measured", or what is missing, in words.
    """

    label: int
    name: str
    status: str
    before: Agreement | None
    after: Agreement | None


@dataclass(frozen=True)
class JacobianStatistics:
    """What the deformation does to volume in one region; 1 is no change.

    folding_percent, folding_ml: where the determinant is 0 or less (or no number); ml in the fixed
    image, mm2 x 1e-3 in the plane. sd_log: standard deviation of the logarithm.
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

    before_mm, after_mm: without and with the transform. after_voxels: in samples of the moving
    image, along its axes.
    """

    names: tuple[str, ...]
    fixed_lps: tuple[Point, ...]
    before_mm: tuple[float, ...]
    after_mm: tuple[float, ...]
    after_voxels: tuple[float, ...]

    def summary(self, which: Literal["before", "after", "voxels"]) -> Summary:
        """Mean, median, 95 % and largest of one column."""
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

    verdict: the worst of the lines that are held against a limit or raise a suspicion.
    detail: "quick" has looked at fewer samples. worst: ranked, the most severe first.
    transform_hash: of what was reviewed; see `hash_of`. notes: what was assumed or could not be
    done. seconds: per stage.
    """

    verdict: Verdict
    detail: str
    lines: tuple[Line, ...]
    overlaps: tuple[SegmentOverlap, ...]
    landmarks: LandmarkErrors | None
    jacobian: tuple[JacobianStatistics, ...]
    worst: tuple[Place, ...]
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
        made = dict(record)
        marks = made["landmarks"]
        made["landmarks"] = None if marks is None else LandmarkErrors(**_tuples(marks))
        made["overlaps"] = tuple(map(_overlap, made["overlaps"]))
        for name, kind in _LISTS.items():
            made[name] = tuple(kind(**_tuples(one)) for one in made[name])
        return cls(**_tuples(made))

    def line(self, name: str) -> Line:
        """The line of this name. Raises KeyError when there is none."""
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(name)


_LISTS: dict[str, Any] = {
    "lines": Line,
    "jacobian": JacobianStatistics,
    "worst": Place,
    "histograms": Histogram,
}


def worst_of(verdicts: list[Verdict]) -> Verdict:
    """The most serious of some verdicts; "pass" when none is serious."""
    return (
        max(verdicts, key=lambda v: _RANK.get(v, 0), default="pass")
        if ({"fail", "attention"} & set(verdicts))
        else "pass"
    )


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
