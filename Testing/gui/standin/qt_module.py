"""The module `qt`: what PythonQt offers of QtCore, QtGui and QtWidgets, all in one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import ModuleType

from PySide6 import QtCore, QtGui, QtWidgets

from .manners import teach
from .ui_loader import UiLoader

_SOURCES = Path(__file__).with_name("sources.json")
NAMES = sorted(json.loads(_SOURCES.read_text(encoding="utf-8"))["qt"])
_OWN = ("QFileDialog", "QSettings", "QUiLoader")


class FileDialog(QtWidgets.QFileDialog):
    """Answers with a path alone, as PythonQt does; Cancel is pressed unless a test answers."""

    @staticmethod
    def getOpenFileName(parent=None, caption="", folder="", filters=""):
        return ""

    @staticmethod
    def getSaveFileName(parent=None, caption="", folder="", filters=""):
        return ""

    @staticmethod
    def getExistingDirectory(parent=None, caption="", folder=""):
        return ""


class Settings(QtCore.QSettings):
    """Settings in a file of this process instead of the user's."""

    _folder = tempfile.TemporaryDirectory(prefix="settings")
    _path = str(Path(_folder.name) / "Slicer.ini")

    def __init__(self, *_):
        super().__init__(self._path, QtCore.QSettings.IniFormat)


def qt_module() -> ModuleType:
    """The module, made of PySide6 with PythonQt's manners."""
    teach()
    made = ModuleType("qt")
    for name in set(NAMES) - set(_OWN):
        home = next(m for m in (QtCore, QtGui, QtWidgets) if hasattr(m, name))
        setattr(made, name, getattr(home, name))
    made.QFileDialog, made.QSettings, made.QUiLoader = FileDialog, Settings, UiLoader
    return made
