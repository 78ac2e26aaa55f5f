"""Keys that work in the whole application while a panel wants them."""

from __future__ import annotations

import qt


def key(sequence: str, widget, slot):
    """A shortcut of a widget, switched off until it is wanted."""
    shortcut = qt.QShortcut(widget)
    shortcut.setKey(qt.QKeySequence(sequence))
    shortcut.setContext(qt.Qt.ApplicationShortcut)
    shortcut.connect("activated()", slot)
    shortcut.setEnabled(False)
    return shortcut
