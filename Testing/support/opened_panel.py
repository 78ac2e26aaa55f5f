"""The panel, opened in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence

from Testing.support.programs import environment, run_python

_OPEN = """
import sys, time
for name in {blocked!r}:
    sys.modules[name] = None
import slicer
from Testing.gui import standin
standin.install()
from NeuralRegistrationLib.Scene.Headless import HeadlessScene
scene = HeadlessScene()
errors = []
sys.excepthook = lambda kind, error, trace: errors.append(error)
import NeuralRegistration
panel = NeuralRegistration.NeuralRegistrationWidget()
slicer.app.processEvents()
loaded = [n for n in ("torch", "SimpleITK", "monai", "scipy") if sys.modules.get(n)]
print(loaded, errors, not panel.setupCard.widget.isHidden(), panel.setupCard.ui.setupLabel.text)
{then}
"""


def open_panel(blocked: Sequence[str] = (), then: str = "") -> list[str]:
    """What a fresh process prints that opens the panel.

    Args:
        blocked: modules that cannot be imported there.
        then: code that runs afterwards, with `panel`.
    """
    code = _OPEN.format(blocked=tuple(blocked), then=then)
    return run_python(code, env=environment(QT_QPA_PLATFORM="offscreen")).splitlines()
