"""The widgets of Slicer that know a scene: the panel's base, and selectors of nodes."""

from __future__ import annotations

import weakref

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .manners import WidgetProperty

_SCENE_EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndImportEvent")
_PRIORITY = -10.0  # of the model's observers, qMRMLSceneModel::listenNodeModifiedEvent and others


class qMRMLWidget(QtWidgets.QWidget):
    """Hands its scene on to whoever is connected."""

    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


class _Filter:
    """What a selector leaves out; Slicer's model between the scene and the list."""

    def __init__(self, changed):
        self._hidden, self._changed = [], changed

    @property
    def hiddenNodeIDs(self):
        return list(self._hidden)

    @hiddenNodeIDs.setter
    def hiddenNodeIDs(self, ids):
        self._hidden = list(ids)
        self._changed()


def _weak(widget, name, *arguments):
    """An observer that does not keep a widget alive, nor calls one that is gone."""
    known = weakref.ref(widget)

    def observe(caller, event):
        if known() is not None:
            getattr(known(), name)(*arguments)

    return observe


def _weakWithNode(widget, name):
    """The same for an event that brings a node."""
    known = weakref.ref(widget)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def observe(caller, event, node):
        if known() is not None:
            getattr(known(), name)(node)

    return observe


def _flag(name, default=False):
    """A property that changes what the selector lists."""

    def write(self, value):
        setattr(self, f"_{name}", value)
        self._refresh()

    return WidgetProperty(type(default), lambda self: getattr(self, f"_{name}", default), write)


class _NodeList(QtWidgets.QWidget):
    """The nodes of some classes in a combo box that follows the scene."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._tags, self._ids, self._watched = None, [], [], {}
        self._leaving = None
        self._proxy = _Filter(self._refresh)
        self._box = QtWidgets.QComboBox(self)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        # As in Slicer, a long name does not widen the panel.
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self.setEnabled(False)

    def _ofInterest(self, node):
        if node is self._leaving:
            return False
        if not self._showHidden and node.GetHideFromEditors():
            return False
        kind = node.GetClassName()
        if kind in self._hideChildNodeTypes or node.GetID() in self._proxy.hiddenNodeIDs:
            return False
        if not self.showChildNodeTypes:
            return kind in self._nodeTypes
        return any(node.IsA(name) for name in self._nodeTypes)

    def _nodes(self):
        if self._scene is None:
            return []
        every = (self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes()))
        return [node for node in every if self._ofInterest(node)]

    def _refresh(self):
        raise NotImplementedError

    def _takeOut(self, node):
        """As qMRMLSceneModel::onMRMLSceneNodeAboutToBeRemoved, while the node is still there."""
        if node.GetID() in self._ids and not self._scene.IsBatchProcessing():
            self._leaving = node
            self._refresh()
            self._leaving = None

    def _watchNames(self, nodes):
        for nodeId in set(self._watched) - {node.GetID() for node in nodes}:
            node, tag = self._watched.pop(nodeId)
            node.RemoveObserver(tag)
        for node in nodes:
            if node.GetID() not in self._watched:
                tag = node.AddObserver("ModifiedEvent", _weak(self, "_renamed", node))
                self._watched[node.GetID()] = (node, tag)

    def _renamed(self, node):
        place = self._box.findData(node.GetID())
        if place >= 0 and self._box.itemText(place) != node.GetName():
            self._box.setItemText(place, node.GetName())
            self._currentTextChanged(node.GetID())

    def _currentTextChanged(self, nodeId):
        """The text of a row has changed."""

    _nodeTypes, _hideChildNodeTypes, _showHidden = (), (), False
    showHidden = _flag("showHidden")
    showChildNodeTypes = _flag("showChildNodeTypes", True)
    nodeTypes = WidgetProperty(
        list, lambda self: tuple(self._nodeTypes), lambda self, names: self.setNodeTypes(names)
    )
    hideChildNodeTypes = WidgetProperty(
        list,
        lambda self: tuple(self._hideChildNodeTypes),
        lambda self, names: self.setHideChildNodeTypes(names),
    )

    def setNodeTypes(self, names):
        self._nodeTypes = tuple(names)
        self._refresh()

    def setHideChildNodeTypes(self, names):
        self._hideChildNodeTypes = tuple(names)
        self._refresh()

    def sortFilterProxyModel(self):
        return self._proxy

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        self.setEnabled(scene is not None)
        self._tags = []
        if scene is not None:
            events = (getattr(slicer.vtkMRMLScene, name) for name in _SCENE_EVENTS)
            observed = _weak(self, "_refresh")
            self._tags = [scene.AddObserver(event, observed, _PRIORITY) for event in events]
            leaving = slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent
            observed = _weakWithNode(self, "_takeOut")
            self._tags.append(scene.AddObserver(leaving, observed, _PRIORITY))
        self._refresh()

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        return self._nodes()[index]


class qMRMLNodeComboBox(_NodeList):
    """One node, none, or a new one. A node that is added later is not selected by itself."""

    SIGNALS = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "_validityChanged",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }
    currentNodeChanged = QtCore.Signal(object)
    _validityChanged = QtCore.Signal(bool)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeAddedByUser = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._current, self._noneDisplay, self._baseName = "", "None", ""
        self._box.activated.connect(self._activated)

    noneEnabled, addEnabled = _flag("noneEnabled"), _flag("addEnabled", True)
    removeEnabled, renameEnabled = _flag("removeEnabled", True), _flag("renameEnabled")
    editEnabled, selectNodeUponCreation = (
        _flag("editEnabled"),
        _flag("selectNodeUponCreation", True),
    )
    noneDisplay, baseName = _flag("noneDisplay", "None"), _flag("baseName", "")
    currentNodeID = WidgetProperty(
        str, lambda self: self._current, lambda self, nodeId: self.setCurrentNodeID(nodeId)
    )

    def _refresh(self):
        nodes, former = self._nodes(), self._ids
        self._watchNames(nodes)
        self._ids = [node.GetID() for node in nodes]
        self._box.clear()
        self._box.setPlaceholderText("Select a Node")
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        self._actions()
        self._follow(former)

    def _follow(self, former):
        """QComboBox chooses the neighbor of a row that goes (qcombobox.cpp, _q_rowsRemoved), and
        Qt 5 tells of the current row again when rows above it come or go."""
        if self._current in self._ids or not self._current:
            moved = self._current and self._place(self._ids) != self._place(former)
            self._select(self._current)
            if moved:
                self._tell()
            return
        rows = ["", *self._ids] if self.noneEnabled else self._ids
        place = self._place(former) + self.noneEnabled
        self._select(rows[min(place, len(rows) - 1)] if rows else "")

    def _place(self, ids):
        return ids.index(self._current) if self._current in ids else 0

    def _currentTextChanged(self, nodeId):
        if nodeId == self._current:  # qMRMLNodeComboBox.cxx:1195, connected to currentTextChanged
            self._tell()

    def _actions(self):
        shown = (self.renameEnabled, "Rename current"), (self.removeEnabled, "Delete current")
        texts = [text for enabled, text in shown if enabled]
        if self.addEnabled:
            texts += ["Create new"]
        if texts:
            self._box.insertSeparator(self._box.count)
        for text in texts:
            self._box.addItem(f"{text} node", text)

    def _select(self, nodeId):
        place = self._box.findData(nodeId) if nodeId or self.noneEnabled else -1
        self._box.setCurrentIndex(place)
        if nodeId != self._current:
            self._current = nodeId
            self._tell()

    def _tell(self):
        """qMRMLNodeComboBox::emitCurrentNodeChanged: it does not compare nodes."""
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self._validityChanged.emit(node is not None)
        self.currentNodeIDChanged.emit(self._current)

    def _activated(self, place):
        chosen = self._box.itemData(place)
        node = self.currentNode()
        if chosen == "Create new":
            self._select(self._current)
            self.addNode()
        elif chosen == "Delete current" and node is not None:
            self._scene.RemoveNode(node)
        elif chosen == "Rename current":
            self._select(self._current)
        else:
            self._select(chosen)

    def currentNode(self):
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeId):
        self._select(nodeId if nodeId in self._ids else "")

    def setCurrentNodeIndex(self, index):
        self.setCurrentNode(self._nodes()[index])

    def addNode(self, nodeType=None):
        kind = nodeType or self._nodeTypes[0]
        name = self.baseName or self._scene.CreateNodeByClass(kind).GetNodeTagName()
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node


class qMRMLCheckableNodeComboBox(_NodeList):
    """Any number of nodes, each with a check box."""

    SIGNALS = {"checkedNodesChanged()": "checkedNodesChanged"}
    checkedNodesChanged = QtCore.Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self._checked = []
        self._box.model().itemChanged.connect(self._ticked)

    def _refresh(self):
        nodes = self._nodes()
        self._watchNames(nodes)
        self._ids = [node.GetID() for node in nodes]
        before, self._checked = self._checked, [i for i in self._checked if i in self._ids]
        self._box.model().blockSignals(True)
        self._box.clear()
        for row, node in enumerate(nodes):
            self._box.addItem(node.GetName(), node.GetID())
            ticked = node.GetID() in self._checked
            item = self._box.model().item(row)
            item.setFlags(item.flags() | QtCore.Qt.ItemIsUserCheckable)
            item.setCheckState(QtCore.Qt.Checked if ticked else QtCore.Qt.Unchecked)
        self._box.model().blockSignals(False)
        self._tellChecked(before)

    def _tellChecked(self, before):
        names = [node.GetName() for node in self.checkedNodes()]
        self._box.setPlaceholderText(", ".join(names) or "Select nodes")
        self._box.setCurrentIndex(-1)
        if before != self._checked:
            self.checkedNodesChanged.emit()

    def _ticked(self, item):
        nodeId, before = item.data(QtCore.Qt.UserRole), list(self._checked)
        if nodeId in self._checked:
            self._checked.remove(nodeId)
        if item.checkState() == QtCore.Qt.Checked:
            self._checked.append(nodeId)
        self._tellChecked(before)

    def checkedNodes(self):
        return [node for node in self._nodes() if node.GetID() in self._checked]

    def uncheckedNodes(self):
        return [node for node in self._nodes() if node.GetID() not in self._checked]

    def noneChecked(self):
        return not self.checkedNodes()

    def checkState(self, node):
        ticked = node is not None and node.GetID() in self._checked
        return QtCore.Qt.Checked if ticked else QtCore.Qt.Unchecked

    def setCheckState(self, node, state):
        place = self._box.findData(node.GetID())
        if place >= 0:
            self._box.model().item(place).setCheckState(state)


WIDGETS = (qMRMLWidget, qMRMLNodeComboBox, qMRMLCheckableNodeComboBox)
