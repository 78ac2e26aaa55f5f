"""`slicer.app` and what hangs on it."""

from __future__ import annotations

import os
import tempfile

from PySide6 import QtCore, QtWidgets

from .qt_module import Settings


class ModuleManager(QtCore.QObject):
    """Tells when a module is about to be unloaded."""

    SIGNALS = {"moduleAboutToBeUnloaded(QString)": "moduleAboutToBeUnloaded"}
    moduleAboutToBeUnloaded = QtCore.Signal(str)


class Application(QtWidgets.QApplication):
    """The application in testing mode: questions are answered with yes, nobody waits."""

    SIGNALS = {"startupCompleted()": "startupCompleted"}
    startupCompleted = QtCore.Signal()

    def __init__(self):
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self._modules = ModuleManager()
        self._logic = None  # that of the scene, see Headless.py
        self._settings = Settings()
        self._temporary = tempfile.TemporaryDirectory(prefix="Slicer")
        self._folder = self._temporary.name

    def applicationLogic(self):
        return self._logic

    def moduleManager(self):
        return self._modules

    def settings(self):
        return self._settings

    def userSettings(self):
        return self._settings

    def testingEnabled(self):
        return True

    def translate(self, context, text):
        return text

    def startupEnvironment(self):
        return dict(os.environ)

    @property
    def temporaryPath(self):
        return self._folder
