"""Overlap of structures that a network has labeled in both images, as one finding.

It is no truth: such labels agree with careful ones to Dice 0.8. What they can show is a structure
that a deformation has made worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from neuralreg.errors import InvalidImage
from neuralreg.review.findings.segment_measurements import join_names
from neuralreg.review.findings.verdicts import Measurement, Region
from neuralreg.review.report_model import Finding, QualityReport, SegmentOverlap, worst_of

NAME = "label_check"  # of the finding
_WORSE = 0.05  # Dice, more than a network's labels vary between two samplings of one head
_SOURCE = (
    "network labels: for information, they agree with careful ones to Dice 0.8; a structure that "
    f"loses more than {_WORSE:g} asks for a look"
)


def drives_by_network(registration: Mapping[str, Any] | None) -> bool:
    """Whether such labels drove a registration, by the options in its record; None without one."""
    options = (registration or {}).get("options", {})
    return bool(options.get("label_source") == "auto") and float(options.get("label_weight", 0)) > 0


def label_finding(overlaps: Sequence[SegmentOverlap], drove: bool = False) -> Finding:
    """The mean overlap of labeled structures, and which of them the deformation made worse.

    Args:
        overlaps: Of the structures that a network has labeled in both images.
        drove: Whether such labels drove the registration, so that they are no proof of it.

    Raises:
        InvalidImage: The images share no structure.
    """
    pairs = {
        one.name: (one.before.dice, one.after.dice)
        for one in overlaps
        if one.before is not None and one.after is not None
        if one.before.dice is not None and one.after.dice is not None
    }
    if not pairs:
        raise InvalidImage("the labeled structures of both images have nothing in common")
    worse = {n: (b, a) for n, (b, a) in pairs.items() if a < b - _WORSE}
    before, after = (float(np.mean(column)) for column in zip(*pairs.values(), strict=True))
    measurement = Measurement(
        NAME,
        "Structures labeled by a network, mean overlap (Dice)",
        "suspicion",
        after,
        "",
        Region("structures labeled by a network", len(pairs), "segments"),
        before,
    )
    words = f"Structures labeled by a network: Dice {after:.2f} on average ({before:.2f} before)"
    if worse:
        order = sorted(worse, key=lambda name: worse[name][1] - worse[name][0])
        texts = [f"{n} {worse[n][1]:.2f} ({worse[n][0]:.2f} before)" for n in order]
        words += f"; worse than before: {join_names(texts)}"
    if drove:
        words += "; such labels drove the registration, so their overlap is no proof of it"
    return measurement.suspect(bool(worse), words, _SOURCE)


def add_finding(report: QualityReport, finding: Finding) -> QualityReport:
    """A report with one more finding, which counts in its verdict.

    Args:
        report: Of a review.
        finding: Of the same deformation.
    """
    lines = (*report.lines, finding)
    return replace(report, lines=lines, verdict=worst_of([line.verdict for line in lines]))
