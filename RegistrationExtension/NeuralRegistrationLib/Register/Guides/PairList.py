"""A list of pairs of nodes in a panel: a table, and controls for the row that is chosen."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from NeuralRegistrationLib.Register.Guides.GuideSettings import Pair
from NeuralRegistrationLib.Widgets import Tables
from NeuralRegistrationLib.Widgets.MaskSelector import MaskSelector

_SIDES = ("fixed", "moving")


class PairList:
    """Rows can be added and removed; the nodes of the chosen one are shown below and changed there.

    name: "channel" or "surface", with which the names of the widgets begin or end. hasWeights:
    whether each row has a weight. onChanged: called with all rows when the user changes some.
    """

    def __init__(self, ui, name: str, hasWeights: bool, onChanged) -> None:
        self._onChanged, self._pairs, self._updating = onChanged, [], False
        title = name.capitalize()
        self._table, self._box = getattr(ui, f"{name}sTable"), getattr(ui, f"{name}Box")
        self._removeButton = getattr(ui, f"remove{title}Button")
        self._weight = getattr(ui, f"{name}WeightSlider") if hasWeights else None
        self._selectors = [
            MaskSelector(ui, f"{side}{title}", (side, f"{side}Segment"), self._takeNode)
            for side in _SIDES
        ]
        titles = (_("Fixed"), _("Moving"), _("Weight"))
        Tables.prepare(self._table, titles[: 2 + hasWeights])
        self._table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        self._table.connect("itemSelectionChanged()", self._showRow)
        getattr(ui, f"add{title}Button").connect("clicked()", self.add)
        self._removeButton.connect("clicked()", self.remove)
        if self._weight is not None:
            self._weight.connect("valueChanged(double)", self._takeWeight)
        self.show([])

    def show(self, pairs: list[Pair]) -> None:
        """Show rows without telling anybody; the chosen one stays, or the last one is."""
        row = self._table.currentRow()
        isLonger = len(pairs) > len(self._pairs)
        self._pairs = pairs
        self._updating = True
        Tables.fill(self._table, [self._texts(pair) for pair in pairs])
        self._table.visible = bool(pairs)
        last = len(pairs) - 1
        if pairs:
            self._table.setCurrentCell(last if isLonger or not 0 <= row <= last else row, 0)
        self._updating = False
        self._showRow()

    def add(self) -> None:
        """Add a row without nodes, and choose it."""
        self._onChanged([*self._pairs, Pair()])

    def remove(self) -> None:
        """Take the chosen row out."""
        row = self._table.currentRow()
        self._onChanged(self._pairs[:row] + self._pairs[row + 1 :])

    def _texts(self, pair: Pair) -> list[str]:
        names = [_("(choose)") if node is None else node.GetName() for node in pair[:2]]
        return names if self._weight is None else [*names, f"{pair.weight:.1f}"]

    def _showRow(self) -> None:
        if self._updating:
            return
        row = self._table.currentRow()
        isChosen = 0 <= row < len(self._pairs)
        self._box.visible = isChosen
        self._removeButton.enabled = isChosen
        pair = self._pairs[row] if isChosen else Pair()
        self._updating = True
        for selector in self._selectors:
            selector.show(*(getattr(pair, name) for name in selector.parameterNames))
        if self._weight is not None:
            self._weight.value = pair.weight
        self._updating = False

    def _takeNode(self, names, node, segment: str) -> None:
        self._change(**dict(zip(names, (node, segment), strict=True)))

    def _takeWeight(self, weight: float) -> None:
        self._change(weight=weight)

    def _change(self, **values) -> None:
        row = self._table.currentRow()
        if self._updating or not 0 <= row < len(self._pairs):
            return
        changed = self._pairs[row]._replace(**values)
        self._onChanged([*self._pairs[:row], changed, *self._pairs[row + 1 :]])
