"""Consent to the licence of a model's weights, asked once before they are fetched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from neuralreg.errors import ConsentRequired
from neuralreg.zoo.cache_paths import add_to_record, cache_folder, read_record

if TYPE_CHECKING:
    from neuralreg.zoo.card import ModelCard

_RECORD = "accepted-licences.json"
_PERMISSIVE = re.compile(
    r"(apache|mit|bsd|isc|zlib|cc0|unlicense|public domain|cc[ -]by[ -][234])\b", re.IGNORECASE
)
_RESTRICTED = re.compile(r"non[- ]?commercial|\bnc\b|research only|ask them", re.IGNORECASE)


def is_permissive(card: ModelCard) -> bool:
    """Whether the licence of a model's weights allows any use.

    Args:
        card: of the model. A licence that is not known to be permissive, or not stated, is not.
    """
    return bool(_PERMISSIVE.match(card.license.strip())) and not _RESTRICTED.search(card.license)


def needs_consent(card: ModelCard, cache: Path | None = None) -> bool:
    """Whether somebody must accept the licence before the weights are fetched.

    Args:
        card: of the model.
        cache: folder of downloaded weights, if not the usual one.
    """
    accepted = read_record(_record(cache))
    return not is_permissive(card) and accepted.get(card.name) != card.license


def give_consent(card: ModelCard, cache: Path | None = None) -> None:
    """Remember that the licence was accepted; another text of it has to be accepted anew.

    Args:
        card: of the model.
        cache: folder of downloaded weights, if not the usual one; it must exist.
    """
    add_to_record(_record(cache), card.name, card.license)


def require_consent(card: ModelCard, cache: Path | None = None) -> None:
    """The licence of the weights is permissive, or was accepted.

    Args:
        card: of a model with weights.
        cache: folder of downloaded weights, if not the usual one.

    Raises:
        ConsentRequired: neither; the message names licence, size and source.
    """
    if needs_consent(card, cache):
        raise ConsentRequired(
            "the licence of these weights has not been accepted",
            where=card.name,
            got=f"licence: {card.license}; {describe_source(card)}",
            remedy="When you have read and accept it: `neuralreg models get "
            f"{card.name} --accept-licence`, or in Python `fetch(card, accept_licence=True)`.",
        )


def describe_source(card: ModelCard) -> str:
    """Size and source of a model's weights, in words.

    Args:
        card: of a model with weights.
    """
    weights = card.weights
    size = f"{weights.bytes / 1e6:.1f} MB" if weights and weights.bytes else "unknown size"
    source = (weights.url or weights.page) if weights else None
    return f"{size} from {source or 'its authors'}"


def _record(cache: Path | None) -> Path:
    return (cache or cache_folder()) / _RECORD
