"""Choosing structures: segmentations or label maps.

The parameter wrapper connects a selector to nodes of one class, or of all; these have two classes.
"""

from __future__ import annotations

from collections.abc import Callable

_PARAMETERS = {
    "fixedSegments": "reviewFixedSegmentsSelector",
    "movingSegments": "reviewMovingSegmentsSelector",
    "mask": "reviewMaskSelector",
}


class StructureSelectors:
    """The selectors of both sides and of the mask. onChosen: called with nodes by parameter."""

    def __init__(self, ui, onChosen: Callable[[dict], None]) -> None:
        self._selectors = {name: getattr(ui, widget) for name, widget in _PARAMETERS.items()}
        self._onChosen, self._showing = onChosen, False
        for name, selector in self._selectors.items():
            selector.connect(
                "currentNodeChanged(vtkMRMLNode*)", lambda node, name=name: self._choose(name, node)
            )

    def _choose(self, name: str, node) -> None:
        if not self._showing:
            self._onChosen({name: node})

    def show(self, parameters) -> None:
        """Show the nodes of the parameters, without calling back."""
        self._showing = True
        for name, selector in self._selectors.items():
            selector.setCurrentNode(getattr(parameters, name))
        self._showing = False
