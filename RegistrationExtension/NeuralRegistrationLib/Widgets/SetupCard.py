"""The card that asks, once, for the packages that registration needs."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from NeuralRegistrationLib import Dependencies
from NeuralRegistrationLib.Paths import resourcePath


class SetupCard:
    """Lists what is missing, installs it on a click, and hides when nothing is missing.

    onReady: called when packages were installed. missing: gives those that are; purpose: of them,
    in words.
    """

    def __init__(self, onReady, missing=None, purpose: str = "") -> None:
        self._onReady, self._purpose = onReady, purpose
        self._missing = missing or (lambda: Dependencies.missingPackages())
        self.widget = slicer.util.loadUI(resourcePath("UI/SetupCard.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.ui.installButton.connect("clicked()", self.install)
        self.ui.laterButton.connect("clicked()", self.widget.hide)
        self.installing = False
        self.update()

    def update(self) -> None:
        """Show the card if anything is missing, else hide it."""
        missing = self._missing()
        self.widget.visible = bool(missing)
        if missing and not self.installing:
            self.ui.setupLabel.text = Dependencies.describe(missing, self._purpose)

    def install(self) -> None:
        """Begin to install; the panels stay usable."""
        self.installing = True
        self._busy(True)
        self.ui.setupLog.clear()
        self.ui.setupLabel.text = _("Installing. You can keep working.")
        installer = Dependencies.Installer(self._log, self._finish)
        # After the button was drawn: the extension of torch takes the window for itself at times.
        qt.QTimer.singleShot(50, lambda: installer.install(self._missing()))

    def _busy(self, busy: bool) -> None:
        self.ui.installButton.enabled = self.ui.laterButton.enabled = not busy
        self.ui.setupProgress.visible = busy
        self.ui.setupLog.visible = True

    def _log(self, line: str) -> None:
        self.ui.setupLog.appendPlainText(line.rstrip())

    def _finish(self, problem: str) -> None:
        self.installing = False
        self._busy(False)
        self.update()
        if problem:
            self.ui.setupLabel.text = problem
            self.ui.installButton.text = _("Try again")
        elif not self._missing():
            self._onReady()
