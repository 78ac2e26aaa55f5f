"""A model's card as a page: what it is for, what it cannot do, whose work it is."""

from __future__ import annotations

import re
from html import escape

from slicer.i18n import tr as _

from NeuralRegistrationLib.Models import ModelList

_DOI = re.compile(r"doi:(10\.\S+?)(?=[;,]?(?:\s|$))")


def details(card) -> str:
    """HTML."""
    dimensions = " / ".join(f"{number}D" for number in card.input.dimensions)
    parts = [
        (_("For"), card.intended_use),
        (_("Limits"), card.limits),
        (_("Images"), f"{dimensions}, {ModelList.words(card.modalities)}"),
        (_("Anatomy"), ModelList.words(card.anatomies)),
        (_("Trained on"), card.training_data),
        (_("Measured"), "; ".join(f"{name}: {value}" for name, value in card.measured.items())),
        (_("Weights"), f"{ModelList.size(card)}, {ModelList.state(card)}"),
        (_("Licence"), card.license),
        (_("Cite"), card.citation),
    ]
    rows = "".join(
        f"<p><b>{escape(name)}</b><br>{_linkDois(text)}</p>" for name, text in parts if text
    )
    page = card.weights.page if card.weights is not None else None
    more = (
        f'<p><a href="{escape(page)}">{escape(_("More about the weights"))}</a></p>' if page else ""
    )
    return f"<h3>{escape(card.title)}</h3>{rows}{more}"


def _linkDois(text: str) -> str:
    """The text with its DOIs as links."""
    return _DOI.sub(r'<a href="https://doi.org/\1">doi:\1</a>', escape(text))
