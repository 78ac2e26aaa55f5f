"""How the parameter node wrapper reads, writes and watches each kind of widget."""

from __future__ import annotations

import typing
from enum import Enum

import slicer
from PySide6 import QtWidgets

from .ctk_widgets import ctkSliderWidget


class Tie:
    """A widget and one parameter."""

    signal = ""

    def __init__(self, widget, kind, notes):
        self.widget, self.kind = widget, kind
        self.notes = {type(note).__name__: note for note in notes}
        self._changed = None
        self.prepare()

    def prepare(self):
        pass

    def onChanged(self, callback):
        signal = getattr(self.widget, self.signal)
        if self._changed is not None:
            signal.disconnect(self._changed)
        self._changed = None if callback is None else lambda *_: callback()
        if callback is not None:
            signal.connect(self._changed)


class CheckBox(Tie):
    """A truth value."""

    signal = "stateChanged"

    def read(self):
        return self.widget.checked

    def write(self, value):
        self.widget.checked = value


class Number(Tie):
    """A number within its range."""

    signal = "valueChanged"

    def prepare(self):
        if isinstance(self.widget, ctkSliderWidget) and self.kind is int:
            self.widget.decimals = 0
        if "WithinRange" not in self.notes:
            raise RuntimeError(f"{self.widget.objectName} needs WithinRange")
        self.widget.minimum = self.notes["WithinRange"].minimum
        self.widget.maximum = self.notes["WithinRange"].maximum

    def read(self):
        return self.kind(self.widget.value)

    def write(self, value):
        self.widget.value = value


class ComboBox(Tie):
    """One of some values, shown as texts."""

    signal = "currentIndexChanged"

    def prepare(self):
        if "Choice" not in self.notes:
            raise RuntimeError(f"{self.widget.objectName} needs Choice")
        self.widget.clear()
        for choice in self.notes["Choice"].choices:
            self.widget.addItem(str(choice))

    def read(self):
        return self.notes["Choice"].choices[self.widget.currentIndex]

    def write(self, value):
        self.widget.currentIndex = list(self.notes["Choice"].choices).index(value)


class EnumeratedBox(Tie):
    """One of an enumeration, shown by its `label()` or its name."""

    signal = "currentIndexChanged"

    def prepare(self):
        self.widget.clear()
        for value in self.kind:
            self.widget.addItem(value.label() if hasattr(value, "label") else value.name)

    def read(self):
        return list(self.kind)[self.widget.currentIndex]

    def write(self, value):
        self.widget.currentIndex = list(self.kind).index(value)


class LineEdit(Tie):
    """A text."""

    signal = "textChanged"

    def read(self):
        return self.widget.text

    def write(self, value):
        if value != self.widget.text:  # writing moves the cursor
            self.widget.text = value


class NodeSelector(Tie):
    """A node, or none."""

    signal = "currentNodeChanged"

    def prepare(self):
        self.widget.nodeTypes = (self.kind().GetClassName(),)

    def read(self):
        return self.widget.currentNode()

    def write(self, value):
        self.widget.setCurrentNode(value)


def _kinds():
    return {
        QtWidgets.QCheckBox: (CheckBox, (bool,)),
        QtWidgets.QLineEdit: (LineEdit, (str,)),
        QtWidgets.QSpinBox: (Number, (int,)),
        QtWidgets.QDoubleSpinBox: (Number, (int, float)),
        ctkSliderWidget: (Number, (int, float)),
        QtWidgets.QComboBox: (ComboBox, (int, float, str, bool)),
    }


def tie(widget, annotated) -> Tie:
    """The tie for a widget and the annotated type of its parameter; RuntimeError if none fits."""
    kind, notes = annotated, ()
    if typing.get_origin(annotated) is typing.Annotated:
        kind, *notes = typing.get_args(annotated)
    if type(widget) is slicer.qMRMLNodeComboBox and isinstance(kind, type):
        return NodeSelector(widget, kind, notes)
    if type(widget) is QtWidgets.QComboBox and isinstance(kind, type) and issubclass(kind, Enum):
        return EnumeratedBox(widget, kind, notes)
    found, accepted = _kinds().get(type(widget), (None, ()))
    if kind not in accepted:
        raise RuntimeError(f"no connector from {annotated} to {type(widget).__name__}")
    return found(widget, kind, notes)
