"""Labels of both images for a review: whether a deformation brings structures together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuralreg.progress import Progress
    from neuralreg.review.geometry.deformation import Deformation
    from neuralreg.review.report_model import Finding


def check_labels(
    fixed: Path | None,
    moving: Path | None,
    deformation: Deformation,
    notes: list[str],
    drove: bool,
    progress: Progress,
) -> Finding:
    """What a network's labels of both images say about a deformation.

    Args:
        fixed, moving: T1-weighted images of brains.
        deformation: fixed to moving.
        notes: what to look at in the labels is appended.
        drove: whether such labels drove the registration.
        progress: gets a fraction and a message.

    Raises:
        InvalidOption: an image is missing.
        InvalidImage, WeightsUnavailable, ...: as `label_brain`.
    """
    from neuralreg.errors import InvalidOption
    from neuralreg.io.image_files import read_image
    from neuralreg.review.findings.label_check import label_finding
    from neuralreg.worker.scene_jobs.label_check_job import compare_labels

    if fixed is None or moving is None:
        raise InvalidOption("a check by labels needs both images", wanted="--fixed and --moving")
    images = [(str(path), read_image(path)) for path in (fixed, moving)]
    return label_finding(compare_labels(images, deformation, notes, progress), drove)
