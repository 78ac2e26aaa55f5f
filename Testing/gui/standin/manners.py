"""PySide6 taught to behave as Slicer's PythonQt does.

Properties are read and written without parentheses, `connect` takes a signal's signature and passes
no more arguments than the slot takes, and misspelled attributes are errors. What PythonQt does is
said in its PythonQtInstanceWrapper.cpp and PythonQtSignalReceiver.cpp.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
from collections.abc import Callable
from types import FunctionType, MethodType

from PySide6 import QtCore, QtGui, QtWidgets

_METHODS_IN_SLICER = {"sizeHint", "minimumSizeHint"}
_native_connect = QtCore.QObject.connect
_native_disconnect = QtCore.QObject.disconnect
_native_setattr = QtCore.QObject.__mro__[1].__setattr__


class QtProperty:
    """A property of Qt on its class: a value on an object, the method it hides on the class."""

    def __init__(self, name: str, hidden: object) -> None:
        self.name, self.hidden = name, hidden
        self.setter = f"set{name[0].upper()}{name[1:]}"

    def __get__(self, owner, kind):
        if owner is None:
            return self.hidden
        getter = getattr(self.hidden, "__get__", None)
        if callable(self.hidden) and getter:
            try:
                return getter(owner, kind)()
            except TypeError:  # hides something else, as QTimer.singleShot does
                return owner.property(self.name)
        return owner.property(self.name)

    def __set__(self, owner, value):
        setter = getattr(type(owner), self.setter, None)
        if setter is not None:
            setter(owner, value)
        elif not owner.setProperty(self.name, value):
            raise AttributeError(f"{self.name} of {type(owner).__name__} cannot be written")


class WidgetProperty(QtCore.Property):
    """A property of a widget written in Python; PySide6's own needs its attribute look-up."""

    def __get__(self, owner, kind=None):
        return self if owner is None else self.fget(owner)

    def __set__(self, owner, value):
        if self.fset is None:
            raise AttributeError("this property cannot be written")
        self.fset(owner, value)


def slot_arguments(slot: Callable[..., object], offered: int) -> int:
    """How many of a signal's arguments PythonQt passes: as many as a Python function takes."""
    bound = isinstance(slot, MethodType) and isinstance(slot.__func__, FunctionType)
    function = slot.__func__ if bound else slot
    if not isinstance(function, FunctionType) or function.__code__.co_flags & inspect.CO_VARARGS:
        return offered
    return min(offered, function.__code__.co_argcount - bound)


def _signal_of(owner, signature: str):
    """The signal with this signature, and how many arguments it has."""
    text = QtCore.QMetaObject.normalizedSignature(signature).toStdString()
    for kind in type(owner).__mro__:
        if text in vars(kind).get("SIGNALS", {}):
            name = vars(kind)["SIGNALS"][text]
            break
    else:
        if owner.metaObject().indexOfSignal(text) < 0:
            raise ValueError(f"{type(owner).__name__} has no signal {signature}")
        name = text.partition("(")[0]
    inside = text.partition("(")[2].rstrip(")")
    return getattr(owner, name), len(inside.split(",")) if inside else 0


def _connect(owner, signature, slot, *more):
    if not isinstance(signature, str):  # PySide6 itself, as in QTimer.singleShot
        return _native_connect(signature, slot, *more)
    signal, offered = _signal_of(owner, signature)
    count = slot_arguments(slot, offered)
    # PySide6 counts the arguments of what it calls, so there is one shape for each number.
    shapes = (
        lambda: slot(),
        lambda a: slot(a),
        lambda a, b: slot(a, b),
        lambda a, b, c: slot(a, b, c),
    )
    signal.connect(shapes[count])
    vars(owner).setdefault("_connections", []).append((signature, slot, shapes[count]))
    return True


def _disconnect(owner, signature, slot, *more):
    if not isinstance(signature, str):
        return _native_disconnect(signature, slot, *more)
    connections = vars(owner).get("_connections", [])
    for entry in connections:
        if entry[:2] == (signature, slot):
            connections.remove(entry)
            _signal_of(owner, signature)[0].disconnect(entry[2])
            return True
    return False


def _setattr(owner, name, value):
    """Only what exists can be set on an object of Qt; classes made in Python are free."""
    kind = type(owner)
    if isinstance(value, QtCore.QObject) and value.objectName == name and name not in dir(kind):
        return  # PySide6's loader makes children attributes of their parents, PythonQt's does not
    of_qt = kind.__module__.startswith("PySide6.") or "SIGNALS" in vars(kind)
    if of_qt and not name.startswith("_") and not hasattr(kind, name):
        raise AttributeError(f"{kind.__name__} has no property {name}")
    _native_setattr(owner, name, value)


def _properties(kind) -> set[str]:
    """Its own properties, and inherited ones whose methods it makes anew."""
    meta = kind.staticMetaObject
    own = {meta.property(i).name() for i in range(meta.propertyOffset(), meta.propertyCount())}
    inherited = {meta.property(i).name() for i in range(meta.propertyOffset())}
    return (own | (inherited & set(vars(kind)))) - _METHODS_IN_SLICER


def hold_constants() -> None:
    """Keep None, True and False alive where PySide6 gives back one reference too few.

    Its programs are built for Python 3.12, where these never die; in 3.11 each call that answers
    None takes one away, and after some thousands of calls the process aborts.
    """
    if sys.version_info < (3, 12):
        for constant in (None, True, False, NotImplemented):
            ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 40


def teach() -> None:
    """Change PySide6 for the rest of the process; once."""
    if QtCore.QObject.connect is _connect:
        return
    hold_constants()
    QtCore.QObject.__getattribute__ = object.__getattribute__
    QtCore.QObject.__setattr__ = _setattr
    QtCore.QObject.connect, QtCore.QObject.disconnect = _connect, _disconnect
    for module in (QtCore, QtGui, QtWidgets):
        for kind in [getattr(module, name) for name in dir(module)]:  # made when asked for
            if isinstance(kind, type) and issubclass(kind, QtCore.QObject):
                kind.__setattr__ = _setattr  # its own, or it is not looked up
                for name in _properties(kind):
                    setattr(kind, name, QtProperty(name, getattr(kind, name, None)))
    QtCore.QObject.name = vars(QtCore.QObject)["objectName"]
