"""Labels of both images for a review: whether a deformation brings structures together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuralreg.progress import Progress, stage

if TYPE_CHECKING:
    from neuralreg.review.geometry.deformation import Deformation
    from neuralreg.review.report_model import Finding


def check_labels(
    fixed: Path | None,
    moving: Path | None,
    deformation: Deformation,
    notes: list[str],
    progress: Progress,
) -> Finding:
    """What a network's labels of both images say about a deformation.

    Args:
        fixed, moving: T1-weighted images of brains.
        deformation: fixed to moving.
        notes: what to look at in the labels is appended.
        progress: gets a fraction and a message.

    Raises:
        InvalidOption: an image is missing.
        InvalidImage, WeightsUnavailable, ...: as `label_brain`.
    """
    from neuralreg.errors import InvalidImage, InvalidOption
    from neuralreg.io.image_files import read_image
    from neuralreg.io.itk import image_to_itk
    from neuralreg.registration.brain.structures import label_brain
    from neuralreg.review.findings.label_check import label_finding
    from neuralreg.review.measures.segment_overlap import overlaps

    if fixed is None or moving is None:
        raise InvalidOption("a check by labels needs both images", wanted="--fixed and --moving")
    sides = []
    for n, path in enumerate((fixed, moving)):
        part = stage(progress, n / 2, (n + 1) / 2)
        try:
            sides.append(label_brain(read_image(path), progress=part))
        except InvalidImage as error:
            raise error.at(str(path)) from error
    for path, side in zip((fixed, moving), sides, strict=True):
        notes += [f"{path}: {words}" for words in side.warnings]
    names = {segment.value: segment.name for segment in sides[0].segments}
    one, two = (image_to_itk(side.labels) for side in sides)
    return label_finding(overlaps(one, two, deformation, names=names, surfaces=False))
