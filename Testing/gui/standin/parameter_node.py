"""`slicer.parameterNodeWrapper`: typed parameters in a node of the scene, tied to widgets.

The texts in the node are those of Slicer, so a scene may go from one to the other.
"""

from __future__ import annotations

import typing
import weakref
from dataclasses import dataclass
from enum import Enum
from types import ModuleType

import slicer
import vtk

from . import connectors


class Validator:
    """A rule that a value has to obey."""

    def validate(self, value):
        raise NotImplementedError


@dataclass
class WithinRange(Validator):
    """Both ends included."""

    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


@dataclass
class Choice(Validator):
    """One of some values."""

    choices: typing.Sequence

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"{value} is none of {self.choices}")


@dataclass
class Default:
    """The value of a parameter in a new node."""

    value: object


@dataclass
class Text:
    """Texts, numbers and truth values as Slicer writes them."""

    def __init__(self, kind):
        self.kind = kind

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        accepted = (int, float) if self.kind is float else self.kind
        if not isinstance(value, accepted) or (self.kind is int and isinstance(value, bool)):
            raise TypeError(f"{name} is a {self.kind.__name__}, not {value!r}")
        node.SetParameter(name, str(value))

    def read(self, node, name):
        text = node.GetParameter(name)
        return text == "True" if self.kind is bool else self.kind(text)

    def default(self):
        return self.kind()


class Enumerated:
    """One of an enumeration, by name."""

    def __init__(self, kind):
        self.kind = kind

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        if not isinstance(value, self.kind):
            raise TypeError(f"{name} is a {self.kind.__name__}, not {value!r}")
        node.SetParameter(name, value.name)

    def read(self, node, name):
        return self.kind[node.GetParameter(name)]

    def default(self):
        return next(iter(self.kind))


class Node:
    """A reference to a node of the scene."""

    def __init__(self, kind):
        self.kind = kind

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        if value is not None and not isinstance(value, self.kind):
            raise TypeError(f"{name} is a {self.kind.__name__}, not {type(value).__name__}")
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)

    def default(self):
        return None


class List:
    """Several values of one kind."""

    def __init__(self, item):
        self.item = item

    def isIn(self, node, name):
        return node.HasParameter(f"{name}.len")

    def write(self, node, name, values):
        former = int(node.GetParameter(f"{name}.len") or 0)
        for index, value in enumerate(values):
            self.item.write(node, f"{name}.{index}", value)
        for index in range(len(values), former):
            node.UnsetParameter(f"{name}.{index}")
            node.RemoveNodeReferenceIDs(f"{name}.{index}")
        node.SetParameter(f"{name}.len", str(len(values)))

    def read(self, node, name):
        count = int(node.GetParameter(f"{name}.len"))
        return [self.item.read(node, f"{name}.{index}") for index in range(count)]

    def default(self):
        return []


def _serializer(kind):
    if typing.get_origin(kind) is list:
        return List(_serializer(typing.get_args(kind)[0]))
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return Node(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return Enumerated(kind)
    if kind in (bool, int, float, str):
        return Text(kind)
    raise TypeError(f"the stand-in has no parameters of type {kind}")


class Parameter(property):
    """One parameter of a wrapper: checked when written, kept as text in the node."""

    def __init__(self, name, annotated, fallback):
        self.name, self.annotated = name, annotated
        kind, *notes = typing.get_args(annotated) or (annotated,)
        if typing.get_origin(annotated) is not typing.Annotated:
            kind, notes = annotated, []
        self.serializer = _serializer(kind)
        self.rules = [note for note in notes if isinstance(note, Validator)]
        unused = [note for note in notes if not isinstance(note, Validator | Default)]
        if unused:  # the real one warns: wrapper.py:329-330
            raise TypeError(f"Unused annotations: {unused}")
        values = [note.value for note in notes if isinstance(note, Default)]
        self.start = (
            fallback if fallback is not None else (values or [self.serializer.default()])[0]
        )
        super().__init__(self.read, self.write)

    def read(self, wrapper):
        """The value as it was when the node said last that it was modified."""
        return wrapper.cache[self.name]

    def write(self, wrapper, value):
        for rule in self.rules:
            rule.validate(value)
        with slicer.util.NodeModify(wrapper.parameterNode):
            self.serializer.write(wrapper.parameterNode, self.name, value)
            self.keep(wrapper)

    def keep(self, wrapper):
        wrapper.cache[self.name] = self.serializer.read(wrapper.parameterNode, self.name)


class _Wrapper:
    """What the decorator adds to a class of parameters."""

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._connections = {}
        self._updating = False
        self.cache = {}
        for name, parameter in self.allParameters.items():
            if not parameter.serializer.isIn(parameterNode, name):
                setattr(self, name, parameter.start)
            parameter.keep(self)
        alone = weakref.ref(self)  # an observer must not keep the wrapper
        self._cacheTag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: alone()._read())

    def __del__(self):
        self.RemoveObserver(self._cacheTag)

    def _read(self):
        for parameter in self.allParameters.values():
            parameter.keep(self)

    def default(self, name):
        return Default(self.allParameters[name].start)

    def connectGui(self, gui):
        ties = {}
        for widget in vars(gui).values():
            name = widget.property("SlicerParameterName")
            if name:
                ties[name] = connectors.tie(widget, self.allParameters[name].annotated)
        for name, tied in ties.items():
            tied.write(getattr(self, name))
            tied.onChanged(lambda name=name, tied=tied: self._readFrom(name, tied))
        tag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._writeToGui())
        self._connections[tag] = ties
        return tag

    def disconnectGui(self, tag):
        for tied in self._connections.pop(tag, {}).values():
            tied.onChanged(None)
        self.RemoveObserver(tag)

    def _readFrom(self, name, tied):
        if not self._updating:
            setattr(self, name, tied.read())

    def _writeToGui(self):
        if self._updating:
            return
        self._updating = True
        try:
            for ties in list(self._connections.values()):
                for name, tied in ties.items():
                    tied.write(getattr(self, name))
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModifying):
        return self.parameterNode.EndModify(wasModifying)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)


def parameterNodeWrapper(kind):
    """Make a class of annotated names a wrapper of a parameter node."""
    hints = typing.get_type_hints(kind, include_extras=True)
    parameters = {
        name: Parameter(name, hint, getattr(kind, name, None)) for name, hint in hints.items()
    }
    kept = {"__annotations__": kind.__annotations__, "__module__": kind.__module__}
    return type(kind.__name__, (_Wrapper,), {**kept, **parameters, "allParameters": parameters})


OFFERED = (parameterNodeWrapper, WithinRange, Choice, Default)


def parameter_node_module() -> ModuleType:
    """The module with these names."""
    made = ModuleType("slicer.parameterNodeWrapper")
    for thing in OFFERED:
        setattr(made, thing.__name__, thing)
    return made
