"""The section Guides of the Register panel: what is known beside the two images."""

from __future__ import annotations

from functools import partial

from slicer.i18n import tr as _

from NeuralRegistrationLib.Register.Guides import GuideSettings
from NeuralRegistrationLib.Register.Guides.PairList import PairList
from NeuralRegistrationLib.Widgets.MaskSelector import MaskSelector

_MASKS = ("rigidParts", "slidingMask")
_LABELS = ("fixedLabels", "movingLabels")


class GuideSection:
    """Controls without a connector, and titles that say which folds are in use.

    onChanged: called with parameters by name when the user changes some.
    """

    def __init__(self, ui, onChanged) -> None:
        self.ui, self._onChanged = ui, onChanged
        folds = (f"{kind}Fold" for kind in ("landmarks", "labels", "rigid", "channels", "surfaces"))
        self._folds = {name: getattr(ui, name).text for name in (*folds, "slidingFold")}
        self._title = ui.guidesSection.text
        self._nodes = [
            *(MaskSelector(ui, name, (name,), self._takeNode) for name in _LABELS),
            *(MaskSelector(ui, name, (name, f"{name}Segment"), self._takeNode) for name in _MASKS),
        ]
        self._lists = {
            "channels": PairList(ui, "channel", True, partial(self._takeRows, "channels")),
            "surfaces": PairList(ui, "surface", False, partial(self._takeRows, "surfaces")),
        }

    def show(self, parameters) -> None:
        """Show parameters without telling anybody."""
        p = parameters
        for selector in self._nodes:
            selector.show(*(getattr(p, name) for name in selector.parameterNames))
        for name in _LABELS:
            getattr(self.ui, f"{name}Selector").enabled = not p.networkLabels
        for kind, pairs in self._lists.items():
            pairs.show(GuideSettings.pairsOf(p, kind))
        counts = GuideSettings.inUse(p)
        for name, title in self._folds.items():
            self._entitle(getattr(self.ui, name), title, counts[name.removesuffix("Fold")])
        self._entitle(self.ui.guidesSection, self._title, sum(map(bool, counts.values())))

    def _entitle(self, section, title: str, count: int) -> None:
        text = _("{title} ({count} in use)").format(title=title, count=count) if count else title
        if section.text != text:
            section.text = text

    def _takeNode(self, names, node, segment: str) -> None:
        self._onChanged(dict(zip(names, (node, segment), strict=False)))

    def _takeRows(self, kind: str, pairs) -> None:
        self._onChanged(GuideSettings.valuesOf(pairs, kind))
