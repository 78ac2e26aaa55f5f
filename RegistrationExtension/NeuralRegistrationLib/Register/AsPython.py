"""The call that repeats a registration, as text for Slicer's Python console."""

from __future__ import annotations

from collections.abc import Mapping

import slicer
from neuralreg.registration.options import NAMES, USUAL, RegistrationOptions

_WILD = "*?["  # getNode takes these for patterns


def asPython(fixedNode, movingNode, options: RegistrationOptions = USUAL, **settings) -> str:
    """Python text that registers the same nodes with the same options and settings.

    What is as usual, and settings that say nothing (None, no nodes), are left out.
    """
    record, usual = options.as_record(), USUAL.as_record()
    values = {name: record[name] for name in NAMES if record[name] != usual[name]}
    values.update(
        {name: value for name, value in settings.items() if value not in (None, [], (), {})}
    )
    arguments = [_text(fixedNode), _text(movingNode)]
    arguments += [f"{name}={_text(value)}" for name, value in values.items()]
    return (
        "from NeuralRegistrationLib import register\n\n"
        "done = register(\n"
        + "".join(f"    {argument},\n" for argument in arguments)
        + ")\nprint(done.result.outcome)\n"
    )


def _text(value) -> str:
    if isinstance(value, slicer.vtkMRMLNode):
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
    same.UnRegister(None)  # as slicer.util does: it was made for us
    plain = name and not any(sign in name for sign in _WILD)
    return name if plain and same.GetNumberOfItems() == 1 else node.GetID()
