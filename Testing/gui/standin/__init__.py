"""What the Slicer application brings to Python, for a machine without the application.

`install()` gives `qt`, `ctk`, `slicer.app` and the rest under the names that they have in Slicer,
on top of PySide6 and the real MRML of slicer-core. Each name is listed in `sources.json` with the
file of Slicer, CTK or PythonQt that offers it; nothing else may be here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType


def install() -> Callable[[], None]:
    """Put the stand-in in place; call what comes back to take it away again.

    Where SLICER_PYTHON names a folder, Slicer's own modules are taken from there: see `genuine`.
    """
    import slicer
    from PySide6 import QtCore

    from . import ctk_widgets, mrml_widgets, qt_module
    from .application import Application
    from .ui_loader import UiLoader

    sys.modules.update({"qt": qt_module.qt_module(), "ctk": ctk_widgets.ctk_module()})
    app = Application.instance() or Application()
    widgets = {kind.__name__: kind for kind in mrml_widgets.WIDGETS}
    UiLoader.CUSTOM.update(widgets, **{kind.__name__: kind for kind in ctk_widgets.WIDGETS})
    attributes = {"app": app, "modules": ModuleType("slicer.modules"), **widgets}
    former = {name: getattr(slicer, name) for name in attributes if hasattr(slicer, name)}
    vars(slicer).update(attributes)
    parts = _parts()
    vars(slicer).update(parts)
    sys.modules.update({f"slicer.{name}": module for name, module in parts.items()})

    def uninstall() -> None:
        QtCore.QTimer.singleShot(0, app.quit)
        app.exec()  # tells everybody that the application is about to quit
        for name in ("qt", "ctk", *(f"slicer.{part}" for part in parts)):
            sys.modules.pop(name, None)
        for name in {**attributes, **parts}:
            delattr(slicer, name)
        vars(slicer).update(former)

    return uninstall


def _parts() -> dict[str, ModuleType]:
    """The modules below `slicer`."""
    if own := os.environ.get("SLICER_PYTHON"):
        from .genuine import genuine_modules

        return genuine_modules(Path(own))
    from . import packaging, parameter_node, scripted_module, translation

    return {
        "i18n": translation.i18n_module(),
        "parameterNodeWrapper": parameter_node.parameter_node_module(),
        "packaging": packaging.packaging_module(),
        "ScriptedLoadableModule": scripted_module,
    }
