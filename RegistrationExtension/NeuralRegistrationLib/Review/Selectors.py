"""Choosing structures: segmentations or label maps.

The parameter wrapper ties a selector to nodes of one class, or to all; these two it does not know.
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
                "currentNodeChanged(vtkMRMLNode*)", lambda node, name=name: self._chosen(name, node)
            )

    def _chosen(self, name: str, node) -> None:
        if not self._showing:
            self._onChosen({name: node})

    def show(self, parameters) -> None:
        """Show what the parameters name, without telling anybody."""
        self._showing = True
        for name, selector in self._selectors.items():
            selector.setCurrentNode(getattr(parameters, name))
        self._showing = False
