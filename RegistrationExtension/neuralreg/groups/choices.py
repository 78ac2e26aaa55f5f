"""What can be chosen by a word in several commands on groups."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from neuralreg.errors import InvalidOption

Choice = TypeVar("Choice", bound=StrEnum)


class Deformation(StrEnum):
    """How far one image may differ from another."""

    RIGID = "rigid"
    AFFINE = "affine"
    DEFORMABLE = "deformable"


def choose(kind: type[Choice], word: str, what: str) -> Choice:
    """The choice of a word.

    Args:
        kind: the choices.
        word: one of them.
        what: how a message calls it: "target of a sequence".

    Raises:
        InvalidOption: it is none of them.
    """
    if word not in list(kind):
        raise InvalidOption(f"unknown {what}", got=word, wanted=" or ".join(kind))
    return kind(word)
