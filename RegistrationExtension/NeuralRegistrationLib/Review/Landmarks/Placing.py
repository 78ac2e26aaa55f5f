"""A button that lets clicks into a view place points, as long as it is pressed."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from NeuralRegistrationLib.Widgets.Shortcuts import key


class Placing:
    """Esc, a right click or another module end it, and so does another button of this kind.

    requireList: gives the list of points. one: after one point it ends by itself.
    """

    _active: Placing | None = None

    def __init__(self, button, widget, requireList: Callable, *, one: bool = False) -> None:
        self._button, self._requireList, self._one = button, requireList, one
        self._watched = None
        self.escape = key("Esc", widget, self.end)
        button.connect("toggled(bool)", self._set)

    def end(self) -> None:
        """Let clicks do what they usually do."""
        if self._button.checked:
            self._button.checked = False

    def _set(self, on: bool) -> None:
        self._watch(None)
        self.escape.setEnabled(on)
        other, Placing._active = Placing._active, self if on else None
        if not on:
            _stop()
            return
        if other is not None:
            other.end()
            Placing._active = self
        logic = slicer.modules.markups.logic()
        logic.SetActiveList(self._requireList())
        logic.StartPlaceMode(not self._one)
        self._watch(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode"))

    def _watch(self, node) -> None:
        """Follow Slicer, which may end placing by itself; None: no more."""
        if self._watched is not None:
            former, tag = self._watched
            former.RemoveObserver(tag)
        event = slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent
        self._watched = node and (node, node.AddObserver(event, self._follow))

    def _follow(self, node, event) -> None:
        if node.GetCurrentInteractionMode() != node.Place:
            self.end()


def _stop() -> None:
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    if node is not None:
        node.SetCurrentInteractionMode(node.ViewTransform)
