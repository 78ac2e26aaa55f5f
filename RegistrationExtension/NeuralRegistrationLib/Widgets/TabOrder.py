"""The way that Tab takes through widgets that were added after the others."""

from __future__ import annotations

import qt


def insertAfter(previous, widget) -> None:
    """Let Tab go from one widget into another one, and what is in it.

    Without that a widget that was added later comes last, wherever it is seen.
    """
    for part in _focusable(widget):
        qt.QWidget.setTabOrder(previous, part)
        previous = part


def _focusable(widget) -> list:
    """What keys reach in a widget, in order; a field of its own keeps what is in it together."""
    if widget.focusPolicy != qt.Qt.NoFocus:
        return [widget]
    children = (child for child in widget.children() if child.isWidgetType())
    return [part for child in children for part in _focusable(child)]
