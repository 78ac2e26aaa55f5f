"""The call that repeats a registration, as text for Slicer's Python console."""

from __future__ import annotations

from collections.abc import Mapping

import slicer

from NeuralRegistrationLib.Register.Logic import DEFAULT_MODEL

_WILD = "*?["  # getNode takes these for patterns


def asPython(fixedNode, movingNode, model: str = DEFAULT_MODEL, **settings) -> str:
    """Python text that registers the same nodes with the same settings.

    Settings that say nothing (None, no nodes, no options) are left out.
    """
    given = {} if model == DEFAULT_MODEL else {"model": model}
    given.update(
        {name: value for name, value in settings.items() if value not in (None, [], (), {})}
    )
    arguments = [_text(fixedNode), _text(movingNode)]
    arguments += [f"{name}={_text(value)}" for name, value in given.items()]
    return (
        "from NeuralRegistration import NeuralRegistrationLogic\n\n"
        "done = NeuralRegistrationLogic().register(\n"
        + "".join(f"    {argument},\n" for argument in arguments)
        + ")\nprint(done.result.outcome)\n"
    )


def _text(value) -> str:
    if hasattr(value, "GetScene"):
        return f"getNode({_nameOrId(value)!r})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_text(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return repr(value)


def _nameOrId(node) -> str:
    """The name where it means this node alone; it stays the same when a scene is loaded again."""
    name = node.GetName()
    same = slicer.mrmlScene.GetNodesByName(name)
    plain = name and not any(sign in name for sign in _WILD)
    return name if plain and same.GetNumberOfItems() == 1 else node.GetID()
