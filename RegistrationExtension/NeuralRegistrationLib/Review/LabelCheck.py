"""A check by structures: a network labels both brains, and one row of a review says how they agree.

from NeuralRegistrationLib.Review.LabelCheck import checkLabels

checked = checkLabels(getNode("moving to fixed"), review(getNode("moving to fixed")).report)
print(checked.report.lines[-1].words, checked.structures)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neuralreg.errors import InvalidOption
from neuralreg.worker.serialization import Steps

from NeuralRegistrationLib.Register import RegistrationRecord
from NeuralRegistrationLib.Review import Jobs
from NeuralRegistrationLib.Review.Request import Subject
from NeuralRegistrationLib.Scene import Transforms
from NeuralRegistrationLib.Worker.RunJob import runJob

KIND = "label_check"
NETWORK = "subcortical18"  # that labels both brains


@dataclass(frozen=True)
class LabelCheck:
    """report: with the row. structures: name, Dice before and after of each."""

    report: Any
    structures: tuple[tuple[str, float, float], ...]


def checkLabels(transformNode, report, **call):
    """Label both brains of a transform, and add what that says to a report of it.

    call: wait, onDone and onProgress as for `review`. Raises RegistrationError; nothing is
    downloaded.
    """
    fixed, moving = Transforms.pairOf(transformNode)
    return submit(Subject(transformNode, fixed, moving), report, **{"wait": True, **call})


def submit(subject: Subject, report, *, wait: bool = False, onDone=None, onProgress=None):
    """The job of a check, or the `LabelCheck` that it gives."""
    if None in (subject.fixedVolume, subject.movingVolume):
        raise InvalidOption(
            "a check by labels needs both images", remedy="Choose the fixed and the moving volume."
        )
    check = Jobs.changeCheck(subject)
    record = RegistrationRecord.read(subject.transform)
    drove = record is not None and record.options.label_source == "auto"

    def arguments() -> Steps:
        fixed, moving = yield from subject.sides()
        return {
            "report": report.as_record(),
            "transform": (yield from subject.record()),
            "fixed": fixed,
            "moving": moving,
            "fixed_name": subject.fixedVolume.GetName(),
            "moving_name": subject.movingVolume.GetName(),
            "drove": drove,
        }

    def deliver(output) -> Steps:
        from neuralreg.review.report_model import QualityReport

        yield
        check()
        structures = tuple(map(tuple, output["structures"]))
        return LabelCheck(QualityReport.from_record(output["report"]), structures)

    return runJob(
        KIND,
        arguments(),
        deliver,
        wait=wait,
        check=check,
        scene=subject.transform.GetScene(),
        onDone=onDone,
        onProgress=onProgress,
    )
