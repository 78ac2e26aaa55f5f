"""The job "label_check": both brains of a review labeled, as one more row of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from neuralreg.errors import InvalidImage
from neuralreg.geometry.image import Image
from neuralreg.io.itk import image_to_itk
from neuralreg.progress import Progress, stage
from neuralreg.registration.brain.structures import label_brain
from neuralreg.review.findings.label_check import NAME, add_finding, label_finding
from neuralreg.review.geometry.deformation import Deformation
from neuralreg.review.measures.segment_overlap import overlaps
from neuralreg.review.report_model import QualityReport, SegmentOverlap, worst_of
from neuralreg.worker.review_job import deformation_of
from neuralreg.worker.shared_images import image_of


def check(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A report with what a network's labels of both images say.

    Args:
        arguments: report: its record; transform: as `ReviewJob` takes it; fixed, moving: the images
            and fixed_name, moving_name how messages call them; drove: whether such labels drove
            the registration.
        progress: called with a fraction and a message.

    Returns:
        report: its record, in which the row takes the place of an earlier one; structures: name and
        Dice before and after of each structure on both sides.

    Raises:
        InvalidImage, WeightsUnavailable, ...: as `label_brain`.
    """
    progress(0.0, "reading the images")
    images = [
        (arguments[f"{side}_name"], image_of(arguments[side])) for side in ("fixed", "moving")
    ]
    notes: list[str] = []
    deformation = deformation_of(arguments["transform"])
    agreements = compare_labels(images, deformation, notes, stage(progress, 0.0, 0.95))
    report = QualityReport.from_record(arguments["report"])
    report = _without_row(report, notes)
    return {
        "report": add_finding(
            report, label_finding(agreements, arguments.get("drove", False))
        ).as_record(),
        "structures": [
            (one.name, one.before.dice, one.after.dice)
            for one in agreements
            if one.before is not None and one.after is not None
        ],
    }


def compare_labels(
    images: Sequence[tuple[str, Image]],
    deformation: Deformation,
    notes: list[str],
    progress: Progress,
) -> tuple[SegmentOverlap, ...]:
    """The agreement of the structures that a network labels in both images, before and after.

    Args:
        images: names for messages, and T1-weighted images of brains: the fixed one, the moving one.
        deformation: fixed to moving.
        notes: what to look at in the labels is appended.
        progress: gets a fraction and a message.

    Raises:
        InvalidImage, WeightsUnavailable, ...: as `label_brain`.
    """
    sides = []
    for n, (name, image) in enumerate(images):
        part = stage(progress, n / 2, (n + 1) / 2)
        try:
            sides.append(label_brain(image, progress=part))
        except InvalidImage as error:
            raise error.at(name) from error
    for (name, _image), side in zip(images, sides, strict=True):
        notes += [f"{name}: {words}" for words in side.warnings]
    names = {segment.value: segment.name for segment in sides[0].segments}
    one, two = (image_to_itk(side.labels) for side in sides)
    return overlaps(one, two, deformation, names=names, surfaces=False)


def _without_row(report: QualityReport, notes: Sequence[str]) -> QualityReport:
    """The report before such a check, with what is to be noted about the labels."""
    lines = tuple(line for line in report.lines if line.name != NAME)
    new = [note for note in notes if note not in report.notes]
    verdict = worst_of([line.verdict for line in lines])
    return replace(report, lines=lines, verdict=verdict, notes=(*report.notes, *new))
