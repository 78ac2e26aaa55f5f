"""Fetching a network that something else needs, once the person agrees."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from NeuralRegistrationLib.Models import ModelList


def missingCard(name: str):
    """The card of a model whose weights are not on this computer; None if they are."""
    card = next((card for card in ModelList.cards(None) if card.name == name), None)
    return None if card is None or ModelList.isAvailable(card) else card


def question(card) -> str:
    """What a person is asked before the network is fetched."""
    text = _("This needs the network {title} ({size}). Download it now?")
    asked = text.format(title=card.title, size=ModelList.size(card))
    return "\n\n".join(filter(None, (asked, ModelList.consentQuestion(card))))


def submit(card, *, onDone: Callable, onProgress: Callable):
    """The job that fetches the network, to which the person agreed."""
    from NeuralRegistrationLib.Worker.Queue import queue

    arguments = {"model": card.name, "accept_licence": bool(ModelList.consentQuestion(card))}
    return queue().submit("download", arguments, onDone=onDone, onProgress=onProgress)
