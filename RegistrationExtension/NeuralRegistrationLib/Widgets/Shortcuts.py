"""Keyboard shortcuts for the whole application, active while a panel is shown."""

from __future__ import annotations

import qt


def key(sequence: str, widget, slot):
    """A shortcut of a widget, initially disabled."""
    shortcut = qt.QShortcut(widget)
    shortcut.setKey(qt.QKeySequence(sequence))
    shortcut.setContext(qt.Qt.ApplicationShortcut)
    shortcut.connect("activated()", slot)
    shortcut.setEnabled(False)
    return shortcut
