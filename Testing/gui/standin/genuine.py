"""Slicer's own Python files in place of the ones written here.

    SLICER_PYTHON=.../Slicer/Base/Python/slicer python -m pytest Testing/gui

They are never part of this repository; what passes on them too relies on nothing private.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import ctk
import slicer
from PySide6 import QtWidgets

# Widgets that Slicer's files name, and the panels do not use.
_NAMED = {
    ctk: "CheckBox CheckablePushButton ColorPickerButton ComboBox DirectoryButton "
    "DoubleRangeSlider DoubleSlider DoubleSpinBox PathLineEdit RangeWidget",
    slicer: "RangeWidget SliderWidget SpinBox",
}
PARTS = ("i18n", "parameterNodeWrapper", "packaging", "ScriptedLoadableModule")


def genuine_modules(folder: Path) -> dict[str, ModuleType]:
    """The modules of `slicer` that lie in a folder of Slicer's sources."""
    for module, names in _NAMED.items():
        prefix = "ctk" if module is ctk else "qMRML"
        for name in (prefix + n for n in names.split()):
            if not hasattr(module, name):
                setattr(module, name, type(name, (QtWidgets.QWidget,), {}))
    if str(folder) not in slicer.__path__:
        slicer.__path__.append(str(folder))
    return {name: importlib.import_module(f"slicer.{name}") for name in PARTS}
