"""May this deformation be used? Numbers, limits, places, decisions and reports; without torch.

    from neuralreg.review import ACCEPTED, Decision, write_report

`neuralreg.assess` is the review itself. The names below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuralreg.review.limits import read_profile as read_profile
    from neuralreg.review.report.formats import write_report as write_report
    from neuralreg.review.report_model import QualityReport as QualityReport
    from neuralreg.review.workflow.decision import ACCEPTED as ACCEPTED
    from neuralreg.review.workflow.decision import Decision as Decision
    from neuralreg.review.workflow.decision import is_void as is_void
    from neuralreg.review.workflow.robustness import robustness as robustness

_HOMES = {
    "read_profile": "limits",
    "write_report": "report.formats",
    "QualityReport": "report_model",
    "ACCEPTED": "workflow.decision",
    "Decision": "workflow.decision",
    "is_void": "workflow.decision",
    "robustness": "workflow.robustness",
}
__all__ = list(_HOMES)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
