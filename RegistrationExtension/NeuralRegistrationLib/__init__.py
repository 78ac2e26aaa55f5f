"""The Slicer side of Neural Registration: everything that knows MRML.

For scripts and the Python console, the same functions as behind the panels:

    from NeuralRegistrationLib import register, review

    done = register(getNode("MRHead"), getNode("Atlas"), preset="brain MR")
    print(done.result.outcome)
    print(review(done.transformNode).report.verdict)

`register` is explained in `Register.Logic`, `review` in `Review.Jobs`, `correct`, which puts a
place right by hand, in `Review.Corrections.CorrectionJob`; `Subject` are the nodes that a review
takes, `LandmarkPairs` finds which landmarks belong together, and `HeadlessScene` is a scene for
Python without a window.

Nothing is imported before it is needed: Slicer opens the module file at its start.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "register": "Register.Logic",
    "review": "Review.Jobs",
    "correct": "Review.Corrections.CorrectionJob",
    "registerSequence": "Batch.SequenceMotion",
    "buildTemplate": "Batch.TemplateBuild",
    "findBrain": "Register.BrainMask",
    "labelBrain": "Register.BrainLabels",
    "Subject": "Review.Request",
    "LandmarkPairs": "Review.Landmarks.LandmarkPairs",
    "HeadlessScene": "Scene.Headless",
}
_MODULES = ("LandmarkPairs",)
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
