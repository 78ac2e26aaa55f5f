"""Loads .ui files as Slicer does, with the widgets of CTK and MRML that stand in here."""

from __future__ import annotations

from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools

_SCENE_SIGNAL = "mrmlSceneChanged(vtkMRMLScene*)"


class UiLoader(QtUiTools.QUiLoader):
    """What it makes is kept by the top widget: without its Python half it would change its type."""

    CUSTOM: dict[str, type] = {}

    def __init__(self):
        super().__init__()
        self._made = []

    def createWidget(self, className, parent=None, name=""):
        if className in self.CUSTOM:
            made = self.CUSTOM[className](parent)
            made.objectName = name
        elif className.startswith(("ctk", "qMRML", "qSlicer")):
            raise ValueError(f"the stand-in has no {className}")
        else:
            made = super().createWidget(className, parent, name)
        self._made.append(made)
        return made

    def load(self, device, parent=None):
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        section = root.find("connections")
        scenes = []
        for connection in list(section if section is not None else ()):
            if connection.findtext("signal") == _SCENE_SIGNAL:
                scenes.append((connection.findtext("sender"), connection.findtext("receiver")))
                section.remove(connection)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        if widget is None:
            raise ValueError(f"not a valid .ui file: {self.errorString()}")
        widget._made, self._made = self._made, []
        named = {w.objectName: w for w in [widget, *widget.findChildren(QtCore.QObject)]}
        for sender, receiver in scenes:
            named[sender].mrmlSceneChanged.connect(named[receiver].setMRMLScene)
        return widget
